"""The audit store in SQLite: schema, versions, and how a connection is opened.

How this works: the journal is the truth; this is what makes it quick to ask. All events are rows of `events`, in the
journal's order. Statement texts stand once in `statements`, however often they ran, with a trigram index (FTS5) beside
them, so that any part of a text is found. `sessions` is a summary for each session. `journal_position` says how far the
journal was read; it changes in the same transaction as the rows, so each event is here exactly once.

A migration is a script that takes the schema from one version (PRAGMA user_version) to the next; they only ever grow.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.files import FILE_MODE, make_folder
from wicketgate_gateway.store.base import LONG_TEXT, EventRow, Outcome, Position, SessionChange

FILE_NAME = "audit.db"
_BUSY_SECONDS = 30.0

_MIGRATIONS = (
    """
    CREATE TABLE journal_position (
        journal TEXT PRIMARY KEY,
        file INTEGER NOT NULL,
        position INTEGER NOT NULL,
        digest BLOB,
        problem TEXT NOT NULL DEFAULT '',
        origin BLOB NOT NULL DEFAULT x''
    );
    CREATE TABLE statements (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        text TEXT NOT NULL,
        long INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX statements_long ON statements (id) WHERE long;
    CREATE VIRTUAL TABLE statement_text USING fts5 (
        text, content = 'statements', content_rowid = 'id', tokenize = 'trigram', detail = 'none'
    );
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        started INTEGER NOT NULL,
        ended INTEGER,
        state TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        bot TEXT NOT NULL,
        target TEXT NOT NULL,
        operations INTEGER NOT NULL DEFAULT 0,
        denied INTEGER NOT NULL DEFAULT 0,
        bytes_in INTEGER NOT NULL DEFAULT 0,
        bytes_out INTEGER NOT NULL DEFAULT 0,
        recording_digest BLOB,
        recording_files INTEGER NOT NULL DEFAULT 0,
        recording_size INTEGER NOT NULL DEFAULT 0,
        data TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX sessions_started ON sessions (started);
    CREATE INDEX sessions_bot ON sessions (bot, started);
    CREATE INDEX sessions_target ON sessions (target, started);
    CREATE INDEX sessions_live ON sessions (id) WHERE state = 'live';
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        kind TEXT NOT NULL,
        session TEXT,
        seq INTEGER,
        bot TEXT,
        target TEXT,
        verdict TEXT,
        statement INTEGER REFERENCES statements,
        outcome TEXT,
        rows INTEGER,
        sqlstate TEXT,
        duration_us INTEGER,
        data TEXT NOT NULL
    );
    CREATE INDEX events_time ON events (time);
    CREATE INDEX events_session ON events (session, seq) WHERE session IS NOT NULL;
    CREATE INDEX events_bot ON events (bot, time) WHERE bot IS NOT NULL;
    CREATE INDEX events_target ON events (target, time) WHERE target IS NOT NULL;
    CREATE INDEX events_verdict ON events (verdict, time) WHERE verdict IS NOT NULL;
    CREATE INDEX events_kind ON events (kind, time) WHERE kind <> 'operation';
    CREATE INDEX events_statement ON events (statement, time) WHERE statement IS NOT NULL;
    """,
    # Computed from the event itself: right for all rows that stand here already.
    """
    ALTER TABLE events ADD COLUMN rule TEXT GENERATED ALWAYS AS (json_extract(data, '$.rule')) VIRTUAL;
    ALTER TABLE events ADD COLUMN approver TEXT GENERATED ALWAYS AS (json_extract(data, '$.approver')) VIRTUAL;
    CREATE INDEX events_rule ON events (rule, time) WHERE rule IS NOT NULL;
    CREATE INDEX events_approver ON events (approver, time) WHERE approver IS NOT NULL;
    """,
    # Whoever deletes statements counts it here: their ids may be given to others. And what a session is found by.
    """
    CREATE TABLE store_state (id INTEGER PRIMARY KEY CHECK (id = 1), purges INTEGER NOT NULL);
    INSERT INTO store_state VALUES (1, 0);
    CREATE INDEX sessions_ended ON sessions (ended);
    CREATE INDEX sessions_end_of_id ON sessions (substr(id, -4));
    """,
)

SCHEMA_VERSION = len(_MIGRATIONS)


def database(state: Path) -> Path:
    """The store's file in a state folder."""
    return state / FILE_NAME


def connect(path: Path) -> sqlite3.Connection:
    """Open (and make, and migrate) the store. The connection is in autocommit mode: say BEGIN yourself.

    Raises WicketgateError: `store-newer` if a later version of Wicketgate wrote it, `store-failed` for all else.
    """
    try:
        make_folder(path.parent)
        # Made by us, so that it is never readable for others, not even for a moment.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _failure(path, error) from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -32768")
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _failure(path, error) from error
    except WicketgateError:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise WicketgateError(
                f"the audit store `{path}` has schema version {version}, and this program knows {SCHEMA_VERSION}",
                code="store-newer",
                remedy="use the version of Wicketgate that the gateway runs; or move the file away: it is built again "
                "from the journal, as this version does it",
            )
        for script in _MIGRATIONS[version:]:
            # Not executescript: it would commit first, and a migration must be whole or not at all.
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _failure(path: Path, error: Exception) -> WicketgateError:
    return WicketgateError(
        f"the audit store `{path}` cannot be used: {error}",
        code="store-failed",
        remedy="run this as the gateway's user, on the machine that holds the state folder; "
        "if the file is damaged, move it away: it is built again from the journal",
    )


