"""What a recording's frames hold: blocks of what went through, and the end.

How this works: the first byte of a payload says what it is.

- `1`, a block: u64 time of its first record (ns since 1970) | u64 time of its last | u64 bytes of the client before
  this block | u64 bytes of the server before it | u32 size unpacked | one zstd frame. Unpacked, it is a row of records
  u8 direction | u64 ns since the first record of the block | u32 size | bytes.
  A zstd frame may hold its bytes as they are (`stored`): a fraction of the time, and nothing that readers see.
- `2`, the end: MessagePack of `RecordingEnd`. A recording without one was cut off, or is still running.

The block's head can be read without unpacking it: hopping from frame to frame gives the index for seeking.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import zstandard

CLIENT = 1
SERVER = 2

_BLOCK = 1
_END = 2
_HEAD = struct.Struct(">BQQQQI")
HEAD_BYTES = _HEAD.size
_RECORD = struct.Struct(">BQI")
_MAX_UNPACKED = 128 * 1024 * 1024
# RFC 8878, 3.1.1: magic number, a descriptor ("content size in 4 bytes, single segment"), the size; then blocks.
_STORED_HEAD = struct.Struct("<IBI")
_ZSTD_MAGIC, _SINGLE_SEGMENT = 0xFD2FB528, 0xA0
_RAW_BLOCK = 128 * 1024


def stored(data: bytes) -> list[bytes | memoryview]:
    """`data` (at most 4 GiB) as a zstd frame that compresses nothing, in parts."""
    parts: list[bytes | memoryview] = [_STORED_HEAD.pack(_ZSTD_MAGIC, _SINGLE_SEGMENT, len(data))]
    view = memoryview(data)
    last = max(len(data) - 1, 0) // _RAW_BLOCK
    for number in range(last + 1):
        piece = view[number * _RAW_BLOCK : (number + 1) * _RAW_BLOCK]
        # Three bytes: whether it is the last one, type 0 (raw), size.
        parts += ((len(piece) << 3 | (number == last)).to_bytes(3, "little"), piece)
    return parts


def compressor() -> Callable[[bytes], bytes]:
    """What recordings are compressed by: zstd level 1, with a table of matches that stays in a core's first cache.

    Costs a tenth to a fifth less than level 1 as it is, for a few per cent of size (`docs/performance.md`).
    """
    parameters = zstandard.ZstdCompressionParameters.from_level(1, min_match=7, hash_log=13)
    return zstandard.ZstdCompressor(compression_params=parameters).compress


class RecordingEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame of a complete recording."""

    time: int
    reason: str
    client_bytes: int = 0
    server_bytes: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class BlockHead:
    """What the index knows of a block: times in ns since 1970, bytes of each direction before it."""

    first: int
    last: int
    client_bytes: int
    server_bytes: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes that went one way at one time."""

    time: int
    direction: int
    data: bytes


class BlockWriter:
    """Makes the payloads of one recording, in order."""

    def __init__(self, compress: Callable[[bytes], bytes]) -> None:
        self._client_bytes = 0
        self._server_bytes = 0
        self._blocks = 0
        self._compress = compress

    def block(self, records: Sequence[tuple[int, int, bytes]], *, store: bool = False) -> bytes:
        """A block of `(direction, time, data)` records, at least one; `store` does not compress it."""
        first = records[0][1]
        last = first
        parts: list[bytes] = []
        client = server = 0
        for direction, when, data in records:
            # A clock that steps back must not make time negative.
            last = max(last, when)
            parts += (_RECORD.pack(direction, last - first, len(data)), data)
            if direction == CLIENT:
                client += len(data)
            else:
                server += len(data)
        raw = b"".join(parts)
        head = _HEAD.pack(_BLOCK, first, last, self._client_bytes, self._server_bytes, len(raw))
        self._client_bytes += client
        self._server_bytes += server
        self._blocks += 1
        return b"".join((head, *stored(raw))) if store else head + self._compress(raw)

    def end(self, end: RecordingEnd) -> bytes:
        """The end, with the totals filled in."""
        end = msgspec.structs.replace(
            end, client_bytes=self._client_bytes, server_bytes=self._server_bytes, blocks=self._blocks
        )
        return bytes([_END]) + msgspec.msgpack.encode(end)


def read_payload(payload: bytes, *, whole: bool = True) -> BlockHead | RecordingEnd | None:
    """What a frame of a recording is (None for an end, if not `whole`). Raises ValueError if it is neither."""
    if payload[:1] == bytes([_END]):
        if not whole:
            return None
        try:
            return msgspec.msgpack.decode(payload[1:], type=RecordingEnd)
        except msgspec.DecodeError as error:
            raise ValueError(f"the end cannot be read: {error}") from None
    if payload[:1] != bytes([_BLOCK]) or len(payload) < _HEAD.size:
        raise ValueError("neither a block nor an end")
    _, first, last, client_bytes, server_bytes, unpacked = _HEAD.unpack_from(payload)
    if unpacked > _MAX_UNPACKED:
        raise ValueError(f"a block of {unpacked} bytes")
    return BlockHead(first, last, client_bytes, server_bytes, unpacked)


def records(payload: bytes) -> Iterator[Record]:
    """The records of a block's payload. Raises ValueError if they cannot be unpacked."""
    head = read_payload(payload)
    assert isinstance(head, BlockHead)
    try:
        packed = payload[_HEAD.size :]
        if zstandard.frame_content_size(packed) != head.unpacked:
            raise ValueError("a block's size is wrong")
        raw = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise ValueError(f"a block cannot be unpacked: {error}") from None
    offset = 0
    while offset < len(raw):
        if offset + _RECORD.size > len(raw):
            raise ValueError("a record is incomplete")
        direction, delta, size = _RECORD.unpack_from(raw, offset)
        offset += _RECORD.size
        if direction not in (CLIENT, SERVER) or offset + size > len(raw):
            raise ValueError("a record is wrong")
        yield Record(head.first + delta, direction, raw[offset : offset + size])
        offset += size
