"""SFTP through the gateway: each request is an operation on paths, decided on where they really lead.

How this works: requests are taken in order. One that names a path waits until the target said what the path is once
links are resolved (REALPATH, asked by us); the decision is on that path, and that path is what goes out, so that a link
that the decision did not see is not followed later. Whoever can write in the path's folders at the target can still put
a link in place between the two; so a file that was opened is resolved once more before its handle is given out, which
catches that for what is read. Requests on a handle pass without a decision: a handle only exists for what was allowed,
and only for reading or for writing. Ids are ours towards the target, so that its answers are told apart.

What is read and written is on record by size and SHA-256 in order of the requests, and by content where the policy says
so (`session/sftp_files.py`); the requests themselves are recorded as JSON. A held request waits, and those behind it.
Where writing is held, the content is gathered here first, and shown to people when the client closes the file
(`session/sftp_held.py`); then it goes out whole.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.ssh import FileOperation
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.policy.ssh import File
from wicketgate_gateway.session import sftp_held, ssh_holding
from wicketgate_gateway.session.holds import Hold
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.session.sftp_files import Content, Handle
from wicketgate_gateway.session.sftp_held import Asking, HeldFile
from wicketgate_gateway.session.sftp_paths import READ, Paths, SftpDeniedError
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.channel import Kind
from wicketgate_gateway.wire.ssh.sftp import PacketDecoder, Request, SftpError, Type

if TYPE_CHECKING:
    from wicketgate_gateway.audit.events import Operation
    from wicketgate_gateway.session.ssh import SshSession
    from wicketgate_gateway.session.ssh_channel import Channel

MAX_QUEUE_BYTES = 256 * 1024
MAX_HANDLES = 256
MAX_PENDING = 4096
ANSWER_SECONDS = 30.0
_BY_HANDLE = frozenset({Type.CLOSE, Type.READ, Type.WRITE, Type.FSTAT, Type.READDIR})

log = structlog.get_logger("wicketgate.ssh")


@dataclass(slots=True)
class Pending:
    """A request under way at the target: whose it is, and what is done with its answer."""

    id: int = 0
    handle: Handle | None = None
    offset: int = 0
    answer: asyncio.Future[tuple[int, bytes]] | None = None


class SftpChannel:
    """One `sftp` subsystem, between a channel and its target."""

    def __init__(self, owner: SshSession, channel: Channel) -> None:
        self._owner = owner
        self._channel = channel
        self._client = PacketDecoder()
        self._target = PacketDecoder()
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued = 0
        self._working: asyncio.Task[None] | None = None
        self._pending: dict[int, Pending] = {}
        self._handles: dict[bytes, Handle] = {}
        self._held_files: dict[bytes, HeldFile] = {}
        """Files of a held write: their content is gathered, and shown when they are closed."""
        self._number = 0
        self._greeted = False
        self._paths = Paths(self._real)
        self._input_ended = False
        self.reply: Callable[[bytes], None] = self._to_client
        """Takes the packets for the client."""
        self.denied = self.pending = False
        """Whether something was denied; whether something waits for approval."""

    def begin(self) -> None:
        """The target's subsystem is open."""
        self._channel.take = self.from_client
        self._channel.answers = self.from_target

    # From the client.

    def from_client(self, kind: int, payload: bytes) -> None:
        """A frame of the client."""
        if kind == Kind.EOF:
            self._input_ended = True
            self._maybe_end()
            return
        if kind != Kind.STDIN:
            return
        try:
            for item in self._client.feed(payload):
                self._take(*item)
        except SftpError as error:
            self._broken(str(error))

    def _take(self, kind: int, payload: bytes) -> None:
        if not self._greeted:
            if kind != Type.INIT:
                raise SftpError("the client did not begin with INIT")
            self._greeted = True
            self._channel.to_target(sftp.init())
            return
        if kind == Type.INIT:
            raise SftpError("the client began twice")
        if self._working is None and kind in _BY_HANDLE and not self._held_files:
            self._by_handle(sftp.read_request(kind, payload))
            return
        self._queue.append((kind, payload))
        self._queued += len(payload) + 64
        self._channel.withhold = self._queued > MAX_QUEUE_BYTES
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._queue:
                kind, payload = self._queue.popleft()
                self._queued -= len(payload) + 64
                if self._channel.withhold and self._queued <= MAX_QUEUE_BYTES:
                    self._channel.withhold = False
                    self._channel.credit()
                request = sftp.read_request(kind, payload)
                if kind in _BY_HANDLE and request.handle not in self._held_files:
                    self._by_handle(request)
                else:
                    await self._one(request)
        except SftpError as error:
            self._broken(str(error))
        except SessionOverError as error:
            self._owner.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)
        except Exception:
            log.exception("sftp failed inside", session=self._owner.session.id)
            self._broken("it failed inside the gateway")
        finally:
            self._working = None
        self._maybe_end()

    async def _one(self, request: Request) -> None:
        try:
            await self._decided(request)
        except SftpDeniedError as denied:
            if denied.answered:
                return
            if str(denied):
                self.tell(f"denied: {denied}")
            self.answer(sftp.status(request.id, denied.code, str(denied) or "Permission denied"))
        except WicketgateError as error:
            if isinstance(error, SessionOverError):
                raise
            self.tell(str(error))
            self.answer(sftp.status(request.id, sftp.FAILURE, str(error)))

    # Requests on handles.

    def _by_handle(self, request: Request) -> None:
        handle = self._handles.get(request.handle)
        kind = request.type
        if handle is None:
            self.answer(sftp.status(request.id, sftp.FAILURE, "no such handle"))
            return
        if (kind == Type.WRITE and not handle.writes) or (kind in (Type.READ, Type.READDIR) and not handle.reads):
            self.answer(sftp.status(request.id, sftp.PERMISSION_DENIED, "the handle was not opened for that"))
            return
        if self._owner.session.recording_trouble() is not None:
            self.answer(sftp.status(request.id, sftp.FAILURE, "this cannot be recorded"))
            return
        if kind == Type.WRITE:
            handle.written.add(request.offset, request.data)
        elif kind == Type.CLOSE:
            del self._handles[request.handle]
            self.closed(handle)
        self._send(request, Pending(request.id, handle if kind == Type.READ else None, request.offset))

    def closed(self, handle: Handle, outcome: str = "ok") -> None:
        """What passed of a file goes on record."""
        note: dict[str, Any] = {"closed": handle.path}
        if handle.read.size:
            note["read"] = handle.read.document()
        if handle.written.size:
            note["written"] = handle.written.document()
        self.note(note)
        self._owner.finished(handle.seq, handle.started, outcome, rows=handle.read.size + handle.written.size)

    # Requests on paths.

    async def _decided(self, request: Request) -> None:
        kind, extension = request.type, request.extension
        if request.handle in self._held_files:
            await self._on_held_file(request)
            return
        if not sftp.known(kind, extension):
            self.answer(sftp.status(request.id, sftp.OP_UNSUPPORTED, "not offered"))
            return
        if kind == Type.FSETSTAT or extension in (b"fsync@openssh.com", b"fstatvfs@openssh.com"):
            await self._on_handle(request)
            return
        if extension == b"limits@openssh.com":
            self._send(request, Pending(request.id))
            return
        home = await self._paths.home()
        paths, operations = await self._paths.places(request)
        files = [File(operation, path, home) for operation, path in operations]
        free = kind == Type.REALPATH and paths[0] == home
        seq = 0
        if not free:
            seq = await self._allow(files, request, paths)
        encoded = tuple(path.encode() for path in paths)
        if kind in (Type.OPEN, Type.OPENDIR):
            await self._opened(request, encoded[0], paths[0], seq)
            return
        started = time.time_ns()
        code, payload = await self.ask(sftp.write_request(request, self.next_number(), encoded))
        if seq:
            failed = code == Type.STATUS and sftp.read_status(payload) != sftp.OK
            self._owner.finished(seq, started, "error" if failed else "ok")
        self.answer(sftp.packet(code, request.id, payload[4:]))

    async def _on_handle(self, request: Request) -> None:
        handle = self._handles.get(request.handle)
        if handle is None:
            raise SftpDeniedError("no such handle", sftp.FAILURE)
        if request.type == Type.FSETSTAT and not (handle.writes and sftp.plain_attributes(request.attributes)):
            file = File(FileOperation.ATTRIBUTES, handle.path, await self._paths.home())
            await self._allow([file], request, [handle.path])
        self._send(request, Pending(request.id))

    async def _allow(self, files: list[File], request: Request, paths: list[str]) -> int:
        """The operation's number once it may go out and is on record. Raises SftpDeniedError, WicketgateError."""
        owner = self._owner
        text = "; ".join(f"sftp {file}" for file in files)
        verdict = owner.decide(files, text)
        masked = any(mask.detect for mask in owner.session.policy.data_masks)
        reads = request.type == Type.OPEN and any(file.operation is READ for file in files)
        if verdict.effect is Effect.ALLOW and masked and reads:
            verdict = Verdict(
                Effect.DENY,
                "builtin:masks",
                "detectors mask what this bot may see, and the content of files cannot be masked",
                "print the file by a command that is allowed, whose output is masked",
                "not-maskable",
            )
        if verdict.effect is Effect.HOLD:
            return await self._held(files, text, request, paths, verdict)
        event = owner.operation(verdict, text, files)
        await owner.journalled([event])
        self.note({"asked": text, "verdict": verdict.effect.value, "rule": verdict.rule, "seq": event.seq})
        if verdict.effect is not Effect.ALLOW:
            self.denied = True
            raise SftpDeniedError(verdict.reason)
        return event.seq

    async def _held(self, files: list[File], text: str, request: Request, paths: list[str], verdict: Verdict) -> int:
        if request.type == Type.OPEN and request.flags & ~sftp.READ_FLAG:
            return self._gather(files, text, request, paths, verdict)
        facts = sftp_held.facts(request, paths)
        if request.type in (Type.REMOVE, Type.RMDIR, Type.RENAME, Type.SETSTAT) or request.extension:
            facts["is"] = await self._described(paths[0])
        _, event = await self._approved(Asking(files, text, facts, verdict))
        return event.seq

    async def _approved(self, asking: Asking) -> tuple[Hold, Operation]:
        """The hold, once it is approved, and the event on record. Raises SftpDeniedError, WicketgateError."""
        owner, files, text, verdict = self._owner, asking.files, asking.text, asking.verdict
        result = await ssh_holding.ask(
            owner.session, text, asking.facts, asking.content, "", verdict,
            tell=self.tell, begun=self._begun, label=sftp_held.CONTENT,
        )  # fmt: skip
        if isinstance(result, ssh_holding.Approved):
            again = owner.decide(files, text)
            if not self._channel.over and result.still(
                again, owner.session, text, asking.facts, asking.content, sftp_held.CONTENT
            ):
                event = owner.operation(result.verdict(verdict), text, files)
                try:
                    await owner.journalled([event])
                except BaseException:
                    result.hold.not_sent()
                    raise
                result.hold.sent()
                if not asking.content_follows:
                    result.hold.finished("ok")
                self.note({"asked": text, "verdict": "hold-approved", "rule": verdict.rule, "seq": event.seq})
                return result.hold, event
            result.hold.abandon()
            result = ssh_holding.refused(verdict, "hold-void", "the policy changed while it was approved", "")
        await owner.journalled([owner.operation(result, text, files)])
        raise self._refusal(result)

    def _refusal(self, result: Verdict) -> SftpDeniedError:
        if result.code in ("hold-denied", "killed", "hold-not-showable"):
            self.denied = True
        else:
            self.pending = True
        return SftpDeniedError(f"{result.reason}; {result.remedy}" if result.remedy else result.reason)

    async def _described(self, path: str) -> str:
        """What a path is, for people, bound to the approval."""
        self.next_number()
        code, payload = await self.ask(sftp.packet(Type.LSTAT, self._number, sftp.string(path.encode())))
        return sftp_held.described(sftp.read_attributes(payload[4:])) if code == Type.ATTRS else "not there"

    # Files whose writing is held.

    def _gather(self, files: list[File], text: str, request: Request, paths: list[str], verdict: Verdict) -> int:
        """Gives the client a handle of ours, if what it opens will be all of the file. Raises SftpDeniedError."""
        whole = request.flags & sftp.WRITE_FLAG and request.flags & (sftp.TRUNCATE_FLAG | sftp.EXCLUSIVE_FLAG)
        if not whole or request.flags & (sftp.READ_FLAG | sftp.APPEND_FLAG) or len(self._held_files) >= MAX_HANDLES:
            self.denied = True
            raise SftpDeniedError(
                "a change within a file cannot be shown whole, so nobody can approve it: write it anew"
            )
        number = self.next_number()
        handle = b"wicketgate-held-%d" % number
        self._held_files[handle] = HeldFile(request, paths[0], files, text, verdict)
        self.answer(sftp.packet(Type.HANDLE, request.id, sftp.string(handle)))
        raise SftpDeniedError("", answered=True)

    async def _on_held_file(self, request: Request) -> None:
        held = self._held_files[request.handle]
        if request.type != Type.CLOSE:
            self.answer(held.take(request))
            return
        del self._held_files[request.handle]
        if held.refused:
            result = ssh_holding.refused(held.verdict, "hold-not-showable", held.refused, held.remedy)
            await self._owner.journalled([self._owner.operation(result, held.text, held.files)])
            raise self._refusal(result)
        asking = Asking(held.files, held.text, held.facts(), held.verdict, bytes(held.content), content_follows=True)
        hold, event = await self._approved(asking)
        outcome = "error"
        try:
            outcome = await self._write_out(held, event.seq)
        finally:
            hold.finished(outcome)
        self.answer(sftp.status(request.id, sftp.OK))

    async def _write_out(self, held: HeldFile, seq: int) -> str:
        """The approved content goes to the target, whole. Raises SftpDeniedError."""
        started = time.time_ns()
        code, payload = await self.ask(sftp.write_request(held.opening, self.next_number(), (held.path.encode(),)))
        if code != Type.HANDLE:
            self._owner.finished(seq, started, "error")
            raise SftpDeniedError(sftp.read_message(payload) or "it cannot be opened", sftp.read_status(payload))
        handle = Handle(held.path, seq, started, reads=False, writes=True)
        self._keep_content(held.opening, handle)
        outcome = "error"
        try:
            if await self._paths.resolve(held.path.encode()) != held.path:
                raise SftpDeniedError(f"`{held.path}` became a link while it was opened")
            for packet in held.packets(sftp.read_handle(payload), self.next_number, handle.written):
                code, answer = await self.ask(packet)
                if code != Type.STATUS or sftp.read_status(answer) != sftp.OK:
                    raise SftpDeniedError(sftp.read_message(answer) or "it cannot be written", sftp.FAILURE)
            outcome = "ok"
        finally:
            self._send(Request(Type.CLOSE, 0, handle=sftp.read_handle(payload)), Pending(answer=_unheard()))
            self.closed(handle, outcome)
        return outcome

    def _begun(self, hold: Hold) -> None:
        self._channel.on_cut = hold.abandon

    async def _opened(self, request: Request, encoded: bytes, path: str, seq: int) -> None:
        if len(self._handles) >= MAX_HANDLES:
            raise SftpDeniedError("too many files are open", sftp.FAILURE)
        started = time.time_ns()
        code, payload = await self.ask(sftp.write_request(request, self.next_number(), (encoded,)))
        if code != Type.HANDLE:
            self._owner.finished(seq, started, "error")
            self.answer(sftp.packet(code, request.id, payload[4:]))
            return
        raw = sftp.read_handle(payload)
        if raw in self._handles:
            raise SftpError("the server gave a handle twice")
        handle = Handle(
            path,
            seq,
            started,
            reads=request.type == Type.OPENDIR or bool(request.flags & sftp.READ_FLAG),
            writes=request.type == Type.OPEN and bool(request.flags & sftp.WRITE_FLAG),
        )
        self._keep_content(request, handle)
        try:
            now = await self._paths.resolve(encoded)
        except SftpDeniedError:
            now = ""
        if now != path:
            close = replace(request, type=Type.CLOSE, handle=raw)
            self._send(close, Pending(answer=_unheard()))
            self.closed(handle, "cancelled")
            raise SftpDeniedError(f"`{path}` became a link while it was opened")
        self._handles[raw] = handle
        self.answer(sftp.packet(Type.HANDLE, request.id, payload[4:]))

    def _keep_content(self, request: Request, handle: Handle) -> None:
        """What passes of the file goes into the recording, if the policy says so."""
        session = self._owner.session
        limit = session.policy.record.files_up_to
        if request.type != Type.OPEN or not limit or session.recording is None:
            return
        for counted, written in ((handle.read, False), (handle.written, True)):
            if written or session.recording.answers:
                mask = None if session.detecting is None else Redactor(session.detecting)
                record = partial(self._channel.record, client=written)
                counted.content = Content(handle.seq, written=written, limit=limit, mask=mask, record=record)

    # The target.

    def next_number(self) -> int:
        """The id of our next request."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    async def _real(self, path: bytes) -> tuple[int, bytes]:
        return await self.ask(sftp.realpath(self.next_number(), path))

    async def ask(self, packet: bytes) -> tuple[int, bytes]:
        """A request of ours, and its answer's type and payload. The packet's id is the number given last."""
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._pending[self._number] = Pending(answer=future)
        self._channel.to_target(packet)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    def _send(self, request: Request, pending: Pending) -> None:
        if len(self._pending) >= MAX_PENDING:
            raise SftpError("too many requests without an answer")
        number = self.next_number()
        self._pending[number] = pending
        self._channel.to_target(sftp.write_request(request, number))

    def from_target(self, kind: int, payload: bytes) -> None:
        """Output of the target."""
        if kind != Kind.STDOUT:
            return
        try:
            for code, body in self._target.feed(payload):
                self._answered(code, body)
        except SftpError as error:
            self._broken(f"the target broke the protocol: {error}")

    def _answered(self, code: int, body: bytes) -> None:
        if code == Type.VERSION:
            self.answer(sftp.version(body))
            return
        pending = self._pending.pop(sftp.read_id(body), None)
        if pending is None:
            raise SftpError("an answer to nothing")
        if pending.answer is not None:
            if not pending.answer.done():
                pending.answer.set_result((code, body))
            return
        if code == Type.DATA and pending.handle is not None:
            sftp.data_length(body)
            pending.handle.read.add(pending.offset, memoryview(body)[8:])
        self.answer(sftp.packet(code, pending.id, body[4:]))

    def answer(self, packet: bytes) -> None:
        """Give the client a packet."""
        self.reply(packet)

    def _to_client(self, packet: bytes) -> None:
        """On record are the notes, not the packets."""
        self._channel.unrecorded(frames.data_frames(Kind.STDOUT, packet))

    # Ends.

    def close(self) -> None:
        """The channel is over."""
        if self._working is not None:
            self._working.cancel()
        held, self._held_files = self._held_files, {}
        for file in held.values():
            gone = ssh_holding.refused(
                file.verdict, "hold-not-showable", "the client went before the file was closed", ""
            )
            self._owner.session.gate.notices.add([self._owner.operation(gone, file.text, file.files)])
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            self.closed(handle, "lost")
        for pending in self._pending.values():
            if pending.answer is not None:
                pending.answer.cancel()

    def _maybe_end(self) -> None:
        if self._input_ended and self._working is None:
            self._channel.end_of_input()

    def _broken(self, why: str) -> None:
        self.tell(f"the SFTP session ends: {why}")
        self._channel.fail()

    def tell(self, text: str) -> None:
        """A line on the client's standard error."""
        # Clients show standard error, and most of them not the text of a status.
        self._channel.say(text)

    def note(self, note: dict[str, Any]) -> None:
        """Put something on record."""
        data = json.dumps(note, ensure_ascii=False).encode()
        # As the client's: what it asked for is on record also where answers are not.
        self._channel.record(frames.frame(Kind.NOTE, data[: frames.MAX_SMALL]), client=True)


def _unheard() -> asyncio.Future[tuple[int, bytes]]:
    """For an answer that nobody waits for."""
    return asyncio.get_running_loop().create_future()
