"""The address that PostgreSQL clients connect to, and what lets them in.

How this works: sockets are accepted in batches by a reader callback; nothing of a log-in happens there, so that one
silent client holds up nobody. Before TLS a connection is a `Negotiation`, then a `ClientConnection`. `log_in` goes from
the token to a principal, to its policy at the target, to the agent's log-in; the session's start is on record before
the client is told that it is in. From then on it is one of the process's `Sessions`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable

import structlog

from wicketgate_gateway.contract.gateway import TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.cancels import CancelKeys
from wicketgate_gateway.server.connection import ClientConnection
from wicketgate_gateway.server.negotiation import Negotiation
from wicketgate_gateway.server.sessions import LogInError, Sessions
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.tunnel.messages import Open
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.login import CancelRequest, StartUp

ACCEPT_BATCH = 32
MAX_STRANGERS = 512
"""Connections at once that are not through their TLS handshake."""
BACKLOG = 1024
_SHORT_OF_FILES = 0.1
_PROTOCOL = "postgres"

log = structlog.get_logger("wicketgate.postgres")


class PostgresListener:
    """All PostgreSQL clients of one gateway process."""

    def __init__(self, registry: Sessions) -> None:
        self.registry = registry
        self._config = registry.config
        self._login_seconds = seconds(registry.config.limits.login)
        self._cancels = CancelKeys()
        self.cancel_elsewhere: Callable[[int, bytes], None] | None = None
        """Gets cancel keys that are not of this process's sessions."""
        self._strangers: set[Negotiation] = set()
        self._connections: set[ClientConnection] = set()
        self._socket: socket.socket | None = None
        self._context: ssl.SSLContext | None = None
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def sessions(self) -> int:
        """Connections that are through their TLS handshake."""
        return len(self._connections)

    async def listen(self, context: ssl.SSLContext, *, shared: bool = False) -> int:
        """Starts to listen where the configuration says, with other processes if `shared`; the port. Raises OSError."""
        context.set_alpn_protocols(["postgresql"])
        self._context = context
        loop = asyncio.get_running_loop()
        address = self._config.listen.postgres
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        self._socket = socket.create_server(where[:2], family=family, backlog=BACKLOG, reuse_port=shared)
        self._socket.setblocking(False)
        loop.add_reader(self._socket, self._accept)
        return self._socket.getsockname()[1]

    async def close(self, wait: float = 5.0) -> None:
        """Stops listening, ends all sessions by an error that says why, and waits until they are gone."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
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
            plaintext=self._config.listen.postgres.plaintext,
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
        registry = self.registry
        if len(self._connections) > self._config.limits.sessions or registry.full:
            raise registry.no_room()
        if not token:
            raise Refused("token-missing", "the password is empty", "pass an Entra token (`wicketgate token`)")
        principal = connection.principal = await registry.authenticator.bot(token)
        session = registry.session_for(
            principal,
            start_up.parameters.get("database", ""),
            TargetKind.POSTGRES,
            peer=connection.peer,
            client=start_up.parameters.get("application_name", ""),
            missing="a target (the database name is empty)",
            named_by="as the database name",
        )
        registry.refuse_killed(session)
        opening = Open(
            target=session.opening.target_name, bot=session.bot, session=session.id, parameters=start_up.parameters
        )
        stream, opened = await registry.agents.open(session.opening.target_name, opening)
        try:
            postgres = PostgresSession(session, connection, opened.parameters)
            await registry.start_on_record(session)
        except BaseException:
            stream.send(messages.TERMINATE)
            stream.close("the session did not start")
            raise
        over = "the client hung up" if connection.closed else ""
        try:
            registry.refuse_killed(session)
        except LogInError:
            over = over or "killed"
        if over:
            stream.send(messages.TERMINATE)
            stream.close(over)
            registry.gate.journal.submit([session.ended(over)])
            assert session.recording is not None
            session.recording.finish(over)
            if over == "killed":
                registry.refuse_killed(session)
            return
        pid, secret = self._cancels.add(connection.cancel)
        registry.add(postgres, connection.cancel_at_target)

        def gone() -> None:
            self._cancels.remove(pid)
            registry.remove(postgres)

        connection.on_over = gone
        connection.begin(stream, postgres, _greeting(opened.parameters, pid, secret))

    def refused(self, connection: ClientConnection, code: str, reason: str) -> None:
        """See `Desk`."""
        self._record(code, reason, peer=connection.peer, target=connection.target, principal=connection.principal)

    def _record(
        self, code: str, reason: str, *, peer: str, target: str = "", principal: Principal | None = None
    ) -> None:
        self.registry.refused(code, reason, protocol=_PROTOCOL, peer=peer, target=target, principal=principal)

    def cancel(self, request: CancelRequest) -> None:
        """See `Desk`."""
        if not self._cancels.present(request.pid, request.secret) and self.cancel_elsewhere is not None:
            self.cancel_elsewhere(request.pid, request.secret)

    def cancelled_elsewhere(self, pid: int, secret: bytes) -> None:
        """A key that was presented to another process of this gateway."""
        self._cancels.present(pid, secret)

    def gone(self, connection: ClientConnection) -> None:
        """See `Desk`."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


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
