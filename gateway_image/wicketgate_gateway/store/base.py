"""What all kinds of audit store have: the rows that go in, how far a journal was read, and how one asks.

How this works: queries are SQL with `?` for each value, which both SQLite and PostgreSQL get as they like it; what
differs between them (indexes, text search, bulk writing) asks `store_kind` or has a `Writer` of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from wicketgate_gateway.contract.errors import WicketgateError

LONG_TEXT = 32 * 1024
"""Longer texts (in bytes) have no trigrams (they would cost seconds); a search reads each of them."""


class StoreError(WicketgateError):
    """The audit store cannot be reached or used. The text never holds its URL: that may hold a password."""

    code = "store-failed"


FAILURES = (sqlite3.Error, StoreError)
"""What a store that is gone, full or too slow raises."""


class Cursor(Protocol):
    """The answer to one statement, as `sqlite3.Cursor` gives it."""

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Any: ...


class Connection(Protocol):
    """A store that is open, in autocommit mode. `sqlite3.Connection` is one; `PostgresConnection` is the other."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor:
        """Run one statement, with `?` for each value. Raises one of `FAILURES`."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def is_sqlite(connection: Connection) -> bool:
    """Whether this is SQLite's kind of store; else it is PostgreSQL's."""
    return isinstance(connection, sqlite3.Connection)


@dataclass(slots=True)
class Position:
    """How far a journal was read."""

    file: int = 0
    offset: int = 0
    digest: bytes | None = None
    """Of the frame before `offset`; where that is 0, of the file before, or None if that is not known."""
    problem: str = ""
    origin: bytes = b""
    """Start of the first file: tells a new journal from an old one that lost its end."""


class Outcome(NamedTuple):
    """How an operation ended, for a row that stands in the store already."""

    session: str
    seq: int
    outcome: str
    rows: int | None
    sqlstate: str
    duration_us: int


@dataclass(slots=True)
class EventRow:
    """A row of `events`; `statement` is the digest of its text until the texts are stored, and then their id."""

    time: int
    kind: str
    data: str
    session: str | None = None
    seq: int | None = None
    bot: str | None = None
    target: str | None = None
    verdict: str | None = None
    statement: bytes | None = None
    outcome: str | None = None
    rows: int | None = None
    sqlstate: str | None = None
    duration_us: int | None = None
    rule: str | None = None
    approver: str | None = None


@dataclass(slots=True)
class SessionChange:
    """What one step adds to a session's summary."""

    started: tuple[int, str, str, str] | None = None
    """Time, bot, target, and the event as JSON, if it began in this step."""
    operations: int = 0
    denied: int = 0
    ended: tuple[int, str, int, int] | None = None
    """Time, reason, bytes in, bytes out."""
    closed: tuple[bytes, int, int] | None = None
    """The recording's digest, files, size."""


@dataclass(slots=True)
class Batch:
    """What one step writes, in the journal's order."""

    rows: list[EventRow] = field(default_factory=list[EventRow])
    texts: dict[bytes, str] = field(default_factory=dict[bytes, str])
    """Statement texts by digest."""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    """Of operations of earlier steps."""
    sessions: dict[str, SessionChange] = field(default_factory=dict[str, SessionChange])


class Writer(Protocol):
    """Writes steps: `begin`, then any of the others, then `commit` or `rollback`. Raises one of `FAILURES`."""

    def look(self) -> Position:
        """How far the journal was read, as far as that can be known without waiting."""
        ...

    def begin(self) -> tuple[Position, int]:
        """Begin a step, alone on this journal; gives its position, and the number of purges so far: after another one,
        ids of statements that were known hold no more."""
        ...

    def add_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, int]:
        """The ids of these texts, which are added where they are new."""
        ...

    def add_events(self, rows: Sequence[EventRow], ids: Mapping[bytes, int]) -> None:
        """Add rows of events."""
        ...

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Note how operations ended."""
        ...

    def change_sessions(self, changes: Mapping[str, SessionChange]) -> None:
        """Bring the sessions' summaries up to date."""
        ...

    def lose_sessions(self, time: int) -> None:
        """The gateway began anew: this journal's sessions that are live are lost."""
        ...

    def who(self, sessions: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Bot and target of sessions."""
        ...

    def save(self, position: Position) -> None:
        """Note how far the journal was read."""
        ...

    def commit(self) -> None:
        """All of it holds."""
        ...

    def rollback(self) -> None:
        """None of it holds."""
        ...
