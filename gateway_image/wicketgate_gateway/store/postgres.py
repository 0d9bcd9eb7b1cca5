"""The audit store in PostgreSQL, for any number of gateways: schema, versions, connection, and bulk writing.

How this works: the tables are those of SQLite's store, in a schema of their own, `wicketgate_audit`; a row says which
journal it is from, and each journal has its position. A step of an ingester is one transaction, which locks that
position first, so each event is here exactly once, whatever dies. Two gateways write at once; only a purge of
statements, whose ids others may be about to use, waits for steps under way and keeps new ones waiting.

No extension is needed. Text is found by trigrams of our own: `statements.trigrams` holds all runs of three bytes of the
lower-case text as numbers, under a GIN index. (pg_trgm would leave out all punctuation, which SQL is full of.)

The driver speaks asyncio; callers here are processes and threads of their own, so each connection has a loop to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store.base import LONG_TEXT, EventRow, Outcome, Position, SessionChange, StoreError

SCHEMA = "wicketgate_audit"
MAX_NAME = 256
"""Longer names are cut in the columns that have an index (an index takes 2.7 kB); the event itself is whole."""
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_MIGRATION_LOCK = 0x77696361756474
_PURGE_LOCK = 0x77696361756475
_CONNECT_SECONDS = 10
_COMMAND_SECONDS = 300
T = TypeVar("T")

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE journal_position (
            journal TEXT PRIMARY KEY,
            file BIGINT NOT NULL,
            position BIGINT NOT NULL,
            digest BYTEA,
            problem TEXT NOT NULL DEFAULT '',
            origin BYTEA NOT NULL DEFAULT ''
        )""",
        """CREATE TABLE store_state (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            purges BIGINT NOT NULL
        )""",
        "INSERT INTO store_state VALUES (1, 0)",
        """CREATE TABLE statements (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest BYTEA NOT NULL UNIQUE,
            text TEXT NOT NULL,
            trigrams INTEGER[]
        )""",
        "CREATE INDEX statements_trigrams ON statements USING gin (trigrams)",
        "CREATE INDEX statements_long ON statements (id) WHERE trigrams IS NULL",
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            journal TEXT NOT NULL,
            started BIGINT NOT NULL,
            ended BIGINT,
            state TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            bot TEXT NOT NULL,
            target TEXT NOT NULL,
            operations BIGINT NOT NULL DEFAULT 0,
            denied BIGINT NOT NULL DEFAULT 0,
            bytes_in BIGINT NOT NULL DEFAULT 0,
            bytes_out BIGINT NOT NULL DEFAULT 0,
            recording_digest BYTEA,
            recording_files BIGINT NOT NULL DEFAULT 0,
            recording_size BIGINT NOT NULL DEFAULT 0,
            data TEXT NOT NULL
        )""",
        "CREATE INDEX sessions_started ON sessions (started, id)",
        "CREATE INDEX sessions_bot ON sessions (bot, started)",
        "CREATE INDEX sessions_target ON sessions (target, started)",
        "CREATE INDEX sessions_live ON sessions (journal) WHERE state = 'live'",
        "CREATE INDEX sessions_ended ON sessions (ended)",
        'CREATE INDEX sessions_end_of_id ON sessions ("right"(id, 4))',
        # `outcome` and what belongs to it are often written later, by updates that touch no index.
        """CREATE TABLE events (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            journal TEXT NOT NULL,
            time BIGINT NOT NULL,
            kind TEXT NOT NULL,
            session TEXT,
            seq BIGINT,
            bot TEXT,
            target TEXT,
            verdict TEXT,
            statement BIGINT,
            outcome TEXT,
            rows BIGINT,
            sqlstate TEXT,
            duration_us BIGINT,
            rule TEXT,
            approver TEXT,
            data TEXT NOT NULL
        ) WITH (fillfactor = 95)""",
        "CREATE INDEX events_time ON events (time)",
        "CREATE INDEX events_session ON events (session, seq) WHERE session IS NOT NULL",
        "CREATE INDEX events_bot ON events (bot, time) WHERE bot IS NOT NULL",
        "CREATE INDEX events_target ON events (target, time) WHERE target IS NOT NULL",
        "CREATE INDEX events_verdict ON events (verdict, time) WHERE verdict IS NOT NULL",
        "CREATE INDEX events_kind ON events (kind, time) WHERE kind <> 'operation'",
        "CREATE INDEX events_statement ON events (statement, time) WHERE statement IS NOT NULL",
        "CREATE INDEX events_rule ON events (rule, time) WHERE rule IS NOT NULL",
        "CREATE INDEX events_approver ON events (approver, time) WHERE approver IS NOT NULL",
    ),
)

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError)


def schema_version() -> int:
    """The schema's version that this program knows."""
    return len(_MIGRATIONS)


