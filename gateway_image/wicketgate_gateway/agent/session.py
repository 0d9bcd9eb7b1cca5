"""One session at the agent: a stream of the tunnel joined to a connection of the target.

How this works: the log-in is a task; after it everything is callbacks. A target that does not take more keeps its
session's credit, and a gateway that does not take more has the target's socket left unread: neither holds up another
session. When the gateway ends a session that the target does not end by itself shortly after (it was told Terminate),
what may still run there is cancelled: a bot that was cut off leaves nothing running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from wicketgate_gateway.agent.target import Key, Target, TargetConnection, TargetError
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.tunnel.messages import Cancel, Control, Failed, Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.postgres.messages import ProtocolError
from wicketgate_gateway.wire.postgres.startup import LoginRefusedError, ParameterRefusedError

LOGIN_SECONDS = 20.0
GRACE_SECONDS = 0.5

log = structlog.get_logger("wicketgate.agent")


class Session:
    """Serves one opened stream until either side ends. `on_done` is called once, at the end."""

    def __init__(self, stream: Stream, opening: Open, target: Target, on_done: Callable[[Session], None]) -> None:
        self._stream = stream
        self._opening = opening
        self._target = target
        self._on_done = on_done
        self._connection: TargetConnection | None = None
        self._key: Key | None = None
        self._owed = 0
        self._reading = True
        self._tasks: set[asyncio.Task[None]] = set()
        stream.on_close = self._stream_ended
        stream.on_control = self._control
        self._start(self._log_in())

    async def _log_in(self) -> None:
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                connection, login = await self._target.log_in(self._opening.parameters)
        except TimeoutError:
            self._failed(TargetError(f"`{self._target.name}` did not finish the log-in in time"))
            return
        except WicketgateError as error:
            self._failed(error)
            return
        except Exception:
            log.exception("log-in broke", target=self._target.name, session=self._opening.session)
            self._failed(TargetError("the agent failed inside", code="internal-error"))
            return
        self._connection = connection
        self._key = Key(login.pid, login.secret)
        self._stream.on_writable = self._stream_writable
        # PostgreSQL tells `search_path` from 18 on; the gateway needs it to know what names mean.
        parameters = {"search_path": self._target.config.search_path, **login.parameters}
        self._stream.send_control(Opened(parameters=parameters))
        if login.rest:
            self._stream.send(login.rest)
        connection.relay(self._from_target, self._target_ended, self._target_drained)
        self._stream.on_data = self._to_target

    def _failed(self, error: WicketgateError) -> None:
        own: dict[str, str] = {}
        sqlstate = "08006"
        if isinstance(error, LoginRefusedError):
            sqlstate, own = error.sqlstate, {"server": error.server_message}
            if sqlstate[:2] == "28":
                sqlstate = "08006"  # to the client it is not its own log-in that failed
        elif isinstance(error, ParameterRefusedError):
            sqlstate = "0A000"
        log.warning(
            "log-in failed",
            target=self._target.name,
            session=self._opening.session,
            bot=self._opening.bot,
            code=error.code,
            reason=str(error),
            **own,
        )
        code = "target-broken" if isinstance(error, ProtocolError) else error.code
        self._stream.send_control(Failed(code=code, reason=str(error), sqlstate=sqlstate))
        self._stream.close(error.message)
        self._done()

    # Gateway to target.

    def _to_target(self, data: bytes) -> None:
        connection = self._connection
        assert connection is not None
        connection.write(data)
        if connection.paused:
            self._owed += len(data)
        else:
            self._stream.consumed(len(data))

    def _target_drained(self) -> None:
        owed, self._owed = self._owed, 0
        self._stream.consumed(owed)

    def _stream_ended(self, reason: str) -> None:
        if self._connection is None:
            for task in self._tasks:
                task.cancel()
            self._done()
            return
        # A cancel that is under way goes on: whoever ends a session by force wants that above all.
        # What the client sent last (a Terminate, most often) still goes out; what the server says is for nobody now.
        self._connection.relay(_nothing, self._done, lambda: None)
        self._stream_writable()
        self._start(self._let_go(self._connection))

    async def _let_go(self, connection: TargetConnection) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        if not connection.ended and self._key is not None:
            await self._cancel(self._key)
        connection.close()
        self._done()

    def _control(self, message: Control) -> None:
        if isinstance(message, Cancel) and self._key is not None:
            self._start(self._cancel(self._key))

    async def _cancel(self, key: Key) -> None:
        try:
            await self._target.cancel(key)
        except WicketgateError as error:
            log.warning("cancel failed", target=self._target.name, session=self._opening.session, reason=str(error))

    # Target to gateway.

    def _from_target(self, data: bytes) -> None:
        stream = self._stream
        stream.send(data)
        if self._reading and not stream.writable:
            assert self._connection is not None
            self._reading = False
            self._connection.transport.pause_reading()

    def _stream_writable(self) -> None:
        if not self._reading and self._connection is not None:
            self._reading = True
            try:
                self._connection.transport.resume_reading()
            except ConnectionError:
                return

    def _target_ended(self) -> None:
        self._stream.close("the target closed the connection")
        self._done()

    # Both.

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _done(self) -> None:
        on_done, self._on_done = self._on_done, _nothing
        on_done(self)


def _nothing(_: object) -> None: ...
