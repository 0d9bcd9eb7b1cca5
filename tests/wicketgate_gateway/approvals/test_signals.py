"""Waking up: no change is missed, nobody polls for nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from wicketgate_gateway.approvals.store import open_store

pytestmark = pytest.mark.anyio


async def test_what_happened_between_looking_and_waiting_wakes(world: Any) -> None:
    other = await open_store(world.url, clock=world.clock)
    for number in range(10):
        seen = other.generation
        await world.ask(statement=f"DELETE FROM t{number}")
        before = time.monotonic()
        await other.after_change(seen, 10)
        assert time.monotonic() - before < 2
    await other.close()


async def test_an_old_generation_does_not_wait(world: Any) -> None:
    seen = world.store.generation
    await world.store.after_change(seen, 0.3)
    assert world.store.generation > seen, "the first look counts as a change"
    before = time.monotonic()
    await world.store.after_change(seen, 10)
    assert time.monotonic() - before < 0.1


async def test_nothing_changes_and_nobody_is_woken(world: Any) -> None:
    async def always() -> None:
        while True:
            await world.store.after_change(world.store.generation, 60)

    # Someone always waits, so that no first look wakes us; by the end of the pause the listener has told of itself.
    keeper = asyncio.create_task(always())
    await asyncio.sleep(1)
    seen, before = world.store.generation, time.monotonic()
    await asyncio.gather(*(world.store.after_change(seen, 0.4) for _ in range(5)))
    assert time.monotonic() - before > 0.35
    assert world.store.generation == seen
    keeper.cancel()


async def test_sqlite_is_not_looked_at_while_nobody_waits(sqlite_world: Any) -> None:
    signal = sqlite_world.store._signal
    await sqlite_world.store.after_change(sqlite_world.store.generation, 0.2)
    async with asyncio.timeout(5):
        await signal._task
    assert signal._task.done()


async def test_closing_wakes_who_waits(world: Any) -> None:
    await world.store.after_change(world.store.generation, 0.3)
    waiter = asyncio.create_task(world.store.after_change(world.store.generation + 10, 60))
    await asyncio.sleep(0.1)
    await world.store.close()
    await asyncio.wait_for(waiter, 5)
