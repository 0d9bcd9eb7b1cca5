"""Masking what COPY … TO STDOUT sends, a row at a time: text, CSV and binary.

How this works: COPY says neither names nor types of its columns, so both come from lineage and the catalogue, and only
their number from the server, which must agree. Each row is taken apart by the format that the statement's options ask
for, masked, and put together again. Rows may come in any pieces; whatever does not fit the format is an error, and
never passed on. How a masked field is quoted hangs on its mask alone; the header's line is not believed to be one.

Source: CopyAttributeOutText, CopyAttributeOutCSV and CopySendEndOfRow in src/backend/commands/copyto.c; "Binary Format"
in PostgreSQL's documentation of COPY.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.copy_format import CopyFormat
from wicketgate_gateway.masking.values import Masker, masker
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.expected import CopyFilter
from wicketgate_gateway.wire.postgres.messages import ProtocolError

MAX_ROW = 64 * 1024 * 1024
"""The largest row that is masked: it must be held as a whole."""
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_I32 = Struct(">i")
_I16 = Struct(">h")
_NULL = _I32.pack(-1)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CopyColumn:
    """A column of a COPY, as lineage tells it; `repeated` stands for any number of columns."""

    name: str
    method: MaskMethod | None
    type_oid: int = 0
    """0 if it is not known: then a masked value comes out as NULL."""
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class CopyOut:
    """How the data of one COPY TO STDOUT is masked."""

    format: CopyFormat
    columns: tuple[CopyColumn, ...]

    def fitted(self, count: int) -> list[CopyColumn] | None:
        """The columns of data that has so many; None if it cannot have."""
        spread = [i for i, column in enumerate(self.columns) if column.repeated]
        if not spread:
            return list(self.columns) if len(self.columns) == count else None
        first, last = spread[0], spread[-1]
        before, after = self.columns[:first], self.columns[last + 1 :]
        between = count - len(before) - len(after)
        if between < 0:
            return None
        # What stands between could be any of them, so no type is sure.
        masked = any(column.method is not None for column in self.columns[first : last + 1])
        middle = CopyColumn("", MaskMethod.NULL if masked else None)
        return [*before, *[middle] * between, *after]

    def rows(self, *, binary: bool, count: int, key: bytes) -> CopyRows:
        """What the data goes through; `binary` and `count` as the server's CopyOutResponse says. Raises ProtocolError
        if that is not what the statement and the catalogue say."""
        columns = self.fitted(count)
        if columns is None or binary != (self.format.kind == "binary"):
            raise ProtocolError(
                "the server's COPY has other columns than the catalogue says",
                remedy="try again in a minute, when the catalogue is read anew",
            )
        return CopyRows(self.format, columns, key)


class CopyRows:
    """The data of one COPY TO STDOUT: payloads of CopyData in, one payload for each row out."""

    def __init__(self, kind: CopyFormat, columns: Sequence[CopyColumn], key: bytes) -> None:
        binary = kind.kind == "binary"
        self._format = kind
        self._columns = columns
        self._maskers: list[Masker | None] = [
            None if c.method is None else masker(c.method if c.type_oid else MaskMethod.NULL, c.type_oid, key,
                                                 binary=binary)
            for c in columns
        ]  # fmt: skip
        self._held = b""
        self._header = kind.header
        self._head = b""  # of binary data, until what follows it goes out
        self._started = False
        self._ended = False
        self._field = _csv_field(kind) if kind.kind == "csv" else None

    def feed(self, payload: bytes) -> list[bytes]:
        """The rows that are complete by now, masked. Raises ProtocolError."""
        data = self._held + payload if self._held else payload
        if len(data) > MAX_ROW:
            raise ProtocolError("the server sent a row that is too large to mask", sqlstate="54000")
        out: list[bytes] = []
        if self._format.kind == "binary":
            at = self._binary(data, out)
        elif self._format.kind == "csv":
            at = self._csv(data, out)
        else:
            at = self._text(data, out)
        self._held = data[at:]
        return out

    def flush(self) -> list[bytes]:
        """What is left at the end: nothing. Raises ProtocolError if the server ended within a row."""
        if self._held or (self._format.kind == "binary" and not self._ended):
            raise ProtocolError("the server ended a COPY within a row")
        return []

    # Text.

    def _text(self, data: bytes, out: list[bytes]) -> int:
        *rows, rest = data.split(b"\n")  # a line break within a value is written as `\n`
        for row in rows:
            fields = self._split(row)
            if len(fields) != len(self._columns):
                raise ProtocolError("the server sent a row of another shape than its COPY")
            for i, mask in enumerate(self._maskers):
                if mask is None:
                    continue
                if self._header:
                    fields[i] = self._write_text(self._columns[i].name.encode())
                elif fields[i] != self._format.null:
                    masked = mask(_unescaped(fields[i]))
                    fields[i] = self._format.null if masked is None else self._write_text(masked)
            self._header = False
            out.append(self._format.delimiter.join(fields) + b"\n")
        return len(data) - len(rest)

    def _split(self, row: bytes) -> list[bytes]:
        fields = row.split(self._format.delimiter)
        if b"\\" not in row:
            return fields
        found: list[bytes] = []
        open_ = False
        for field in fields:  # an odd number of backslashes before a delimiter makes it a part of the value
            if open_:
                found[-1] += self._format.delimiter + field
            else:
                found.append(field)
            open_ = (len(field) - len(field.rstrip(b"\\"))) % 2 == 1
        if open_:
            raise ProtocolError("the server sent a row that ends within an escape")
        return found

    def _write_text(self, value: bytes) -> bytes:
        value = value.replace(b"\\", b"\\\\")
        for letter, character in _ESCAPED.items():
            value = value.replace(character, b"\\" + letter)
        delimiter = self._format.delimiter
        return value if delimiter == b"\t" else value.replace(delimiter, b"\\" + delimiter)

    # CSV.

    def _csv(self, data: bytes, out: list[bytes]) -> int:
        field, delimiter = self._field, self._format.delimiter
        assert field is not None
        at = 0
        while True:
            fields: list[bytes] = []
            position = at
            while True:
                found = field.match(data, position)
                if found is None:  # a quoted value that has no end yet
                    return at
                fields.append(found[0])
                position = found.end()
                if position == len(data):
                    return at
                after = data[position : position + 1]
                position += 1
                if after == b"\n":
                    break
                if after != delimiter:
                    raise ProtocolError("the server sent a row that is no CSV")
            out.append(self._csv_row(fields))
            at = position

    def _csv_row(self, fields: list[bytes]) -> bytes:
        if len(fields) != len(self._columns):
            raise ProtocolError("the server sent a row of another shape than its COPY")
        kind = self._format
        for i, mask in enumerate(self._maskers):
            if mask is None:
                continue
            name = self._columns[i].name
            if self._header:
                fields[i] = self._write_csv(name.encode(), quoted=False)
            elif fields[i][:1] == kind.quote:
                masked = mask(_unquoted(fields[i], kind))
                fields[i] = kind.null if masked is None else self._write_csv(masked, quoted=self._quoted(name))
            elif fields[i] != kind.null:
                masked = mask(fields[i])
                fields[i] = kind.null if masked is None else self._write_csv(masked, quoted=self._quoted(name))
        self._header = False
        return kind.delimiter.join(fields) + b"\n"

    def _quoted(self, name: str) -> bool:
        return self._format.quotes_all or name in self._format.quoted

    def _write_csv(self, value: bytes, *, quoted: bool) -> bytes:
        kind = self._format
        special = (kind.delimiter, kind.quote, b"\n", b"\r")
        alone = len(self._columns) == 1 and value == b"\\."
        if not (quoted or alone or value == kind.null or any(mark in value for mark in special)):
            return value
        if kind.escape != kind.quote:
            value = value.replace(kind.escape, kind.escape + kind.escape)
        return kind.quote + value.replace(kind.quote, kind.escape + kind.quote) + kind.quote

    # Binary.

    def _binary(self, data: bytes, out: list[bytes]) -> int:
        at = 0
        if not self._started:
            if len(data) < 19:
                return 0
            flags, extension = _I32.unpack_from(data, 11)[0], _I32.unpack_from(data, 15)[0]
            if not data.startswith(SIGNATURE) or flags or extension:
                raise ProtocolError("the server sent no binary COPY of a known form")
            self._head, self._started, at = data[:19], True, 19
        while (end := self._tuple(data, at, out)) is not None:
            at = end
        return at

    def _tuple(self, data: bytes, start: int, out: list[bytes]) -> int | None:
        # The end of the tuple that begins there; None if it is not complete.
        if start + 2 > len(data):
            return None
        (count,) = _I16.unpack_from(data, start)
        if self._ended:
            raise ProtocolError("the server sent more than its COPY has")
        if count == -1:
            self._ended = True
            self._send(data[start : start + 2], out)
            return start + 2
        if count != len(self._columns):
            raise ProtocolError("the server sent a row of another shape than its COPY")
        parts = [data[start : start + 2]]
        at = start + 2
        for mask in self._maskers:
            if at + 4 > len(data):
                return None
            (size,) = _I32.unpack_from(data, at)
            if size < -1:
                raise ProtocolError("the server sent a row with an impossible length")
            end = at + 4 + max(size, 0)
            if end > len(data):
                return None
            if size < 0 or mask is None:
                parts.append(data[at:end])
            else:
                masked = mask(data[at + 4 : end])
                parts.append(_NULL if masked is None else _I32.pack(len(masked)) + masked)
            at = end
        self._send(b"".join(parts), out)
        return at

    def _send(self, part: bytes, out: list[bytes]) -> None:
        # The head comes with what follows it, as the server sends it: there are clients that expect so.
        out.append(self._head + part)
        self._head = b""


class MaskedCopy:
    """What the data of one COPY TO STDOUT goes through: masks of columns, then detectors, if there are any."""

    def __init__(self, rows: CopyRows, looks: CopyFilter | None) -> None:
        self._rows = rows
        self._looks = looks

    def feed(self, payload: bytes) -> bytes:
        """See `wire.postgres.expected.CopyFilter`."""
        return self._after(self._rows.feed(payload))

    def flush(self) -> bytes:
        """The same at the end of the data."""
        rest = self._after(self._rows.flush())
        return rest if self._looks is None else rest + self._looks.flush()

    def _after(self, rows: list[bytes]) -> bytes:
        looks = self._looks
        if looks is None:
            return b"".join(messages.message(b"d", row) for row in rows)
        return b"".join(looks.feed(row) for row in rows)


def _unescaped(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value)


def _csv_field(kind: CopyFormat) -> re.Pattern[bytes]:
    q, e, d = (b"\\x%02x" % mark[0] for mark in (kind.quote, kind.escape, kind.delimiter))
    inner = b"[^%s]" % q if e == q else b"[^%s%s]" % (q, e)
    pair = q + q if e == q else e + b"[%s%s]" % (q, e)
    # Possessive: what cannot match must not be tried again in another way.
    return re.compile(b"%s(?:%s++|%s)*+%s|(?!%s)[^%s%s\\r\\n]*+" % (q, inner, pair, q, q, d, q), re.DOTALL)


def _unquoted(field: bytes, kind: CopyFormat) -> bytes:
    inner = field[1:-1]
    if kind.escape == kind.quote:
        return inner.replace(kind.quote * 2, kind.quote)
    mark = re.escape(kind.escape)
    return re.sub(mark + b"(.)", rb"\1", inner, flags=re.DOTALL)
