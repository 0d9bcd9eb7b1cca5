"""Masking whole rows.

How this works: a `RowMasker` is made for one RowDescription. It walks a DataRow from length to length, copies what lies
between masked columns in one piece, and puts the masked values in. A row with another number of columns than described
is an error, never passed on. `gateway_image/native/src/rows.rs` does so for all rows of a chunk at once, with the
commonest masks; for the others it calls the functions that the twin here calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, error

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.values import TEXT_TYPES, Masker, masker
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.sql.parser import native

_HEAD = Struct(">cIH")
_U16 = Struct(">H")
_I32 = Struct(">i")
_NULL = _I32.pack(-1)
_DATA_ROW = ord("D")

_mask_rows: Callable[[bytes, int, int, bytes, tuple[Masker | None, ...]], bytes] | None = getattr(
    native(), "mask_rows", None
)


def _code(method: MaskMethod | None, type_oid: int) -> int:
    # What the native twin does with the column: `Column::read` in rows.rs.
    if method is None:
        return ord("-")
    if method is MaskMethod.NULL:
        return ord("n")
    if type_oid in TEXT_TYPES:
        return {MaskMethod.REDACT: ord("r"), MaskMethod.PARTIAL: ord("p")}.get(method, ord("o"))
    return ord("o")


class RowMasker:
    """Masks DataRow messages of one answer."""

    __slots__ = ("_codes", "_count", "_maskers")

    def __init__(self, columns: Sequence[MaskMethod | None], fields: Sequence[FieldDescription], key: bytes) -> None:
        if len(columns) != len(fields):
            raise ProtocolError("the mask plan does not fit the answer's columns")
        self._count = len(columns)
        self._maskers: tuple[Masker | None, ...] = tuple(
            None if method is None else masker(method, field.type_oid, key, binary=bool(field.format))
            for method, field in zip(columns, fields, strict=True)
        )
        self._codes = bytes(_code(method, field.type_oid) for method, field in zip(columns, fields, strict=True))

    def __call__(self, buffer: bytes, start: int, end: int) -> bytes:
        """The DataRow messages in `buffer[start:end]`, which are whole, masked.

        Raises ProtocolError if one is malformed.
        """
        if _mask_rows is None:
            return self.twin(buffer, start, end)
        try:
            return _mask_rows(buffer, start, end, self._codes, self._maskers)
        except ValueError as wrong:
            raise ProtocolError(str(wrong)) from None

    def twin(self, buffer: bytes, start: int, end: int) -> bytes:
        """The same in Python."""
        out: list[bytes] = []
        while start < end:
            if end - start < 7:
                raise ProtocolError("the server sent a row that is cut short")
            after = start + 1 + _I32.unpack_from(buffer, start + 1)[0]
            if after > end or after < start + 7 or buffer[start] != _DATA_ROW:
                raise ProtocolError("the server sent a row that is cut short")
            out.append(self._row(buffer, start, after))
            start = after
        return out[0] if len(out) == 1 else b"".join(out)

    def _row(self, buffer: bytes, start: int, end: int) -> bytes:
        unpack = _I32.unpack_from
        position = start + 5
        if end - position < 2 or _U16.unpack_from(buffer, position)[0] != self._count:
            raise ProtocolError("the server sent a row of another shape than described")
        position += 2
        parts: list[bytes] = []
        copied = position
        try:
            for mask in self._maskers:
                (length,) = unpack(buffer, position)
                after = position + 4
                if length < 0:
                    if length != -1:
                        raise ProtocolError("the server sent a row with an impossible length")
                    position = after
                    continue
                position = after + length
                if position > end:
                    raise ProtocolError("the server sent a row that is cut short")
                if mask is not None:
                    value = mask(buffer[after:position])
                    parts.append(buffer[copied : after - 4])
                    parts.append(_NULL if value is None else _I32.pack(len(value)) + value)
                    copied = position
        except error:
            raise ProtocolError("the server sent a row that is cut short") from None
        if position != end:
            raise ProtocolError("the server sent a row that is longer than its columns")
        parts.append(buffer[copied:end])
        body = b"".join(parts)
        return _HEAD.pack(b"D", len(body) + 6, self._count) + body
