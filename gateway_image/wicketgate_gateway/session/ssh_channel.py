"""One channel of an SSH session: what it asks for is decided, then its frames pass, recorded and masked.

How this works: `start` begins a task that understands the request, decides, holds if it must, writes the event, and
opens the channel at the target; what the client sends meanwhile waits, within the stream's credit. From then on frames
pass by callbacks: from the client only input, signals and window sizes, from the target only output and its end. Each
direction's credit goes back when the other side has taken the bytes and the recorder keeps up.

A held request runs with the input that was shown to the approvers: what the client had sent by then, if it said that
this was all, else none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.policy.ssh import Subsystem, Variable
from wicketgate_gateway.session import ssh_holding
from wicketgate_gateway.session.holds import Hold
from wicketgate_gateway.session.redacting import IDLE_SECONDS, Redacting, redacting
from wicketgate_gateway.session.scp import ScpChannel
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.session.sftp import SftpChannel
from wicketgate_gateway.session.ssh_request import Request, is_legacy_scp, understand
from wicketgate_gateway.tunnel.messages import SshChannel
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, FrameError, Kind

if TYPE_CHECKING:
    from wicketgate_gateway.session.ssh import SshSession

DENIED = 126
"""Exit status of what was denied: what a shell gives for a command that it may not run."""
PENDING = 75
"""Exit status of what waits for approval: EX_TEMPFAIL of sysexits.h."""
UNAVAILABLE = 69
"""Exit status when target or recording are not available: EX_UNAVAILABLE."""
ENDED = 255
MAX_HELD_INPUT = 64 * 1024
INPUT_SECONDS = 0.5
"""How long a held command's input may take to end before it counts as none."""
_FROM_CLIENT = frozenset({Kind.STDIN, Kind.EOF, Kind.WINDOW, Kind.SIGNAL, Kind.BREAK})
_FROM_TARGET = frozenset({Kind.STDOUT, Kind.STDERR, Kind.EOF, Kind.EXIT, Kind.EXIT_SIGNAL})

log = structlog.get_logger("wicketgate.ssh")


