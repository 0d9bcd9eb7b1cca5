"""The control database: SQLite for one machine, PostgreSQL for many gateways, with the same guarantees.

How this works: there is one writer at a time, in both. SQLite has it by BEGIN IMMEDIATE, PostgreSQL by an advisory lock
that each writing transaction takes first; that also makes the ids of `changes` rise in the order of their commits. All
waiting is bounded, and every failure is a WicketgateError (`approvals-unavailable`): no store, no approval.

Time is the machine's for SQLite and the server's for PostgreSQL, so that gateways whose clocks differ agree on what has
expired. Each writing transaction notes the time. If a clock is found to have gone back by more than a moment, nobody
can say any more what has expired, so everything open becomes void.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from wicketgate_gateway.approvals import tables
from wicketgate_gateway.approvals.model import NANOSECONDS, State
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.files import FILE_MODE, make_folder

FILE_NAME = "control.db"
CHANNEL = "wicketgate_control"
"""The channel of NOTIFY in PostgreSQL."""
WAIT_SECONDS = 5
"""How long a transaction waits for its turn."""
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCK = 0x7769636B6574
_MAY_GO_BACK = 5 * NANOSECONDS
"""Clocks are set right by such steps all the time; within them, time stands still instead."""

FAILURES = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What a store that is gone, full or too slow raises."""

Clock = Callable[[], int]


def unavailable(error: BaseException) -> WicketgateError:
    """What a failure of the store is to its callers. The text never holds the URL: it may hold a password."""
    cause = getattr(error, "orig", None) or error
    return WicketgateError(
        f"the store of approvals cannot be used: {type(cause).__name__}",
        code="approvals-unavailable",
        remedy="try again later; the gateway's operator must see to the control store",
    )


def default_url(state: Path) -> str:
    """The store in a gateway's state folder."""
    return URL.create("sqlite+aiosqlite", database=str(state / FILE_NAME)).render_as_string()


