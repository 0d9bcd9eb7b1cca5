"""Detectors on what PostgreSQL answers: rows, COPY data, errors and notices.

How this works: rows come through here after the masks of columns. The native scanner reads a whole chunk of rows at
once and tells the fields with hits; a chunk without any goes through as it is. In a field that holds text (or JSON, or
bytes) the hits are replaced within it; a field of any other type is masked as a whole, in its own type or as NULL.

COPY data has no types: in text and CSV hits are replaced within the row, in binary the field becomes NULL. A row that
comes in several CopyData messages is put together first.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error
from typing import Any

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking import arrays
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.detectors_twin import OVERRUN, number_digits
from wicketgate_gateway.masking.rows import RowMasker
from wicketgate_gateway.masking.typed import ARRAYS, TYPES
from wicketgate_gateway.masking.values import TEXT_TYPES, masker
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError

MAX_COPY_ROW = 64 * 1024 * 1024
"""The largest row of a COPY that is looked at: it must be held as a whole."""
_HEAD = Struct(">cIH")
_I32 = Struct(">i")
_U16 = Struct(">H")
_NULL = _I32.pack(-1)
_INT8, _NUMERIC = 20, 1700
_SPLICED = TEXT_TYPES | {17, 114, 3802, 142, 18}
"""Types whose text stays valid with another text within: text, bytea, json, jsonb, xml."""
_JSON = frozenset({114, 3802})
_TEXT_ARRAYS = frozenset(oid for oid, element in ARRAYS.items() if element in arrays.TEXT_ELEMENTS)
_COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\0"

RawHits = Sequence[tuple[int, int, int]]


class DetectingMasker:
    """Masks DataRow messages of one answer: columns first (`inner`), then what detectors find."""

    __slots__ = (
        "_binary",
        "_codes",
        "_count",
        "_detecting",
        "_fields",
        "_inner",
        "_native",
        "_scan",
        "_simple",
        "_special",
    )

    def __init__(self, detecting: Detecting, inner: RowMasker | None, fields: Sequence[FieldDescription]) -> None:
        """`fields` are those of a RowDescription that belongs to the very answer, since they say the formats."""
        self._detecting = detecting
        self._inner = inner
        self._fields = fields
        self._count = len(fields)
        self._binary = [bool(field.format) for field in fields]
        self._special = [
            (i, field.type_oid == _NUMERIC)
            for i, field in enumerate(fields)
            if self._binary[i] and field.type_oid in (_INT8, _NUMERIC)
        ]
        self._scan = detecting.detectors.scanner.scan
        self._native: Any = getattr(detecting.detectors.scanner, "mask", None)
        # What the native scanner replaces by itself: text of the types that may be redacted as it stands.
        plain = TEXT_TYPES | _TEXT_ARRAYS
        self._codes = bytes(
            ord("s") if field.type_oid in (plain if not binary else TEXT_TYPES) else ord("o")
            for field, binary in zip(fields, self._binary, strict=True)
        )
        self._simple = bytes(ord("r") if method is MaskMethod.REDACT else ord("o") for method in detecting.methods)

    def __call__(self, buffer: bytes, start: int, end: int) -> bytes:
        """The whole DataRow messages in `buffer[start:end]`, masked. Raises ProtocolError if one is malformed."""
        if self._inner is not None:
            data = self._inner(buffer, start, end)
        else:
            data = buffer if start == 0 and end == len(buffer) else buffer[start:end]
        if self._native is None:
            return self._rows_twin(data)
        try:
            masked = self._native(data, self._special, self._codes, self._simple, self._value)
        except ValueError:
            raise ProtocolError("the server sent a malformed row") from None
        return data if masked is None else masked

    def _rows_twin(self, data: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        try:
            while at < len(data):
                kind, length, count = _HEAD.unpack_from(data, at)
                end = at + 1 + length
                if kind != b"D" or end > len(data) or count != self._count:
                    raise ProtocolError("the server sent a malformed row")
                at += 7
                parts = [_U16.pack(count)]
                for column in range(count):
                    (size,) = _I32.unpack_from(data, at)
                    at += 4
                    if size < -1:
                        raise ProtocolError("the server sent a row with an impossible length")
                    if size < 0:
                        parts.append(_NULL)
                        continue
                    if at + size > end:
                        raise ProtocolError("the server sent a row that is cut short")
                    parts.append(self._look(column, data[at : at + size]))
                    at += size
                if at != end:
                    raise ProtocolError("the server sent a row that is longer than its columns")
                out.append(messages.message(b"D", b"".join(parts)))
        except error:
            raise ProtocolError("the server sent a row that is cut short") from None
        return b"".join(out)

    def _look(self, column: int, value: bytes) -> bytes:
        looked = value
        special = next((numeric for number, numeric in self._special if number == column), None)
        if special is not None:
            digits = number_digits(value, special)
            looked = value if digits is None else digits
        hits = self._scan(looked)
        return self._field(column, value, hits) if hits else _I32.pack(len(value)) + value

    def _field(self, column: int, value: bytes, hits: RawHits) -> bytes:
        """The field with its length, its hits masked."""
        masked = self._value(column, value, hits)
        return _NULL if masked is None else _I32.pack(len(masked)) + masked

    def _value(self, column: int, value: bytes, hits: RawHits) -> bytes | None:
        try:
            return masked_field(
                self._detecting, value, hits, self._fields[column].type_oid, binary=self._binary[column]
            )
        except Exception:  # whatever it is: what cannot be masked is not shown
            return None


def masked_field(detecting: Detecting, value: bytes, hits: RawHits, oid: int, *, binary: bool) -> bytes | None:
    """One field's value with its hits masked, in its own type; None is NULL. May raise: then it is NULL, too."""
    method = detecting.method_of(hits)
    if method is MaskMethod.NULL:
        return None
    if any(number == OVERRUN for _, _, number in hits):
        return masker(method, oid, detecting.key, binary=binary)(value)
    if oid in _SPLICED:
        return detecting.spliced(value, hits, quote=oid in _JSON)
    if oid in _TEXT_ARRAYS and binary:
        return arrays.masked(value, detecting.text, binary=True)
    if oid in TYPES or (oid in ARRAYS and oid not in _TEXT_ARRAYS):
        return masker(method, oid, detecting.key, binary=binary)(value)
    # An array of texts, a composite, an enum, a type of one's own: text is text, bytes could be anything.
    return None if binary else detecting.spliced(value, hits)


