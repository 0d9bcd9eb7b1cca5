"""The address that PostgreSQL clients connect to, and what lets them in.

How this works: sockets are accepted in batches by a reader callback; nothing of a log-in happens there, so that one
silent client holds up nobody. Before TLS a connection is a `Negotiation`, then a `ClientConnection`. `log_in` goes from
the token to a principal, to its policy at the target, to the agent's log-in; the session's start is on record before
the client is told that it is in. Running sessions are checked again against Graph and the policies.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

import structlog

from wicketgate_gateway.approvals.model import Kill
from wicketgate_gateway.audit.events import AuditEvent, SessionRefused
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.cancels import CancelKeys
from wicketgate_gateway.server.connection import ClientConnection
from wicketgate_gateway.server.negotiation import Negotiation
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.session.session import Gate, Opening, Session
from wicketgate_gateway.tunnel.messages import Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.login import CancelRequest, StartUp

ACCEPT_BATCH = 32
MAX_STRANGERS = 512
"""Connections at once that are not through their TLS handshake."""
BACKLOG = 1024
_SHORT_OF_FILES = 0.1
_PROTOCOL = "postgres"
_MAX_NAME = 63

log = structlog.get_logger("wicketgate.postgres")


class Authenticates(Protocol):
    """What `identity.authenticator.Authenticator` is, as far as bots go."""

    async def bot(self, token: str) -> Principal:
        """The bot that a token proves. Raises Refused."""
        ...

    async def recheck(self, principal: Principal) -> Principal:
        """The principal as of now. Raises Refused."""
        ...


class Agents(Protocol):
    """What `server.agents.AgentRegistry` is, as far as sessions go."""

    async def open(self, target: str, opening: Open) -> tuple[Stream, Opened]:
        """A stream to a target. Raises WicketgateError."""
        ...

    def agent_of(self, target: str) -> str:
        """The name of the target's agent."""
        ...


class LogInError(WicketgateError):
    """The client is not let in; `sqlstate` is what it is told."""

    def __init__(self, message: str, *, code: str, remedy: str = "", sqlstate: str = "28000") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.sqlstate = sqlstate


