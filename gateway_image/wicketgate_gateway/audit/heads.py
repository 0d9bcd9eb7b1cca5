"""Seals the journal's head as it grows.

How this works: a sealer follows the journal from the last head that was sealed, checking the chain frame by frame, so
it never signs what does not go on from what it signed before. It signs where a file ends (another one follows), and, if
anything came, each time it is told to. Where the journal does not go on (cut, rewritten, rolled back, damaged), it
signs a `breach` that says so, and goes on from what is there: the alarm is then in the seals, and outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wicketgate_gateway.audit.chain import file_number
from wicketgate_gateway.audit.seals import Breach, Head, JournalPurged, Seal, SealLog, Signed
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import journal_files


@dataclass(frozen=True, slots=True)
class _Place:
    file: int
    offset: int
    digest: bytes


class Sealer:
    """Seals the journal in `folder` into `log`."""

    def __init__(self, folder: Path, log: SealLog, key: Ed25519PrivateKey) -> None:
        self._folder = folder
        self._log = log
        self._key = key
        self._sealed = self._last_sealed()
        self._place = self._sealed
        self._stuck: tuple[int, int] | None = None
        self._rewound: tuple[int, int] | None = None

    def _last_sealed(self) -> _Place | None:
        place: _Place | None = None
        for signed in self._log.read().signed:
            seal = signed.seal
            if isinstance(seal, Head):
                place = _Place(seal.file, seal.offset, bytes.fromhex(seal.digest))
            elif isinstance(seal, JournalPurged) and (place is None or place.file <= seal.last):
                place = _Place(seal.last + 1, 0, bytes.fromhex(seal.after))
        return place

    def seal(self) -> list[Signed]:
        """Read what came, and sign where it ends; gives the seals that were made. Raises OSError and SealError."""
        seals: list[Seal] = []
        files = {file_number(path): path for path in journal_files(self._folder)}
        if not files:
            if self._place is not None and self._stuck != (0, 0):
                self._stuck = (0, 0)
                seals.append(Breach(file=self._place.file, offset=self._place.offset, reason="the journal is gone"))
            return self._sign(seals)
        if self._place is None:
            self._place = _Place(min(files), 0, fmt.GENESIS)
        while True:
            place = self._place
            if place.file not in files:
                if self._was_purged(place):
                    self._place = _Place(min(files), 0, b"")
                    continue
                self._breach(seals, place, "the file is gone", files, beyond=max(files) > place.file)
                if self._place is place:
                    break
                continue
            if files[place.file].stat().st_size < place.offset:
                self._breach(seals, place, "the file ends before what was sealed of it", files, beyond=False)
                if self._place is place:
                    break
                continue
            later = any(number > place.file for number in files)
            if not self._read(seals, place, files, later=later):
                break
        return self._sign(seals)

    def _was_purged(self, place: _Place) -> bool:
        return any(
            isinstance(signed.seal, JournalPurged) and signed.seal.first <= place.file <= signed.seal.last
            for signed in self._log.read().signed
        )

    def _read(self, seals: list[Seal], place: _Place, files: dict[int, Path], *, later: bool) -> bool:
        """Read on in one file; False if there is nothing more to do for now."""
        with files[place.file].open("rb") as file:
            # From the middle of a file, the digest that we go on with is the one that was sealed.
            reader = fmt.FrameReader(
                file, fmt.JOURNAL_MAGIC, offset=place.offset, digest=place.digest if place.offset else None
            )
            for _ in reader:
                pass
        expected = place.digest
        if reader.header is not None and expected and reader.header.previous != expected:
            reason = "the file does not go on from the end of the one before it"
            seals.append(Breach(file=place.file, offset=0, reason=reason))
        if reader.offset and reader.digest is not None:
            self._place = place = _Place(place.file, reader.offset, reader.digest)
        if reader.ending is fmt.Ending.DAMAGED or (reader.ending is fmt.Ending.TORN and later):
            self._breach(seals, place, reader.reason, files, beyond=later)
            return self._place is not place
        if not later:
            return False
        self._head(seals)
        self._place = _Place(self._next(files, place.file), 0, place.digest)
        return True

    def _next(self, files: dict[int, Path], after: int) -> int:
        return min(number for number in files if number > after)

    def _breach(self, seals: list[Seal], place: _Place, reason: str, files: dict[int, Path], *, beyond: bool) -> None:
        """Seal that the journal does not go on; go on in the next file, or from the newest one's good start."""
        if self._stuck != (place.file, place.offset):
            seals.append(Breach(file=place.file, offset=place.offset, reason=reason))
            self._stuck = (place.file, place.offset)
        if beyond:
            self._head(seals)
            self._place = _Place(self._next(files, place.file), 0, b"")
        elif place.file not in files or place.offset > files[place.file].stat().st_size:
            self._anew(max(files))
        elif place.offset and self._rewound != (place.file, place.offset):
            # Perhaps only what we hold does not fit: what is there may be a good chain of its own.
            self._rewound = (place.file, place.offset)
            self._anew(place.file)

    def _anew(self, file: int) -> None:
        self._place = _Place(file, 0, b"")
        self._sealed = None

    def _head(self, seals: list[Seal]) -> None:
        place = self._place
        if place is not None and place.offset and place != self._sealed:
            seals.append(Head(file=place.file, offset=place.offset, digest=place.digest.hex()))
            self._sealed = place

    def _sign(self, seals: list[Seal]) -> list[Signed]:
        self._head(seals)
        return self._log.change(lambda _: seals, key=self._key) if seals else []
