"""The journal's chain, walked from end to end without trusting any of it: what is wrong is named, and walking goes on.

How this works: `FrameReader` stops at the first frame that is not good. Here frames are hopped over by their lengths,
and each is asked whether its digest is the SHA-256 of the digest before it and of its payload. Where it is not, the
other digests of the file say what was done: a payload that hashes with another frame's digest was moved; one whose
successor still goes on from its own digest was edited; else what stood before it was changed or removed.

A rewritten chain (every digest made anew from some frame on) is a good chain: that, and a tail that was cut cleanly,
only a seal finds (`verify.py`). For this the digests at given places are collected.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wicketgate_gateway.audit.events import AuditEvent
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import file_name, journal_files

_HEAD = struct.Struct(">II32s")
_CANDIDATES = 50_000
_decode_events = msgspec.msgpack.Decoder(list[AuditEvent]).decode
_decode_header = msgspec.msgpack.Decoder(fmt.FileHeader).decode


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. Kinds: `edited`, `moved`, `removed`, `cut`, `torn`, `damaged`, `missing`, `swapped`, and
    those of `verify.py`.
    """

    kind: str
    where: str
    message: str
    offset: int | None = None

    def __str__(self) -> str:
        at = f" at byte {self.offset}" if self.offset is not None else ""
        return f"{self.kind}: {self.where}{at}: {self.message}"


@dataclass(slots=True)
class Walk:
    """What a walk over the journal found."""

    findings: list[Finding] = field(default_factory=list[Finding])
    digests: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])
    """The chain's digest at the places that were asked for, as (file, offset), where a frame ends there."""
    starts: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """What each file says it goes on from."""
    ends: dict[int, tuple[int, bytes]] = field(default_factory=dict[int, tuple[int, bytes]])
    """Offset and digest after the last whole frame of each file."""
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    frames: int = 0
    events: int = 0
    first: int = 0
    last: int = 0
    """Times of the first and the last event, nanoseconds since 1970."""


def file_number(path: Path) -> int:
    """The number in a journal file's name; 0 if there is none."""
    digits = path.stem.partition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def walk(
    folder: Path,
    *,
    wanted: Iterable[tuple[int, int]] = (),
    purged: Mapping[int, bytes] | None = None,
    only: int | None = None,
    on_event: Callable[[AuditEvent], None] = lambda _: None,
    on_file: Callable[[int, int], None] = lambda _number, _of: None,
) -> Walk:
    """Walk the journal in `folder`. `purged` has, for each file that may be missing, the digest at its end; `only`
    walks one file, and does not ask what it goes on from.

    Raises OSError if a file cannot be read.
    """
    walker = _Walker(set(wanted), on_event)
    purged = purged or {}
    files = {file_number(path): path for path in journal_files(folder)}
    if only is not None:
        walker.file(folder / file_name(only), only, set(), last=False)
        return walker.result
    expected: set[bytes] = {fmt.GENESIS}
    previous = 0
    for count, (number, path) in enumerate(sorted(files.items()), 1):
        missing = [n for n in range(previous + 1, number) if n not in purged]
        if missing:
            walker.result.findings.append(
                Finding("missing", _files(missing), "not there, and no seal says it was purged")
            )
            expected = set()
        elif number > previous + 1:
            expected = {purged[number - 1]}
        expected = walker.file(path, number, expected, last=count == len(files))
        previous = number
        on_file(count, len(files))
    walker.swapped()
    return walker.result


