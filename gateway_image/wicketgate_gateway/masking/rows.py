"""Masking whole rows.

How this works: a `RowMasker` is made for one RowDescription. It walks a DataRow from length to length, copies what lies
between masked columns in one piece, and puts the masked values in. A row with another number of columns than described
is an error, never passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.values import Masker, masker
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError

_HEAD = Struct(">cIH")
_U16 = Struct(">H")
_I32 = Struct(">i")
_NULL = _I32.pack(-1)


class RowMasker:
    """Masks DataRow messages of one answer."""

    __slots__ = ("_count", "_maskers")

    def __init__(self, columns: Sequence[MaskMethod | None], fields: Sequence[FieldDescription], key: bytes) -> None:
        if len(columns) != len(fields):
            raise ProtocolError("the mask plan does not fit the answer's columns")
        self._count = len(columns)
        self._maskers: list[Masker | None] = [
            None if method is None else masker(method, field.type_oid, key)
            for method, field in zip(columns, fields, strict=True)
        ]

    def __call__(self, buffer: bytes, start: int, end: int) -> bytes:
        """The DataRow message in `buffer[start:end]`, masked. Raises ProtocolError if it is malformed."""
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
