"""TLS to a target that loses nothing: what came before the target closed is delivered, however slow the reader.

How this works: a plain TCP connection with TLS over memory buffers on top (`ssl.MemoryBIO`). uvloop's own TLS drops
what it has not delivered yet when the peer closes while reading is paused, and so the end of a large answer was lost
whenever a client was slower than its target.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.Protocol)
_PIECE = 256 * 1024


class TlsTransport(asyncio.Transport):
    """The encrypted side of a connection, for the protocol above it."""

    def __init__(self, tls: _Tls, tcp: asyncio.Transport) -> None:
        super().__init__()
        self._tls = tls
        self._tcp = tcp

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport."""
        return self._tls.object if name == "ssl_object" else self._tcp.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.WriteTransport."""
        self._tls.write(bytes(data))

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self._tcp.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.WriteTransport."""
        self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        return self._tcp.get_write_buffer_size()

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self._tcp.is_closing()

    def close(self) -> None:
        """See asyncio.BaseTransport: what was written goes out first."""
        self._tls.shut()
        self._tcp.close()

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        self._tcp.abort()


class _Tls(asyncio.Protocol):
    """The plain connection below: handshake, then records to and from the protocol above."""

    def __init__(self, above: asyncio.Protocol, context: ssl.SSLContext, name: str) -> None:
        self._above = above
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_hostname=name)
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tcp: asyncio.Transport | None = None
        self._ready = False
        self._failed: ssl.SSLError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._tcp = transport  # pyright: ignore[reportAttributeAccessIssue] - uvloop's is none of asyncio's classes
        self._shake()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._in.write(data)
        if not self._ready:
            self._shake()
        if self._ready:
            self._read()

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._in.write_eof()
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        if not self.shaken.done():
            self.shaken.set_exception(ConnectionResetError("the connection ended within the TLS handshake"))
        if self._ready:
            self._ready = False
            self._above.connection_lost(self._failed or (exc if isinstance(exc, Exception) else None))

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._above.resume_writing()

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._ready and data:
            view = memoryview(data)
            while view:
                view = view[self.object.write(view) :]
            self._send()

    def shut(self) -> None:
        """Tell the peer that nothing follows."""
        if self._ready:
            with contextlib.suppress(ssl.SSLError):  # the peer's own word need not be waited for
                self.object.unwrap()
            self._send()

    def _shake(self) -> None:
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except (ssl.SSLError, ValueError) as error:
            self._send()
            if not self.shaken.done():
                self.shaken.set_exception(error)
            if self._tcp is not None:
                self._tcp.abort()
            return
        self._send()
        self._ready = True
        assert self._tcp is not None
        self._above.connection_made(TlsTransport(self, self._tcp))
        if not self.shaken.done():
            self.shaken.set_result(None)

    def _read(self) -> None:
        # A record holds 16 KiB: all that are there go up at once, or each would cost what a large piece does.
        pieces: list[bytes] = []
        try:
            while data := self.object.read(_PIECE):
                pieces.append(data)
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as error:
            self._failed = error
        if pieces:
            self._above.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._failed is not None and self._tcp is not None:
            self._tcp.abort()

    def _send(self) -> None:
        if self._tcp is not None and (data := self._out.read()):
            self._tcp.write(data)


async def connect(above: Callable[[], P], host: str, port: int, context: ssl.SSLContext) -> P:
    """A connection whose certificate was checked for `host`. Raises OSError and ssl.SSLError."""
    loop = asyncio.get_running_loop()
    protocol = above()
    transport, tls = await loop.create_connection(lambda: _Tls(protocol, context, host), host, port)
    try:
        await tls.shaken
    except BaseException:
        transport.abort()
        raise
    return protocol