def trigrams(text: str) -> list[int]:
    """All runs of three bytes of a text, as numbers, with A-Z as a-z."""
    data = text.encode("utf-8", "surrogatepass").lower()
    return sorted({a << 16 | b << 8 | c for a, b, c in zip(data, data[1:], data[2:], strict=False)})


class _Rows:
    """The rows of an answer, as a cursor gives them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Any:
        return self._rows


class PostgresConnection:
    """One connection; not to be used in a running event loop, nor by two threads at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, driver: Any) -> None:
        self._loop = loop
        self.driver = driver

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> _Rows:
        """Run one statement with `?` for each value. Raises StoreError."""
        return _Rows(self.run(self.driver.fetch(_numbered(sql), *parameters)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something that the driver does. Raises StoreError."""
        try:
            return self._loop.run_until_complete(work)
        except _FAILURES as error:
            raise failure(error) from None

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(*_FAILURES):
            self._loop.run_until_complete(self.driver.close(timeout=5))
        self._loop.close()

    @property
    def closed(self) -> bool:
        """Whether the server ended it."""
        return self.driver.is_closed()


def _numbered(sql: str) -> str:
    number = 0

    def place(_: re.Match[str]) -> str:
        nonlocal number
        number += 1
        return f"${number}"

    return re.sub(r"\?", place, sql)


def failure(error: BaseException) -> StoreError:
    """What a failure is to callers, without the URL and without values."""
    said = str(error).partition("\n")[0] if isinstance(error, asyncpg.PostgresError) else ""
    return StoreError(
        f"the audit store in PostgreSQL cannot be used: {type(error).__name__}{': ' + said if said else ''}",
        remedy="see whether the server runs and the URL in `audit.store.urlFile` is right; nothing is lost meanwhile: "
        "the journal is read from where it was left",
    )


def connect(url: str, *, migrate: bool = True) -> PostgresConnection:
    """Open (and make, and migrate) the store: `postgresql://USER:PASSWORD@HOST/DATABASE`, with libpq's options.

    Raises StoreError, and WicketgateError: `store-url-invalid`, `store-newer`.
    """
    dsn = _dsn(url)
    loop = asyncio.new_event_loop()
    settings = {
        "application_name": "wicketgate-audit",
        "search_path": f"{SCHEMA}, pg_temp",
        "lock_timeout": "60s",
        # An ingester on a machine that vanished gives its journal free.
        "idle_in_transaction_session_timeout": "60s",
        "tcp_keepalives_idle": "30",
        "default_transaction_isolation": "read committed",
        # Bots and verdicts differ a thousandfold in how often they occur.
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
    }
    try:
        driver = loop.run_until_complete(
            asyncpg.connect(dsn, timeout=_CONNECT_SECONDS, command_timeout=_COMMAND_SECONDS, server_settings=settings)
        )
    except _FAILURES as error:
        loop.close()
        raise failure(error) from None
    connection = PostgresConnection(loop, driver)
    try:
        connection.run(_bring_up_to_date(driver, migrate=migrate))
    except BaseException:
        connection.close()
        raise
    return connection


def _dsn(url: str) -> str:
    # The URL may hold a password: it is in no message, and neither is the error that may quote it.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        query = parse_qs(parts.query)
    except ValueError:
        parts, host, query = None, "", {}
    if parts is None or parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or len(parts.path) < 2:
        raise WicketgateError(
            "the audit store's URL is not one that can be used",
            code="store-url-invalid",
            remedy="write `postgresql://USER:PASSWORD@HOST/DATABASE` into the file that `audit.store.urlFile` names",
        )
    if host and host not in _LOCAL_HOSTS and "sslmode" not in query:
        # The driver would take a server without TLS as well.
        parts = parts._replace(query=f"{parts.query}&sslmode=verify-full".lstrip("&"))
    return parts._replace(scheme="postgresql").geturl()


async def _bring_up_to_date(driver: Any, *, migrate: bool) -> None:
    known = schema_version()
    if await _version(driver) == known:
        return
    if not migrate:
        raise StoreError("the audit store was not made yet, or is of another version", remedy="start the gateway first")
    async with driver.transaction():
        await driver.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        version = await _version(driver)
        if version > known:
            raise WicketgateError(
                f"the audit store has schema version {version}, and this program knows {known}",
                code="store-newer",
                remedy="use the version of Wicketgate that the other gateways run, or give this one another database",
            )
        # Not IF NOT EXISTS: that asks for the right to make one even where it is there.
        if not await driver.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", SCHEMA):
            await driver.execute(f"CREATE SCHEMA {SCHEMA}")
        await driver.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.schema_version (version BIGINT NOT NULL)")
        for migration in _MIGRATIONS[version:]:
            for statement in migration:
                await driver.execute(statement)
        await driver.execute("DELETE FROM schema_version")
        await driver.execute("INSERT INTO schema_version VALUES ($1)", known)


async def _version(driver: Any) -> int:
    # Not to_regclass: within a transaction that one remembers that there was nothing.
    query = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = $1 AND relname = $2"
    if await driver.fetchval(query, SCHEMA, "schema_version") is None:
        return 0
    return int(await driver.fetchval(f"SELECT version FROM {SCHEMA}.schema_version") or 0)  # noqa: S608 - a constant


def purge_statements(connection: PostgresConnection) -> None:
    """Delete the texts that no event has any more. In a transaction, which takes all ingesters' turn for that long."""
    connection.execute(f"SELECT pg_advisory_xact_lock({_PURGE_LOCK})")
    connection.execute("UPDATE store_state SET purges = purges + 1")
    connection.execute(
        "DELETE FROM statements WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.statement = statements.id)"
    )


def _clean(text: str) -> str:
    """PostgreSQL's text takes no NUL."""
    return text.replace("\0", "\ufffd")


@lru_cache(4096)
def _name(text: str | None) -> str | None:
    return None if text is None else _clean(text)[:MAX_NAME]


class PostgresWriter:
    """Writes one journal's steps into PostgreSQL; see `store.base.Writer`."""

    def __init__(self, connection: PostgresConnection, journal: str, genesis: bytes) -> None:
        self._connection = connection
        self._driver = connection.driver
        self._journal = journal
        self._genesis = genesis

    def _many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        if values:
            self._connection.run(self._driver.executemany(sql, values))

    def look(self) -> Position:
        return self._position("")

    def _position(self, lock: str) -> Position:
        query = f"SELECT file, position, digest, problem, origin FROM journal_position WHERE journal = ?{lock}"  # noqa: S608 - built of constants
        row = self._connection.execute(query, (self._journal,)).fetchone()
        return Position(*row) if row else Position(digest=self._genesis)

    def begin(self) -> tuple[Position, int]:
        self._connection.execute("BEGIN")
        try:
            self._connection.execute(
                "INSERT INTO journal_position (journal, file, position, digest) VALUES (?, 0, 0, ?)"
                " ON CONFLICT DO NOTHING",
                (self._journal, self._genesis),
            )
            position = self._position(" FOR UPDATE")
            self._connection.execute(f"SELECT pg_advisory_xact_lock_shared({_PURGE_LOCK})")
            purges = self._connection.execute("SELECT purges FROM store_state").fetchone()[0]
        except BaseException:
            self.rollback()
            raise
        return position, int(purges)

    def add_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, int]:
        found = self._text_ids(list(texts))
        # In one order everywhere: two ingesters with the same new texts wait for each other, and not in a circle.
        new = sorted(digest for digest in texts if digest not in found)
        if new:
            self._many(
                "INSERT INTO statements (digest, text, trigrams) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
                [(digest, text := _clean(texts[digest]), _trigrams_of(text)) for digest in new],
            )
            found |= self._text_ids(new)
        return found

    def _text_ids(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        rows = self._connection.execute("SELECT digest, id FROM statements WHERE digest = ANY (?)", (digests,))
        return {bytes(digest): int(number) for digest, number in rows}

    def add_events(self, rows: Sequence[EventRow], ids: Mapping[bytes, int]) -> None:
        if not rows:
            return
        records = [
            (
                self._journal, row.time, row.kind, row.session, row.seq, _name(row.bot), _name(row.target), row.verdict,
                None if row.statement is None else ids[row.statement],
                row.outcome, row.rows, row.sqlstate, row.duration_us, _name(row.rule), _name(row.approver), row.data,
            )
            for row in rows
        ]  # fmt: skip
        columns = (
            "journal", "time", "kind", "session", "seq", "bot", "target", "verdict", "statement", "outcome", "rows",
            "sqlstate", "duration_us", "rule", "approver", "data",
        )  # fmt: skip
        self._connection.run(
            self._driver.copy_records_to_table("events", schema_name=SCHEMA, records=records, columns=columns)
        )

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        self._many(
            "UPDATE events SET outcome = $3, rows = $4, sqlstate = $5, duration_us = $6"
            " WHERE session = $1 AND seq = $2 AND kind = 'operation'",
            outcomes,
        )

    def change_sessions(self, changes: Mapping[str, SessionChange]) -> None:
        found = changes.items()
        self._many(
            "INSERT INTO sessions (id, journal, started, state, bot, target, data)"
            " VALUES ($1, $2, $3, 'live', $4, $5, $6) ON CONFLICT (id) DO UPDATE SET journal = $2, started = $3,"
            " state = 'live', ended = NULL, reason = '', bot = $4, target = $5, data = $6, operations = 0, denied = 0",
            [
                (session, self._journal, change.started[0], _name(change.started[1]), _name(change.started[2]),
                 change.started[3])
                for session, change in found
                if change.started is not None
            ],
        )  # fmt: skip
        self._many(
            "UPDATE sessions SET operations = operations + $2, denied = denied + $3 WHERE id = $1",
            [(session, change.operations, change.denied) for session, change in found if change.operations],
        )
        self._many(
            "UPDATE sessions SET state = 'ended', ended = $2, reason = $3, bytes_in = $4, bytes_out = $5 WHERE id = $1",
            [
                (session, change.ended[0], _clean(change.ended[1]), *change.ended[2:])
                for session, change in found
                if change.ended is not None
            ],
        )
        self._many(
            "UPDATE sessions SET recording_digest = $2, recording_files = $3, recording_size = $4 WHERE id = $1",
            [(session, *change.closed) for session, change in found if change.closed is not None],
        )

    def lose_sessions(self, time: int) -> None:
        self._connection.execute(
            "UPDATE sessions SET state = 'lost', ended = ?, reason = 'the gateway ended without ending it'"
            " WHERE journal = ? AND state = 'live'",
            (time, self._journal),
        )

    def who(self, sessions: Iterable[str]) -> dict[str, tuple[str, str]]:
        query = "SELECT id, bot, target FROM sessions WHERE id = ANY (?)"
        return {row[0]: (row[1], row[2]) for row in self._connection.execute(query, (list(sessions),))}

    def save(self, position: Position) -> None:
        self._connection.execute(
            "UPDATE journal_position SET file = ?, position = ?, digest = ?, problem = ?, origin = ? WHERE journal = ?",
            (
                position.file,
                position.offset,
                position.digest,
                _clean(position.problem),
                position.origin,
                self._journal,
            ),
        )

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        # A connection that is gone has taken its transaction along.
        with contextlib.suppress(StoreError):
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")


def _trigrams_of(text: str) -> list[int] | None:
    return None if len(text.encode()) > LONG_TEXT else trigrams(text)
