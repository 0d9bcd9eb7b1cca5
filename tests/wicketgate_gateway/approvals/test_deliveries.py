"""Messages to receivers: made once, leased to one, never lost, whatever several processes do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wicketgate_gateway.approvals.deliveries import DEAD, Deliveries
from wicketgate_gateway.approvals.model import Choice
from wicketgate_gateway.approvals.store import open_store

pytestmark = pytest.mark.anyio
KINDS = ("requested", "approved", "denied", "expired", "void")


async def all_due(deliveries: Deliveries, receiver: str = "ops") -> list[Any]:
    found: list[Any] = []
    while (one := await deliveries.lease(receiver, 60)) is not None:
        found.append(one)
    return found


async def test_each_receiver_is_told_what_happens_from_now_on_and_once(world: Any) -> None:
    await world.ask(statement="before")
    deliveries = Deliveries(world.store.database, KINDS)
    await deliveries.enrol(["ops", "chat"])
    request = await world.ask()
    assert await deliveries.spread(["ops", "chat"]) == 2
    assert await deliveries.spread(["ops", "chat"]) == 0
    await deliveries.enrol(["ops", "chat"])  # the next start changes nothing
    for name in ("ops", "chat"):
        (one,) = await all_due(deliveries, name)
        assert (one.receiver, one.change.kind, one.change.handle, one.tries) == (name, "requested", request.handle, 0)
        assert await deliveries.done(one)
        assert not await deliveries.done(one)
        assert await all_due(deliveries, name) == []


async def test_processes_that_spread_and_lease_at_once(world: Any) -> None:
    names = [f"r{i}" for i in range(3)]
    stores = [await open_store(world.url, clock=world.clock) for _ in range(4)]
    try:
        made = [Deliveries(store.database, KINDS) for store in stores]
        await asyncio.gather(*(each.enrol(names) for each in made))
        handles = {(await world.ask(statement=f"DELETE FROM t WHERE id = {i}")).handle for i in range(4)}
        spread = await asyncio.gather(*(each.spread(names) for each in made))
        assert sum(spread) == 12
        leased = [d for found in await asyncio.gather(*(all_due(each, "r1") for each in made)) for d in found]
        assert len(leased) == 4
        assert {d.change.handle for d in leased} == handles
    finally:
        for store in stores:
            await store.close()


async def test_a_lease_that_runs_out_is_anothers_and_its_holder_notes_nothing(sqlite_world: Any) -> None:
    world = sqlite_world
    deliveries = Deliveries(world.store.database, KINDS)
    await deliveries.enrol(["ops"])
    await world.ask()
    await deliveries.spread(["ops"])
    slow = await deliveries.lease("ops", 30)
    assert slow is not None
    world.clock.turn(29)
    assert await deliveries.lease("ops", 30) is None
    world.clock.turn(2)
    other = await deliveries.lease("ops", 30)
    assert other is not None
    assert other.change.id == slow.change.id
    assert not await deliveries.done(slow)
    assert not await deliveries.again(slow, 1)
    assert await deliveries.done(other)


async def test_tried_again_later_and_in_the_order_of_one_request(sqlite_world: Any) -> None:
    world = sqlite_world
    deliveries = Deliveries(world.store.database, KINDS)
    await deliveries.enrol(["ops"])
    request = await world.ask()
    await world.answer(request, Choice.DENY)
    other = await world.ask(statement="DELETE FROM other")
    await deliveries.spread(["ops"])
    first = await deliveries.lease("ops", 30)
    assert first is not None
    assert (first.change.kind, first.change.handle) == ("requested", request.handle)
    assert await deliveries.again(first, 100)
    # That of another request does not wait for it; that it was denied is not told before it was asked.
    (now,) = await all_due(deliveries)
    assert now.change.handle == other.handle
    world.clock.turn(101)
    again = await deliveries.lease("ops", 30)
    assert again is not None
    assert (again.change.id, again.tries) == (first.change.id, 1)
    assert await deliveries.done(again, DEAD)
    last = await deliveries.lease("ops", 30)
    assert last is not None
    assert (last.change.kind, last.change.handle) == ("denied", request.handle)


async def test_what_is_long_over_goes_and_what_is_open_stays(sqlite_world: Any) -> None:
    world = sqlite_world
    deliveries = Deliveries(world.store.database, KINDS)
    await deliveries.enrol(["ops"])
    await world.ask()
    await world.ask(statement="DELETE FROM other")
    await deliveries.spread(["ops"])
    first = await deliveries.lease("ops", 30)
    assert first is not None
    await deliveries.done(first)
    world.clock.turn(8 * 24 * 3600)
    await world.ask(statement="DELETE FROM third")
    await deliveries.spread(["ops"])
    async with world.store.database.reading() as (connection, _):
        from sqlalchemy import text

        left = (await connection.execute(text("SELECT change, state FROM deliveries"))).all()
    assert first.change.id not in {change for change, _ in left}
    assert {state for _, state in left} == {"open"}
    assert len(left) >= 2