def purge_statements(connection: sqlite3.Connection) -> None:
    """Delete the texts that no event has any more, within a transaction."""
    unused = "NOT EXISTS (SELECT 1 FROM events WHERE statement = statements.id)"
    connection.execute("UPDATE store_state SET purges = purges + 1")
    connection.execute(
        "INSERT INTO statement_text (statement_text, rowid, text)"  # noqa: S608 - built of constants
        f" SELECT 'delete', id, text FROM statements WHERE NOT long AND {unused}"
    )
    connection.execute(f"DELETE FROM statements WHERE {unused}")  # noqa: S608 - built of constants


class SqliteWriter:
    """Writes steps into SQLite; see `store.base.Writer`. The one journal of this store is the state folder's."""

    def __init__(self, connection: sqlite3.Connection, genesis: bytes) -> None:
        self._connection = connection
        self._genesis = genesis

    def look(self) -> Position:
        query = "SELECT file, position, digest, problem, origin FROM journal_position"
        row = self._connection.execute(query).fetchone()
        return Position(*row) if row else Position(digest=self._genesis)

    def begin(self) -> tuple[Position, int]:
        # Two ingesters never read the same events.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            return self.look(), int(self._connection.execute("SELECT purges FROM store_state").fetchone()[0])
        except BaseException:
            self.rollback()
            raise

    def add_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for digest, text in texts.items():
            row = self._connection.execute("SELECT id FROM statements WHERE digest = ?", (digest,)).fetchone()
            if row:
                found[digest] = int(row[0])
                continue
            long = len(text.encode()) > LONG_TEXT
            cursor = self._connection.execute(
                "INSERT INTO statements (digest, text, long) VALUES (?, ?, ?)", (digest, text, long)
            )
            found[digest] = number = int(cursor.lastrowid or 0)
            if not long:
                self._connection.execute("INSERT INTO statement_text (rowid, text) VALUES (?, ?)", (number, text))
        return found

    def add_events(self, rows: Sequence[EventRow], ids: Mapping[bytes, int]) -> None:
        # `rule` and `approver` are computed from `data`.
        self._connection.executemany(
            "INSERT INTO events (time, kind, session, seq, bot, target, verdict, statement, outcome, rows, sqlstate,"
            " duration_us, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.time, row.kind, row.session, row.seq, row.bot, row.target, row.verdict,
                    None if row.statement is None else ids[row.statement],
                    row.outcome, row.rows, row.sqlstate, row.duration_us, row.data,
                )
                for row in rows
            ),
        )  # fmt: skip

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        self._connection.executemany(
            "UPDATE events SET outcome = ?3, rows = ?4, sqlstate = ?5, duration_us = ?6"
            " WHERE session = ?1 AND seq = ?2 AND kind = 'operation'",
            outcomes,
        )

    def change_sessions(self, changes: Mapping[str, SessionChange]) -> None:
        execute = self._connection.execute
        for session, change in changes.items():
            if change.started is not None:
                time, bot, target, data = change.started
                execute(
                    "INSERT OR REPLACE INTO sessions (id, started, state, bot, target, data)"
                    " VALUES (?, ?, 'live', ?, ?, ?)",
                    (session, time, bot, target, data),
                )
            if change.operations:
                execute(
                    "UPDATE sessions SET operations = operations + ?, denied = denied + ? WHERE id = ?",
                    (change.operations, change.denied, session),
                )
            if change.ended is not None:
                execute(
                    "UPDATE sessions SET state = 'ended', ended = ?, reason = ?, bytes_in = ?, bytes_out = ?"
                    " WHERE id = ?",
                    (*change.ended, session),
                )
            if change.closed is not None:
                execute(
                    "UPDATE sessions SET recording_digest = ?, recording_files = ?, recording_size = ? WHERE id = ?",
                    (*change.closed, session),
                )

    def lose_sessions(self, time: int) -> None:
        self._connection.execute(
            "UPDATE sessions SET state = 'lost', ended = ?, reason = 'the gateway ended without ending it'"
            " WHERE state = 'live'",
            (time,),
        )

    def who(self, sessions: Iterable[str]) -> dict[str, tuple[str, str]]:
        query = "SELECT bot, target FROM sessions WHERE id = ?"
        found = ((session, self._connection.execute(query, (session,)).fetchone()) for session in sessions)
        return {session: row for session, row in found if row}

    def save(self, position: Position) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO journal_position (journal, file, position, digest, problem, origin)"
            " VALUES ('', ?, ?, ?, ?, ?)",
            (position.file, position.offset, position.digest, position.problem, position.origin),
        )

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        # A failure of the disk may have ended the transaction already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
