"""A bot's SSH session: its channels, the way to its target, and the decisions on what is asked for.

How this works: the client's connection is the session; each channel asks for one thing and is one operation, but for
SFTP, where each request is (`session/sftp.py`). A channel is decided in a task (`session/ssh_channel.py`), then frames
pass both ways by callbacks. The agent's connection to the target is made while the first channel is decided. What goes
on record is written before anything goes out; when the session ends, all channels do, and what runs there is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from struct import Struct

import msgspec
import structlog

from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.policy.ssh import SshPoint, values
from wicketgate_gateway.session.session import MAX_STATEMENT_SHOWN, Session, SessionOverError
from wicketgate_gateway.session.ssh_channel import Channel
from wicketgate_gateway.tunnel.messages import Open, Opened, SshChannel
from wicketgate_gateway.tunnel.mux import Stream

PARAMETER = "ssh"
MAX_CHANNELS = 64
MAX_OPENING = 28 * 1024
"""Bytes: what opens a stream must fit into one frame of the tunnel; a longer one would cost all of them."""
RECORD_HEAD = Struct(">II")
"""Before each recorded piece: the channel's number and the piece's length; the piece is of `wire.ssh.channel`."""

OpenStream = Callable[[str, Open], Awaitable[tuple[Stream, Opened]]]
_encode = msgspec.json.Encoder().encode

log = structlog.get_logger("wicketgate.ssh")


class NotRecordedError(WicketgateError):
    """What cannot be recorded is not executed."""

    code = "journal-failed"


class SshSession:
    """One session; `client` is the stream that stands for the client's connection. Nothing here raises unless it says
    so: what goes wrong ends the session."""

    def __init__(self, session: Session, client: Stream, open_stream: OpenStream, *, on_over: Callable[[], None]):
        self.session = session
        self.over = False
        self._client = client
        self._open_stream = open_stream
        self._on_over = on_over
        self._channels: dict[int, Channel] = {}
        self._number = 0
        self._link: Stream | None = None
        self._linking = asyncio.get_running_loop().create_task(self._make_link())
        self._linking.add_done_callback(lambda task: task.cancelled() or task.exception())
        client.on_close = self._client_ended
        recording = session.recording
        if recording is not None:
            recording.on_drained = self._drained

    @property
    def busy(self) -> bool:
        """Whether something runs at the target."""
        return any(channel.running for channel in self._channels.values())

    # Channels.

    def open_channel(self, stream: Stream, wanted: SshChannel) -> None:
        """The client asks for something."""
        if self.over or len(self._channels) >= MAX_CHANNELS:
            stream.close("no more channels")
            return
        self._number += 1
        channel = Channel(self, self._number, stream, wanted)
        self._channels[channel.number] = channel
        channel.start()

    def channel_ended(self, channel: Channel) -> None:
        """A channel is over."""
        self._channels.pop(channel.number, None)

    async def open(self, wanted: SshChannel) -> Stream:
        """A channel at the target. Raises WicketgateError."""
        await asyncio.shield(self._linking)
        stream, _ = await self._open_stream(self.session.opening.target_name, self._opening(wanted))
        return stream

    def _opening(self, wanted: SshChannel) -> Open:
        encoded = _encode(wanted)
        if len(encoded) > MAX_OPENING:
            raise WicketgateError("the request is too long to be passed on", code="request-too-long")
        return Open(
            target=self.session.opening.target_name,
            bot=self.session.bot,
            session=self.session.id,
            parameters={PARAMETER: encoded.decode()},
        )

    async def _make_link(self) -> None:
        wanted = SshChannel(session=self.session.id, kind="connection")
        stream, _ = await self._open_stream(self.session.opening.target_name, self._opening(wanted))
        if self.over:
            stream.close("the session ended")
            return
        self._link = stream
        stream.on_close = self._target_lost

    # Deciding and recording.

    def decide(
        self, points: Sequence[SshPoint], text: str, env: Mapping[str, str] | None = None, *, pty: bool = False
    ) -> Verdict:
        """The verdict by the policy in force. Raises SessionOverError if none is."""
        self.session.refresh()
        trouble = self.session.recording_trouble()
        if trouble is not None:
            return trouble
        return self.session.policy.decide_points(points, values(points, text, env, pty=pty), text)

    def operation(
        self, verdict: Verdict, text: str, points: Sequence[SshPoint], *, masked: bool = False, shown: str = ""
    ) -> Operation:
        """The event for one operation, with the next number."""
        session = self.session
        session.seq += 1
        return Operation(
            time=time.time_ns(),
            session=session.id,
            seq=session.seq,
            statement=(shown or text)[:MAX_STATEMENT_SHOWN],
            effect=verdict.effect.value,
            rule=verdict.rule,
            kinds=list(dict.fromkeys(point.kind for point in points)),
            relations=[str(point) for point in points],
            code=verdict.code,
            reason=verdict.reason,
            policy=session.policy.digest,
            masked=masked,
            bot=session.bot,
            target=session.opening.target_name,
        )

    async def journalled(self, events: Sequence[AuditEvent]) -> None:
        """Returns once these are written. Raises NotRecordedError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(
                    NotRecordedError("this cannot be recorded, and what is not recorded is not executed")
                )

        self.session.gate.journal.submit(events, release)
        await done

    def finished(self, seq: int, started: int, outcome: str, status: str = "", rows: int | None = None) -> None:
        """An operation's end goes on record."""
        now = time.time_ns()
        event = OperationFinished(
            time=now,
            session=self.session.id,
            seq=seq,
            outcome=outcome,
            rows=rows,
            sqlstate=status,
            duration_us=max(0, now - started) // 1000,
        )
        self.session.gate.notices.add([event])

    def record(self, channel: int, frame: bytes, *, client: bool) -> None:
        """What passed on a channel goes into the recording."""
        session = self.session
        if client:
            session.bytes_in += len(frame)
        else:
            session.bytes_out += len(frame)
        recording = session.recording
        if recording is not None:
            piece = RECORD_HEAD.pack(channel, len(frame)) + frame
            if client:
                recording.client(piece)
            else:
                recording.server(piece)

    @property
    def backlogged(self) -> bool:
        """Whether the recorder is behind: pass on nothing more."""
        recording = self.session.recording
        return recording is not None and recording.backlogged

    def _drained(self) -> None:
        for channel in list(self._channels.values()):
            channel.credit()

    # Ends.

    def become(self, principal: Principal) -> None:
        """The bot as Graph says it now; ends the session if no policy is left for it."""
        try:
            self.session.become(principal)
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)

    def end(self, sqlstate: str, message: str, *, hint: str = "", reason: str, terminate: bool = True) -> None:
        """End the session; each channel's client reads why."""
        if self.over:
            return
        said = f"{message}; {hint}" if hint else message
        for channel in list(self._channels.values()):
            channel.end(said)
        self._finish(reason, said)

    def cut(self) -> None:
        """Kill what runs at the target at once."""
        for channel in list(self._channels.values()):
            channel.cut()

    def _client_ended(self, _reason: str) -> None:
        for channel in list(self._channels.values()):
            channel.cut()
        self._finish("the client hung up", "")

    def _target_lost(self, reason: str) -> None:
        self.end(
            "08006",
            f"the connection to `{self.session.opening.target_name}` is lost: {reason}",
            hint="connect again",
            reason=f"target lost: {reason}",
        )

    def _finish(self, reason: str, said: str) -> None:
        if self.over:
            return
        self.over = True
        self._linking.cancel()
        if self._link is not None:
            self._link.close("the session ended")
        self._client.close(said or "the session ended")
        notices = self.session.gate.notices
        notices.add([self.session.ended(reason)])
        notices.flush()
        if self.session.recording is not None:
            self.session.recording.finish(reason)
        self._on_over()
