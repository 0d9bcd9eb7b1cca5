"""One client's connection, from the TLS handshake to its end: a protocol class that joins it to its target's stream.

How this works: three states. START_UP and PASSWORD are read by sans-I/O decoders; the log-in itself (token, Graph,
policy, the agent's log-in at the target) is a task, under the connection's deadline. From then on everything is
callbacks, and bytes go through a `PostgresSession`.

Flow control: the target's stream gets its credit back once the client's transport has taken the bytes (above its
high-water mark: when it drained) and the recorder keeps up; the client is not read while its messages wait, while the
stream has no credit, or while the recorder is behind. Fairness: a session that got more than `TURN_BYTES` of its target
in one loop turn goes on in the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server import closing
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.tunnel.messages import Cancel
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.postgres import errors, messages
from wicketgate_gateway.wire.postgres.login import CancelRequest, FirstMessage, Password, StartUp
from wicketgate_gateway.wire.postgres.messages import ProtocolError

TURN_BYTES = 64 * 1024
HIGH_WATER = 256 * 1024
CREDIT_BYTES = 16 * 1024
"""Credit is given back in steps of at least this; what is left over stays far below the window."""
MAX_EARLY = 16 * 1024
"""Bytes that a client may send behind its password before it is let in."""
_ALPN = "postgresql"

log = structlog.get_logger("wicketgate.postgres")


class State(Enum):
    """Where a connection stands."""

    START_UP = auto()
    PASSWORD = auto()
    LOGGING_IN = auto()
    RUNNING = auto()
    CLOSED = auto()


class Opened(Protocol):
    """A log-in that succeeded."""

    @property
    def stream(self) -> Stream: ...
    @property
    def parameters(self) -> dict[str, str]: ...


class Desk(Protocol):
    """What a connection needs of its listener: `server.postgres.PostgresListener`."""

    async def log_in(self, start_up: StartUp, token: str, connection: ClientConnection) -> None:
        """Let the client in by `connection.begin`. Raises WicketgateError if not."""
        ...

    def refused(self, connection: ClientConnection, code: str, reason: str) -> None:
        """Puts on record that the client was not let in."""
        ...

    def cancel(self, request: CancelRequest) -> None:
        """Serves a cancel request."""
        ...

    def gone(self, connection: ClientConnection) -> None:
        """The connection is over."""
        ...


class ClientConnection(asyncio.Protocol):
    """See the module. `principal` and `target` are set as far as the log-in has come, for the record."""

    def __init__(self, desk: Desk, *, direct: bool, login_seconds: float) -> None:
        self.state = State.START_UP
        self.peer = ""
        self.principal: Principal | None = None
        self.target = ""
        self.session: PostgresSession | None = None
        self._desk = desk
        self._direct = direct
        self._login_seconds = login_seconds
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._first = FirstMessage()
        self._password = Password()
        self._start_up: StartUp | None = None
        self._early = b""
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stream: Stream | None = None
        self._reading = True
        self._client_full = False
        self._recorder_behind = False
        self._owed = 0
        self._inbox: deque[bytes] = deque()
        self._turn = 0
        self._turning = False
        self._waking = False
        self.on_over: Callable[[], None] = _nothing
        """Called once, when a running session ended."""

    # The client's transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's TLS transport is none of asyncio's classes, but has their methods.
        self._transport = transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "")
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._deadline = self._loop.call_later(self._login_seconds, self._too_late)
        if self._direct:
            tls = transport.get_extra_info("ssl_object")
            if tls is None or tls.selected_alpn_protocol() != _ALPN:
                self.refuse("no-alpn", "direct TLS needs the ALPN protocol `postgresql`", sqlstate="08P01")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        session = self.session
        if session is not None:
            session.from_client(data)
            stream = self._stream
            if session.hungry and self._reading and stream is not None and stream.writable:
                recording = session.session.recording
                if recording is None or not recording.backlogged:
                    return  # the most common of what `_read_or_not` finds
            self._read_or_not()
        elif self.state is not State.CLOSED:
            try:
                self._log_in_with(data)
            except ProtocolError as error:
                self.refuse(error.code, error.message, error.remedy, sqlstate=error.sqlstate)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._client_full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._client_full = False
        self._credit()

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        if self.state is State.PASSWORD:
            # What libpq does when it has no password: its user must learn why.
            self._desk.refused(self, "token-missing", "the client sent no token as its password")
        elif self.state is State.LOGGING_IN:
            self._desk.refused(self, "client-gone", "the client hung up during the log-in")
        if self._task is not None:
            self._task.cancel()
        if self.session is not None:
            self.session.client_lost()
        self._close()
        self._desk.gone(self)

    # Log-in.

    def _log_in_with(self, data: bytes) -> None:
        if self.state is State.START_UP:
            message = self._first.feed(data)
            if message is None:
                return
            if isinstance(message, CancelRequest):
                self._desk.cancel(message)
                self._close()
                return
            if not isinstance(message, StartUp):
                raise ProtocolError("an encryption request within TLS")
            self._start_up = message
            self.target = message.parameters.get("database") or message.parameters.get("user", "")
            answer = messages.AUTHENTICATION_CLEARTEXT
            if message.minor or message.options:
                answer = messages.negotiate_protocol_version(0, message.options) + answer
            self.state = State.PASSWORD
            self.write(answer)
            data = self._first.rest
            if not data:
                return
        if self.state is State.PASSWORD:
            token = self._password.feed(data)
            if token is None:
                return
            assert self._start_up is not None
            self.state = State.LOGGING_IN
            self._early = self._password.rest
            self._password = Password()
            self._task = self._loop.create_task(self._log_in(self._start_up, token))
        else:
            self._early += data
        if len(self._early) > MAX_EARLY:
            raise ProtocolError("too much was sent before the log-in ended")

    async def _log_in(self, start_up: StartUp, token: str) -> None:
        try:
            await self._desk.log_in(start_up, token, self)
        except Refused as error:
            sqlstate = "28P01" if error.code.startswith(("token", "wrong", "bad", "unknown")) else "28000"
            self.refuse(error.code, error.reason, error.remedy, sqlstate=sqlstate)
        except WicketgateError as error:
            self.refuse(error.code, error.message, error.remedy, sqlstate=getattr(error, "sqlstate", "58000"))
        except Exception:
            log.exception("a log-in failed inside", peer=self.peer)
            self.refuse("internal-error", "the log-in failed inside the gateway", "try again", sqlstate="XX000")
        finally:
            self._task = None

    def begin(self, stream: Stream, session: PostgresSession, greeting: bytes) -> None:
        """The log-in succeeded: greet the client, and join the two directions."""
        if self._deadline is not None:
            self._deadline.cancel()
        self.state = State.RUNNING
        self.session = session
        self._stream = stream
        recording = session.session.recording
        if recording is not None:
            recording.on_drained = self._recorder_drained
        self.write(greeting)
        stream.on_close = session.target_lost
        stream.on_writable = self._read_or_not
        stream.on_data = self._from_target
        early, self._early = self._early, b""
        if early:
            session.from_client(early)
            self._read_or_not()

    @property
    def closed(self) -> bool:
        """Whether the client is not there any more."""
        return self.state is State.CLOSED

    def refuse(self, code: str, reason: str, remedy: str = "", *, sqlstate: str = "28000") -> None:
        """Says why the client is not let in, on record and to the client, and closes."""
        if self.state in (State.CLOSED, State.RUNNING):
            return
        self._desk.refused(self, code, reason)
        self.write(errors.error("FATAL", sqlstate, reason, hint=remedy))
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()
        self._close()

    def _too_late(self) -> None:
        self.refuse("login-timeout", f"the log-in took over {self._login_seconds:.0f} s", sqlstate="57014")

    # Session: `Ends`.

    def write(self, data: bytes) -> None:
        """To the client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    to_client = write

    def to_target(self, data: bytes) -> None:
        """See `Ends`."""
        if self._stream is not None:
            self._stream.send(data)

    def wake(self) -> None:
        """See `Ends`."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._pump)

    def ended(self, *, terminate: bool) -> None:
        """See `Ends`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            if terminate:
                stream.send(messages.TERMINATE)
            stream.close("the session ended")
        self._inbox.clear()
        on_over, self.on_over = self.on_over, _nothing
        on_over()
        self._close()

    def cancel(self) -> None:
        """The client wants its statement cancelled, be it at the server or while it waits for people."""
        if self.session is not None and self.session.cancel():
            return
        self.cancel_at_target()

    def cancel_at_target(self) -> None:
        """Have cancelled what runs at the server."""
        if self._stream is not None:
            self._stream.send_control(Cancel())

    def _pump(self) -> None:
        self._waking = False
        if self.session is not None:
            self.session.pump()
            self._read_or_not()

    def _read_or_not(self) -> None:
        session, stream, transport = self.session, self._stream, self._transport
        if session is None or stream is None or transport is None:
            return
        recording = session.session.recording
        wanted = session.hungry and stream.writable and (recording is None or not recording.backlogged)
        if wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _from_target(self, data: bytes) -> None:
        size = len(data)
        self._turn += size
        if self._inbox or self._turn > TURN_BYTES:
            self._inbox.append(data)
            if not self._turning:
                self._turning = True
                self._loop.call_soon(self._next_turn)
            return
        session = self.session
        if session is None:
            return
        session.from_target(data)
        self._owed += size
        if self._owed >= CREDIT_BYTES and not self._client_full:
            self._credit()

    def _next_turn(self) -> None:
        self._turning = False
        self._turn = 0
        inbox = self._inbox
        while inbox and self._turn < TURN_BYTES:
            data = inbox.popleft()
            self._turn += len(data)
            self._pass(data)
        if inbox:
            self._turning = True
            self._loop.call_soon(self._next_turn)

    def _pass(self, data: bytes) -> None:
        session = self.session
        if session is None:
            return
        session.from_target(data)
        self._owed += len(data)
        if self._owed >= CREDIT_BYTES and not self._client_full:
            self._credit()

    def _credit(self) -> None:
        if self._owed and self._stream is not None and not self._client_full and not self._is_recorder_behind():
            owed, self._owed = self._owed, 0
            self._stream.consumed(owed)

    def _is_recorder_behind(self) -> bool:
        recording = self.session.session.recording if self.session is not None else None
        return recording is not None and recording.backlogged

    def _recorder_drained(self) -> None:
        self._credit()
        self._read_or_not()

    def _close(self) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            closing.close(self._transport)


def _nothing() -> None: ...
