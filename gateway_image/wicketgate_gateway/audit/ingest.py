"""From the journal into the audit store, each event exactly once.

How this works: one step is one transaction. It takes its turn to write (SQLite's write lock, or PostgreSQL's lock on
this journal's position: two ingesters never read the same events), reads the position, reads and checks frames from
there, writes rows (`audit.rows`) and the new position, commits. A frame that is not whole yet is left for the next
step. Damage (a broken chain, a missing file) becomes an event of its own, `journal-damaged`, and reading goes on in the
next file.

The gateway runs this as a process of its own (`Ingester`): a thread would take turns with the event loop, which costs
the sessions milliseconds. The process ends when its standard input does, so it never outlives the gateway. The command
line calls `catch_up` by itself, so answers are complete with or without it.

What a dead gateway left open: `GatewayStarted` is the first thing that the next one writes, so every session that is
live at that event is marked `lost`.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from wicketgate_gateway.audit.events import AuditEvent
from wicketgate_gateway.audit.rows import Rows
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import FAILURES, Connection, Position, Writer, is_sqlite

DAMAGED = "journal-damaged"
_STEP_EVENTS = 5000
_STEP_BYTES = 8 * 1024 * 1024
_POLL_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_RESTART_SECONDS = 5.0
_MANY_EVENTS = 50_000
"""After so many, the planner is told at once what the store has now."""

_decoder = msgspec.msgpack.Decoder(list[AuditEvent])
_to_json = msgspec.json.Encoder().encode


def journal_folder(state: Path) -> Path:
    """The journal in a state folder."""
    return state / "journal"


class Reader:
    """Reads one journal into one store."""

    def __init__(self, writer: Writer, journal: Path, *, copy: bool = False) -> None:
        """`copy`: the folder may be a copy of an earlier time; that it lacks what the store has had is no damage."""
        self._writer = writer
        self._copy = copy
        self._journal = journal
        self._rows = Rows(writer)

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Read all that there is; gives the number of events. Raises one of the store's `FAILURES` or OSError, and then
        nothing of the step under way is kept.
        """
        total = 0
        while True:
            read, more = self.step()
            total += read
            if progress is not None:
                progress(total)
            if not more:
                return total

    def step(self) -> tuple[int, bool]:
        """One transaction: how many events it read, and whether there may be more."""
        # Looking costs nothing; only what is there is worth the turn to write.
        if not self._something_new():
            return 0, False
        position, purges = self._writer.begin()
        try:
            self._rows.begin(purges)
            read, more = self._read(position)
            self._rows.flush()
            self._writer.save(position)
            self._writer.commit()
        except BaseException:
            self._rows.forget()
            self._writer.rollback()
            raise
        return read, more

    def _something_new(self) -> bool:
        files = journal_files(self._journal)
        if not files:
            return False
        position = self._writer.look()
        last = _number(files[-1])
        if position.problem and last == position.file:
            return False
        return last != position.file or files[-1].stat().st_size > position.offset

    def _read(self, position: Position) -> tuple[int, bool]:
        files = {_number(path): path for path in journal_files(self._journal)}
        if position.file > max(files, default=0) and (self._copy or not self._begun_anew(position, files)):
            return 0, False
        read = size = 0
        if position.file not in files:
            if position.file:
                self._damaged(f"the journal's file {position.file} was removed before all of it was read")
                position.digest = None
            self._next_file(position, files)
        while True:
            before = position.digest
            with files[position.file].open("rb") as file:
                reader = fmt.FrameReader(file, fmt.JOURNAL_MAGIC, offset=position.offset, digest=before)
                for frame in reader:
                    read += self._frame(frame)
                    size += len(frame.payload)
                    if read >= _STEP_EVENTS or size >= _STEP_BYTES:
                        break
            if reader.header is not None and before is not None and reader.header.previous != before:
                self._damaged(f"`{files[position.file].name}` does not go on from the file before it")
            if reader.offset:
                position.offset, position.digest = reader.offset, reader.digest
            if read >= _STEP_EVENTS or size >= _STEP_BYTES:
                return read, True
            later = position.file < max(files)
            damaged = reader.ending is fmt.Ending.DAMAGED or (later and reader.ending is fmt.Ending.TORN)
            if damaged and not position.problem:
                position.problem = f"`{files[position.file].name}` at byte {reader.offset}: {reader.reason}"
                self._damaged(position.problem)
            if not later:
                return read, False
            self._next_file(position, files)

    def _begun_anew(self, position: Position, files: dict[int, Path]) -> bool:
        """The file that was being read is gone, and all after it: True if what is there is another journal."""
        if files and _origin(files[min(files)]) not in (b"", position.origin):
            self._damaged("the journal was removed, and another one begun")
            position.file, position.offset, position.digest, position.problem = 0, 0, fmt.GENESIS, ""
            return True
        if not position.problem:
            position.problem = f"the journal's file {position.file} was removed before all of it was read"
            self._damaged(position.problem)
        return False

    def _next_file(self, position: Position, files: dict[int, Path]) -> None:
        number = min(number for number in files if number > position.file)
        if position.file == 0:
            position.origin = _origin(files[number])
            if number > 1:
                position.digest = None
        elif number != position.file + 1:
            self._damaged(f"files {position.file + 1} to {number - 1} of the journal are missing")
            position.digest = None
        position.file, position.offset, position.problem = number, 0, ""

    # -- rows ------------------------------------------------------------------------------------------------------

    def _damaged(self, reason: str) -> None:
        self._rows.raw(time.time_ns(), DAMAGED, _to_json({"event": DAMAGED, "reason": reason}).decode())

    def _frame(self, frame: fmt.Frame) -> int:
        try:
            events = _decoder.decode(frame.payload)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            self._damaged(f"a frame at byte {frame.offset} holds what this version does not know: {error}")
            return 0
        for event in events:
            self._rows.add(event)
        return len(events)


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def _origin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(fmt.MAGIC_BYTES + fmt.HEAD_BYTES)


