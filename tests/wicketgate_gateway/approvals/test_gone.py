"""What a bot left open when it went: void, whichever way it went; and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wicketgate_gateway.approvals.gone import Gone, GoneWatch
from wicketgate_gateway.approvals.model import Choice, Scope, State
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.identity.errors import Refused

pytestmark = pytest.mark.anyio
GONE = ("bot-disabled", "bot-expired")


class Entra:
    """What Entra says of a bot, by object id."""

    def __init__(self) -> None:
        self.says: dict[str, str] = {}
        self.asked: list[str] = []

    async def recheck(self, principal: Principal) -> Principal:
        self.asked.append(principal.object_id)
        code = self.says.get(principal.object_id)
        if code is not None:
            raise Refused(code, f"it is {code}")
        return principal


@pytest.mark.parametrize("code", GONE)
async def test_what_is_open_becomes_void_and_what_others_asked_stays(world: Any, code: str) -> None:
    entra = Entra()
    bots = {world.bot, world.bob}
    watch = GoneWatch(world.store, Gone("t", entra, lambda: bots).why, 60)
    pending = await world.ask()
    approved = await world.approved(statement="DELETE FROM orders WHERE id = 8")
    other = await world.ask(bot_id=world.bob)
    assert await watch.step() == []
    entra.says[world.bot] = code
    assert set(await watch.step()) == {pending.handle, approved.handle}
    for handle in (pending.handle, approved.handle):
        found = await world.store.get(handle)
        assert (found.state, found.note) == (State.VOID, f"the bot is gone: it is {code}")
    assert (await world.store.get(other.handle)).state is State.PENDING
    # What was approved is used by nobody any more, even if the bot comes back.
    del entra.says[world.bot]
    assert await world.approvals.claim(world.held(statement="DELETE FROM orders WHERE id = 8"), "orders#2") is None
    with pytest.raises(WicketgateError) as error:
        await world.answer(pending, Choice.APPROVE)
    assert error.value.code == "hold-closed"


async def test_a_bot_taken_out_of_the_stack(sqlite_world: Any) -> None:
    world = sqlite_world
    bots = {world.bot}
    gone = Gone("t", Entra(), lambda: bots)
    request = await world.ask()
    assert await GoneWatch(world.store, gone.why, 60).step() == []
    bots.clear()
    assert await GoneWatch(world.store, gone.why, 60).step() == [request.handle]
    assert "taken out of the stack" in (await world.store.get(request.handle)).note


async def test_a_gateway_that_does_not_know_a_bot_yet_ends_nothing(sqlite_world: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    assert await GoneWatch(world.store, Gone("t", Entra(), set).why, 60).step() == []
    assert (await world.store.get(request.handle)).state is State.PENDING


async def test_an_entra_that_does_not_answer_ends_nothing_and_keeps_nobody_else_waiting(sqlite_world: Any) -> None:
    world = sqlite_world
    entra = Entra()
    watch = GoneWatch(world.store, Gone("t", entra, set).why, 60)
    silent, gone = await world.ask(), await world.ask(bot_id=world.bob)
    entra.says |= {world.bot: "graph-unavailable", world.bob: "bot-disabled"}
    with pytest.raises(Refused) as error:
        await watch.step()
    assert error.value.code == "graph-unavailable"
    assert (await world.store.get(silent.handle)).state is State.PENDING
    assert (await world.store.get(gone.handle)).state is State.VOID


async def test_only_bots_with_something_open_are_asked_about(sqlite_world: Any) -> None:
    world = sqlite_world
    entra = Entra()
    request = await world.ask()
    await world.answer(request, Choice.DENY)
    lapsed = await world.ask(bot_id=world.bob)
    world.clock.turn(3600)
    assert await GoneWatch(world.store, Gone("t", entra, set).why, 60).step() == []
    assert entra.asked == []
    assert (await world.store.get(lapsed.handle)).state is State.EXPIRED


async def test_it_looks_again_and_again_whatever_fails(sqlite_world: Any) -> None:
    world = sqlite_world
    entra = Entra()
    request = await world.ask()
    entra.says[world.bot] = "graph-unavailable"
    task = asyncio.get_running_loop().create_task(GoneWatch(world.store, Gone("t", entra, set).why, 0.01).run())
    try:
        async with asyncio.timeout(10):
            while len(entra.asked) < 3:  # noqa: ASYNC110 - what is waited for tells by no event
                await asyncio.sleep(0.01)
            entra.says[world.bot] = "bot-expired"
            while (await world.store.get(request.handle)).state is not State.VOID:  # noqa: ASYNC110 - tells by no event
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await world.store.kill(Scope.ALL, "", by="", by_id="", reason="")  # the store is whole
