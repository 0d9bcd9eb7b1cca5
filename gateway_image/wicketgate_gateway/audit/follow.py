"""Reads the journal's events one batch after the other, and remembers how far somebody has had them.

How this works: a place is a file, an offset and the digest there, so that reading goes on with the chain checked; it is
kept in `<state>/streams/NAME.json`, and moved only when the batch was accepted: after a crash some events come twice,
none never. Every event has a `uid` (file, offset of its frame, number in it) by which a receiver can drop the second.
Damage is told, and reading goes on in the next file.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from wicketgate_gateway.audit import ocsf
from wicketgate_gateway.audit.chain import file_number
from wicketgate_gateway.audit.events import AuditEvent, SessionStarted
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.files import make_folder
from wicketgate_gateway.recording.journal import file_name, journal_files
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import FAILURES

STREAMS = "streams"
BATCH = 200
_KNOWN_SESSIONS = 10_000
_decode = msgspec.msgpack.Decoder(list[AuditEvent]).decode
_decode_started = msgspec.json.Decoder(SessionStarted).decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on its way out; `started` is that of its session, as far as it is known."""

    uid: str
    event: AuditEvent
    started: SessionStarted | None

    @property
    def kind(self) -> str:
        """The event's name."""
        return str(self.event.__struct_config__.tag)

    def document(self, form: str) -> dict[str, Any]:
        """What is sent: our own event (`ndjson`), or OCSF (`ocsf`)."""
        if form == "ocsf":
            return ocsf.to_ocsf(self.event, self.started, self.uid)
        found: dict[str, Any] = {"uid": self.uid} | msgspec.to_builtins(self.event)
        if self.started is not None:
            found.setdefault("bot", self.started.bot)
            found.setdefault("target", self.started.target)
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    file: int = 0
    offset: int = 0
    digest: str = ""
    skip: int = 0
    """Events of the next frame that were accepted already."""


class Follower:
    """Follows the journal of `state` for the receiver `name`."""

    def __init__(
        self, state: Path, name: str, tell: Callable[[str], None] = lambda _: None, *, remember: bool = True
    ) -> None:
        self._state = state
        self._folder = journal_folder(state)
        self._path = state / STREAMS / f"{name}.json"
        self._tell = tell
        self._remembers = remember
        self._place = self._read() if remember else _Place()
        self._next = self._place
        self._told = ""
        self._sessions: OrderedDict[str, SessionStarted | None] = OrderedDict()

    def _read(self) -> _Place:
        try:
            return _Place(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return _Place()
        except (OSError, ValueError, TypeError) as error:
            self._tell(f"`{self._path}` cannot be read ({error}): all events are sent again")
            return _Place()

    def after(self, uid: str) -> None:
        """Go on after the event of this `uid` (all, if it is empty). Raises WicketgateError (`event-unknown`)."""
        if not uid:
            return
        unknown = WicketgateError(
            f"there is no event `{uid[:64]}`", code="event-unknown", remedy="give a `uid` that an export has shown"
        )
        try:
            number, offset, at = (int(part) for part in uid.split("-"))
        except ValueError:
            raise unknown from None
        path = self._folder / file_name(number)
        if not path.exists():
            raise unknown
        with path.open("rb") as file:
            reader = fmt.FrameReader(file, fmt.JOURNAL_MAGIC)
            place = _Place(number)
            for frame in reader:
                if frame.offset == offset:
                    self._place = _Place(number, place.offset, place.digest, at + 1)
                    return
                place = _Place(number, frame.end, frame.digest.hex())
        raise unknown

    def batch(self, limit: int = BATCH) -> list[Entry]:
        """The next events, at most `limit`; the same ones again until `accepted`. Raises OSError."""
        place, found = self._place, []
        files = {file_number(path): path for path in journal_files(self._folder)}
        while files and len(found) < limit:
            if place.file not in files:
                later = [number for number in files if number > place.file]
                if not later:
                    break
                place = _Place(min(later))
            place, more = self._file(files[place.file], place, found, limit, later=place.file < max(files))
            if not more:
                break
        self._next = place
        return found

    def _file(self, path: Path, place: _Place, found: list[Entry], limit: int, *, later: bool) -> tuple[_Place, bool]:
        number, skip = place.file, place.skip
        with path.open("rb") as file:
            digest = bytes.fromhex(place.digest) if place.offset else None
            reader = fmt.FrameReader(file, fmt.JOURNAL_MAGIC, offset=place.offset, digest=digest)
            for frame in reader:
                events = self._events(path, frame)
                for at, event in enumerate(events):
                    if at < skip:
                        continue
                    found.append(Entry(f"{number}-{frame.offset}-{at}", event, self._started(event)))
                    if len(found) >= limit:
                        if at + 1 == len(events):
                            return _Place(number, frame.end, frame.digest.hex()), True
                        return self._within(number, frame, at + 1, place, reader), True
                skip = 0
                place = _Place(number, frame.end, frame.digest.hex())
            if reader.offset and reader.digest is not None and not place.skip:
                place = _Place(number, reader.offset, reader.digest.hex())
        if reader.ending is fmt.Ending.DAMAGED or (later and reader.ending is fmt.Ending.TORN):
            where = f"`{path.name}` at byte {reader.offset}: {reader.reason}"
            if where != self._told:
                self._told = where
                self._tell(f"{where}; events after it may be missing")
        if later:
            return _Place(number + 1), True
        return place, False

    def _within(self, number: int, frame: fmt.Frame, skip: int, place: _Place, reader: fmt.FrameReader) -> _Place:
        # The place before this frame: `place` was moved to its start by the frame before, if there was one.
        if place.file == number and place.offset == frame.offset:
            return _Place(number, place.offset, place.digest, skip)
        header = reader.header
        assert header is not None  # the first frame of the file, whose start was read just now
        return _Place(number, 0, "", skip)

    def _events(self, path: Path, frame: fmt.Frame) -> list[AuditEvent]:
        try:
            return _decode(frame.payload)
        except msgspec.DecodeError as error:
            self._tell(f"`{path.name}` at byte {frame.offset} holds what this version does not know: {error}")
            return []

    def _started(self, event: AuditEvent) -> SessionStarted | None:
        if not event.session:
            return None
        if isinstance(event, SessionStarted):
            self._remember(event.session, event)
            return event
        if event.session not in self._sessions:
            self._remember(event.session, self._look_up(event.session))
        return self._sessions[event.session]

    def _remember(self, session: str, started: SessionStarted | None) -> None:
        self._sessions[session] = started
        if len(self._sessions) > _KNOWN_SESSIONS:
            self._sessions.popitem(last=False)

    def _look_up(self, session: str) -> SessionStarted | None:
        try:
            connection = place.open_reader(self._state)
            if connection is None:
                return None
            try:
                row = connection.execute("SELECT data FROM sessions WHERE id = ?", (session,)).fetchone()
            finally:
                connection.close()
        except (WicketgateError, *FAILURES):
            return None
        return _decode_started(row[0]) if row else None

    def accepted(self) -> None:
        """The last batch was accepted: go on after it. Raises OSError."""
        if not self._remembers:
            self._place = self._next
            return
        if self._next == self._place and self._path.exists():
            return
        make_folder(self._path.parent)
        new = self._path.with_suffix(".new")
        place = self._next
        new.write_text(
            json.dumps({"file": place.file, "offset": place.offset, "digest": place.digest, "skip": place.skip})
        )
        new.replace(self._path)
        self._place = place