def _files(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"file {first} of the journal" if first == last else f"files {first} to {last} of the journal"


@dataclass(slots=True)
class _Frame:
    offset: int
    end: int
    digest: bytes
    payload: bytes
    intact: bool
    """The checksum is right: a disk's error, or an edit by hand, shows here."""


class _Walker:
    def __init__(self, wanted: set[tuple[int, int]], on_event: Callable[[AuditEvent], None]) -> None:
        self.result = Walk()
        self._wanted = wanted
        self._on_event = on_event
        self._unexplained: list[tuple[str, bytes]] = []

    def file(self, path: Path, number: int, expected: set[bytes], *, last: bool) -> set[bytes]:
        """Walk one file, which should go on from one of `expected`; gives what the next may go on from."""
        name, found = path.name, self.result.findings
        size = self.result.sizes[number] = path.stat().st_size
        frames, stopped = self._frames(path, size)
        if stopped is not None and stopped.kind == "torn" and not last:
            stopped = Finding("cut", name, f"{stopped.message}, although another file follows", stopped.offset)
        if not frames:
            found.append(stopped or Finding("torn" if last else "cut", name, "the file has no header", fmt.MAGIC_BYTES))
            return set()
        good = self._header(name, number, frames[0], expected)
        broken = good is None
        before = frames[0].digest
        self._note(number, frames[0])
        for at, frame in enumerate(frames[1:], 1):
            self.result.frames += 1
            follows = hashlib.sha256(before + frame.payload).digest() == frame.digest
            if frame.intact and follows:
                self._events(name, frame)
                if not broken:
                    good = frame.digest
            else:
                broken = True
                found.append(self._name(name, frames, at, before))
            before = frame.digest
            self._note(number, frame)
        self.result.ends[number] = (frames[-1].end, before)
        if stopped is not None:
            found.append(stopped)
        # The gateway begins a new file after a damaged one from the last digest that held.
        return {before} | ({good} if good is not None else set())

    def _note(self, number: int, frame: _Frame) -> None:
        if (number, frame.end) in self._wanted:
            self.result.digests[number, frame.end] = frame.digest

    def _frames(self, path: Path, size: int) -> tuple[list[_Frame], Finding | None]:
        frames: list[_Frame] = []
        with path.open("rb") as file:
            magic = file.read(fmt.MAGIC_BYTES)
            if magic != fmt.JOURNAL_MAGIC:
                torn = fmt.JOURNAL_MAGIC.startswith(magic)
                return [], Finding("torn" if torn else "damaged", path.name, "its first bytes are not a journal's", 0)
            offset = fmt.MAGIC_BYTES
            while offset < size:
                head = file.read(fmt.HEAD_BYTES)
                if len(head) < fmt.HEAD_BYTES:
                    return frames, Finding("torn", path.name, f"{len(head)} bytes of an incomplete frame", offset)
                length, checksum, digest = _HEAD.unpack(head)
                if length == 0 or length > fmt.MAX_PAYLOAD:
                    zeros = not any(head) and not any(file.read())
                    what = "zeros, as a crash leaves them" if zeros else f"a frame of {length} bytes cannot be"
                    return frames, Finding("torn" if zeros else "damaged", path.name, what, offset)
                payload = file.read(length)
                if len(payload) < length:
                    what = f"{len(payload)} of a frame's {length} bytes"
                    return frames, Finding("torn", path.name, what, offset)
                end = offset + fmt.HEAD_BYTES + length
                intact = zlib.crc32(payload, zlib.crc32(digest)) == checksum
                frames.append(_Frame(offset, end, digest, payload, intact))
                offset = end
        return frames, None

    def _header(self, name: str, number: int, frame: _Frame, expected: set[bytes]) -> bytes | None:
        """Check a file's first frame; gives its digest if all of it is right."""
        found = self.result.findings
        before = len(found)
        try:
            header = _decode_header(frame.payload)
        except msgspec.DecodeError as error:
            found.append(Finding("damaged", name, f"its header cannot be read: {error}", frame.offset))
            return None
        self.result.starts[number] = header.previous
        if not frame.intact or hashlib.sha256(header.previous + frame.payload).digest() != frame.digest:
            found.append(Finding("edited", name, "its header was changed", frame.offset))
        if header.version != fmt.VERSION:
            found.append(Finding("damaged", name, f"version {header.version} of the format is not known", frame.offset))
        if header.number != number:
            found.append(Finding("swapped", name, f"it is file {header.number} of the journal", frame.offset))
        if expected and header.previous not in expected:
            self._unexplained.append((name, header.previous))
        return frame.digest if len(found) == before else None

    def swapped(self) -> None:
        """Say of files that do not go on from the one before, which one they do go on from."""
        ends = {digest: number for number, (_, digest) in self.result.ends.items()}
        for name, previous in self._unexplained:
            if previous in ends:
                message = f"it goes on from the end of file {ends[previous]}, not from the file before it"
                self.result.findings.append(Finding("swapped", name, message, fmt.MAGIC_BYTES))
            else:
                message = "it does not go on from the end of the file before it: that was cut, or changed"
                self.result.findings.append(Finding("cut", name, message, fmt.MAGIC_BYTES))

    def _name(self, name: str, frames: list[_Frame], at: int, before: bytes) -> Finding:
        """Say what was done to a frame that does not follow from the one before."""
        frame = frames[at]
        follower = frames[at + 1] if at + 1 < len(frames) else None
        kept = follower is not None and hashlib.sha256(frame.digest + follower.payload).digest() == follower.digest
        follows = hashlib.sha256(before + frame.payload).digest() == frame.digest
        if follows or (not frame.intact and kept):
            return Finding("edited", name, "a frame was changed after it was written", frame.offset)
        if not frame.intact:
            message = "a frame is damaged: changed, or not written whole"
            return Finding("edited", name, message, frame.offset)
        start = hashlib.sha256
        for other in frames[:_CANDIDATES]:
            if other is not frame and start(other.digest + frame.payload).digest() == frame.digest:
                message = f"a frame stands in the wrong place: it belongs after byte {other.end}"
                return Finding("moved", name, message, frame.offset)
        if kept:
            message = "a frame was changed, or what stood before it was changed or removed"
        else:
            message = "what stood before this frame was changed or removed, or it was put in"
        return Finding("removed", name, message, frame.offset)

    def _events(self, name: str, frame: _Frame) -> None:
        try:
            events = _decode_events(frame.payload)
        except msgspec.DecodeError as error:
            message = f"a frame holds what this version does not know: {error}"
            self.result.findings.append(Finding("damaged", name, message, frame.offset))
            return
        result = self.result
        for event in events:
            result.events += 1
            result.first = result.first or event.time
            result.last = event.time
            self._on_event(event)
