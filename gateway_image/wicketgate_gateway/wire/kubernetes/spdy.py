"""SPDY/3.1 frames, as Kubernetes' clients use them to carry exec, attach and port-forward: bytes in, events out.

How this works: `feed` takes bytes and gives events; data comes in whatever parts it came. Header blocks are one zlib
stream for each direction over the whole connection, begun with SPDY's dictionary, so a block must be read even if its
stream is of no interest. There is no flow control: Kubernetes' own library (github.com/moby/spdystream) has none.
Source: SPDY Protocol - Draft 3.1 (chromium.org), sections 2.2 (framing) and 2.6.10 (header compression).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from wicketgate_gateway.contract.errors import WicketgateError

MAX_CONTROL: Final = 64 * 1024
"""Bytes of a control frame; ours hold a handful of short headers."""
MAX_HEADERS: Final = 16 * 1024
"""Bytes of a header block, unpacked."""
MAX_DATA: Final = 32 * 1024
"""Bytes of a data frame that we write."""

_HEAD = Struct(">II")
_U32 = Struct(">I")
_SYN = Struct(">IIBB")
_ID_MASK: Final = 0x7FFFFFFF
_FIN: Final = 1
_SYN_STREAM, _SYN_REPLY, _RST, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW = 1, 2, 3, 4, 6, 7, 8, 9

_NAMES: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE: Final = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)


def _packed(text: str) -> bytes:
    return _U32.pack(len(text)) + text.encode()


DICTIONARY: Final = b"".join(map(_packed, (*_NAMES.split(), *_MORE))) + _TEXT.encode()
"""The dictionary that header compression begins with: section 2.6.10.1."""


class SpdyError(WicketgateError):
    """The peer does not speak SPDY/3.1 as Kubernetes does; the connection must end."""

    code = "spdy-violation"


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer took a stream of ours."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin`: its sender sends no more."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream was given up."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is, if the number is the peer's own."""

    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens and takes no more streams."""


Event = Opened | Replied | Data | Reset | Ping | GoAway


class Reader:
    """Reads one direction of a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._left = 0
        self._stream = 0
        self._fin = False

    def feed(self, data: bytes) -> list[Event]:
        """What came, in order. Raises SpdyError."""
        self._buffer += data
        found: list[Event] = []
        while True:
            if self._left:
                if not self._buffer:
                    return found
                taken = bytes(self._buffer[: self._left])
                del self._buffer[: len(taken)]
                self._left -= len(taken)
                found.append(Data(self._stream, taken, self._fin and not self._left))
                continue
            if len(self._buffer) < _HEAD.size:
                return found
            word, length = _HEAD.unpack_from(self._buffer)
            flags, length = length >> 24, length & 0xFFFFFF
            if not word >> 31:
                self._begin_data(word, flags, length, found)
                continue
            if length > MAX_CONTROL:
                raise SpdyError(f"a control frame is over {MAX_CONTROL} bytes")
            if len(self._buffer) < _HEAD.size + length:
                return found
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            if (word >> 16) & 0x7FFF != 3:
                raise SpdyError("a frame is of another version than 3")
            event = self._control(word & 0xFFFF, flags, body)
            if event is not None:
                found.append(event)

    def _begin_data(self, stream: int, flags: int, length: int, found: list[Event]) -> None:
        if not stream:
            raise SpdyError("data of the stream 0")
        del self._buffer[: _HEAD.size]
        self._stream, self._left, self._fin = stream, length, bool(flags & _FIN)
        if not length:
            found.append(Data(stream, b"", self._fin))

    def _control(self, kind: int, flags: int, body: bytes) -> Event | None:
        try:
            if kind == _SYN_STREAM:
                stream = _SYN.unpack_from(body)[0] & _ID_MASK
                return Opened(_numbered(stream), self._headers(body[_SYN.size :]), bool(flags & _FIN))
            if kind == _SYN_REPLY:
                stream = _U32.unpack_from(body)[0] & _ID_MASK
                return Replied(_numbered(stream), self._headers(body[4:]), bool(flags & _FIN))
            if kind == _RST:
                stream, status = _HEAD.unpack(body)
                return Reset(_numbered(stream & _ID_MASK), status)
            if kind == _PING:
                return Ping(_U32.unpack(body)[0])
        except SpdyError:
            raise
        except Exception:
            raise SpdyError("a control frame is cut short") from None
        if kind == _GOAWAY:
            return GoAway()
        if kind in (_SETTINGS, _WINDOW):
            return None
        if kind == _HEADERS:
            raise SpdyError("headers after a stream's begin, which Kubernetes' clients do not send")
        raise SpdyError(f"a control frame of the unknown type {kind}")

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._inflate.decompress(block, MAX_HEADERS)
        except zlib.error:
            raise SpdyError("a header block is not compressed as SPDY has it") from None
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise SpdyError(f"a header block is over {MAX_HEADERS} bytes")
        (count,) = _U32.unpack_from(text)
        at, found = 4, dict[str, str]()
        for _ in range(count):
            pair: list[str] = []
            for _ in range(2):
                (size,) = _U32.unpack_from(text, at)
                part = text[at + 4 : at + 4 + size]
                if len(part) != size:
                    raise SpdyError("a header block is cut short")
                pair.append(part.decode("latin-1"))
                at += 4 + size
            name, value = pair
            if name != name.lower() or name in found or "\0" in value:
                raise SpdyError("a header stands twice, or is not in lower case")
            found[name] = value
        if at != len(text):
            raise SpdyError("a header block goes on behind its headers")
        return found


class Writer:
    """Writes one direction of a connection; frames must go out in the order in which they were made."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """Open a stream: odd numbers for clients, rising."""
        return _control(_SYN_STREAM, _SYN.pack(stream, 0, 0, 0) + self._block(headers), fin)

    def reply(self, stream: int) -> bytes:
        """Take a stream of the peer's."""
        return _control(_SYN_REPLY, _U32.pack(stream) + self._block({}), False)

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """Bytes of a stream, perhaps the last."""
        parts = [data[at : at + MAX_DATA] for at in range(0, len(data), MAX_DATA)] or [b""]
        last = len(parts) - 1
        return b"".join(
            _HEAD.pack(stream, (fin and i == last) << 24 | len(part)) + part for i, part in enumerate(parts)
        )

    def reset(self, stream: int, status: int = 5) -> bytes:
        """Give a stream up; 5 is CANCEL."""
        return _control(_RST, _HEAD.pack(stream, status), False)

    def ping(self, number: int) -> bytes:
        """Ask for, or give, a sign of life."""
        return _control(_PING, _U32.pack(number), False)

    def go_away(self, last: int = 0) -> bytes:
        """No more streams."""
        return _control(_GOAWAY, _HEAD.pack(last, 0), False)

    def _block(self, headers: Mapping[str, str]) -> bytes:
        block = _U32.pack(len(headers)) + b"".join(
            _packed(name.lower()) + _packed(value) for name, value in headers.items()
        )
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, body: bytes, fin: bool) -> bytes:
    return _HEAD.pack(0x80030000 | kind, fin << 24 | len(body)) + body


def _numbered(stream: int) -> int:
    if not stream:
        raise SpdyError("the stream 0")
    return stream
