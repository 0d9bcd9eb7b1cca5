"""Waking up: no change is missed, nobody polls for nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from wicketgate_gateway.approvals import store
from wicketgate_gateway.approvals.model import Choice, State
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


async def test_who_waits_for_one_request_hears_of_that_one(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [await world.ask(statement=f"DELETE FROM t{number}") for number in range(6)]
    waiting = await open_store(world.url, clock=world.clock)
    looks = 0
    look = waiting._get

    async def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*arguments, **more)

    monkeypatch.setattr(waiting, "_get", counted)
    monkeypatch.setattr(store, "_RECHECK_SECONDS", 60)
    until = time.time_ns() + 30_000_000_000
    waits = [asyncio.create_task(waiting.wait(request.handle, until)) for request in requests]
    await asyncio.sleep(1.5)  # all look, and once more when the listening has begun
    before = looks
    for request in requests[1:]:
        await world.answer(request, Choice.APPROVE)
    done = await asyncio.wait_for(asyncio.gather(*waits[1:]), 10)
    assert [request.state for request in done] == [State.APPROVED] * 5
    if waiting.database.kind == "postgresql":
        assert looks - before <= 2 * 5  # each was told of its vote and its approval, and of no other
    assert not waits[0].done()
    await world.answer(requests[0], Choice.DENY)
    assert (await asyncio.wait_for(waits[0], 10)).state is State.DENIED
    assert waiting._signal._listeners == {}
    await waiting.close()


async def test_closing_wakes_who_waits(world: Any) -> None:
    await world.store.after_change(world.store.generation, 0.3)
    waiter = asyncio.create_task(world.store.after_change(world.store.generation + 10, 60))
    await asyncio.sleep(0.1)
    await world.store.close()
    await asyncio.wait_for(waiter, 5)
