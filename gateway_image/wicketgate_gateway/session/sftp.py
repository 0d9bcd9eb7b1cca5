"""SFTP through the gateway: each request is an operation on paths, decided on where they really lead.

How this works: requests are taken in order. One that names a path waits until the target said what the path is once
links are resolved (REALPATH, asked by us); the decision is on that path, and that path is what goes out, so that a link
that the decision did not see is not followed later. Whoever can write in the path's folders at the target can still put
a link in place between the two; so a file that was opened is resolved once more before its handle is given out, which
catches that for what is read. Requests on a handle pass without a decision: a handle only exists for what was allowed,
and only for reading or for writing. Ids are ours towards the target, so that its answers are told apart.

What is read and written is on record by size and SHA-256 in order of the requests; the requests themselves are recorded
as JSON. A held request waits, and those behind it. What is held cannot be written to (nobody sees the content before it
is there): such a rule denies.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.ssh import FileOperation
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.ssh import File
from wicketgate_gateway.session import ssh_holding
from wicketgate_gateway.session.holds import Hold
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.channel import Kind
from wicketgate_gateway.wire.ssh.sftp import PacketDecoder, Request, SftpError, Type

if TYPE_CHECKING:
    from wicketgate_gateway.session.ssh import SshSession
    from wicketgate_gateway.session.ssh_channel import Channel

MAX_QUEUE_BYTES = 256 * 1024
MAX_HANDLES = 256
MAX_PENDING = 4096
ANSWER_SECONDS = 30.0
READ, WRITE = FileOperation.READ, FileOperation.WRITE
_BY_HANDLE = frozenset({Type.CLOSE, Type.READ, Type.WRITE, Type.FSTAT, Type.READDIR})

log = structlog.get_logger("wicketgate.ssh")


@dataclass(slots=True)
class Counted:
    """What passed of a file in one direction, and its digest in the order of the requests."""

    size: int = 0
    ordered: bool = True
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, offset: int, data: bytes | memoryview) -> None:
        """The next piece."""
        if offset != self.size:
            self.ordered = False
        self.size += len(data)
        self.digest.update(data)

    def document(self) -> dict[str, Any]:
        """For the recording."""
        return {"bytes": self.size, "sha256": self.digest.hexdigest(), "inOrder": self.ordered}


@dataclass(slots=True)
class Handle:
    """An open file or folder."""

    path: str
    seq: int
    started: int
    reads: bool
    writes: bool
    read: Counted = field(default_factory=Counted)
    written: Counted = field(default_factory=Counted)


@dataclass(slots=True)
class Pending:
    """A request under way at the target: whose it is, and what is done with its answer."""

    id: int = 0
    handle: Handle | None = None
    offset: int = 0
    answer: asyncio.Future[tuple[int, bytes]] | None = None


class SftpDeniedError(Exception):
    """The request is not passed on."""

    def __init__(self, reason: str, code: int = sftp.PERMISSION_DENIED) -> None:
        super().__init__(reason)
        self.code = code


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
        self._number = 0
        self._greeted = False
        self._home: str | None = None
        self._input_ended = False

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
        if self._working is None and kind in _BY_HANDLE:
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
                if kind in _BY_HANDLE:
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
            if str(denied):
                self._tell(f"denied: {denied}")
            self._answer(sftp.status(request.id, denied.code, str(denied) or "Permission denied"))
        except WicketgateError as error:
            if isinstance(error, SessionOverError):
                raise
            self._tell(str(error))
            self._answer(sftp.status(request.id, sftp.FAILURE, str(error)))

    # Requests on handles.

    def _by_handle(self, request: Request) -> None:
        handle = self._handles.get(request.handle)
        kind = request.type
        if handle is None:
            self._answer(sftp.status(request.id, sftp.FAILURE, "no such handle"))
            return
        if (kind == Type.WRITE and not handle.writes) or (kind in (Type.READ, Type.READDIR) and not handle.reads):
            self._answer(sftp.status(request.id, sftp.PERMISSION_DENIED, "the handle was not opened for that"))
            return
        if self._owner.session.recording_trouble() is not None:
            self._answer(sftp.status(request.id, sftp.FAILURE, "this cannot be recorded"))
            return
        if kind == Type.WRITE:
            handle.written.add(request.offset, request.data)
        elif kind == Type.CLOSE:
            del self._handles[request.handle]
            self._closed(handle)
        self._send(request, Pending(request.id, handle if kind == Type.READ else None, request.offset))

    def _closed(self, handle: Handle, outcome: str = "ok") -> None:
        note: dict[str, Any] = {"closed": handle.path}
        if handle.read.size:
            note["read"] = handle.read.document()
        if handle.written.size:
            note["written"] = handle.written.document()
        self._note(note)
        self._owner.finished(handle.seq, handle.started, outcome, rows=handle.read.size + handle.written.size)

    # Requests on paths.

    async def _decided(self, request: Request) -> None:
        kind, extension = request.type, request.extension
        if not sftp.known(kind, extension):
            self._answer(sftp.status(request.id, sftp.OP_UNSUPPORTED, "not offered"))
            return
        if kind == Type.FSETSTAT or extension in (b"fsync@openssh.com", b"fstatvfs@openssh.com"):
            await self._on_handle(request)
            return
        if extension == b"limits@openssh.com":
            self._send(request, Pending(request.id))
            return
        home = await self._home_path()
        paths, operations = await self._places(request)
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
        code, payload = await self._ask(sftp.write_request(request, self._next(), encoded))
        if seq:
            failed = code == Type.STATUS and sftp.read_status(payload) != sftp.OK
            self._owner.finished(seq, started, "error" if failed else "ok")
        self._answer(sftp.packet(code, request.id, payload[4:]))

    async def _on_handle(self, request: Request) -> None:
        handle = self._handles.get(request.handle)
        if handle is None:
            raise SftpDeniedError("no such handle", sftp.FAILURE)
        if request.type == Type.FSETSTAT and not (handle.writes and sftp.plain_attributes(request.attributes)):
            file = File(FileOperation.ATTRIBUTES, handle.path, await self._home_path())
            await self._allow([file], request, [handle.path])
        self._send(request, Pending(request.id))

    async def _places(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        """The request's paths as they are once links are resolved, and what is done to each."""
        kind, extension = request.type, request.extension
        first = request.paths[0]
        match kind:
            case Type.OPEN:
                if request.flags & ~sftp.KNOWN_FLAGS or not request.flags & (sftp.READ_FLAG | sftp.WRITE_FLAG):
                    raise SftpDeniedError("it is opened in a way that is not known", sftp.BAD_MESSAGE)
                path = await self._resolve(first)
                changes = request.flags & ~sftp.READ_FLAG
                reads = request.flags & sftp.READ_FLAG
                special = changes and not sftp.plain_attributes(request.attributes)
                found = [(READ, path)] * bool(reads) + [(WRITE, path)] * bool(changes)
                return [path], found + [(FileOperation.ATTRIBUTES, path)] * bool(special)
            case Type.OPENDIR | Type.STAT | Type.REALPATH:
                path = await self._resolve(first)
                return [path], [(READ, path)]
            case Type.LSTAT | Type.READLINK:
                path = await self._resolve(first, follow=False)
                return [path], [(READ, path)]
            case Type.MKDIR:
                path = await self._resolve(first, follow=False)
                special = not sftp.plain_attributes(request.attributes)
                return [path], [(WRITE, path)] + [(FileOperation.ATTRIBUTES, path)] * special
            case Type.REMOVE | Type.RMDIR:
                path = await self._resolve(first, follow=False)
                return [path], [(FileOperation.REMOVE, path)]
            case Type.SETSTAT:
                path = await self._resolve(first)
                return [path], [(FileOperation.ATTRIBUTES, path)]
            case Type.RENAME:
                return await self._renamed(request)
            case Type.SYMLINK:
                return await self._linked(request)
            case _:
                pass
        match extension:
            case b"posix-rename@openssh.com":
                return await self._renamed(request)
            case b"hardlink@openssh.com":
                # Another name for a file is a way around every rule on the first one.
                old, new = await self._resolve(first, follow=False), await self._resolve(request.paths[1], follow=False)
                link = FileOperation.LINK
                return [old, new], [(link, old), (READ, old), (WRITE, old), (link, new)]
            case b"lsetstat@openssh.com":
                path = await self._resolve(first, follow=False)
                return [path], [(FileOperation.ATTRIBUTES, path)]
            case b"expand-path@openssh.com":
                if first != b"~" and not first.startswith((b"~/", b"/")) and first.startswith(b"~"):
                    raise SftpDeniedError("other accounts' homes are not looked up")
                home = await self._home_path()
                path = await self._resolve(home.encode() + first[1:] if first.startswith(b"~") else first)
                return [path], [(READ, path)]
            case _:
                path = await self._resolve(first)
                return [path], [(READ, path)]

    async def _renamed(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        old = await self._resolve(request.paths[0], follow=False)
        new = await self._resolve(request.paths[1], follow=False)
        return [old, new], [(FileOperation.RENAME, old), (WRITE, new)]

    async def _linked(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        # OpenSSH's server takes the link's target first (its PROTOCOL, 4.1). The target stays as it was given, but
        # what it leads to from the link's folder must be covered, too.
        target, link = request.paths
        path = await self._resolve(link, follow=False)
        folder = path.rpartition("/")[0]
        leads = await self._resolve(target if target.startswith(b"/") else f"{folder}/".encode() + target)
        kind = FileOperation.LINK
        return [_text(target), path], [(kind, path), (kind, leads), (READ, leads)]

    async def _resolve(self, raw: bytes, *, follow: bool = True) -> str:
        """The absolute path without links that a path leads to; with `follow=False` its last part is not followed."""
        text = _text(raw)
        last = ""
        if not follow:
            parent, _, last = text.rstrip("/").rpartition("/")
            if last in ("", ".", ".."):
                last = ""
            else:
                absolute = text.startswith("/")
                text = parent or ("/" if absolute else ".")
        code, payload = await self._ask(sftp.realpath(self._next(), text.encode()))
        if code != Type.NAME:
            # Not there, or not to be seen: the same answer for both.
            raise SftpDeniedError("", sftp.NO_SUCH_FILE)
        found = _text(sftp.read_name(payload))
        parts = found.split("/")
        if not found.startswith("/") or any(part in ("", ".", "..") for part in parts[1:] if found != "/"):
            raise SftpError("the server gave a path that is not resolved")
        if not last:
            return found
        return f"/{last}" if found == "/" else f"{found}/{last}"

    async def _home_path(self) -> str:
        if self._home is None:
            self._home = await self._resolve(b".")
        return self._home

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
        self._note({"asked": text, "verdict": verdict.effect.value, "rule": verdict.rule, "seq": event.seq})
        if verdict.effect is not Effect.ALLOW:
            raise SftpDeniedError(verdict.reason)
        return event.seq

    async def _held(self, files: list[File], text: str, request: Request, paths: list[str], verdict: Verdict) -> int:
        owner = self._owner
        if request.type == Type.OPEN and request.flags & sftp.WRITE_FLAG:
            result: Any = ssh_holding.refused(
                verdict,
                "hold-not-showable",
                "what would be written is not known before it is there, so nobody can approve it",
                "ask the policy's owner to allow or deny writing here",
            )
        else:
            facts = {
                "kind": "sftp",
                "request": request.extension.decode() or Type(request.type).name.lower(),
                "paths": json.dumps(paths, ensure_ascii=False),
                "attributes": request.attributes.hex(),
                "flags": str(request.flags),
            }
            result = await ssh_holding.ask(
                owner.session, text, facts, b"", "", verdict, tell=self._tell, begun=self._begun
            )
            if isinstance(result, ssh_holding.Approved):
                again = owner.decide(files, text)
                if not self._channel.over and result.still(again, owner.session, text, facts, b""):
                    event = owner.operation(result.verdict(verdict), text, files)
                    try:
                        await owner.journalled([event])
                    except BaseException:
                        result.hold.not_sent()
                        raise
                    result.hold.sent()
                    result.hold.finished("ok")
                    self._note({"asked": text, "verdict": "hold-approved", "rule": verdict.rule, "seq": event.seq})
                    return event.seq
                result.hold.abandon()
                result = ssh_holding.refused(verdict, "hold-void", "the policy changed while it was approved", "")
        await owner.journalled([owner.operation(result, text, files)])
        raise SftpDeniedError(f"{result.reason}; {result.remedy}" if result.remedy else result.reason)

    def _begun(self, hold: Hold) -> None:
        self._channel.on_cut = hold.abandon

    async def _opened(self, request: Request, encoded: bytes, path: str, seq: int) -> None:
        if len(self._handles) >= MAX_HANDLES:
            raise SftpDeniedError("too many files are open", sftp.FAILURE)
        started = time.time_ns()
        code, payload = await self._ask(sftp.write_request(request, self._next(), (encoded,)))
        if code != Type.HANDLE:
            self._owner.finished(seq, started, "error")
            self._answer(sftp.packet(code, request.id, payload[4:]))
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
        try:
            now = await self._resolve(encoded)
        except SftpDeniedError:
            now = ""
        if now != path:
            close = replace(request, type=Type.CLOSE, handle=raw)
            self._send(close, Pending(answer=asyncio.get_running_loop().create_future()))
            self._closed(handle, "cancelled")
            raise SftpDeniedError(f"`{path}` became a link while it was opened")
        self._handles[raw] = handle
        self._answer(sftp.packet(Type.HANDLE, request.id, payload[4:]))

    # The target.

    def _next(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    async def _ask(self, packet: bytes) -> tuple[int, bytes]:
        """A request of ours, and its answer's type and payload. The packet's id is the number given last."""
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._pending[self._number] = Pending(answer=future)
        self._channel.to_target(packet)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    def _send(self, request: Request, pending: Pending) -> None:
        if len(self._pending) >= MAX_PENDING:
            raise SftpError("too many requests without an answer")
        number = self._next()
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
            self._answer(sftp.version(body))
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
        self._answer(sftp.packet(code, pending.id, body[4:]))

    def _answer(self, packet: bytes) -> None:
        """To the client; on record are the notes, not the packets."""
        self._channel.unrecorded(frames.data_frames(Kind.STDOUT, packet))

    # Ends.

    def close(self) -> None:
        """The channel is over."""
        if self._working is not None:
            self._working.cancel()
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            self._closed(handle, "lost")
        for pending in self._pending.values():
            if pending.answer is not None:
                pending.answer.cancel()

    def _maybe_end(self) -> None:
        if self._input_ended and self._working is None:
            self._channel.end_of_input()

    def _broken(self, why: str) -> None:
        self._tell(f"the SFTP session ends: {why}")
        self._channel.fail()

    def _tell(self, text: str) -> None:
        # Clients show standard error, and most of them not the text of a status.
        self._channel.say(text)

    def _note(self, note: dict[str, Any]) -> None:
        data = json.dumps(note, ensure_ascii=False).encode()
        self._channel.record(frames.frame(Kind.NOTE, data[: frames.MAX_SMALL]), client=False)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SftpDeniedError("the path is not UTF-8") from None
    if "\0" in text:
        raise SftpDeniedError("the path holds a NUL")
    if not text:
        return "."
    return text
