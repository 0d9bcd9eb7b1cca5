"""What is recorded of COPY … FROM STDIN into masked columns: their fields become as many `*`.

How this works: the client's CopyData messages come in any pieces, and so do rows within them. A small automaton for
each format follows where fields begin and end, by the statement's options, and replaces what is in masked ones, byte
for byte, so that messages keep their lengths. What goes to the target is untouched. Whatever is not certain (options,
a row that does not fit) hides all from there on.

Source: CopyReadLine and CopyReadAttributes in src/backend/commands/copyfromparse.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct

from wicketgate_gateway.masking.copy_format import CopyFormat
from wicketgate_gateway.masking.copy_out import SIGNATURE

_U32 = Struct(">I")
_I32 = Struct(">i")
_I16 = Struct(">h")


@dataclass(frozen=True, slots=True)
class CopyIn:
    """What of a COPY's data is hidden: fields by their place from 0; `format` None hides all."""

    format: CopyFormat | None
    hidden: frozenset[int] = frozenset()

    def stars(self) -> CopyStars:
        """For the data of one COPY."""
        return CopyStars(self)


HIDE_ALL = CopyIn(None)


class CopyStars:
    """The client's CopyData messages in, the same with masked fields starred out; never raises."""

    def __init__(self, what: CopyIn) -> None:
        kind = what.format
        self._left = 0  # bytes of a message's payload that are still to come
        if kind is None:
            self._fields: _All | _Lines | _Binary = _All()
        elif kind.kind == "binary":
            self._fields = _Binary(what.hidden)
        else:
            self._fields = _Lines(kind, what.hidden)

    def feed(self, raw: bytes) -> bytes:
        """Bytes of CopyData messages, in whatever pieces, but no head in two (`frontend.CopyBytes`)."""
        out: list[bytes] = []
        at = 0
        while at < len(raw):
            if not self._left:
                if len(raw) - at < 5:
                    out.append(raw[at:])
                    break
                out.append(raw[at : at + 5])
                self._left = max(_U32.unpack_from(raw, at + 1)[0] - 4, 0)
                at += 5
                continue
            piece = raw[at : at + self._left]
            self._left -= len(piece)
            at += len(piece)
            out.append(self._fields.feed(piece))
        return b"".join(out)


class _All:
    def feed(self, data: bytes) -> bytes:
        return b"*" * len(data)


class _Lines:
    """Text and CSV."""

    def __init__(self, kind: CopyFormat, hidden: frozenset[int]) -> None:
        self._csv = kind.kind == "csv"
        self._hidden = hidden
        self._delimiter = kind.delimiter
        self._quote = kind.quote
        self._escape = kind.escape if kind.escape != kind.quote else b""
        marks = {b"\n", b"\r", kind.delimiter}
        marks |= {kind.quote, kind.escape} if self._csv else {b"\\"}
        self._marks = re.compile(b"[" + b"".join(b"\\x%02x" % mark[0] for mark in sorted(marks)) + b"]")
        self._column = 0
        self._quoted = False
        self._escaped = False  # the next byte is a part of the value, whatever it is

    def feed(self, data: bytes) -> bytes:
        out = bytearray(data)
        start = 0
        skip = -1
        if self._escaped and data:
            skip, self._escaped = 0, False
        for found in self._marks.finditer(data):
            at = found.start()
            if at == skip:
                continue
            mark = found[0]
            if self._is_escape(mark, data, at):
                # Two bytes, and the second may be in the next piece.
                skip = at + 1
                self._escaped = skip == len(data)
                continue
            if self._csv and mark == self._quote:
                self._quoted = not self._quoted
                continue
            if self._quoted or (mark == self._escape and self._csv):
                continue
            self._hide(out, start, at)
            start = at + 1
            self._column = self._column + 1 if mark == self._delimiter else 0
        self._hide(out, start, len(data))
        return bytes(out)

    def _is_escape(self, mark: bytes, data: bytes, at: int) -> bool:
        if not self._csv:
            return mark == b"\\"
        # Within quotes it stands before a quote or itself; before anything else it is a part of the value.
        if not self._quoted or not self._escape or mark != self._escape:
            return False
        after = data[at + 1 : at + 2]
        return not after or after in (self._quote, self._escape)

    def _hide(self, out: bytearray, start: int, end: int) -> None:
        if self._column in self._hidden and start < end:
            out[start:end] = b"*" * (end - start)


class _Binary:
    """Heads are read as they come, a byte at a time if need be."""

    def __init__(self, hidden: frozenset[int]) -> None:
        self._hidden = hidden
        self._head = b""
        self._need = 19
        self._state = "start"
        self._left = 0  # bytes of a value, or of the header's extension
        self._star = False
        self._column = self._count = 0

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state == "lost":
                out.append(b"*" * (len(data) - at))
                break
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                out.append(b"*" * len(piece) if self._star else piece)
                continue
            piece = data[at : at + self._need - len(self._head)]
            at += len(piece)
            self._head += piece
            out.append(piece)
            if len(self._head) == self._need:
                head, self._head = self._head, b""
                self._read(head)
        return b"".join(out)

    def _read(self, head: bytes) -> None:
        if self._state == "start":
            (extension,) = _I32.unpack_from(head, 15)
            good = head.startswith(SIGNATURE) and not any(head[11:15]) and extension >= 0
            self._state, self._need = ("count", 2) if good else ("lost", 1)
            self._left, self._star = max(extension, 0), True
        elif self._state == "count":
            (self._count,) = _I16.unpack(head)
            self._column = 0
            if self._count > 0:
                self._state, self._need = "size", 4
            elif self._count < 0:
                self._state = "lost"  # the end; nothing should follow
        else:
            (size,) = _I32.unpack(head)
            if size < -1:
                self._state = "lost"
                return
            self._left, self._star = max(size, 0), self._column in self._hidden
            self._column += 1
            if self._column == self._count:
                self._state, self._need = "count", 2
