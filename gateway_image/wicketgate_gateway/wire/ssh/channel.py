"""What passes on one SSH channel, as frames: between the gateway's SSH process, the gateway, and the agent.

How this works: a frame is a head of five bytes (u8 type, u32 length, big-endian) and its payload. Data comes in frames
of at most `MAX_DATA`; everything else is small. A recording holds the very same frames, behind a head that names the
channel, so that it can be replayed byte for byte: what was typed, what was shown, and how it ended.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum


class Kind(IntEnum):
    """What a frame holds."""

    STDIN = 1
    STDOUT = 2
    STDERR = 3
    EOF = 4
    """The sender has no more data; empty."""
    EXIT = 5
    """u32: the exit status."""
    EXIT_SIGNAL = 6
    """The signal's name without `SIG`; UTF-8."""
    WINDOW = 7
    """Four u32: columns, rows, pixels wide and high."""
    SIGNAL = 8
    """A signal's name without `SIG`; UTF-8."""
    BREAK = 9
    """u32: milliseconds."""
    BEGIN = 10
    """In recordings alone: what was asked for, in JSON."""
    NOTE = 11
    """In recordings alone: what the gateway found or did, in JSON."""
    FILE = 12
    """In recordings alone: u32 operation, u8 whether it was written (else read), and a piece of a file's content."""


HEAD = struct.Struct(">BI")
MAX_DATA = 32 * 1024
MAX_SMALL = 64 * 1024
_DATA = frozenset({Kind.STDIN, Kind.STDOUT, Kind.STDERR})
_U32 = struct.Struct(">I")
_WINDOW = struct.Struct(">IIII")
_FILE = struct.Struct(">IB")
_KINDS = frozenset(int(kind) for kind in Kind)
_pack = HEAD.pack


class FrameError(Exception):
    """The peer broke the protocol."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame, of at most `MAX_SMALL` bytes."""
    return _pack(kind, len(payload)) + payload


def data_frames(kind: int, data: bytes) -> bytes:
    """Data as frames."""
    if len(data) <= MAX_DATA:
        return _pack(kind, len(data)) + data
    view = memoryview(data)
    parts: list[bytes | memoryview] = []
    for at in range(0, len(data), MAX_DATA):
        piece = view[at : at + MAX_DATA]
        parts += (_pack(kind, len(piece)), piece)
    return b"".join(parts)


def exit_status(status: int) -> bytes:
    """An `EXIT` frame."""
    return frame(Kind.EXIT, _U32.pack(status & 0xFFFFFFFF))


def window(columns: int, rows: int, width: int = 0, height: int = 0) -> bytes:
    """A `WINDOW` frame."""
    return frame(Kind.WINDOW, _WINDOW.pack(*(min(max(0, n), 0xFFFF) for n in (columns, rows, width, height))))


def file_frame(operation: int, data: bytes, *, written: bool) -> bytes:
    """A `FILE` frame: at most `MAX_DATA` bytes of a file that the operation of that number opened."""
    return frame(Kind.FILE, _FILE.pack(operation & 0xFFFFFFFF, written) + data)


def file_piece(payload: bytes) -> tuple[int, bool, bytes]:
    """The operation, whether it was written, and the bytes of a `FILE` frame. Raises FrameError."""
    if len(payload) < _FILE.size:
        raise FrameError("a piece of a file that is too short")
    operation, written = _FILE.unpack_from(payload)
    return operation, bool(written), payload[_FILE.size :]


def number(payload: bytes) -> int:
    """The number in an `EXIT` or `BREAK` frame. Raises FrameError."""
    if len(payload) != 4:
        raise FrameError("a number of wrong length")
    return _U32.unpack(payload)[0]


def window_size(payload: bytes) -> tuple[int, int, int, int]:
    """Columns, rows, pixels. Raises FrameError."""
    if len(payload) != _WINDOW.size:
        raise FrameError("a window of wrong length")
    return _WINDOW.unpack(payload)


class FrameDecoder:
    """Bytes in, whole frames out."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return self._size

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The (type, payload) of each frame that `data` completes. Raises FrameError."""
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
        at, end = 0, len(data)
        while end - at >= HEAD.size:
            kind, length = HEAD.unpack_from(data, at)
            if kind not in _KINDS or length > (MAX_DATA if kind in _DATA else MAX_SMALL):
                raise FrameError("a frame of unknown type or too long")
            if end - at - HEAD.size < length:
                break
            at += HEAD.size
            yield kind, data[at : at + length]
            at += length
        self._size = end - at
        if self._size:
            self._parts.append(data[at:])
