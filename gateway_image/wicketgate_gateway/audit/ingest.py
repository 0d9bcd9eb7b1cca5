"""From the journal into the audit store, each event exactly once.

How this works: one step is one transaction. It takes the store's write lock (BEGIN IMMEDIATE: two ingesters never read
the same events), reads the position, reads and checks frames from there, writes rows and the new position, commits. A
frame that is not whole yet is left for the next step. Damage (a broken chain, a missing file) becomes an event of its
own, `journal-damaged`, and reading goes on in the next file.

The gateway runs this as a process of its own (`Ingester`): a thread would take turns with the event loop, which costs
the sessions milliseconds. The process ends when its standard input does, so it never outlives the gateway. The command
line calls `catch_up` by itself, so answers are complete with or without it.

What a dead gateway left open: `GatewayStarted` is the first thing that the next one writes, so every session that is
live at that event is marked `lost`.
"""

from __future__ import annotations

import hashlib
import os
import select
import sqlite3
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from wicketgate_gateway.audit.events import (
    AgentRefused,
    AuditEvent,
    GatewayStarted,
    Operation,
    OperationFinished,
    RecordingClosed,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.store import sqlite

DAMAGED = "journal-damaged"
REFUSED = "refused"
"""The verdict on a connection that did not become a session."""
_STEP_EVENTS = 5000
_STEP_BYTES = 8 * 1024 * 1024
_POLL_SECONDS = 0.2
_KNOWN_TEXTS = 4096
_RESTART_SECONDS = 5.0
"""A process that dies at once is not started again at once."""

_decoder = msgspec.msgpack.Decoder(list[AuditEvent])
_to_json = msgspec.json.Encoder().encode


def journal_folder(state: Path) -> Path:
    """The journal in a state folder."""
    return state / "journal"


@dataclass(slots=True)
class _Position:
    file: int
    offset: int
    digest: bytes | None
    """Of the frame before `offset`; where that is 0, of the file before, or None if that is not known."""
    problem: str = ""
    origin: bytes = b""
    """Start of the first file: tells a new journal from an old one that lost its end."""


class Reader:
    """Reads one journal into one store."""

    def __init__(self, connection: sqlite3.Connection, journal: Path) -> None:
        self._connection = connection
        self._journal = journal
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Read all that there is; gives the number of events. Raises sqlite3.Error or OSError, and then nothing of the
        step under way is kept.
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
        connection = self._connection
        # Looking costs nothing; only what is there is worth the write lock.
        if not self._something_new():
            return 0, False
        connection.execute("BEGIN IMMEDIATE")
        try:
            position = self._position()
            read, more = self._read(position)
            connection.execute(
                "INSERT OR REPLACE INTO journal_position (journal, file, position, digest, problem, origin)"
                " VALUES ('', ?, ?, ?, ?, ?)",
                (position.file, position.offset, position.digest, position.problem, position.origin),
            )
        except BaseException:
            connection.execute("ROLLBACK")
            self._known.clear()  # it may hold ids that were rolled back
            raise
        connection.execute("COMMIT")
        return read, more

    def _position(self) -> _Position:
        row = self._connection.execute(
            "SELECT file, position, digest, problem, origin FROM journal_position"
        ).fetchone()
        return _Position(*row) if row else _Position(0, 0, fmt.GENESIS)

    def _something_new(self) -> bool:
        files = journal_files(self._journal)
        if not files:
            return False
        position = self._position()
        last = _number(files[-1])
        if position.problem and last == position.file:
            return False
        return last != position.file or files[-1].stat().st_size > position.offset

    def _read(self, position: _Position) -> tuple[int, bool]:
        files = {_number(path): path for path in journal_files(self._journal)}
        if position.file > max(files, default=0) and not self._begun_anew(position, files):
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

    def _begun_anew(self, position: _Position, files: dict[int, Path]) -> bool:
        """The file that was being read is gone, and all after it: True if what is there is another journal."""
        if files and _origin(files[min(files)]) not in (b"", position.origin):
            self._damaged("the journal was removed, and another one begun")
            position.file, position.offset, position.digest, position.problem = 0, 0, fmt.GENESIS, ""
            return True
        if not position.problem:
            position.problem = f"the journal's file {position.file} was removed before all of it was read"
            self._damaged(position.problem)
        return False

    def _next_file(self, position: _Position, files: dict[int, Path]) -> None:
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
        data = _to_json({"event": DAMAGED, "reason": reason}).decode()
        self._connection.execute(
            "INSERT INTO events (time, kind, data) VALUES (?, ?, ?)", (time.time_ns(), DAMAGED, data)
        )

    def _frame(self, frame: fmt.Frame) -> int:
        try:
            events = _decoder.decode(frame.payload)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            self._damaged(f"a frame at byte {frame.offset} holds what this version does not know: {error}")
            return 0
        for event in events:
            self._event(event)
        return len(events)

    def _event(self, event: AuditEvent) -> None:
        match event:
            case Operation():
                self._operation(event)
                return
            case OperationFinished():
                self._connection.execute(
                    "UPDATE events SET outcome = ?, rows = ?, sqlstate = ?, duration_us = ?"
                    " WHERE session = ? AND seq = ? AND kind = 'operation'",
                    (event.outcome, event.rows, event.sqlstate, event.duration_us, event.session, event.seq),
                )
                return
            case RecordingClosed():
                self._connection.execute(
                    "UPDATE sessions SET recording_digest = ?, recording_files = ?, recording_size = ? WHERE id = ?",
                    (event.digest, event.files, event.size, event.session),
                )
                return
            case SessionStarted():
                self._connection.execute(
                    "INSERT OR REPLACE INTO sessions (id, started, state, bot, target, data)"
                    " VALUES (?, ?, 'live', ?, ?, ?)",
                    (event.session, event.time, event.bot, event.target, _to_json(event).decode()),
                )
            case SessionEnded():
                self._connection.execute(
                    "UPDATE sessions SET state = 'ended', ended = ?, reason = ?, bytes_in = ?, bytes_out = ?"
                    " WHERE id = ?",
                    (event.time, event.reason, event.bytes_in, event.bytes_out, event.session),
                )
            case GatewayStarted():
                self._connection.execute(
                    "UPDATE sessions SET state = 'lost', ended = ?, reason = 'the gateway ended without ending it'"
                    " WHERE state = 'live'",
                    (event.time,),
                )
            case _:
                pass
        self._other(event)

    def _operation(self, event: Operation) -> None:
        statement = self._statement(event.statement)
        data = _to_json(msgspec.structs.replace(event, statement="")).decode()
        self._connection.execute(
            "INSERT INTO events (time, kind, session, seq, bot, target, verdict, statement, data)"
            " VALUES (?, 'operation', ?, ?, ?, ?, ?, ?, ?)",
            (event.time, event.session, event.seq, event.bot, event.target, event.effect, statement, data),
        )
        self._connection.execute(
            "UPDATE sessions SET operations = operations + 1, denied = denied + ? WHERE id = ?",
            (event.effect == "deny", event.session),
        )

    def _other(self, event: AuditEvent) -> None:
        refused = isinstance(event, SessionRefused | AgentRefused)
        self._connection.execute(
            "INSERT INTO events (time, kind, session, bot, target, verdict, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.time,
                event.__struct_config__.tag,
                event.session or None,
                getattr(event, "bot", "") or self._of_session(event, "bot"),
                getattr(event, "target", "") or self._of_session(event, "target"),
                REFUSED if refused else None,
                _to_json(event).decode(),
            ),
        )

    def _of_session(self, event: AuditEvent, column: str) -> str | None:
        if not event.session:
            return None
        row = self._connection.execute("SELECT bot, target FROM sessions WHERE id = ?", (event.session,)).fetchone()
        return row[0 if column == "bot" else 1] if row else None

    def _statement(self, text: str) -> int:
        encoded = text.encode()
        digest = hashlib.blake2b(encoded, digest_size=16).digest()
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
            return known
        row = self._connection.execute("SELECT id FROM statements WHERE digest = ?", (digest,)).fetchone()
        if row:
            number = int(row[0])
        else:
            long = len(encoded) > sqlite.LONG_TEXT
            cursor = self._connection.execute(
                "INSERT INTO statements (digest, text, long) VALUES (?, ?, ?)", (digest, text, long)
            )
            number = int(cursor.lastrowid or 0)
            if not long:
                self._connection.execute("INSERT INTO statement_text (rowid, text) VALUES (?, ?)", (number, text))
        self._known[digest] = number
        if len(self._known) > _KNOWN_TEXTS:
            self._known.popitem(last=False)
        return number


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def _origin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(fmt.MAGIC_BYTES + fmt.HEAD_BYTES)


