"""Bodies of HTTP/1.1 messages: where one ends, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wicketgate_gateway.wire.http.head import CHUNKED, UNTIL_CLOSE, Headers, HttpError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,13})\Z")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*\Z")
MAX_LINE = 256
MAX_TRAILERS = 16 * 1024


class Body:
    """One body. `feed` gives what is in the bytes that came; once `done`, `rest` is what came behind its end.

    `length` is the size, CHUNKED or UNTIL_CLOSE; `status` is what to blame malformed chunks by (400, or 502 for an
    answer's). Chunk extensions are refused: nobody needs them, and servers skip over them in different ways.
    """

    __slots__ = ("_left", "_line", "_phase", "_size_seen", "_status", "done", "length", "rest", "size", "trailers")

    def __init__(self, length: int, status: int = 400) -> None:
        self.length = length
        self.done = length == 0
        self.rest = b""
        self.size = 0
        """Bytes of content so far."""
        self.trailers: Headers = ()
        self._status = status
        self._left = max(length, 0)
        self._phase = "size"
        self._line = bytearray()
        self._size_seen = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The content in `data`, piece by piece. Raises HttpError for malformed chunks."""
        if self.done:
            self.rest += data
        elif self.length == UNTIL_CLOSE:
            self.size += len(data)
            if data:
                yield data
        elif self.length == CHUNKED:
            yield from self._chunks(data)
        else:
            content = data if len(data) <= self._left else data[: self._left]
            self._left -= len(content)
            self.size += len(content)
            if not self._left:
                self.done = True
                self.rest = data[len(content) :]
            if content:
                yield content

    def ended(self) -> None:
        """The connection ended. Raises HttpError if the body did not."""
        if self.length == UNTIL_CLOSE:
            self.done = True
        if not self.done:
            raise HttpError("the connection ended within the body", code="body-cut-short", status=self._status)

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        position = 0
        while position < len(data) and not self.done:
            if self._phase == "data":
                content = data[position : position + self._left]
                position += len(content)
                self._left -= len(content)
                self.size += len(content)
                if not self._left:
                    self._phase = "end"
                yield content
                continue
            line_end = data.find(b"\n", position)
            upto = len(data) if line_end < 0 else line_end + 1
            self._line += data[position:upto]
            position = upto
            if len(self._line) > (MAX_TRAILERS if self._phase == "trailers" else MAX_LINE):
                raise self._malformed("a line between chunks is too long")
            if line_end >= 0:
                line = bytes(self._line)
                self._line.clear()
                if line[-2:] != b"\r\n" or b"\r" in line[:-2] or b"\0" in line:
                    raise self._malformed("a bare CR, LF or NUL between chunks")
                self._take(line[:-2])
        if self.done:
            self.rest += data[position:]

    def _take(self, line: bytes) -> None:
        if self._phase == "end":
            if line:
                raise self._malformed("a chunk is longer than it says")
            self._phase = "size"
        elif self._phase == "size":
            match = _SIZE.match(line)
            if match is None:
                raise self._malformed("a chunk's size is malformed")
            self._left = int(match[1], 16)
            self._phase = "data" if self._left else "trailers"
        elif not line:
            self.done = True
        else:
            match = _TRAILER.match(line)
            self._size_seen += len(line)
            if match is None or self._size_seen > MAX_TRAILERS:
                raise self._malformed("a malformed trailer")
            self.trailers = (*self.trailers, (match[1].decode("ascii"), match[2].decode("latin-1")))

    def _malformed(self, message: str) -> HttpError:
        return HttpError(message, code="chunk-malformed", status=self._status)
