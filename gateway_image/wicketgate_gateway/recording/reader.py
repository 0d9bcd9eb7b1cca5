"""Reads recordings back: whole ones, live ones, and what a crash left.

How this works: `records` walks the frames of all files in order and checks the chain as it goes. It gives what is good
and never raises for what is not: `problems` then says, in words, what is missing or wrong, and `end` is there only if
the session was closed properly. To begin at a time, it hops over the heads of the blocks before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wicketgate_gateway.audit.events import RecordingClosed, SessionStarted
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.blocks import HEAD_BYTES, BlockHead, Record, RecordingEnd, read_payload, records
from wicketgate_gateway.recording.recorder import segment_name, session_folder

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One block: the number of its file, its place in it, and its head."""

    file: int
    place: fmt.Place
    head: BlockHead


class Recording:
    """One session's recording, for reading.

    Raises WicketgateError (`recording-missing`) if there is none.
    """

    def __init__(self, folder: Path, session: str) -> None:
        self.folder = session_folder(folder, session)
        self.session = self.folder.name
        self.problems: list[str] = []
        """What is missing or wrong, as far as `records` has read."""
        self.end: RecordingEnd | None = None
        self.digest = fmt.GENESIS
        """Of the last good frame that `records` has read."""
        self.started = self._read_started()

    def _read_started(self) -> SessionStarted | None:
        try:
            with self._path(1).open("rb") as file:
                reader = fmt.FrameReader(file, fmt.RECORDING_MAGIC)
                next(iter(reader), None)
        except FileNotFoundError:
            raise WicketgateError(
                f"session `{self.session}` has no recording in `{self.folder.parent.parent}`",
                code="recording-missing",
                remedy="`wicketgate sessions` lists what there is; is this the gateway's state folder?",
            ) from None
        except OSError as error:
            raise WicketgateError(
                f"the recording in `{self.folder}` cannot be read: {error.strerror}",
                code="recording-unreadable",
                remedy="run this as the gateway's user",
            ) from error
        return reader.header.started if reader.header else None

    def _path(self, number: int) -> Path:
        return self.folder / segment_name(number)

    def index(self) -> list[IndexEntry]:
        """All blocks, by reading their heads alone (unverified)."""
        entries: list[IndexEntry] = []
        number = 1
        while self._path(number).exists():
            with self._path(number).open("rb") as file:
                for place in fmt.places(file, HEAD_BYTES):
                    try:
                        head = read_payload(place.head, whole=False)
                    except ValueError:
                        break
                    if isinstance(head, BlockHead):
                        entries.append(IndexEntry(number, place, head))
            number += 1
        return entries

    def records(
        self,
        *,
        since: int = 0,
        follow: bool = False,
        wait: Callable[[float], None] = time.sleep,
        alive: Callable[[], bool] = lambda: True,
    ) -> Iterator[Record]:
        """What went through, in order; from the block that holds `since` (ns since 1970) on.

        With `follow`, wait for more until the recording ends or `alive` says that nothing can come any more.
        """
        self.problems, self.end, self.digest = [], None, fmt.GENESIS
        number, offset, digest = self._start(since)
        expected = fmt.GENESIS if number == 1 else None
        while True:
            with self._path(number).open("rb") as file:
                reader = fmt.FrameReader(file, fmt.RECORDING_MAGIC, offset=offset, digest=digest)
                for frame in reader:
                    yield from self._unpack(number, frame)
            if reader.header is not None:
                self._check_header(number, reader.header, expected)
            later = self._path(number + 1).exists()
            if follow and not later and self.end is None and reader.ending is not fmt.Ending.DAMAGED and alive():
                offset, digest = reader.offset, reader.digest
                wait(_POLL_SECONDS)
                continue
            if reader.ending is not fmt.Ending.CLEAN:
                where = f"`{self._path(number).name}` at byte {reader.offset}"
                self.problems.append(f"{reader.ending.value}: {where}: {reader.reason}")
            if not later:
                break
            number, offset, digest, expected = number + 1, 0, None, reader.digest
        if self.end is None:
            self.problems.append("the recording has no end: it was cut off, or the session is still running")

    def _start(self, since: int) -> tuple[int, int, bytes | None]:
        if since:
            for entry in self.index():
                if entry.head.last >= since:
                    return entry.file, entry.place.offset, entry.place.previous
        return 1, 0, None

    def _unpack(self, number: int, frame: fmt.Frame) -> Iterator[Record]:
        self.digest = frame.digest
        try:
            found = read_payload(frame.payload)
            if isinstance(found, RecordingEnd):
                self.end = found
            else:
                yield from records(frame.payload)
        except ValueError as error:
            self.problems.append(f"damaged: `{self._path(number).name}` at byte {frame.offset}: {error}")

    def _check_header(self, number: int, header: fmt.FileHeader, expected: bytes | None) -> None:
        name = self._path(number).name
        if expected is not None and header.previous != expected:
            self.problems.append(f"damaged: `{name}` does not go on from the file before it")
        if (header.session, header.number) != (self.session, number):
            self.problems.append(f"damaged: `{name}` belongs to session `{header.session}`, file {header.number}")


def check_closed(recording: Recording, closed: RecordingClosed | None) -> list[str]:
    """Compare a recording, read to its end, with what the journal says of it: the digest anchors every byte."""
    if closed is None:
        return []
    if recording.end is None:
        return ["damaged: the journal says that the recording was complete, but its end is missing"]
    if recording.digest != closed.digest:
        return ["damaged: the recording is not the one that the journal's digest stands for"]
    return []
