"""Walking over rows.

How this works: from head to head, as long as DataRow follows DataRow. `gateway_image/native/src/rows.rs` is the fast
twin; `rows_end` and `whole_rows_end` are those where it is built.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, cast

from wicketgate_gateway.wire.postgres.sql.parser import native

if TYPE_CHECKING:
    from collections.abc import Callable

_unpack = Struct(">I").unpack_from
_DATA_ROW = 68
_SMALLEST = 6


def rows_end_twin(data: bytes, start: int, /) -> int | None:
    """Where the DataRow messages from `start` on end: behind `data` if the last one is not complete.

    The head of the first must be there; its type is the caller's to check. None if a length is impossible.
    """
    size = len(data)
    while True:
        if size - start < 5:
            return None
        (length,) = _unpack(data, start + 1)
        if length < _SMALLEST:
            return None
        start += 1 + length
        if size - start < 5 or data[start] != _DATA_ROW:
            return start


def whole_rows_end_twin(data: bytes, start: int, /) -> int:
    """Where the last DataRow message from `start` on ends that is there as a whole; `start` if none is."""
    size = len(data)
    while size - start >= 5 and data[start] == _DATA_ROW:
        (length,) = _unpack(data, start + 1)
        if length < _SMALLEST or length > size - start - 1:
            break
        start += 1 + length
    return start


whole_rows_end: Callable[[bytes, int], int] = cast("Any", getattr(native(), "whole_rows_end", whole_rows_end_twin))
rows_end: Callable[[bytes, int], int | None] = cast("Any", getattr(native(), "rows_end", rows_end_twin))