def catch_up(state: Path, connection: sqlite3.Connection, *, progress: Callable[[int], None] | None = None) -> int:
    """Read what the journal of `state` has beyond the store; gives the number of events. Raises WicketgateError.

    `progress` is called with that number after each step.
    """
    try:
        return Reader(connection, journal_folder(state)).catch_up(progress)
    except (OSError, sqlite3.Error) as error:
        raise WicketgateError(
            f"the journal in `{journal_folder(state)}` cannot be read into the audit store: {error}",
            code="ingest-failed",
            remedy="run this as the gateway's user; free space if the disk is full",
        ) from error


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


def run(state: Path, stdin: BinaryIO) -> None:
    """Keep reading until `stdin` ends; trouble is told and tried again."""
    connection = sqlite.connect(sqlite.database(state))
    reader = Reader(connection, journal_folder(state))
    told = ""
    ending = False
    while not ending:
        ending = bool(select.select([stdin], [], [], _POLL_SECONDS)[0])
        try:
            if reader.catch_up() and told:
                print("audit store: up to date again", file=sys.stderr, flush=True)
                told = ""
        except (OSError, sqlite3.Error) as error:
            if str(error) != told:
                told = str(error)
                print(f"audit store: {told}; it is tried again", file=sys.stderr, flush=True)
    connection.execute("PRAGMA optimize")
    connection.close()


if __name__ == "__main__":
    os.nice(5)
    run(Path(sys.argv[1]), sys.stdin.buffer)
