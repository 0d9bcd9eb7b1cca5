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
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.files import FILE_MODE, make_folder

FILE_NAME = "audit.db"
LONG_TEXT = 32 * 1024
"""Longer texts have no trigrams (they would cost seconds); a search reads each of them."""
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
                remedy="use the version of Wicketgate that the gateway runs",
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