class AnswerFilter:
    """What a session's answers go through: see `wire.postgres.expected.Filter`."""

    __slots__ = ("_detecting",)

    def __init__(self, detecting: Detecting) -> None:
        self._detecting = detecting

    def copying(self, *, binary: bool) -> CopyMasker:
        """See `Filter`."""
        return CopyMasker(self._detecting, binary=binary)

    def report(self, kind: bytes, body: bytes) -> bytes | None:
        """See `Filter`."""
        return masked_report(self._detecting, kind, body)


class CopyMasker:
    """Masks the CopyData messages of one COPY TO STDOUT. `binary` as CopyOutResponse says it."""

    def __init__(self, detecting: Detecting, *, binary: bool) -> None:
        self._detecting = detecting
        self._binary = binary
        self._held: list[bytes] = []
        self._size = 0
        self._started = False
        self._head = b""

    def feed(self, payload: bytes) -> bytes:
        """What a CopyData message's payload leads to: CopyData messages, or nothing yet. Raises ProtocolError."""
        self._size += len(payload)
        if self._size > MAX_COPY_ROW:
            raise ProtocolError("the server sent a row that is too large to mask", sqlstate="54000")
        self._held.append(payload)
        if not self._binary:
            if not payload.endswith(b"\n"):
                return b""
            return _copy_data(self._detecting.text(self._take()))
        data = self._take()
        at = self._binary_end(data)
        if at < len(data):
            self._held, self._size = [data[at:]], len(data) - at
        return self._tuples(data[:at]) if at else b""

    def flush(self) -> bytes:
        """What is left at the end. Raises ProtocolError."""
        rest = self._take()
        if not rest:
            return b""
        if self._binary:
            raise ProtocolError("the server ended a COPY within a row")
        return _copy_data(self._detecting.text(rest))

    def _take(self) -> bytes:
        data = b"".join(self._held)
        self._held, self._size = [], 0
        return data

    def _binary_end(self, data: bytes) -> int:
        """Where the last whole tuple ends."""
        at = 0
        if not self._started:
            if len(data) < 19:
                return 0
            if not data.startswith(_COPY_SIGNATURE):
                raise ProtocolError("the server sent no binary COPY")
            at = 19 + _I32.unpack_from(data, 15)[0]
            if not 19 <= at <= len(data):
                return 0
        end = at if not self._started else 0
        while at + 2 <= len(data):
            (count,) = _U16.unpack_from(data, at)
            at += 2
            if count == 0xFFFF:
                end = at
                continue
            for _ in range(count):
                if at + 4 > len(data):
                    return end
                (size,) = _I32.unpack_from(data, at)
                at += 4 + max(size, 0)
            if at > len(data):
                return end
            end = at
        return end

    def _tuples(self, data: bytes) -> bytes:
        # A message for each tuple, and for the end; the head comes with the first of them, as the server sends it:
        # there are clients that expect so.
        out: list[bytes] = []
        at = 0
        if not self._started:
            self._started = True
            at = 19 + _I32.unpack_from(data, 15)[0]
            self._head = data[:at]
        while at < len(data):
            (count,) = _U16.unpack_from(data, at)
            parts = [data[at : at + 2]]
            at += 2
            for _ in range(count if count != 0xFFFF else 0):
                (size,) = _I32.unpack_from(data, at)
                at += 4
                value = data[at : at + max(size, 0)]
                at += max(size, 0)
                hidden = size >= 0 and self._detecting.text(value) is not value
                parts.append(_NULL if hidden or size < 0 else _I32.pack(size) + value)
            out.append(_copy_data(self._head + b"".join(parts)))
            self._head = b""
        return b"".join(out)


def _copy_data(payload: bytes) -> bytes:
    return messages.message(b"d", payload)


def masked_report(detecting: Detecting, kind: bytes, body: bytes) -> bytes | None:
    """An ErrorResponse (`E`) or NoticeResponse (`N`) as a whole message, its texts masked; None if it has no hit."""
    fields = messages.read_report(body)
    masked = {code: detecting.shown(text) if code in "MDHWqI" else text for code, text in fields.items()}
    return messages.report(kind, masked) if masked != fields else None
