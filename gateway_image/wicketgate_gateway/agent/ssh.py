"""One stream of the tunnel at an SSH target: the connection of a session, or a channel on it.

How this works: the gateway opens a stream for the session as a whole; it stands for the connection to the server, which
ends with it. Each command, shell, subsystem or forwarded connection is a stream of its own that names the session. The
frames of `wire.ssh.channel` pass on it. When the gateway ends a channel before it came to its end, what runs there is
killed (RFC 4254 6.9) before the channel is closed: a bot that was cut off leaves nothing running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh
import msgspec
import structlog

from wicketgate_gateway.agent.ssh_target import SshTarget
from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.tunnel.messages import Failed, Open, Opened, SshChannel
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, FrameError, Kind

PARAMETER = "ssh"
"""The `Open` parameter that says what is wanted: an `SshChannel` as JSON; its kind may also be `connection`."""
OPEN_SECONDS = 20.0
KILL_SECONDS = 0.5
HIGH_WATER = 128 * 1024

log = structlog.get_logger("wicketgate.agent")
_decode = msgspec.json.Decoder(SshChannel).decode


class SshSession:
    """Serves one opened stream until either side ends. `on_done` is called once, at the end."""

    def __init__(self, stream: Stream, opening: Open, target: SshTarget, on_done: Callable[[Any], None]) -> None:
        self._stream = stream
        self._opening = opening
        self._target = target
        self._on_done = on_done
        self._ended = False
        self._joined: _Channel | _Forward | None = None
        self._link: asyncssh.SSHClientConnection | None = None
        stream.on_close = self._stream_ended
        self._task = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            wanted = _decode(self._opening.parameters.get(PARAMETER, ""))
            async with asyncio.timeout(OPEN_SECONDS):
                if wanted.kind == "connection":
                    await self._connect()
                else:
                    await self._channel(wanted)
        except msgspec.MsgspecError:
            self._failed(TargetError("the request was not understood", code="request-broken"))
        except TimeoutError:
            self._failed(TargetError(f"`{self._target.name}` did not answer in time", code="target-timeout"))
        except WicketgateError as error:
            self._failed(error)
        except (asyncssh.ChannelOpenError, asyncssh.Error) as error:
            reason = getattr(error, "reason", "") or type(error).__name__
            self._failed(TargetError(f"`{self._target.name}` refuses it: {reason[:200]}", code="target-refused"))
        except Exception:
            log.exception("a channel broke", target=self._target.name, session=self._opening.session)
            self._failed(TargetError("the agent failed inside", code="internal-error"))

    async def _connect(self) -> None:
        link = await self._target.link(self._opening.session, self._opening.bot)
        if self._ended:
            link.close()
            return
        self._link = self._target.links[self._opening.session] = link
        self._stream.send_control(Opened(parameters={}))
        self._task = asyncio.get_running_loop().create_task(self._watch(link))

    async def _watch(self, link: asyncssh.SSHClientConnection) -> None:
        await link.wait_closed()
        self._forget()
        self._stream.close("the target closed the connection")
        self._done()

    async def _channel(self, wanted: SshChannel) -> None:
        link = self._target.links.get(self._opening.session)
        if link is None or link.is_closed():
            raise TargetError(f"the connection to `{self._target.name}` is gone", code="target-lost")
        if wanted.kind == "forward":
            host, _, port = wanted.command.rpartition(":")
            forward = _Forward(self._stream, self._done)
            self._joined = forward
            await link.create_connection(lambda: forward, host, int(port), encoding=None)
        else:
            joined = _Channel(self._stream, self._done)
            self._joined = joined
            pty: dict[str, Any] = {"request_pty": False}
            if wanted.pty:
                pty = {
                    "request_pty": "force",
                    "term_type": wanted.pty,
                    "term_size": wanted.size,
                    "term_modes": wanted.modes,
                }
            await link.create_session(
                lambda: joined,
                wanted.command if wanted.kind == "exec" else None,
                subsystem=wanted.command if wanted.kind == "subsystem" else None,
                env=list(wanted.env.items()),
                send_env=None,
                encoding=None,
                **pty,
            )
        self._stream.send_control(Opened(parameters={}))
        self._joined.begin()

    def _failed(self, error: WicketgateError) -> None:
        log.warning(
            "not opened",
            target=self._target.name,
            session=self._opening.session,
            bot=self._opening.bot,
            code=error.code,
            reason=str(error),
        )
        self._stream.send_control(Failed(code=error.code, reason=str(error)))
        self._stream.close(error.message)
        self._done()

    def _stream_ended(self, reason: str) -> None:
        if self._joined is not None:
            self._joined.cut()
        elif self._link is not None:
            # Channels are cut by their own streams; this one comes last.
            asyncio.get_running_loop().call_later(2 * KILL_SECONDS, self._link.close)
            self._forget()
        else:
            self._task.cancel()
        self._done()

    def _forget(self) -> None:
        if self._target.links.get(self._opening.session) is self._link:
            self._target.links.pop(self._opening.session, None)

    def _done(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_done(self)


class _Joined:
    """A channel of the target joined to a stream."""

    def __init__(self, stream: Stream, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done = done
        self._chan: Any = None
        self._decoder = FrameDecoder()
        self._owed = 0
        self._full = False
        self._reading = True
        self._over = False
        self._held: list[bytes] | None = []

    def connection_made(self, chan: Any) -> None:
        """See asyncssh."""
        self._chan = chan
        chan.set_write_buffer_limits(high=HIGH_WATER)

    def begin(self) -> None:
        """The gateway was told that it is open: what came meanwhile may follow."""
        held, self._held = self._held or [], None
        for frame in held:
            self._stream.send(frame)
        self._stream.on_writable = self._writable
        if self._over:
            self._stream.close("the channel ended")
            return
        self._stream.on_data = self._from_gateway

    def cut(self) -> None:
        """The gateway ends it."""
        if self._over or self._chan is None:
            return
        self._over = True
        self._kill()
        asyncio.get_running_loop().call_later(KILL_SECONDS, self._chan.close)

    def _kill(self) -> None:
        return None

    # Target to gateway.

    def data_received(self, data: bytes, datatype: object) -> None:
        """See asyncssh."""
        kind = Kind.STDOUT if datatype is None else Kind.STDERR
        self._send(frames.data_frames(kind, data))
        if self._reading and not self._stream.writable:
            self._reading = False
            self._chan.pause_reading()

    def _writable(self) -> None:
        if not self._reading:
            self._reading = True
            self._chan.resume_reading()

    def eof_received(self) -> bool:
        """See asyncssh."""
        self._send(frames.frame(Kind.EOF))
        return True

    def _send(self, frame: bytes) -> None:
        if self._over:
            return
        if self._held is not None:
            self._held.append(frame)
        else:
            self._stream.send(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncssh."""
        if not self._over:
            self._finish()
            self._over = True
            if self._held is None:
                self._stream.close("the channel ended")
        self._done()

    def _finish(self) -> None:
        return None

    # Gateway to target.

    def pause_writing(self) -> None:
        """See asyncssh."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncssh."""
        self._full = False
        owed, self._owed = self._owed, 0
        if owed:
            self._stream.consumed(owed)

    def _from_gateway(self, data: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(data):
                if not self._over:
                    self._take(kind, payload)
        except (FrameError, OSError):
            self.cut()
            self._stream.close("the frames broke")
            return
        self._owed += len(data)
        if not self._full:
            self.resume_writing()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.STDIN:
            self._chan.write(payload)
        elif kind == Kind.EOF:
            self._chan.write_eof()


class _Channel(_Joined, asyncssh.SSHClientSession[bytes]):
    """A command, a shell or a subsystem."""

    def exit_status_received(self, status: int) -> None:
        """See asyncssh."""
        self._status = frames.exit_status(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """See asyncssh."""
        self._status = frames.frame(Kind.EXIT_SIGNAL, signal.encode("ascii", "replace")[:32])

    _status = b""

    def _finish(self) -> None:
        if self._status:
            self._send(self._status)

    def _kill(self) -> None:
        self._chan.send_signal("KILL")

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.WINDOW:
            self._chan.change_terminal_size(*frames.window_size(payload))
        elif kind == Kind.SIGNAL:
            self._chan.send_signal(payload.decode("ascii", "replace"))
        elif kind == Kind.BREAK:
            self._chan.send_break(frames.number(payload))
        else:
            super()._take(kind, payload)


class _Forward(_Joined, asyncssh.SSHTCPSession[bytes]):
    """A connection that the target opens."""
