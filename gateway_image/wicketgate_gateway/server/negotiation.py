"""A connection's first bytes, before there is TLS: read from the bare socket, and not one byte more than needed.

How this works: the event loop only sees the socket once TLS begins. So nothing that a man in the middle put in front of
the TLS handshake can be taken for the client's (CVE-2021-23222): what has come before our `S` went out ends the
connection. A connection that begins with a TLS hello is TLS from the start (`sslnegotiation=direct`), and must then say
by ALPN that it speaks PostgreSQL's protocol. A cancel request is served in the clear as well: libpq before 17 sends it
so. A start-up message in the clear is refused, by an error that its client can show.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import structlog

from wicketgate_gateway.server import closing
from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres.login import (
    CancelRequest,
    FirstMessage,
    GssEncRequest,
    SslRequest,
)
from wicketgate_gateway.wire.postgres.messages import ProtocolError

_TLS_HANDSHAKE = 0x16
_MAX_ROUNDS = 3
TLS_SECONDS = 10.0

log = structlog.get_logger("wicketgate.postgres")


class Negotiation:
    """Takes over `sock` (not blocking), and either hands it to `make`'s protocol over TLS, or closes it.

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
        on_cancel: Callable[[CancelRequest], None],
        on_refused: Callable[[str, str], None],
        on_done: Callable[[Negotiation], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._context = context
        self._make = make
        self._on_cancel = on_cancel
        self._on_refused = on_refused
        self._on_done = on_done
        self._message = FirstMessage()
        self._fresh = True
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
                    self._start_tls(direct=True)
                    return
            data = self._sock.recv(self._message.wanted)
            if not data:
                self.close()
                return
            message = self._message.feed(data)
            if message is None:
                return
            self._rounds += 1
            if isinstance(message, SslRequest):
                self._accept_tls()
            elif isinstance(message, GssEncRequest) and self._rounds < _MAX_ROUNDS:
                self._sock.send(b"N")
                self._fresh = True
            elif isinstance(message, CancelRequest):
                self._on_cancel(message)
                self.close()
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
        self._start_tls(direct=False)

    def _refuse(self, code: str, reason: str, remedy: str, *, sqlstate: str = "28000") -> None:
        self._on_refused(code, reason)
        with contextlib.suppress(OSError):
            self._sock.send(errors.error("FATAL", sqlstate, reason, hint=remedy))
            # Unread input would turn the close into a reset, and the client would not see the error.
            self._sock.recv(64 * 1024)
            self._sock.shutdown(socket.SHUT_WR)
        self.close()

    def _start_tls(self, *, direct: bool) -> None:
        self._loop.remove_reader(self._sock)
        self._task = self._loop.create_task(self._tls(direct))

    async def _tls(self, direct: bool) -> None:
        # Without this socket timeouts of a dead network would keep a session for ever.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make(direct),
                self._sock,
                ssl=self._context,
                ssl_handshake_timeout=TLS_SECONDS,
                ssl_shutdown_timeout=closing.SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            # Port scans do this all day: a log line, no audit event.
            log.info("no TLS with a client", reason=type(error).__name__)
            self._sock.close()
        except asyncio.CancelledError:
            self._sock.close()
        finally:
            self._done()


def _nothing(_: Negotiation) -> None: ...
