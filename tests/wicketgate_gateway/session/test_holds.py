"""The wait for people, over a real store: what becomes of a claim, and what a client is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Choice, Held, Request, Scope, State, Vote
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.verdict import HoldTerms
from wicketgate_gateway.session import holds
from wicketgate_gateway.session.holds import Hold, Holds

pytestmark = pytest.mark.anyio
OWNER, BOT, GROUP = (f"00000000-0000-4000-8000-00000000000{i}" for i in range(1, 4))
HELD = Held(
    bot_id=BOT,
    bot="code-review",
    owner="group:platform",
    owner_id=OWNER,
    target="orders-db",
    protocol="postgres",
    session="session-1",
    statement="DELETE FROM orders",
    policy="sha256:1",
)
TERMS = HoldTerms("orders#2", (GROUP,), ("dba",), wait=5.0, within=60.0)


class World:
    """Holds over a store of their own."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.policy = "sha256:1"
        self.holds = Holds(Approvals(store, policy=lambda: self.policy), lambda: self.policy)
        self.asked: list[Request] = []
        self.measured = 0

    def begin(self, held: Held = HELD, terms: HoldTerms = TERMS) -> tuple[Hold, asyncio.Event]:
        done = asyncio.Event()
        hold = self.holds.begin(
            held, terms, shown=held.statement, measure=self.measure, asked=self.asked.append, answered=done.set
        )
        return hold, done

    async def measure(self) -> dict[str, Any]:
        self.measured += 1
        return {"estimated_rows": 3}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is waited for tells by no event
                await asyncio.sleep(0.01)

    async def vote(self, choice: Choice, comment: str = "", approver: str = "ann") -> None:
        request = self.asked[-1]
        await self.store.vote(request.handle, Vote(approver, "Ann", choice, comment, seal=request.seal))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/control.db")
    made = World(store)
    yield made
    await made.holds.close()
    await store.close()


async def test_approved_within_the_wait(world: World) -> None:
    hold, done = world.begin()
    await world.until(lambda: world.asked)
    assert world.asked[0].blast == {"estimated_rows": 3}
    await world.vote(Choice.APPROVE)
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert hold.answer.claim is not None
    assert hold.answer.claim.request.statement == HELD.statement
    hold.sent()
    hold.finished("ok")
    await world.holds.close()
    assert (await world.store.get(world.asked[0].handle)).state is State.USED


async def test_a_claim_that_did_not_go_out_is_given_back_and_one_that_may_have_is_not(world: World) -> None:
    hold, done = world.begin()
    await world.until(lambda: world.asked)
    await world.vote(Choice.APPROVE)
    await asyncio.wait_for(done.wait(), 10)
    hold.not_sent()
    hold.not_sent()
    await world.holds.close()
    handle = world.asked[0].handle
    assert (await world.store.get(handle)).state is State.APPROVED
    hold, done = world.begin()
    await asyncio.wait_for(done.wait(), 10)
    hold.sent()
    hold.abandon()
    await world.holds.close()
    assert (await world.store.get(handle)).state is State.USED
    assert len(world.asked) == 1
    assert world.measured == 1


async def test_who_gives_up_at_any_moment_leaves_no_claim_behind(world: World) -> None:
    hold, _ = world.begin()
    await world.until(lambda: world.asked)
    await world.vote(Choice.APPROVE)
    for moment in range(0, 30, 3):
        again, done = world.begin()
        hold.abandon()
        await asyncio.sleep(moment / 1000)
        again.abandon()
        hold = again
        assert not done.is_set() or again.answer is not None
    await world.holds.close()
    assert (await world.store.get(world.asked[0].handle)).state is State.APPROVED


@pytest.mark.parametrize(
    ("terms", "held", "code"),
    [
        (replace(TERMS, wait=0.05), HELD, "hold-pending"),
        (replace(TERMS, within=0.2), HELD, "hold-expired"),
        (replace(TERMS, reason_required=True), HELD, "hold-reason-missing"),
        (TERMS, replace(HELD, owner_id=""), "hold-owner-unknown"),
        (TERMS, replace(HELD, statement="x" * 70_000), "hold-not-showable"),
        (TERMS, replace(HELD, policy="sha256:0"), "policy-changed"),
    ],
)
async def test_what_does_not_run(world: World, terms: HoldTerms, held: Held, code: str) -> None:
    hold, done = world.begin(held, terms)
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert (hold.answer.code, hold.answer.claim) == (code, None)
    assert hold.answer.message
    if code == "hold-pending":
        handle = world.asked[0].handle
        assert handle in hold.answer.message
        assert "exactly the same statement again" in hold.answer.remedy
        assert f"wicketgate approvals show {handle}" in hold.answer.remedy
    if code == "hold-reason-missing":
        assert world.measured == 0


async def test_a_denial_tells_who_and_why(world: World) -> None:
    hold, done = world.begin()
    await world.until(lambda: world.asked)
    await world.vote(Choice.DENY, "too many rows")
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert hold.answer.code == "hold-denied"
    assert "Ann: too many rows" in hold.answer.message


async def test_a_policy_that_changes_meanwhile_makes_it_void(world: World) -> None:
    hold, done = world.begin()
    await world.until(lambda: world.asked)
    world.policy = "sha256:2"
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert hold.answer.code == "hold-void"
    assert (await world.store.get(world.asked[0].handle)).state is State.VOID


