"""Requests, votes, claims and kills under attack: several processes, a store that was meddled with or is gone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from sqlalchemy import text

from wicketgate_gateway.approvals.model import Choice, Scope, State, Vote
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import MAX_OPEN_PER_BOT, new_claim_id, new_handle, open_store

pytestmark = pytest.mark.anyio

# A gateway of its own, which does one thing to one store once it is told to.
_PROCESS = """
import asyncio, json, sys
from wicketgate_gateway.approvals.model import Choice, Vote
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.errors import WicketgateError

async def main(url, what, items, me):
    store = await open_store(url)
    await store.list()
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    for item in items:
        try:
            if what == "claim":
                claim = await store.claim(item, me["bot"], me["name"])
                if claim is not None:
                    won.append(item)
            else:
                won.append((await store.vote(item, Vote(me["approver"], me["name"], Choice.APPROVE))).state.value)
        except WicketgateError as error:
            won.append(error.code)
    print(json.dumps(won), flush=True)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])))
"""


def race(url: str, what: str, items: list[str], people: list[dict[str, str]]) -> list[list[str]]:
    """What each got: each of `people` in a process of its own does `what` to all `items`, all at the same moment."""
    command = [sys.executable, "-c", _PROCESS, url, what, json.dumps(items)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, json.dumps(who)], **pipes) for who in people]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
async def test_processes_that_claim_the_same_approvals(world: Any) -> None:
    digests = []
    for number in range(15):
        request = await world.approved(statement=f"DELETE FROM t WHERE id = {number}")
        digests.append(request.digest)
    people = [{"bot": world.bot, "name": f"session-{i}"} for i in range(3)]
    won = await asyncio.to_thread(race, world.url, "claim", digests, people)
    assert sorted(digest for one in won for digest in one) == sorted(digests), "each exactly once, whoever came first"
    for request in await world.store.list([State.USED]):
        assert request.uses == 1
    assert len(await world.store.list([State.USED])) == len(digests)


@pytest.mark.slow
async def test_processes_in_which_one_person_votes(world: Any) -> None:
    handles = [(await world.ask(world.terms(quorum=2), statement=f"DELETE FROM t{i}")).handle for i in range(10)]
    ann = [{"approver": world.ann, "name": name} for name in ("Ann", "ann@example.com", "A.")]
    said = await asyncio.to_thread(race, world.url, "vote", handles, ann)
    for answers in zip(*said, strict=True):
        assert sorted(answers) == ["already-voted", "already-voted", "pending"]
    assert [r.state for r in await world.store.list()] == [State.PENDING] * 10


async def test_sessions_that_ask_for_the_same_at_once(world: Any) -> None:
    other = Approvals(await open_store(world.url, clock=world.clock), policy=lambda: world.policy)
    asked = [
        service.ask(world.held(session=f"s{i}"), world.terms())
        for i in range(10)
        for service in (world.approvals, other)
    ]
    found = await asyncio.gather(*asked)
    assert len({r.handle for r in found}) == 1
    assert len(await world.store.list()) == 1
    await other.store.close()


async def test_a_bot_cannot_bury_the_approvers(world: Any, refused: Any) -> None:
    for number in range(MAX_OPEN_PER_BOT):
        await world.ask(statement=f"DELETE FROM t WHERE id = {number}")

    async def more(number: int) -> None:
        with refused("too-many-holds"):
            await world.ask(statement=f"DELETE FROM u WHERE id = {number}")

    for number in range(0, 200, 20):
        await asyncio.gather(*(more(n) for n in range(number, number + 20)))
    assert len(await world.store.list()) == MAX_OPEN_PER_BOT
    # Others are not held up by it, and what is known is still found.
    await world.ask(bot_id=world.eve)
    await world.ask(statement="DELETE FROM t WHERE id = 3")
    world.clock.turn(601)
    await world.ask(statement="DELETE FROM v")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_bot_that_asks_ten_thousand_times(sqlite_world: Any, refused: Any) -> None:
    """With 50 others that ask for as much as they may: bounded, and as quick as before."""
    world = sqlite_world
    for bot in range(50):
        for number in range(MAX_OPEN_PER_BOT):
            await world.ask(bot_id=f"00000000-0000-4000-9000-{bot:012x}", statement=f"DELETE FROM t{number}")
    for number in range(10_000):
        with refused("too-many-holds"):
            await world.ask(bot_id="00000000-0000-4000-9000-000000000001", statement=f"DELETE FROM x{number}")
    assert len(await world.store.list(limit=20_000)) == 50 * MAX_OPEN_PER_BOT
    request = await world.ask()
    started = time.perf_counter()
    await world.answer(request, Choice.APPROVE)
    assert await world.approvals.claim(world.held(), "orders#2") is not None
    assert time.perf_counter() - started < 0.5


MEDDLING = {
    "statement": "UPDATE requests SET operation = replace(operation, 'orders', 'people')",
    "parameter": "UPDATE requests SET operation = replace(operation, 'Nw==', 'OA==')",
    "quorum": """UPDATE requests SET terms = replace(terms, '"quorum":2', '"quorum":1')""",
    "approvers": "UPDATE requests SET terms = replace(terms, '00000000000a', '00000000000b')",
    "expiry": """UPDATE requests SET terms = replace(terms, '"use_within":600', '"use_within":999')""",
    "digest": "UPDATE requests SET digest = 'abc'",
    "seal": "UPDATE requests SET seal = 'abc'",
    "handle": "UPDATE requests SET handle = 'hold-aaaaaa'",
}


@pytest.mark.parametrize("sql", MEDDLING.values(), ids=MEDDLING.keys())
async def test_a_request_that_was_changed_in_the_store(sqlite_world: Any, refused: Any, sql: str) -> None:
    world = sqlite_world
    request = await world.ask(world.terms(quorum=2))
    async with world.store.database.writing() as (connection, _):
        await connection.exec_driver_sql(sql)
    handle = "hold-aaaaaa" if "handle =" in sql else request.handle
    with refused("approval-damaged"):
        await world.store.get(handle)
    with refused("approval-damaged"):
        await world.store.vote(handle, Vote(world.ann, "Ann", Choice.APPROVE))


async def test_a_state_without_the_votes_for_it_is_not_believed(sqlite_world: Any) -> None:
    world = sqlite_world
    await world.ask(world.terms(quorum=2))
    async with world.store.database.writing() as (connection, now):
        await connection.execute(
            text("UPDATE requests SET state = 'approved', decided = :now, use_by = :until"),
            {"now": now, "until": now + 10**12},
        )
    assert await world.approvals.claim(world.held(), "orders#2") is None


async def test_votes_for_something_else_do_not_count(sqlite_world: Any) -> None:
    world = sqlite_world
    await world.approved()
    async with world.store.database.writing() as (connection, _):
        await connection.execute(text("UPDATE votes SET seal = 'another'"))
    assert await world.approvals.claim(world.held(), "orders#2") is None


async def test_a_claim_that_did_not_go_out_is_given_back(world: Any) -> None:
    await world.approved()
    claim = await world.approvals.claim(world.held(), "orders#2")
    assert await world.store.release(claim)
    assert not await world.store.release(claim), "once"
    again = await world.approvals.claim(world.held(), "orders#2")
    assert not await world.store.release(claim), "an old claim gives back nothing of a new one"
    await world.store.finished(again, "ok")
    assert not await world.store.release(again), "what went out does not come back"
    assert await world.approvals.claim(world.held(), "orders#2") is None


async def test_a_claim_whose_answer_was_lost_is_found_again_and_by_nobody_else(world: Any) -> None:
    request = await world.approved()
    ours, theirs = new_claim_id(), new_claim_id()
    first = await world.approvals.claim(world.held(), "orders#2", ours)
    again = await world.approvals.claim(world.held(), "orders#2", ours)
    assert (first.id, again.id) == (ours, ours)
    assert again.request.statement == first.request.statement
    assert (await world.store.get(request.handle)).uses == 1
    assert await world.approvals.claim(world.held(), "orders#2", theirs) is None
    # The id opens nothing for another session, another bot or another operation.
    assert await world.approvals.claim(world.held(session="session-2"), "orders#2", ours) is None
    assert await world.approvals.claim(world.held(bot_id=world.bob), "orders#2", ours) is None
    assert await world.approvals.claim(world.held(statement="DELETE FROM orders"), "orders#2", ours) is None
    kill = await world.store.kill(Scope.BOT, world.bot, by="Eve", by_id=world.eve, reason="")
    assert await world.approvals.claim(world.held(), "orders#2", ours) is None
    await world.store.lift(kill.id, by="Eve", by_id=world.eve)
    assert (await world.approvals.claim(world.held(), "orders#2", ours)).id == ours
    await world.store.finished(first, "ok")
    assert await world.approvals.claim(world.held(), "orders#2", ours) is None


async def test_a_released_claim_still_expires(world: Any) -> None:
    await world.approved(world.terms(use_within=30.0))
    claim = await world.approvals.claim(world.held(), "orders#2")
    world.clock.turn(31)
    await world.store.release(claim)
    assert await world.approvals.claim(world.held(), "orders#2") is None


async def test_a_kill_beats_approvals(world: Any, refused: Any) -> None:
    for scope, value in ((Scope.BOT, world.bot), (Scope.TARGET, "orders-db"), (Scope.ALL, "")):
        pending, approved = await world.ask(statement=f"DELETE FROM {scope}"), await world.approved()
        running = await world.approved(statement="DELETE FROM running")
        claim = await world.approvals.claim(world.held(statement="DELETE FROM running"), "orders#2")
        kill = await world.store.kill(scope, value, by="Eve", by_id=world.eve, reason="incident 4")
        assert await world.store.kills() == [kill]
        for handle in (pending.handle, approved.handle):
            found = await world.store.get(handle)
            assert (found.state, found.note) == (State.VOID, "killed: incident 4")
        with refused("killed"):
            await world.ask()
        await world.store.lift(kill.id, by="Eve", by_id=world.eve)
        # What had been claimed before comes back void, also after the kill was lifted.
        assert await world.store.release(claim)
        assert (await world.store.get(running.handle)).state is State.VOID
        with refused("kill-unknown"):
            await world.store.lift(kill.id, by="Eve", by_id=world.eve)
        assert await world.store.kills() == []
        assert [k.lifted_by for k in await world.store.kills(kill.id - 1, lifted=True)] == ["Eve"]
    kill = await world.store.kill(Scope.SESSION, "session-1", by="Eve", by_id=world.eve, reason="")
    await world.approved(session="session-2")
    assert await world.approvals.claim(world.held(session="session-1"), "orders#2") is None
    assert await world.approvals.claim(world.held(session="session-2"), "orders#2") is not None


async def test_a_kill_names_what_it_ends(sqlite_world: Any, refused: Any) -> None:
    for scope, value in ((Scope.ALL, "x"), (Scope.BOT, ""), (Scope.TARGET, "")):
        with refused("kill-invalid"):
            await sqlite_world.store.kill(scope, value, by="Eve", by_id="e", reason="")
    assert await sqlite_world.store.kills(lifted=True) == []


async def test_a_waiter_hears_of_it_from_another_process(world: Any) -> None:
    request = await world.ask()
    other = await open_store(world.url, clock=world.clock)
    for choice in (Choice.APPROVE, Choice.DENY):
        before = time.monotonic()
        waiter = asyncio.create_task(world.store.wait(request.handle, world.clock() + 60 * 10**9))
        await asyncio.sleep(0.3)
        assert not waiter.done()
        await other.vote(request.handle, Vote(world.ann, "Ann", choice))
        found = await asyncio.wait_for(waiter, 10)
        assert found.state is not State.PENDING
        assert time.monotonic() - before < 1.3
        request = await world.ask(statement="DELETE FROM other")
    await other.close()


async def test_a_wait_is_bounded(world: Any) -> None:
    request = await world.ask()
    before = time.monotonic()
    found = await world.store.wait(request.handle, world.clock() + 300_000_000)
    assert found.state is State.PENDING
    assert 0.25 < time.monotonic() - before < 2
    short = await world.ask(world.terms(within=0.5), statement="DELETE FROM short")
    assert (await world.store.wait(short.handle, world.clock() + 60 * 10**9)).state is State.EXPIRED


async def test_watching(world: Any) -> None:
    seen: list[tuple[str, str]] = []
    other = await open_store(world.url, clock=world.clock)

    async def watch() -> None:
        seen.extend([(change.kind, change.handle) async for change in _first(other.watch(), 4)])

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.3)
    request = await world.approved()
    await world.approvals.claim(world.held(), "orders#2")
    await asyncio.wait_for(task, 10)
    await other.close()
    assert seen == [(kind, request.handle) for kind in ("requested", "voted", "approved", "used")]
    kinds = [change.kind async for change in _first(world.store.watch(since=0), 4)]
    assert kinds == ["requested", "voted", "approved", "used"]


async def _first(changes: Any, count: int) -> Any:
    async for change in changes:
        yield change
        count -= 1
        if not count:
            return


async def test_changes_are_leased_to_one(world: Any) -> None:
    await world.ask()
    other = await open_store(world.url, clock=world.clock)
    first, second = await asyncio.gather(world.store.lease_changes(), other.lease_changes())
    assert len(first) + len(second) == 1
    assert await other.lease_changes() == []
    world.clock.turn(11)  # whoever had them died
    again = await other.lease_changes()
    assert [c.kind for c in again] == ["requested"]
    await other.journaled([c.id for c in again])
    world.clock.turn(11)
    assert await world.store.lease_changes() == []
    await other.close()


async def test_old_things_are_forgotten_and_open_ones_are_not(world: Any) -> None:
    used = await world.approved()
    await world.approvals.claim(world.held(), "orders#2")
    await world.store.journaled([c.id for c in await world.store.lease_changes()])
    world.clock.turn(2000)
    kept = await world.ask(statement="DELETE FROM kept")
    assert await world.store.forget(world.clock() - 1000 * 10**9) == 1
    assert [r.handle for r in await world.store.list(list(State))] == [kept.handle]
    assert [c.kind for c in await world.store.lease_changes()] == ["requested"]
    assert used.handle != kept.handle


async def test_void_names_what_it_ends(sqlite_world: Any) -> None:
    with pytest.raises(ValueError, match="needs"):
        await sqlite_world.store.void("all of it")


def test_handles_are_short_and_their_own() -> None:
    handles = {new_handle() for _ in range(1000)}
    assert len(handles) >= 999
    assert all(len(handle) == 11 and handle.startswith("hold-") for handle in handles)
