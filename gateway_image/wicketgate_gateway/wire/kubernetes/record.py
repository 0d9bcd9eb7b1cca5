"""How a session with an API server is recorded: pieces that say what they are, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

_HEAD: Final = Struct(">BI")


class Kind(IntEnum):
    """What a piece is. The first five are the channels of exec and attach."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    REQUEST = 16
    """`{"seq", "text"}`: the operation's number, and how it is said."""
    BODY = 17
    """What was sent with it, without values of Secrets."""
    STATUS = 18
    """`{"seq", "code"}`."""
    CONTENT = 19
    """A piece of the answer, as masked."""
    PORT = 20
    """Bytes of a forwarded port, behind the number of their stream (4 bytes)."""


def pack(kind: int, data: bytes) -> bytes:
    """One piece."""
    return _HEAD.pack(kind, len(data)) + data


def unpack(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The pieces in a record; one that is cut short ends it."""
    at = 0
    while len(data) - at >= _HEAD.size:
        kind, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield kind, data[at : at + size]
        at += size
