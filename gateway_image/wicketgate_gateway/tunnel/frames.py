"""The frames of the tunnel between gateway and agent.

How this works: a frame is an 8-byte header (big-endian: u32 stream, u8 type, u24 length) and its payload. Stream 0 is
the tunnel itself, every other number one session. A message too long for a frame goes out as `CONTROL_PART` frames and
a last `CONTROL`. The decoder hands out the payload of `DATA` as it comes, also in pieces: nothing is reassembled, so a
byte is copied once. All other frames are small, bounded by a table, and handed out whole.
"""

from __future__ import annotations

import struct

CONTROL = 1
"""MessagePack of one `messages.Control`, or its last part."""
DATA = 2
"""Bytes of the session's protocol; costs credit."""
CREDIT = 3
"""u32: so many more bytes may be sent on the stream."""
CLOSE = 4
"""The stream ends in both directions; the payload is the reason (UTF-8)."""
PING = 5
"""8 bytes, to be answered by `PONG` with the same; stream 0."""
PONG = 6
CONTROL_PART = 7
"""A part of a message, more follow."""

HEADER_BYTES = 8
MAX_PAYLOAD = 64 * 1024
MAX_REASON = 1024

_BOUNDS: dict[int, tuple[int, int]] = {
    CONTROL: (1, MAX_PAYLOAD),
    DATA: (1, MAX_PAYLOAD),
    CREDIT: (4, 4),
    CLOSE: (0, MAX_REASON),
    PING: (8, 8),
    PONG: (8, 8),
    CONTROL_PART: (1, MAX_PAYLOAD),
}
HEADER = struct.Struct(">II")
"""Stream; type and length."""
_U32 = struct.Struct(">I")

Frame = tuple[int, int, bytes]
"""(type, stream, payload)."""


class FrameError(Exception):
    """The peer broke the protocol; the text says how and holds none of its bytes."""


def header(kind: int, stream: int, length: int) -> bytes:
    """A frame's header. `length` must be within the type's bounds; the caller has split longer payloads."""
    return HEADER.pack(stream, kind << 24 | length)


def frame(kind: int, stream: int, payload: bytes) -> bytes:
    """One whole frame."""
    return HEADER.pack(stream, kind << 24 | len(payload)) + payload


def credit(stream: int, count: int) -> bytes:
    """A `CREDIT` frame."""
    return frame(CREDIT, stream, _U32.pack(count))


def credit_count(payload: bytes) -> int:
    """The number in a `CREDIT` frame's payload."""
    return _U32.unpack(payload)[0]


class FrameDecoder:
    """Bytes in, frames out. After a FrameError it must not be used again."""

    __slots__ = ("_data_left", "_data_stream", "_have", "_need", "_parts")

    def __init__(self) -> None:
        self._data_left = 0
        self._data_stream = 0
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER_BYTES

    def feed(self, data: bytes) -> list[Frame]:
        """The frames (or pieces of `DATA` frames) that `data` completes, in order. Raises FrameError."""
        frames: list[Frame] = []
        if self._parts:
            # Pieces are joined only once enough are there: a peer that sends single bytes costs no repeated copies.
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return frames
            data = b"".join(self._parts)
            self._parts.clear()
        at, end = 0, len(data)
        left = self._data_left
        while True:
            if left:
                if at == end:
                    break
                take = min(left, end - at)
                frames.append((DATA, self._data_stream, data[at : at + take]))
                at += take
                left -= take
                continue
            if end - at < HEADER_BYTES:
                self._keep(data, at, HEADER_BYTES)
                break
            stream, word = HEADER.unpack_from(data, at)
            kind, length = word >> 24, word & 0xFFFFFF
            bounds = _BOUNDS.get(kind)
            if bounds is None or not bounds[0] <= length <= bounds[1]:
                raise FrameError("a frame of unknown type" if bounds is None else "a frame of wrong length")
            if kind == DATA:
                self._data_stream = stream
                left = length
                at += HEADER_BYTES
                continue
            if end - at < HEADER_BYTES + length:
                self._keep(data, at, HEADER_BYTES + length)
                break
            at += HEADER_BYTES
            frames.append((kind, stream, data[at : at + length]))
            at += length
        self._data_left = left
        return frames

    def _keep(self, data: bytes, at: int, need: int) -> None:
        self._need = need
        self._have = len(data) - at
        if self._have:
            self._parts.append(data[at:])
