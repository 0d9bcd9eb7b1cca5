"""Content encodings undone, piece by piece, so that masks see what clients would: gzip, deflate, br, zstd."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import brotli
import zstandard

from wicketgate_gateway.wire.http.head import HttpError

MAX_DOCUMENT = 16 * 1024 * 1024
"""The largest document that is masked as a whole; a larger answer is refused."""
_PIECE = 1024 * 1024
_SMALL = 4096


class Inner(Protocol):
    """Masks decoded content. Raises HttpError for what it cannot."""

    def feed(self, data: bytes) -> bytes:
        """What may go on."""
        ...

    def finish(self) -> bytes:
        """What is left at the end."""
        ...


def unmaskable(what: str, remedy: str = "") -> HttpError:
    """Why an answer is not passed on."""
    return HttpError(
        f"the answer cannot be masked: {what}",
        code="answer-unmaskable",
        status=502,
        remedy=remedy or "ask for the data as JSON (`Accept: application/json`)",
    )


class Decoding:
    """Undoes an encoding before the masks. Raises HttpError for what is not known, and for what does not decode."""

    def __init__(self, encoding: str, inner: Inner) -> None:
        self._inner = inner
        self._encoding = encoding.removeprefix("x-")
        self._any = False
        self._coder: Any
        match self._encoding:
            case "gzip":
                self._coder = zlib.decompressobj(31)
            case "deflate":
                self._coder = zlib.decompressobj(15)
            case "br":
                self._coder = brotli.Decompressor()
            case "zstd":
                self._coder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            case _:
                raise unmaskable("it is in an encoding that is not known here")

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        self._any = self._any or bool(data)
        out: list[bytes] = []
        size = 0
        for piece in self._decoded(data):
            size += len(piece)
            if size > 4 * MAX_DOCUMENT:
                raise unmaskable("it unpacks to far more than it is")
            out.append(self._inner.feed(piece))
        return b"".join(out)

    def finish(self) -> bytes:
        """See `Inner`."""
        ended = self._coder.is_finished() if self._encoding == "br" else self._coder.eof
        if self._any and not ended:
            raise unmaskable(f"its encoding (`{self._encoding}`) is cut short")
        return self._inner.finish()

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        try:
            if self._encoding == "br":
                yield from self._brotli(data)
            elif self._encoding == "zstd":
                yield from self._zstd(data)
            else:
                yield from self._inflated(data)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            raise unmaskable(f"it is not in the encoding that it says (`{self._encoding}`)") from None

    def _brotli(self, data: bytes) -> Iterator[bytes]:
        if self._coder.is_finished():
            raise unmaskable("something follows its compressed data")
        yield self._coder.process(data, output_buffer_limit=_PIECE)
        while not self._coder.can_accept_more_data():
            yield self._coder.process(b"", output_buffer_limit=_PIECE)

    def _zstd(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _SMALL):  # little at once: it may unpack to much
            if self._coder.eof:
                raise unmaskable("something follows its compressed data")
            yield self._coder.decompress(data[start : start + _SMALL])
        if self._coder.eof and self._coder.unused_data:
            raise unmaskable("something follows its compressed data")

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._coder.eof:
                if self._encoding != "gzip":
                    raise unmaskable("something follows its compressed data")
                self._coder = zlib.decompressobj(31)  # a further member (RFC 1952 section 2.2)
            yield self._coder.decompress(data, _PIECE)
            data = self._coder.unconsumed_tail or self._coder.unused_data