class Channel:
    """See the module."""

    def __init__(self, owner: SshSession, number: int, stream: Stream, wanted: SshChannel) -> None:
        self.number = number
        self.over = False
        self._owner = owner
        self._client = stream
        self._wanted = wanted
        self._target: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._from_client = FrameDecoder()
        self._from_target = FrameDecoder()
        self._waiting: list[tuple[int, bytes]] = []
        """Frames of the client that came before there was anywhere to send them."""
        self._waiting_bytes = 0
        self._input_ended = asyncio.Event()
        self._only_window = False
        self._owed_client = 0
        self._owed_target = 0
        self._seq = 0
        self._started = 0
        self._status = ""
        self._masks: Redacting | None = None
        self._typed: Redactor | None = None
        """Masks what the client writes, for the recording; the target gets it as it is."""
        self._pty = bool(wanted.pty)
        self._idle: asyncio.TimerHandle | None = None
        self._hold: Hold | None = None
        stream.on_close = self._client_ended
        self.withhold = False
        """The client gets no credit for now."""
        self.take: Callable[[int, bytes], None] | None = None
        """Takes the client's frames in place of the target (SFTP)."""
        self.answers: Callable[[int, bytes], None] | None = None
        """Takes the target's output in place of the client."""
        self.on_cut: Callable[[], None] = _nothing
        self.on_credit: Callable[[], None] = _nothing
        """Called when the client may take more."""
        self.own_status = False
        """The target's exit status is not the client's."""
        self._sftp: SftpChannel | None = None
        self._scp: ScpChannel | None = None

    @property
    def client_writable(self) -> bool:
        """Whether the client takes more."""
        return self._client.writable

    @property
    def running(self) -> bool:
        """Whether something runs at the target."""
        return self._target is not None and not self.over

    def start(self) -> None:
        """Begin."""
        self._client.on_data = self._client_data
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        owner = self._owner
        try:
            request = understand(self._wanted, self._allowed)
            self.record(frames.frame(Kind.BEGIN, msgspec.json.encode(_begun(request))), client=True)
            verdict = owner.decide(request.points, request.text, request.wanted.env, pty=self._pty)
            if verdict.effect is Effect.HOLD and request.file_by_file:
                verdict = self._entered(request, verdict)
            if verdict.effect is Effect.HOLD:
                await self._held(request, verdict)
            elif verdict.effect is Effect.ALLOW:
                self._masks = redacting(owner.session.policy, owner.session.gate.mask_key)
                event = owner.operation(verdict, request.text, request.points, masked=self._masks is not None)
                await owner.journalled([event])
                await self._go(request, event.seq)
            else:
                await owner.journalled([owner.operation(verdict, request.text, request.points)])
                self._refuse(verdict, request)
        except SessionOverError as error:
            owner.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)
        except WicketgateError as error:
            if self._seq:
                owner.finished(self._seq, self._started, "error", error.code)
                self._seq = 0
            self.say(str(error))
            self._exit(UNAVAILABLE)
        except Exception:
            log.exception("a channel failed inside", session=owner.session.id)
            self.say("this failed inside the gateway")
            self._exit(UNAVAILABLE)

    def _entered(self, request: Request, verdict: Verdict) -> Verdict:
        """The verdict on entering what is then held file by file."""
        by_files = self._owner.decide([Subsystem("sftp")], request.text)
        if request.copying is not None and by_files.effect is Effect.ALLOW:
            # A rule holds the command itself, whose input nobody can be shown.
            reason = "what would be copied is not known before it is there, so nobody can approve it as a command"
            return Verdict(
                Effect.DENY, verdict.rule, reason, "hold `paths` instead of `commands`", "hold-not-showable",
                record=verdict.record,
            )  # fmt: skip
        return Verdict(Effect.ALLOW, verdict.rule, record=verdict.record)

    def _allowed(self, variable: Variable) -> bool:
        return self._owner.decide([variable], str(variable)).effect is not Effect.DENY

    def _refuse(self, verdict: Verdict, request: Request) -> None:
        self.say(f"denied: {verdict.reason}")
        if verdict.remedy:
            self.say(verdict.remedy)
        if is_legacy_scp(request):
            self.say("`scp -O` is decided file by file if its paths are plain words; `scp -s` takes patterns, too")
        if request.kind == "exec" and request.left_out:
            self.say(f"not passed on: {', '.join(request.left_out)}")
        self._exit(DENIED)

    async def _go(self, request: Request, seq: int) -> None:
        """Open it at the target. Raises WicketgateError."""
        detecting = self._owner.session.detecting
        self._typed = None if detecting is None else Redactor(detecting)
        self._seq, self._started = seq, time.time_ns()
        if request.file_by_file:
            self._sftp = SftpChannel(self._owner, self)
        if self._sftp is not None and request.copying is not None:
            self._scp = ScpChannel(self._owner, self, request.copying, self._sftp)
        stream = await self._owner.open(request.wanted)
        if self.over:
            stream.close("the client hung up")
            return
        self._join(stream)
        if self._scp is not None:
            self._scp.begin()
        elif self._sftp is not None:
            self._sftp.begin()
        self._pass_waiting()

    def _join(self, stream: Stream) -> None:
        self._target = stream
        stream.on_writable = self.credit
        self._client.on_writable = self.credit
        stream.on_data = self._target_data
        stream.on_close = self._target_ended

    # Holding.

    async def _held(self, request: Request, verdict: Verdict) -> None:
        owner = self._owner
        given = await self._input()
        if given is None:
            reason = f"its input does not end, or is longer than {MAX_HELD_INPUT} bytes, and cannot be shown whole"
            refused = ssh_holding.refused(verdict, "hold-not-showable", reason, "give it as a file that ends")
            await owner.journalled([owner.operation(refused, request.text, request.points)])
            self._refuse(refused, request)
            return
        result = await ssh_holding.ask(
            owner.session,
            request.text,
            request.facts,
            given,
            request.reason,
            verdict,
            tell=self.say,
            begun=self._holding,
        )
        if isinstance(result, Verdict):
            await owner.journalled([owner.operation(result, request.text, request.points)])
            self.say(result.reason)
            if result.remedy:
                self.say(result.remedy)
            self._exit(DENIED if result.code in ("hold-denied", "killed", "hold-not-showable") else PENDING)
            return
        if self.over or owner.over:
            result.hold.abandon()
            return
        # Only now is certain that it is what was decided: decide again, by the policy in force at this moment.
        again = owner.decide(request.points, request.text, request.wanted.env, pty=self._pty)
        if not result.still(again, owner.session, request.text, request.facts, given):
            result.hold.abandon()
            self.say("void: the policy changed while it was approved; send it again")
            self._exit(PENDING)
            return
        self._masks = redacting(owner.session.policy, owner.session.gate.mask_key)
        event = owner.operation(result.verdict(verdict), request.text, request.points, masked=self._masks is not None)
        try:
            await owner.journalled([event])
        except BaseException:
            result.hold.not_sent()
            raise
        result.hold.sent()
        self._hold = result.hold
        self._keep_only(given)
        wanted = request.wanted
        if request.kind == "exec":
            wanted = msgspec.structs.replace(wanted, command=result.claim.request.statement)
        await self._go(with_wanted(request, wanted), event.seq)

    def _holding(self, hold: Hold) -> None:
        self._hold = hold

    async def _input(self) -> bytes | None:
        """The whole input if it has ended; nothing if none came; None if there is more."""
        try:
            async with asyncio.timeout(INPUT_SECONDS):
                await self._input_ended.wait()
        except TimeoutError:
            if any(kind == Kind.STDIN for kind, _ in self._waiting):
                return None
            return b""
        data = b"".join(payload for kind, payload in self._waiting if kind == Kind.STDIN)
        return data if len(data) <= MAX_HELD_INPUT else None

    def _keep_only(self, given: bytes) -> None:
        """The target gets the input that was approved and its end; whatever else came is dropped."""
        self._waiting = [(kind, payload) for kind, payload in self._waiting if kind == Kind.WINDOW]
        for at in range(0, len(given), frames.MAX_DATA):
            self._waiting.append((Kind.STDIN, given[at : at + frames.MAX_DATA]))
        self._waiting.append((Kind.EOF, b""))
        self._only_window = True

    # Client to target.

    def _client_data(self, data: bytes) -> None:
        try:
            for kind, payload in self._from_client.feed(data):
                if kind not in _FROM_CLIENT:
                    raise FrameError("a frame that clients do not send")
                self._client_frame(kind, payload)
        except FrameError:
            self.cut()
            self._client.close("the frames broke")
            return
        self._owed_client += len(data)
        self.credit()

    def _client_frame(self, kind: int, payload: bytes) -> None:
        if self.over:
            return
        if self.take is not None:
            self.take(kind, payload)
            return
        if self._target is None:
            self._waiting.append((kind, payload))
            self._waiting_bytes += len(payload) + frames.HEAD.size
            if kind == Kind.EOF:
                self._input_ended.set()
            return
        if self._only_window and kind != Kind.WINDOW:
            return
        frame = frames.frame(kind, payload)
        if self._typed is None:
            self.record(frame, client=True)
        elif kind == Kind.STDIN:
            self._record_typed(self._typed.feed(payload))
        else:
            self._record_typed(self._typed.flush())
            self.record(frame, client=True)
        self._target.send(frame)

    def _record_typed(self, data: bytes) -> None:
        if data:
            self.record(frames.data_frames(Kind.STDIN, data), client=True)

    def _pass_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        only, self._only_window = self._only_window, False
        for kind, payload in waiting:
            self._client_frame(kind, payload)
        self._only_window = only
        self.credit()

    def credit(self) -> None:
        """Give both sides what they are owed, as far as the other side keeps up."""
        if self._owner.backlogged:
            return
        target = self._target
        if target is not None and not self.withhold and (target.writable or self.over):
            owed, self._owed_client = self._owed_client, 0
            if owed:
                self._client.consumed(owed)
        if target is not None and (self._client.writable or self.over):
            owed, self._owed_target = self._owed_target, 0
            if owed:
                target.consumed(owed)
        self.on_credit()

    # Target to client.

    def _target_data(self, data: bytes) -> None:
        try:
            for kind, payload in self._from_target.feed(data):
                if kind not in _FROM_TARGET:
                    raise FrameError("a frame that targets do not send")
                self.target_frame(kind, payload)
        except FrameError:
            self.cut()
            self._client.close("the frames broke")
            return
        self._owed_target += len(data)
        self.credit()

    def target_frame(self, kind: int, payload: bytes) -> None:
        """One frame of the target."""
        if self.answers is not None and kind in (Kind.STDOUT, Kind.STDERR):
            self.answers(kind, payload)
            return
        if kind in (Kind.STDOUT, Kind.STDERR):
            if self._masks is not None:
                payload = self._masks.feed(kind, payload)
                if self._masks.waits and self._idle is None:
                    self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._went_idle)
            if payload:
                self.to_client(frames.data_frames(kind, payload))
            return
        self._flush_masks()
        if self.own_status:
            return
        if kind == Kind.EXIT:
            self._status = str(frames.number(payload))
        elif kind == Kind.EXIT_SIGNAL:
            self._status = payload.decode("ascii", "replace")
        self.to_client(frames.frame(kind, payload))

    def _went_idle(self) -> None:
        self._idle = None
        if self._masks is not None and not self.over:
            for kind, payload in self._masks.idle():
                self.to_client(frames.data_frames(kind, payload))

    def _flush_masks(self) -> None:
        if self._masks is not None:
            for kind, payload in self._masks.flush():
                self.to_client(frames.data_frames(kind, payload))

    def to_client(self, frame: bytes) -> None:
        """Send frames to the client, on record."""
        self.record(frame, client=False)
        self._client.send(frame)

    def unrecorded(self, frame: bytes) -> None:
        """Send frames to the client that are on record in another way."""
        if not self.over:
            self._owner.session.bytes_out += len(frame)
            self._client.send(frame)

    def end_of_input(self) -> None:
        """The target gets no more."""
        if self._target is not None:
            self._target.send(frames.frame(Kind.EOF))

    def fail(self) -> None:
        """It cannot go on."""
        self._exit(ENDED)

    def leave(self, status: int) -> None:
        """It came to its end, with this exit status."""
        self._status = str(status)
        self._exit(status, outcome="error" if status else "ok")

    def to_target(self, data: bytes) -> None:
        """Send input to the target (SFTP's own requests among it)."""
        if self._target is not None:
            self._target.send(frames.data_frames(Kind.STDIN, data))

    def record(self, frame: bytes, *, client: bool) -> None:
        """Put frames on record."""
        self._owner.record(self.number, frame, client=client)

    # Ends.

    def say(self, text: str) -> None:
        """A line on the client's standard error."""
        line = f"wicketgate: {text}" + ("\r\n" if self._pty else "\n")
        if self._wanted.kind != "forward":
            self.to_client(frames.data_frames(Kind.STDERR, line.encode("utf-8", "replace")))

    def _exit(self, status: int, outcome: str = "ok") -> None:
        if self.over:
            return
        self.to_client(frames.exit_status(status))
        self._done("the request ended", outcome)

    def end(self, said: str) -> None:
        """The session ends: say why, and kill what runs."""
        if self.over:
            return
        self._flush_masks()
        self.say(said)
        self.to_client(frames.exit_status(ENDED))
        self.cut()

    def cut(self) -> None:
        """Kill what runs; the client gets nothing more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._done("cut off", outcome="lost")

    def _client_ended(self, _reason: str) -> None:
        self.cut()

    def _target_ended(self, reason: str) -> None:
        if self.over:
            return
        self._flush_masks()
        if not self._status:
            self.say(f"the target ended it: {reason}")
            self.to_client(frames.exit_status(ENDED))
        self._target = None
        ok = self._status in ("0", "")
        self._done("the channel ended", outcome="ok" if ok and self._status else "error" if self._status else "lost")

    def _done(self, reason: str, outcome: str = "ok") -> None:
        if self.over:
            return
        if self._typed is not None:
            self._record_typed(self._typed.flush())
        self.over = True
        if self._idle is not None:
            self._idle.cancel()
        if self._scp is not None:
            self._scp.close()
        if self._sftp is not None:
            self._sftp.close()
        self.on_cut()
        if self._hold is not None and not self._seq:
            self._hold.abandon()
        if self._seq:
            status = self._status if self._status != "0" else ""
            self._owner.finished(self._seq, self._started, outcome, status)
            if self._hold is not None:
                self._hold.finished(outcome)
        target, self._target = self._target, None
        if target is not None:
            target.close(reason)
        self._client.close(reason)
        self._owner.channel_ended(self)


def with_wanted(request: Request, wanted: SshChannel) -> Request:
    """The same request, with what goes to the agent in its place."""
    return Request(request.kind, request.text, request.points, wanted, request.left_out, request.reason, request.facts)


def _nothing() -> None: ...


def _begun(request: Request) -> dict[str, object]:
    wanted = request.wanted
    return {
        "kind": request.kind,
        "command": request.text if request.kind == "exec" else wanted.command,
        "env": wanted.env,
        "pty": wanted.pty,
        "size": list(wanted.size),
    }
