"""Arrays on the wire: taken apart, each element changed, put together again.

Formats: `array_out` (`{a,"b c",NULL}`, with bounds `[0:1]={…}`) and `array_send` (src/backend/utils/adt/arrayfuncs.c).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

TEXT_ELEMENTS = frozenset({25, 1043, 1042, 19})
_PLAIN_END = frozenset(b',{}"\\')
_QUOTED = frozenset(b'{}",\\ \t\n\r\v\f')
_MOST_DIMENSIONS = 6

Change = Callable[[bytes], bytes | None]


def masked(value: bytes, change: Change, *, binary: bool) -> bytes | None:
    """The array with `change` on each element that is not NULL; None if it is no array as the server writes it."""
    try:
        return _binary(value, change) if binary else _text(value, change)
    except (ValueError, IndexError, struct.error):
        return None


def _binary(value: bytes, change: Change) -> bytes:
    dimensions, _, element = struct.unpack_from(">iiI", value)
    if not 0 <= dimensions <= _MOST_DIMENSIONS:
        raise ValueError
    at = 12 + 8 * dimensions
    parts: list[bytes] = []
    nulls = False
    while at < len(value):
        (length,) = struct.unpack_from(">i", value, at)
        at += 4
        found = None
        if length >= 0:
            if at + length > len(value):
                raise ValueError
            found = change(value[at : at + length])
            at += length
        nulls = nulls or found is None
        parts.append(struct.pack(">i", -1) if found is None else struct.pack(">i", len(found)) + found)
    return struct.pack(">iiI", dimensions, nulls, element) + value[12 : 12 + 8 * dimensions] + b"".join(parts)


def _text(value: bytes, change: Change) -> bytes:
    out: list[bytes] = []
    at = 0
    if value[:1] == b"[":
        at = value.index(b"=") + 1
        out.append(value[:at])
    depth = 0
    if value[at : at + 1] != b"{":
        raise ValueError
    while at < len(value):
        byte = value[at]
        if byte == 0x22:
            element, at = _quoted(value, at + 1)
            out.append(_written(change(element)))
        elif byte in b"{},":
            depth += (byte == 0x7B) - (byte == 0x7D)
            out.append(value[at : at + 1])
            at += 1
        else:
            end = at
            while value[end] not in _PLAIN_END:
                end += 1
            element = value[at:end]
            out.append(element if element == b"NULL" else _written(change(element)))
            at = end
            if value[at] == 0x5C:
                raise ValueError
    if depth:
        raise ValueError
    return b"".join(out)


def _quoted(value: bytes, at: int) -> tuple[bytes, int]:
    element = bytearray()
    while value[at] != 0x22:
        if value[at] == 0x5C:
            at += 1
        element.append(value[at])
        at += 1
    return bytes(element), at + 1


def _written(element: bytes | None) -> bytes:
    if element is None:
        return b"NULL"
    if element and not _QUOTED & frozenset(element) and element.upper() != b"NULL":
        return element
    return b'"' + element.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
