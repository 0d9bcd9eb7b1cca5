"""Who waits for a change of the control store is woken by this: no polling while nobody waits.

How this works: `generation` rises whenever something may have changed, and `after(seen)` returns once it is above
`seen`. A waiter notes the generation, looks at the store, and then waits: nothing falls between. For SQLite one task
looks at `PRAGMA data_version` while anyone waits (a few microseconds each time); for PostgreSQL one connection LISTENs,
and every reconnection counts as a change, since what happened meanwhile was missed. Who waits for one request
(`listening`) is only woken by what is said of that one, where the store says it (PostgreSQL's NOTIFY): else each step
of one would send all who wait to the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

import asyncpg

from wicketgate_gateway.approvals.database import CHANNEL, FAILURES, WAIT_SECONDS, Database

_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_KEEPALIVE_SECONDS = 5.0


class Signal(ABC):
    """Something that may have changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.generation = 0
        self._event = asyncio.Event()
        self._waiting = 0
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    @contextlib.contextmanager
    def listening(self, handle: str) -> Generator[asyncio.Event]:
        """An event that is set whenever the request of this handle may have changed; clear it, look, then wait."""
        event = asyncio.Event()
        self._listeners.setdefault(handle, set()).add(event)
        self._waiting += 1
        self._begin()
        try:
            yield event
        finally:
            self._waiting -= 1
            self._listeners[handle].discard(event)
            if not self._listeners[handle]:
                del self._listeners[handle]

    async def after(self, seen: int, seconds: float) -> None:
        """Return once the generation is above `seen`, or after so long."""
        if self.generation > seen:
            return
        self._waiting += 1
        self._begin()
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def changed(self, handle: str = "") -> None:
        """Wake all who wait; with a handle, of those who wait for one request only those of this one."""
        called = self._listeners.get(handle, ()) if handle else [e for found in self._listeners.values() for e in found]
        for event in called:
            event.set()
        self.generation += 1
        self._event.set()
        self._event = asyncio.Event()

    async def close(self) -> None:
        """Stop, and wake all who wait."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.changed()

    @abstractmethod
    async def _run(self) -> None: ...


class SqliteSignal(Signal):
    """Looks at SQLite's `data_version`, which changes with every commit of another connection."""

    async def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        last: object = None
        try:
            while self._waiting:
                try:
                    if connection is None:
                        assert self._database.path is not None
                        uri = f"{self._database.path.absolute().as_uri()}?mode=ro"
                        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
                    version = connection.execute("PRAGMA data_version").fetchone()
                except (sqlite3.Error, OSError):
                    version, connection = None, _closed(connection)
                # The first look counts as a change: between a waiter's look and this one, anything may have happened.
                if version != last:
                    last = version
                    self.changed()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            _closed(connection)


def _closed(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


class PostgresSignal(Signal):
    """LISTENs on a connection of its own."""

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(*FAILURES):
                await self._listen()
            self.changed()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await self._database.engine.connect()
        try:
            raw = (await connection.get_raw_connection()).driver_connection
            assert isinstance(raw, asyncpg.Connection)
            await raw.add_listener(CHANNEL, self._notified)
            self.changed()
            while True:
                # A connection that died without a word shows only when it is used.
                await asyncio.sleep(_KEEPALIVE_SECONDS)
                await raw.execute("SELECT 1", timeout=WAIT_SECONDS)
        finally:
            # It listens: nobody else may get it from the pool.
            await connection.invalidate()
            await connection.close()

    def _notified(self, _connection: Any, _pid: int, _channel: str, handle: str) -> None:
        self.changed(handle)