def catch_up(
    state: Path, connection: Connection, *, progress: Callable[[int], None] | None = None, copy: bool = False
) -> int:
    """Read what the journal of `state` has beyond the store; gives the number of events. Raises WicketgateError.

    `progress` is called with that number after each step. `copy` as for `Reader`.
    """
    try:
        count = Reader(place.writer(state, connection), journal_folder(state), copy=copy).catch_up(progress)
        if count >= _MANY_EVENTS:
            settle(connection)
        return count
    except (OSError, *FAILURES) as error:
        raise WicketgateError(
            f"the journal in `{journal_folder(state)}` cannot be read into the audit store: {error}",
            code="ingest-failed",
            remedy="run this as the gateway's user; free space if the disk is full; see that the store's server runs",
        ) from error


def settle(connection: Connection) -> None:
    """After many events: tell the planner at once what the store has now. Raises one of the store's `FAILURES`."""
    if is_sqlite(connection):
        connection.execute("PRAGMA optimize")
    else:
        connection.execute("ANALYZE events, sessions, statements")


class Ingester:
    """The process that keeps the store up to date while the gateway runs; `look` at it now and then."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._started = time.monotonic()
        return subprocess.Popen(
            [sys.executable, "-m", "wicketgate_gateway.audit.ingest", str(self._state)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def look(self) -> bool:
        """Start it again if it died; True if it had."""
        if self._process.poll() is None or time.monotonic() - self._started < _RESTART_SECONDS:
            return False
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = self._start()
        return True

    def stop(self) -> None:
        """Let it read what is left, and end it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Feed:
    """The store and its reader, opened anew after trouble: a server may have been restarted."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._connection: Connection | None = None
        self._reader: Reader | None = None

    def catch_up(self) -> int:
        """Raises one of the store's `FAILURES`, OSError or WicketgateError."""
        if self._connection is None or self._reader is None:
            self._connection = place.open_store(self._state)
            self._reader = Reader(place.writer(self._state, self._connection), journal_folder(self._state))
        return self._reader.catch_up()

    def close(self, *, whole: bool = False) -> None:
        """Close the store; `whole` if all went well to the end."""
        connection, self._connection, self._reader = self._connection, None, None
        if connection is None:
            return
        with contextlib.suppress(*FAILURES):
            if whole and is_sqlite(connection):
                connection.execute("PRAGMA optimize")
            connection.close()


def run(state: Path, stdin: BinaryIO) -> None:
    """Keep reading until `stdin` ends; trouble is told and tried again."""
    feed = _Feed(state)
    told = ""
    ending = False
    while not ending:
        ending = bool(select.select([stdin], [], [], _RETRY_SECONDS if told else _POLL_SECONDS)[0])
        try:
            feed.catch_up()
            if told:
                print("audit store: up to date again", file=sys.stderr, flush=True)
            told = ""
        except (OSError, WicketgateError, *FAILURES) as error:
            feed.close()
            if str(error) != told:
                told = str(error)
                print(f"audit store: {told}; it is tried again", file=sys.stderr, flush=True)
    feed.close(whole=not told)


if __name__ == "__main__":
    os.nice(5)
    run(Path(sys.argv[1]), sys.stdin.buffer)
