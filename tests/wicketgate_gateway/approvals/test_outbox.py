"""What people decide comes on record, whatever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from wicketgate_gateway.approvals import outbox
from wicketgate_gateway.approvals.model import Choice, Scope
from wicketgate_gateway.approvals.outbox import Outbox
from wicketgate_gateway.audit import ingest, query
from wicketgate_gateway.audit.events import HoldDecided, HoldRequested, HoldVoted, KillLifted, KillOrdered
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import sqlite

pytestmark = pytest.mark.anyio


class Written:
    """A journal that can fail."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.fails = False

    def submit(self, events: Sequence[Any], release: Callable[[Exception | None], None]) -> None:
        if self.fails:
            asyncio.get_running_loop().call_soon(release, OSError("disk full"))
            return
        self.events += events
        asyncio.get_running_loop().call_soon(release, None)


async def test_a_request_and_its_answers(world: Any) -> None:
    request = await world.ask(world.terms(quorum=2))
    await world.answer(request, Choice.APPROVE, world.ann, comment="looks right")
    await world.answer(request, Choice.DENY, world.person(world.bob, name="Bob"))
    journal = Written()
    assert await Outbox(world.store, journal.submit).step() == 4
    asked, first, second, decided = journal.events
    assert isinstance(asked, HoldRequested)
    assert (asked.handle, asked.digest, asked.seal) == (request.handle, request.digest, request.seal)
    assert (asked.bot, asked.target, asked.quorum, asked.reason) == ("code-review", "orders-db", 2, "ticket 7")
    assert isinstance(first, HoldVoted)
    assert (first.approver, first.name, first.choice, first.comment) == (world.ann, "Ann", "approve", "looks right")
    assert isinstance(second, HoldVoted)
    assert (second.approver, second.choice, second.seal) == (world.bob, "deny", request.seal)
    assert isinstance(decided, HoldDecided)
    assert (decided.state, decided.approvers) == ("denied", [world.bob])
    assert [e.change for e in journal.events] == sorted(e.change for e in journal.events)
    assert await Outbox(world.store, journal.submit).step() == 0


async def test_kills(sqlite_world: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    await Outbox(world.store, Written().submit).step()
    kill = await world.store.kill(Scope.BOT, world.bot, by="Eve", by_id=world.eve, reason="incident")
    await world.store.lift(kill.id, by="Bob", by_id=world.bob)
    journal = Written()
    await Outbox(world.store, journal.submit).step()
    ordered, void, lifted = journal.events
    assert isinstance(ordered, KillOrdered)
    assert (ordered.kill, ordered.scope, ordered.value, ordered.by_id) == (kill.id, "bot", world.bot, world.eve)
    assert (void.handle, void.state, void.reason) == (request.handle, "void", "killed: incident")
    assert isinstance(lifted, KillLifted)
    assert lifted.by_id == world.bob


async def test_a_journal_that_fails_loses_nothing(sqlite_world: Any) -> None:
    world = sqlite_world
    await world.ask()
    journal = Written()
    journal.fails = True
    with pytest.raises(WicketgateError, match="disk full"):
        await Outbox(world.store, journal.submit).step()
    journal.fails = False
    world.clock.turn(11)
    assert await Outbox(world.store, journal.submit).step() == 1
    assert [type(e) for e in journal.events] == [HoldRequested]


async def test_a_request_that_was_meddled_with_still_tells_who_voted(sqlite_world: Any) -> None:
    world = sqlite_world
    await world.approved()
    async with world.store.database.writing() as (connection, _):
        await connection.execute(text("UPDATE requests SET seal = 'another'"))
    journal = Written()
    await Outbox(world.store, journal.submit).step()
    assert [(e.approver, e.seal) for e in journal.events if isinstance(e, HoldVoted)] == [(world.ann, "")]


async def test_into_a_real_journal_and_the_audit_store(sqlite_world: Any, tmp_path: Path) -> None:
    world = sqlite_world
    journal = Journal(tmp_path / "journal")
    running = asyncio.create_task(Outbox(world.store, journal.submit).run())
    request = await world.approved()
    claim = await world.approvals.claim(world.held(), "orders#2")
    journal.submit([outbox.used(claim, seq=3, now=world.clock())])
    connection = sqlite.connect(sqlite.database(tmp_path))
    kinds = ("hold-requested", "hold-voted", "hold-decided", "hold-used")
    found: list[Any] = []
    async with asyncio.timeout(10):
        while len(found) < 4:
            await asyncio.sleep(0.05)
            await journal.drain()
            ingest.catch_up(tmp_path, connection)
            found = query.events(connection, AuditFilter(kinds=kinds, bot="code-review", target="orders-db"))
    running.cancel()
    assert {row.kind for row in found} == set(kinds)
    assert {row.event.handle for row in found} == {request.handle}
    used = next(row.event for row in found if row.kind == "hold-used")
    assert (used.approvers, used.seq, used.claim) == ([world.ann], 3, claim.id)
    connection.close()
    journal.close()
