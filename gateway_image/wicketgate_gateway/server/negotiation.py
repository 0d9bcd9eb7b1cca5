"""A connection's first bytes, before there is TLS: read from the bare socket, and not one byte more than needed.

How this works: the event loop only sees the socket once TLS begins. So nothing that a man in the middle put in front of
the TLS handshake can be taken for the client's (CVE-2021-23222): what has come before our `S` went out ends the
connection. A connection that begins with a TLS hello is TLS from the start (`sslnegotiation=direct`), and must then say
by ALPN that it speaks PostgreSQL's protocol. A cancel request is served in the clear as well: libpq before 17 sends it
so. A start-up message in the clear is refused, by an error that its client can show, unless the address is one of the
loopback interface that takes such clients (`listen.postgres.plaintext`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from wicketgate_gateway.server import closing
from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres.login import (
    CancelRequest,
    FirstMessage,
    GssEncRequest,
    SslRequest,
    StartUp,
)
from wicketgate_gateway.wire.postgres.messages import ProtocolError

_TLS_HANDSHAKE = 0x16
_MAX_ROUNDS = 3
TLS_SECONDS = 10.0

log = structlog.get_logger("wicketgate.postgres")


class Negotiation:
    """Takes over `sock` (not blocking), and either hands it to `make`'s protocol over TLS, or closes it.

    With `plaintext` a client that begins without TLS gets to that protocol, too, which then reads its first message.
    `on_cancel` gets cancel requests, `on_refused` (code, reason) what is to be on record, `on_done` is called once,
    when the socket is someone else's or closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[bool], asyncio.Protocol],
        *,
        deadline: float,
        plaintext: bool = False,
        on_cancel: Callable[[CancelRequest], None],
        on_refused: Callable[[str, str], None],
        on_done: Callable[[Negotiation], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._context = context
        self._make = make
        self._plaintext = plaintext
        self._on_cancel = on_cancel
        self._on_refused = on_refused
        self._on_done = on_done
        self._message = FirstMessage()
        self._fresh = True
        self._raw = b""
        self._rounds = 0
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(deadline, self.close)
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        """Ends it, wherever it stands."""
        if self._task is not None:
            self._task.cancel()
            return
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._done()

    def _done(self) -> None:
        self._timer.cancel()
        on_done, self._on_done = self._on_done, _nothing
        on_done(self)

    def _readable(self) -> None:
        try:
            if self._fresh:
                first = self._sock.recv(1, socket.MSG_PEEK)
                self._fresh = False
                if first and first[0] == _TLS_HANDSHAKE:
                    self._begin(self._tls(direct=True))
                    return
            data = self._sock.recv(self._message.wanted)
            if not data:
                self.close()
                return
            self._raw += data
            message = self._message.feed(data)
            if message is None:
                return
            raw, self._raw = self._raw, b""
            self._rounds += 1
            if isinstance(message, SslRequest):
                self._accept_tls()
            elif isinstance(message, GssEncRequest) and self._rounds < _MAX_ROUNDS:
                self._sock.send(b"N")
                self._fresh = True
            elif isinstance(message, CancelRequest):
                self._on_cancel(message)
                self.close()
            elif self._plaintext and isinstance(message, StartUp):
                self._begin(self._clear(raw))
            else:
                self._refuse(
                    "tls-required",
                    "the connection is not encrypted, and the password is a token",
                    "connect with sslmode=verify-full (or at least sslmode=require)",
                )
        except (BlockingIOError, InterruptedError):
            return
        except ProtocolError as error:
            self._refuse(error.code, error.message, error.remedy, sqlstate=error.sqlstate)
        except OSError:
            self.close()

    def _accept_tls(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self._sock.recv(1, socket.MSG_PEEK):
                self._on_refused("bytes-before-tls", "the client sent bytes before TLS was agreed on")
            self.close()
            return
        self._sock.send(b"S")
        self._begin(self._tls(direct=False))

    def _refuse(self, code: str, reason: str, remedy: str, *, sqlstate: str = "28000") -> None:
        self._on_refused(code, reason)
        with contextlib.suppress(OSError):
            self._sock.send(errors.error("FATAL", sqlstate, reason, hint=remedy))
            # Unread input would turn the close into a reset, and the client would not see the error.
            self._sock.recv(64 * 1024)
            self._sock.shutdown(socket.SHUT_WR)
        self.close()

    def _begin(self, handing_over: Coroutine[Any, Any, None]) -> None:
        self._loop.remove_reader(self._sock)
        self._task = self._loop.create_task(handing_over)
        self._task.add_done_callback(self._handed_over)

    def _handed_over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._sock.close()
        self._done()

    async def _clear(self, raw: bytes) -> None:
        await self._hand_over(lambda: _Preceded(self._make(False), raw))

    async def _tls(self, direct: bool) -> None:
        await self._hand_over(
            lambda: self._make(direct),
            ssl=self._context,
            ssl_handshake_timeout=TLS_SECONDS,
            ssl_shutdown_timeout=closing.SHUTDOWN_SECONDS,
        )

    async def _hand_over(self, make: Callable[[], asyncio.BaseProtocol], **tls: Any) -> None:
        try:
            # Without this socket timeouts of a dead network would keep a session for ever.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._loop.connect_accepted_socket(make, self._sock, **tls)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            # Port scans do this all day: a log line, no audit event.
            log.info("no TLS with a client", reason=type(error).__name__)
            self._sock.close()


class _Preceded(asyncio.Protocol):
    """Gives `protocol` its transport, and what was read before there was one."""

    def __init__(self, protocol: asyncio.Protocol, raw: bytes) -> None:
        self._protocol = protocol
        self._raw = raw

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(transport)
        self._protocol.data_received(self._raw)


def _nothing(_: Negotiation) -> None: ...