class PostgresListener:
    """All PostgreSQL clients of one gateway process."""

    def __init__(self, config: GatewayConfig, gate: Gate, authenticator: Authenticates, agents: Agents) -> None:
        self._config = config
        self._gate = gate
        self._authenticator = authenticator
        self._agents = agents
        self._login_seconds = seconds(config.limits.login)
        self._recheck_seconds = seconds(config.limits.groups_cache) / 2
        self._cancels = CancelKeys()
        self._strangers: set[Negotiation] = set()
        self._connections: set[ClientConnection] = set()
        self._socket: socket.socket | None = None
        self._context: ssl.SSLContext | None = None
        self._rechecks: asyncio.Task[None] | None = None
        self._stopping = False
        self.killed: Callable[[Principal, str, str], Kill | None] = lambda _bot, _target, _session: None
        """The kill in force that a bot at a target, with a session's id, falls under."""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def sessions(self) -> int:
        """Connections that are through their TLS handshake."""
        return len(self._connections)

    async def listen(self, context: ssl.SSLContext) -> int:
        """Starts to listen where the configuration says; the port. Raises OSError."""
        context.set_alpn_protocols(["postgresql"])
        self._context = context
        loop = asyncio.get_running_loop()
        address = self._config.listen.postgres
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        self._socket = socket.create_server(where[:2], family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        loop.add_reader(self._socket, self._accept)
        self._rechecks = loop.create_task(self._recheck_for_ever())
        return self._socket.getsockname()[1]

    async def close(self, wait: float = 5.0) -> None:
        """Stops listening, ends all sessions by an error that says why, and waits until they are gone."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
        if self._rechecks is not None:
            self._rechecks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rechecks
        for stranger in list(self._strangers):
            stranger.close()
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.end("57P01", "the gateway stops", hint="connect again", reason="the gateway stops")
            else:
                connection.refuse("gateway-stops", "the gateway stops", "connect again", sqlstate="57P01")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._empty.wait()

    # Accepting.

    def _accept(self) -> None:
        listening = self._socket
        if listening is None or self._context is None:
            return
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                log.error("no file is left for a connection", errno=error.errno)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_SHORT_OF_FILES, self._accept_again)
                return
            self._welcome(sock)

    def _accept_again(self) -> None:
        if self._socket is not None and not self._stopping:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._strangers) >= MAX_STRANGERS:
            sock.close()
            return
        peer = _peer(sock)
        assert self._context is not None
        negotiation = Negotiation(
            sock,
            self._context,
            self._make,
            deadline=self._login_seconds,
            on_cancel=self.cancel,
            on_refused=lambda code, reason: self._record(code, reason, peer=peer),
            on_done=self._strangers.discard,
        )
        self._strangers.add(negotiation)

    def _make(self, direct: bool) -> ClientConnection:
        connection = ClientConnection(self, direct=direct, login_seconds=self._login_seconds)
        self._connections.add(connection)
        self._empty.clear()
        return connection

    # For the connections.

    async def log_in(self, start_up: StartUp, token: str, connection: ClientConnection) -> None:
        """Lets the client in. Raises WicketgateError with what it is told."""
        if len(self._connections) > self._config.limits.sessions:
            raise LogInError("the gateway has no room for another session", code="too-many-sessions", sqlstate="53300")
        if not token:
            raise Refused("token-missing", "the password is empty", "pass an Entra token (`wicketgate token`)")
        principal = connection.principal = await self._authenticator.bot(token)
        session = self._session_for(principal, start_up, connection)
        self._refuse_killed(session)
        opening = Open(
            target=session.opening.target_name, bot=session.bot, session=session.id, parameters=start_up.parameters
        )
        stream, opened = await self._agents.open(session.opening.target_name, opening)
        try:
            postgres = PostgresSession(session, connection, opened.parameters)
            started = session.start()
            try:
                await self._journalled([started])
            except BaseException:
                if session.recording is not None:
                    session.recording.finish("the session did not start")
                raise
        except BaseException:
            stream.send(messages.TERMINATE)
            stream.close("the session did not start")
            raise
        over = "the client hung up" if connection.closed else ""
        try:
            self._refuse_killed(session)  # it may have been ordered meanwhile, when the session was not in the list
        except LogInError:
            over = over or "killed"
        if over:
            stream.send(messages.TERMINATE)
            stream.close(over)
            self._gate.journal.submit([session.ended(over)])
            assert session.recording is not None
            session.recording.finish(over)
            if over == "killed":
                self._refuse_killed(session)
            return
        pid, secret = self._cancels.add(connection.cancel)
        connection.on_over = lambda: self._cancels.remove(pid)
        connection.begin(stream, postgres, _greeting(opened.parameters, pid, secret))

    def _refuse_killed(self, session: Session) -> None:
        kill = self.killed(session.principal, session.opening.target_name, session.id)
        if kill is not None:
            said = f": {kill.reason}" if kill.reason else ""
            raise LogInError(
                f"cut off by {kill.by or 'an operator'}{said}",
                code="killed",
                remedy="do not connect again before the operator allows it",
                sqlstate="57P01",
            )

    def _session_for(self, principal: Principal, start_up: StartUp, connection: ClientConnection) -> Session:
        name = start_up.parameters.get("database", "")
        target = self._config.targets.get(name)
        policies = self._gate.policies()
        if (
            target is None
            or target.kind is not TargetKind.POSTGRES
            or (policies.for_principal(principal, name, target) is None)
        ):
            # One answer for what does not exist and for what is not this bot's: nothing to find out by asking.
            reachable = [
                f"`{other}`"
                for other, one in sorted(self._config.targets.items())
                if one.kind is TargetKind.POSTGRES and policies.for_principal(principal, other, one) is not None
            ]
            asked = f"the target `{name[:_MAX_NAME]}`" if name else "a target (the database name is empty)"
            raise LogInError(
                f"no policy lets this bot use {asked}",
                code="no-policy" if name else "target-missing",
                remedy=f"use as the database name one of: {', '.join(reachable)}"
                if reachable
                else "ask for membership in a group whose policies name the target",
                sqlstate="3D000" if not name else "28000",
            )
        return Session(
            self._gate,
            Opening(
                principal,
                name,
                target,
                _PROTOCOL,
                connection.peer,
                self._agents.agent_of(name),
                start_up.parameters.get("application_name", "")[:200],
            ),
        )

    async def _journalled(self, events: list[AuditEvent]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(
                    LogInError(
                        "the session cannot be recorded, and what is not recorded does not happen",
                        code="journal-failed",
                        remedy="try again later",
                        sqlstate="58030",
                    )
                )

        self._gate.journal.submit(events, release)
        await done

    def refused(self, connection: ClientConnection, code: str, reason: str) -> None:
        """See `Desk`."""
        self._record(code, reason, peer=connection.peer, target=connection.target, principal=connection.principal)

    def _record(
        self, code: str, reason: str, *, peer: str, target: str = "", principal: Principal | None = None
    ) -> None:
        log.warning("session refused", code=code, reason=reason, peer=peer, target=target[:_MAX_NAME])
        event = SessionRefused(
            time=time.time_ns(),
            code=code,
            reason=reason,
            target=target[:_MAX_NAME],
            protocol=_PROTOCOL,
            peer=peer,
            bot=principal.name if principal is not None else "",
            bot_id=principal.object_id if principal is not None else "",
            token_id=principal.token_id if principal is not None else "",
        )
        self._gate.journal.submit([event])

    def cancel(self, request: CancelRequest) -> None:
        """See `Desk`."""
        self._cancels.present(request.pid, request.secret)

    def gone(self, connection: ClientConnection) -> None:
        """See `Desk`."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    # Running sessions.

    def running(self) -> list[tuple[PostgresSession, Callable[[], None]]]:
        """The sessions, each with what cancels its statement at the server."""
        return [
            (connection.session, connection.cancel_at_target)
            for connection in self._connections
            if connection.session is not None and not connection.session.over
        ]

    async def _recheck_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._recheck_seconds)
            bots: dict[str, list[ClientConnection]] = {}
            for connection in self._connections:
                if connection.session is not None and not connection.session.over and connection.principal:
                    bots.setdefault(connection.principal.object_id, []).append(connection)
            checks = [self._recheck(connections) for connections in bots.values()]
            await _some_at_a_time(checks)

    async def _recheck(self, connections: list[ClientConnection]) -> None:
        principal = connections[0].principal
        assert principal is not None
        try:
            current = await self._authenticator.recheck(principal)
        except Refused as error:
            for connection in connections:
                if connection.session is not None:
                    connection.session.end(
                        "28000", error.reason, hint=error.remedy, reason=f"{error.code}: {error.reason}"
                    )
            return
        except Exception:
            log.exception("a bot could not be checked again")
            for connection in connections:
                if connection.session is not None:
                    connection.session.end("28000", "the bot could not be checked again", reason="internal-error")
            return
        for connection in connections:
            postgres = connection.session
            if postgres is not None and not postgres.over:
                postgres.become(current)


async def _some_at_a_time(checks: Sequence[Coroutine[None, None, None]], many: int = 16) -> None:
    for start in range(0, len(checks), many):
        await asyncio.gather(*checks[start : start + many])


def _greeting(parameters: dict[str, str], pid: int, secret: bytes) -> bytes:
    return b"".join(
        (
            messages.AUTHENTICATION_OK,
            *(messages.parameter_status(name, value) for name, value in parameters.items()),
            messages.backend_key_data(pid, secret),
            messages.ready_for_query(),
        )
    )


def _peer(sock: socket.socket) -> str:
    try:
        address = sock.getpeername()
    except OSError:
        return ""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
