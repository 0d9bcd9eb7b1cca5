"""Kills: which sessions they meet, what happens to them, and what holds while the store is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import SessionKilled
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.server.kills import Kills

pytestmark = pytest.mark.anyio


class Fake:
    """A session, as far as a kill goes."""

    def __init__(self, bot: str, groups: set[str], target: str, session: str, *, busy: bool) -> None:
        principal = Principal(PrincipalKind.BOT, "t", bot, bot, bot, "uti", 4e9, groups=frozenset(groups))
        opening = SimpleNamespace(target_name=target)
        self.session = SimpleNamespace(id=session, principal=principal, opening=opening)
        self.over = False
        self.busy = busy
        self.done: list[Any] = []

    def cancel(self) -> None:
        self.done.append("cancel")

    def end(self, sqlstate: str, message: str, *, hint: str, reason: str) -> None:
        self.over = True
        self.done.append((sqlstate, message))


class World:
    def __init__(self, store: Any) -> None:
        self.store = store
        self.sessions = [
            Fake("bot-a", {"g1"}, "orders", "s1", busy=True),
            Fake("bot-a", {"g1"}, "stock", "s2", busy=False),
            Fake("bot-b", {"g1", "g2"}, "orders", "s3", busy=False),
        ]
        self.events: list[Any] = []
        self.kills: Any = Kills(store, lambda: [(s, s.cancel) for s in self.sessions], self.events.extend)  # pyright: ignore[reportArgumentType]

    async def kill(self, scope: Scope, value: str = "", reason: str = "") -> int:
        return (await self.store.kill(scope, value, by="Ann", by_id="ann", reason=reason)).id

    def dead(self) -> list[str]:
        return [s.session.id for s in self.sessions if s.over]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/control.db")
    yield World(store)
    await store.close()


@pytest.mark.parametrize(
    ("scope", "value", "dead"),
    [
        (Scope.BOT, "bot-a", ["s1", "s2"]),
        (Scope.GROUP, "g2", ["s3"]),
        (Scope.TARGET, "orders", ["s1", "s3"]),
        (Scope.SESSION, "s2", ["s2"]),
        (Scope.ALL, "", ["s1", "s2", "s3"]),
        (Scope.BOT, "bot-c", []),
    ],
)
async def test_whom_a_kill_meets(world: World, scope: Scope, value: str, dead: list[str]) -> None:
    await world.kill(scope, value, "why")
    await world.kills.load()
    world.kills.apply()
    assert world.dead() == dead
    assert [e.session for e in world.events] == dead
    assert all(isinstance(e, SessionKilled) and e.by == "Ann" for e in world.events)
    for s in world.sessions:
        met = world.kills.meets(s.session.principal, s.session.opening.target_name, s.session.id)
        assert (met is not None) == (s.session.id in dead)


async def test_what_runs_is_cancelled_first_and_the_client_is_told(world: World) -> None:
    await world.kill(Scope.ALL, "", "it went astray")
    await world.kills.load()
    world.kills.apply()
    world.kills.apply()
    assert world.sessions[0].done == ["cancel", ("57P01", "the session was ended by Ann: it went astray")]
    assert [type(d) for d in world.sessions[1].done] == [tuple]
    assert [e.cancelled for e in world.events] == [True, False, False]


async def test_an_order_is_seen_at_once_and_its_lifting_too(world: World) -> None:
    task = asyncio.ensure_future(world.kills.run())
    try:
        await asyncio.sleep(0.1)
        begin = time.monotonic()
        number = await world.kill(Scope.BOT, "bot-b")
        await _until(lambda: world.dead() == ["s3"])
        assert time.monotonic() - begin < 1
        await world.store.lift(number, by="Ann", by_id="ann")
        principal = world.sessions[2].session.principal
        await _until(lambda: world.kills.meets(principal, "orders") is None)
    finally:
        task.cancel()


async def test_while_the_store_is_away_the_known_kills_hold(world: World, tmp_path: Path) -> None:
    await world.kill(Scope.TARGET, "orders")
    task = asyncio.ensure_future(world.kills.run())
    try:
        await _until(lambda: world.dead() == ["s1", "s3"])
        kills, world.store.kills = world.store.kills, _broken
        await asyncio.sleep(0.5)
        assert world.kills.meets(world.sessions[0].session.principal, "orders") is not None
        assert not task.done()
        world.store.kills = kills
        await world.kill(Scope.TARGET, "stock")
        await _until(lambda: world.dead() == ["s1", "s2", "s3"])
    finally:
        task.cancel()


async def test_at_the_start_they_must_be_readable(world: World) -> None:
    world.store.kills = _broken
    with pytest.raises(WicketgateError):
        await world.kills.load()


async def _broken(*_: Any, **__: Any) -> Any:
    raise WicketgateError("away", code="approvals-unavailable")


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for tells by no event
            await asyncio.sleep(0.01)
