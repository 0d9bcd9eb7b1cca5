"""The address that HTTP clients connect to.

How this works: TLS from the first byte, `http/1.1` alone; nothing of a log-in happens while a connection is accepted.
Each connection is one task that serves one request after the other (`http_connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from wicketgate_gateway.contract.gateway import Listen
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.server import closing
from wicketgate_gateway.server.http_connection import HttpConnection
from wicketgate_gateway.server.sessions import Sessions

BACKLOG = 1024
HANDSHAKE_SECONDS = 10.0


class HttpListener:
    """All HTTP clients of one gateway process."""

    def __init__(self, registry: Sessions) -> None:
        self.registry = registry
        self.login_seconds = seconds(registry.config.limits.login)
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def listen(self, context: ssl.SSLContext, address: Listen, *, shared: bool = False) -> int:
        """Start to listen, with other processes if `shared`; the port. Raises OSError."""
        context.set_alpn_protocols(["http/1.1"])
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self),
            address.host,
            address.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=closing.SHUTDOWN_SECONDS,
            backlog=BACKLOG,
            reuse_port=shared,
        )
        return self._server.sockets[0].getsockname()[1]

    async def close(self, wait: float = 5.0) -> None:
        """Stop listening, end all sessions, and wait until they are gone."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.stop("the gateway stops")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._empty.wait()

    # For the connections.

    def arrived(self, connection: HttpConnection) -> bool:
        """Whether there is room for it."""
        if len(self._connections) >= 2 * self.registry.config.limits.sessions:
            return False
        self._connections.add(connection)
        self._empty.clear()
        return True

    def gone(self, connection: HttpConnection) -> None:
        """It is over."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
