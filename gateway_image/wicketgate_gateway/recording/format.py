"""The files of the journal and of recordings: frames that are checked and chained.

How this works: a file is an 8-byte magic, then frames. A frame is

    u32 length of the payload | u32 CRC-32 of digest and payload | 32 bytes digest | payload

(big endian), where digest = SHA-256(the digest before || payload). The first frame's payload is a `FileHeader`, whose
`previous` is the last digest of the file before: so the chain runs on through all files, and an edit, a removal or a
reordering anywhere breaks it from there on. A cut tail does not break a chain: it shows in the next file's header, in
a recording's missing end, or in an anchored digest.

One frame is written by one write, so a crash leaves at most one incomplete frame, at the end: a torn tail.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

import msgspec

from wicketgate_gateway.audit.events import SessionStarted

JOURNAL_MAGIC = b"WGJ1\r\n\x1a\n"
RECORDING_MAGIC = b"WGR1\r\n\x1a\n"
MAGIC_BYTES = 8
VERSION = 1
MAX_PAYLOAD = 128 * 1024 * 1024
ROTATE_BYTES = 64 * 1024 * 1024
GENESIS = bytes(32)
"""The digest before the first frame of the first file."""

_HEAD = struct.Struct(">II32s")
HEAD_BYTES = _HEAD.size


class FileHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first frame of each file."""

    version: int
    number: int
    """Files of one journal or recording count from 1."""
    created: int
    """Nanoseconds since 1970."""
    previous: bytes
    session: str = ""
    started: SessionStarted | None = None
    """Of a recording's first file: who, where, when."""


_encode = msgspec.msgpack.Encoder().encode
_header_decoder = msgspec.msgpack.Decoder(FileHeader)


def frame(previous: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """The frame of `payload` after the frame with digest `previous`, and its digest."""
    hashed = hashlib.sha256(previous)
    hashed.update(payload)
    digest = hashed.digest()
    return _HEAD.pack(len(payload), zlib.crc32(payload, zlib.crc32(digest)), digest) + payload, digest


def file_start(magic: bytes, header: FileHeader) -> tuple[bytes, bytes]:
    """Magic and first frame of a file, and the digest to go on with."""
    data, digest = frame(header.previous, _encode(header))
    return magic + data, digest


class Ending(StrEnum):
    """How reading a file ended."""

    CLEAN = "clean"
    TORN = "torn"
    """An incomplete frame at the very end: a crash, or a write that is under way."""
    DAMAGED = "damaged"
    """A frame was changed, removed or moved, or the disk lost one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One good frame; `end` is the offset after it."""

    offset: int
    end: int
    payload: bytes
    digest: bytes


class FrameReader:
    """Reads the good frames of one file, and says how it ended.

    Iterate over it; then `ending`, `reason`, `offset` (of the first byte that was not read) and `digest` (of the last
    good frame) say where and why it stopped. It never raises for bad content. To go on in a file whose start was read
    before, pass `offset` and `digest` of that time.
    """

    def __init__(self, file: BinaryIO, magic: bytes, *, offset: int = 0, digest: bytes | None = None) -> None:
        self._file = file
        self._magic = magic
        self.offset = offset
        self.digest = digest
        self.header: FileHeader | None = None
        self.ending = Ending.CLEAN
        self.reason = ""

    def __iter__(self) -> Iterator[Frame]:
        if self.offset == 0 and not self._read_start():
            return
        while (found := self._next()) is not None:
            yield found

    def _read_start(self) -> bool:
        self._file.seek(0)
        magic = self._file.read(MAGIC_BYTES)
        if magic != self._magic:
            whole = self._magic.startswith(magic)
            self._stop(Ending.TORN if whole else Ending.DAMAGED, "the file's first bytes are not ours")
            return False
        self.offset = MAGIC_BYTES
        found = self._next(first=True)
        if found is None:
            if self.ending is Ending.CLEAN:
                self._stop(Ending.TORN, "the file has no header")
            self.offset = 0
            return False
        return True

    def _next(self, *, first: bool = False) -> Frame | None:
        self._file.seek(self.offset)
        head = self._file.read(HEAD_BYTES)
        if not head:
            return None
        if len(head) < HEAD_BYTES:
            return self._stop(Ending.TORN, "an incomplete frame")
        length, checksum, digest = _HEAD.unpack(head)
        if length == 0 or length > MAX_PAYLOAD:
            zeros = not any(head) and not any(self._file.read())
            return self._stop(Ending.TORN if zeros else Ending.DAMAGED, f"a frame of {length} bytes")
        payload = self._file.read(length)
        end = self.offset + HEAD_BYTES + length
        if len(payload) < length:
            return self._stop(Ending.TORN, f"{len(payload)} of a frame's {length} bytes")
        if zlib.crc32(payload, zlib.crc32(digest)) != checksum:
            last = not self._file.read(1)
            return self._stop(Ending.TORN if last else Ending.DAMAGED, "a frame's checksum is wrong")
        if first:
            try:
                self.header = _header_decoder.decode(payload)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                return self._stop(Ending.DAMAGED, f"the file's header cannot be read: {error}")
            if self.header.version != VERSION:
                return self._stop(Ending.DAMAGED, f"version {self.header.version} of the format is not known")
            self.digest = self.header.previous
        if hashlib.sha256((self.digest or GENESIS) + payload).digest() != digest:
            return self._stop(Ending.DAMAGED, "the chain is broken: something was changed, removed or moved")
        found = Frame(self.offset, end, payload, digest)
        self.offset, self.digest = end, digest
        return found

    def _stop(self, ending: Ending, reason: str) -> None:
        self.ending, self.reason = ending, reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame is, unverified: its first payload bytes, and the digest of the frame before it."""

    offset: int
    end: int
    previous: bytes
    head: bytes


def places(file: BinaryIO, peek: int) -> Iterator[Place]:
    """Hop over a file's frames after the header, reading `peek` bytes of each payload: for an index, not for truth."""
    size = file.seek(0, 2)
    offset = MAGIC_BYTES
    previous = GENESIS
    while offset + HEAD_BYTES <= size:
        file.seek(offset)
        length, _, digest = _HEAD.unpack(file.read(HEAD_BYTES))
        end = offset + HEAD_BYTES + length
        if length == 0 or length > MAX_PAYLOAD or end > size:
            return
        if offset > MAGIC_BYTES:
            yield Place(offset, end, previous, file.read(min(peek, length)))
        offset, previous = end, digest
