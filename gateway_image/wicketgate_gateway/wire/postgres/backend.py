"""What a server sends, message by message: for readers of recordings and for conversations of our own.

How this works: `feed` appends bytes, iteration yields whole messages. The running session does not use this: there
`responses` walks the same bytes without collecting what needs no look.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from wicketgate_gateway.wire.postgres.messages import ProtocolError

_U32 = Struct(">I")

KINDS = {
    "R": "Authentication",
    "K": "BackendKeyData",
    "1": "ParseComplete",
    "2": "BindComplete",
    "3": "CloseComplete",
    "C": "CommandComplete",
    "d": "CopyData",
    "c": "CopyDone",
    "G": "CopyInResponse",
    "H": "CopyOutResponse",
    "W": "CopyBothResponse",
    "D": "DataRow",
    "I": "EmptyQueryResponse",
    "E": "ErrorResponse",
    "V": "FunctionCallResponse",
    "v": "NegotiateProtocolVersion",
    "n": "NoData",
    "N": "NoticeResponse",
    "A": "NotificationResponse",
    "t": "ParameterDescription",
    "S": "ParameterStatus",
    "s": "PortalSuspended",
    "Z": "ReadyForQuery",
    "T": "RowDescription",
}
"""Message types by their type byte."""


class BackendMessage(NamedTuple):
    """One message: its type as a letter, and its body."""

    kind: str
    body: bytes


class BackendDecoder:
    """Messages of a server. One over `max_bytes`, or of an unknown type, raises ProtocolError."""

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._max = max_bytes

    def feed(self, data: bytes) -> None:
        """Append what came."""
        self._buffer += data

    @property
    def buffered(self) -> int:
        """Bytes that are not yet a whole message."""
        return len(self._buffer)

    def __iter__(self) -> Iterator[BackendMessage]:
        """Take the whole messages off; what is not complete stays."""
        position = 0
        buffer = self._buffer
        try:
            while len(buffer) - position >= 5:
                kind = chr(buffer[position])
                (length,) = _U32.unpack_from(buffer, position + 1)
                if kind not in KINDS:
                    raise ProtocolError("the server sent a message of unknown type")
                if not 4 <= length <= self._max:
                    raise ProtocolError(f"the server sent a {KINDS[kind]} message of impossible length")
                end = position + 1 + length
                if end > len(buffer):
                    return
                body = bytes(buffer[position + 5 : end])
                position = end
                yield BackendMessage(kind, body)
        finally:
            del buffer[:position]
