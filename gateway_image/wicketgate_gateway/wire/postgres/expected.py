"""What stands in the queue of unanswered messages, and what hangs on it. `responses` keeps the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from wicketgate_gateway.wire.postgres.messages import FieldDescription

RowMasker = Callable[[bytes, int, int], bytes]
"""`masker(buffer, start, end)`: the DataRow messages between the offsets (one or more, each whole), masked."""


class Ask(IntEnum):
    """What was sent."""

    QUERY = 0
    PARSE = 1
    BIND = 2
    DESCRIBE_STATEMENT = 3
    DESCRIBE_PORTAL = 4
    EXECUTE = 5
    CLOSE_STATEMENT = 6
    CLOSE_PORTAL = 7
    SYNC = 8


class Change(IntEnum):
    """How a SQL statement changes what names mean, once it is complete."""

    NONE = 0
    PREPARE = 1
    DEALLOCATE = 2
    DECLARE = 3
    CLOSE = 4


class Prepared(Protocol):
    """A text as the caller knows it."""

    @property
    def masked(self) -> bool:
        """Whether its rows need a look."""
        ...

    @property
    def changes(self) -> Sequence[tuple[Change, str]]:
        """For each of its statements the change; empty if none makes one. Whether `all` is a name, the answer tells."""
        ...

    @property
    def hides_errors(self) -> bool:
        """Whether the server's errors and notices may show a masked value."""
        ...

    @property
    def written(self) -> frozenset[str] | None:
        """Names of the tables that it writes, for errors of others (`errors.tells_of_others`); None: nothing is masked
        anywhere."""
        ...

    @property
    def copies_in(self) -> bool:
        """Whether the server may ask for COPY data."""
        ...

    @property
    def copies_out(self) -> bool:
        """Whether the server may send COPY data."""
        ...


class SqlPrepared:
    """What the SQL statement PREPARE in `origin` made: it shares its name space with Parse. SQL's EXECUTE runs it."""

    __slots__ = ("origin",)
    masked = True
    hides_errors = True
    written: frozenset[str] | None = None
    changes: Sequence[tuple[Change, str]] = ()
    copies_in = False
    copies_out = False

    def __init__(self, origin: Prepared) -> None:
        self.origin = origin


class Portal(msgspec.Struct, eq=False):
    """A portal: the statement it runs (set when the server confirms the Bind), and its columns once they are known."""

    candidates: tuple[Prepared, ...]
    bind: object
    result_formats: tuple[int, ...]
    prepared: Prepared | None = None
    known: bool = False
    fields: tuple[FieldDescription, ...] | None = None
    described: bool = False
    approval: object = None
    """The caller's: under which policy its run was approved."""


class Denial:
    """What a client is told instead of the poison's syntax error."""

    __slots__ = ("response",)

    def __init__(self, response: bytes) -> None:
        self.response = response


class Expected(msgspec.Struct, eq=False):
    """One message under way. `operation` is the caller's; it is set for what has a finish to report."""

    ask: Ask
    name: str = ""
    prepared: Prepared | None = None
    portal: Portal | None = None
    statement: str = ""
    operation: object = None
    denial: Denial | None = None
    swallow: bool = False
    index: int = 0
    rows: int | None = None
    error: str = ""
    sql: dict[int, SqlPrepared] | None = None
    settled: bool = False
    """Answered, skipped, or waiting for COPY data: nothing that follows it depends on how it goes on."""


class CopyFilter(Protocol):
    """What the data of one COPY TO STDOUT goes through."""

    def feed(self, payload: bytes) -> bytes:
        """One CopyData message's payload: whole messages for the client, or nothing yet. May raise ProtocolError."""
        ...

    def flush(self) -> bytes:
        """The same at the end of the data."""
        ...


class Filter(Protocol):
    """What is not rows, and may hold values all the same."""

    def copying(self, *, binary: bool) -> CopyFilter:
        """For one COPY TO STDOUT."""
        ...

    def report(self, kind: bytes, body: bytes) -> bytes | None:
        """The whole ErrorResponse (`E`) or NoticeResponse (`N`) for the client; None if this body needs no change."""
        ...


class Hooks(Protocol):
    """What the tracker needs of its session."""

    def masker(
        self, prepared: Prepared | None, fields: tuple[FieldDescription, ...], formats: tuple[int, ...]
    ) -> RowMasker | None:
        """How rows of this statement and these columns are rewritten; None passes them on as they are."""
        ...

    def copying(self, prepared: Prepared, looks: CopyFilter | None, *, binary: bool, columns: int) -> CopyFilter | None:
        """What the data of this statement's COPY TO STDOUT goes through; `looks` is what it would go through without
        masks. May raise ProtocolError."""
        ...

    def finished(self, expected: Expected, outcome: str, ran: Prepared | None) -> None:
        """An operation ended: `ok`, `error`, `cancelled` or `skipped`; `ran` is what the server really ran."""
        ...

    def parameter(self, name: str, value: str) -> None:
        """The server reports a parameter. May raise ProtocolError."""
        ...