async def test_an_approval_that_cannot_be_used_is_not_tried_on_and_on(world: World) -> None:
    hold, done = world.begin(terms=replace(TERMS, wait=0.1))
    await asyncio.wait_for(done.wait(), 10)
    await world.vote(Choice.APPROVE)
    await world.store.kill(Scope.SESSION, HELD.session, by="Ann", by_id="ann", reason="")
    hold, done = world.begin(terms=replace(TERMS, wait=60.0))
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert hold.answer.code == "killed"
    world.policy = "sha256:2"
    hold, done = world.begin()
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert hold.answer.code == "hold-void"


async def test_two_sessions_with_one_approval_run_once_and_the_other_asks_anew(world: World) -> None:
    first, second = world.begin(), world.begin(replace(HELD, session="session-2"))
    await world.until(lambda: len(world.asked) == 2)
    assert world.asked[0].handle == world.asked[1].handle
    await world.vote(Choice.APPROVE)
    await world.until(lambda: len(world.asked) == 3)
    assert world.asked[2].handle != world.asked[0].handle
    answers = [hold.answer for hold, _ in (first, second)]
    assert sum(a is not None and a.claim is not None for a in answers) == 1
    for hold, _ in (first, second):
        hold.abandon()


async def test_a_client_hears_that_it_still_waits_and_no_more_than_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "STILL_SECONDS", 0.5)
    monkeypatch.setattr(holds, "_LOOK_SECONDS", 0.05)
    left: list[float] = []
    done = asyncio.Event()
    hold = world.holds.begin(
        HELD, replace(TERMS, wait=2.3), shown=HELD.statement, measure=world.measure, asked=world.asked.append,
        answered=done.set, still=left.append,
    )  # fmt: skip
    await asyncio.wait_for(done.wait(), 20)
    assert 1 <= len(left) <= 4
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] < left[0] <= 1.8
    assert hold.answer is not None
    assert hold.answer.code == "hold-pending"
    # Who hung up hears nothing.
    hold = world.holds.begin(
        replace(HELD, statement="DELETE FROM others"), TERMS, shown="DELETE FROM others", measure=world.measure,
        asked=world.asked.append, answered=done.set, still=left.append,
    )  # fmt: skip
    await world.until(lambda: len(world.asked) == 2)
    heard = len(left)
    hold.abandon()
    await world.holds.close()
    assert len(left) == heard


async def test_the_end_of_a_claim_is_noted_once_the_store_is_back(world: World) -> None:
    flaky = Flaky(world.store)
    world.holds = Holds(Approvals(flaky, policy=lambda: world.policy), lambda: world.policy)  # pyright: ignore
    hold, done = world.begin()
    await world.until(lambda: world.asked)
    await world.vote(Choice.APPROVE)
    await asyncio.wait_for(done.wait(), 10)
    flaky.before.add("release")
    hold.not_sent()
    await world.until(lambda: flaky.failed)
    assert (await world.store.get(world.asked[0].handle)).state is State.USED
    flaky.before.clear()
    await world.holds.close()
    assert (await world.store.get(world.asked[0].handle)).state is State.APPROVED


class Flaky:
    """A store whose methods fail when told to: `before` without doing it, `after` doing it and losing the answer."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.failed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in ("wait", "get", "claim", "standing", "release"):
            return real

        async def call(*arguments: Any, **more: Any) -> Any:
            away = WicketgateError("gone", code="approvals-unavailable", remedy="later")
            if name in self.before:
                self.failed.append(name)
                raise away
            result = await real(*arguments, **more)
            if name in self.after:
                self.after.discard(name)
                self.failed.append(name)
                raise away
            return result

        return call


async def test_a_store_that_comes_back_within_the_wait_ends_nothing(world: World) -> None:
    flaky = Flaky(world.store)
    world.holds = Holds(Approvals(flaky, policy=lambda: world.policy), lambda: world.policy)  # pyright: ignore
    hold, done = world.begin(terms=replace(TERMS, wait=20.0))
    await world.until(lambda: world.asked)
    flaky.before |= {"wait", "get"}
    await world.until(lambda: flaky.failed)
    await world.vote(Choice.APPROVE)
    assert not done.is_set()
    flaky.after.add("claim")  # the claim is made, and its answer is lost
    flaky.before.clear()
    await asyncio.wait_for(done.wait(), 10)
    assert "claim" in flaky.failed
    assert hold.answer is not None
    assert hold.answer.claim is not None
    hold.sent()
    await world.holds.close()
    request = await world.store.get(world.asked[0].handle)
    assert (request.state, request.uses, len(world.asked)) == (State.USED, 1, 1)


async def test_a_store_that_stays_away_ends_the_wait_in_its_time(world: World) -> None:
    flaky = Flaky(world.store)
    world.holds = Holds(Approvals(flaky, policy=lambda: world.policy), lambda: world.policy)  # pyright: ignore
    hold, done = world.begin(terms=replace(TERMS, wait=1.5))
    await world.until(lambda: world.asked)
    flaky.before |= {"wait", "get"}
    await asyncio.wait_for(done.wait(), 10)
    assert hold.answer is not None
    assert (hold.answer.claim, hold.answer.code) == (None, "approvals-unavailable")


async def test_a_store_that_is_gone_fails_closed(world: World, tmp_path: Path) -> None:
    (tmp_path / "control.db").unlink()
    hold, done = world.begin()
    await asyncio.wait_for(done.wait(), 30)
    assert hold.answer is not None
    assert (hold.answer.code, hold.answer.claim) == ("approvals-unavailable", None)