class Database:
    """One process's connections. `kind` is `sqlite` or `postgresql`."""

    def __init__(self, engine: AsyncEngine, url: URL, clock: Clock | None) -> None:
        self.engine = engine
        self.url = url
        self.kind = url.get_backend_name()
        self.path = Path(url.database or "") if self.kind == "sqlite" else None
        self._clock = clock or (time.time_ns if self.kind == "sqlite" else None)
        try:
            self._file = self._inode()
        except OSError as error:
            raise unavailable(error) from error
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, *, clock: Clock | None = None) -> Database:
        """Connect, and bring the schema up to date.

        Raises WicketgateError: `store-url-invalid`, `store-newer`, `approvals-unavailable`.
        """
        parsed = _parse(url)
        engine = _sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else _postgres_engine(parsed)
        database = cls(engine, parsed, clock)
        try:
            await database._migrate()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(*FAILURES):
            await self.engine.dispose()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[tuple[AsyncConnection, int]]:
        """A connection for reading, and the time."""
        async with self._guarded(), self.engine.connect() as connection:
            yield connection, await self.now(connection)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncGenerator[tuple[AsyncConnection, int]]:
        """A transaction of the one writer that there is, and the time that holds in it."""
        # Within a process we queue here: fair, and without holding a connection.
        async with self._guarded(), self._turn:
            if self._inode() != self._file:
                raise OSError("the file was replaced")
            async with self.engine.execution_options(wicketgate_write=True).begin() as connection:
                if self.kind == "postgresql":
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                yield connection, await self._tick(connection)

    async def now(self, connection: AsyncConnection) -> int:
        """The time that holds."""
        if self._clock is not None:
            return self._clock()
        found = await connection.execute(
            text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000")
        )
        return int(found.scalar_one())

    async def change(
        self, connection: AsyncConnection, now: int, kind: str, handle: str, data: Mapping[str, Any]
    ) -> None:
        """Note a change in the transaction that makes it; whoever waits is told once it is committed."""
        row = {"time": now, "kind": kind, "handle": handle, "data": json.dumps(data), "journaled": 0, "leased_until": 0}
        await connection.execute(insert(tables.changes).values(row))
        if self.kind == "postgresql":
            await connection.execute(
                text("SELECT pg_notify(:channel, :handle)"), {"channel": CHANNEL, "handle": handle}
            )

    async def _tick(self, connection: AsyncConnection) -> int:
        now = await self.now(connection)
        latest = int((await connection.execute(select(tables.clock.c.latest))).scalar_one())
        if now < latest - _MAY_GO_BACK:
            await self.void(connection, now, tables.requests.c.handle.is_not(None), "the store's clock went back")
        elif now <= latest:
            return latest
        await connection.execute(update(tables.clock).values(latest=now))
        return now

    async def void(self, connection: AsyncConnection, now: int, condition: Any, note: str) -> list[str]:
        """Make the open requests that meet `condition` void; gives their handles."""
        r = tables.requests
        found = await connection.execute(
            update(r)
            .where(r.c.state.in_([State.PENDING.value, State.APPROVED.value]), condition)
            .values(state=State.VOID.value, note=note)
            .returning(r.c.handle)
        )
        handles = [str(handle) for (handle,) in found.all()]
        for handle in handles:
            await self.change(connection, now, State.VOID.value, handle, {"note": note})
        return handles

    async def _migrate(self) -> None:
        async with self._guarded(), self.engine.execution_options(wicketgate_write=True).begin() as connection:
            if self.kind == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            await connection.execute(text(tables.VERSION_TABLE))
            found = (await connection.execute(text("SELECT version FROM control_schema"))).scalar_one_or_none()
            version = int(found or 0)
            if version > len(tables.MIGRATIONS):
                raise WicketgateError(
                    f"the store of approvals has schema version {version}, and this program knows "
                    f"{len(tables.MIGRATIONS)}",
                    code="store-newer",
                    remedy="use the version of Wicketgate that made it",
                )
            for migration in tables.MIGRATIONS[version:]:
                for statement in migration:
                    await connection.execute(text(statement.replace("{id}", tables.ID[self.kind])))
            if version == len(tables.MIGRATIONS):
                return
            sql = (
                "INSERT INTO control_schema (version) VALUES (:v)"
                if found is None
                else ("UPDATE control_schema SET version = :v")
            )
            await connection.execute(text(sql), {"v": len(tables.MIGRATIONS)})

    def _inode(self) -> tuple[int, int] | None:
        """What the path leads to: another gateway would look there, and never in a file that was removed."""
        if self.path is None:
            return None
        found = os.lstat(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a file")
        return found.st_dev, found.st_ino

    @contextlib.asynccontextmanager
    async def _guarded(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(2 * WAIT_SECONDS):
                yield
        except FAILURES as error:
            raise unavailable(error) from None


def _parse(url: str) -> URL:
    # The URL may hold a password: it is in no message, and neither is the error that may quote it.
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    name = parsed.drivername if parsed is not None else ""
    name = drivers.get(name, name)
    if parsed is None or name not in drivers.values() or not parsed.database or parsed.database == ":memory:":
        raise WicketgateError(
            "the store's URL is not one that can be used",
            code="store-url-invalid",
            remedy="write `postgresql://USER@HOST/DATABASE`, or `sqlite:////PATH` for one machine",
        )
    return parsed.set(drivername=name)


def _sqlite_engine(url: URL) -> AsyncEngine:
    path = Path(url.database or "")
    try:
        make_folder(path.parent)
        # Made by us, so that it is never readable for others, not even for a moment.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
    except OSError as error:
        raise unavailable(error) from error
    engine = create_async_engine(
        url, connect_args={"timeout": WAIT_SECONDS, "isolation_level": None}, pool_size=4, max_overflow=0,
        pool_timeout=WAIT_SECONDS, hide_parameters=True,
    )  # fmt: skip

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        # FULL: an approval that was used must stay used also after a power cut.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Any) -> None:
        writes = connection.get_execution_options().get("wicketgate_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> AsyncEngine:
    milliseconds = str(int(WAIT_SECONDS * 1000))
    settings = {
        "application_name": "wicketgate",
        "lock_timeout": milliseconds,
        "statement_timeout": milliseconds,
        # A gateway that hangs in the middle of its turn gives it up.
        "idle_in_transaction_session_timeout": milliseconds,
        "synchronous_commit": "on",
        "default_transaction_isolation": "read committed",
    }
    query = dict(url.query)
    if url.host and url.host not in _LOCAL_HOSTS:
        # asyncpg would take a server without TLS as well.
        query.setdefault("sslmode", "verify-full")
    # asyncpg reads libpq's URLs itself, with all that may stand in their query.
    dsn = url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)

    async def connect() -> Any:
        return await asyncpg.connect(
            dsn, timeout=WAIT_SECONDS, command_timeout=2 * WAIT_SECONDS, server_settings=settings
        )

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_size=5, max_overflow=0, pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True, hide_parameters=True,
    )  # fmt: skip
