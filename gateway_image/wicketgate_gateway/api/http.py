"""uvicorn as the API needs it: one HTTP/1.1 protocol with a deadline for request heads, and no logging of requests.

How this works: uvicorn's h11 protocol waits for ever for a request that never ends. Here a connection that is not
answering anything has so many seconds to bring a whole head, the TLS handshake aside, which asyncio bounds.
"""

from __future__ import annotations

import asyncio
import ssl

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
MAX_HEAD = 32 * 1024
MAX_CONNECTIONS = 300


class Protocol(H11Protocol):
    """HTTP/1.1 by h11, with the deadline."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A connection."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        super().data_received(data)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            self._disarm()
        elif self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._end)

    def _disarm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            self.transport.close()


def server(app: ASGIApp, context: ssl.SSLContext) -> uvicorn.Server:
    """A server for sockets that are bound already."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_context_factory=lambda _config, _default: context,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        loop="none",
    )
    return uvicorn.Server(config)
