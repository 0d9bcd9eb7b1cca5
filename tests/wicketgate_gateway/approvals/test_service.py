"""Who may ask and answer, attack by attack."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Choice, Parameter, State
from wicketgate_gateway.approvals.service import MAX_SHOWN, groups_to_check
from wicketgate_gateway.contract.identity import PrincipalKind

pytestmark = pytest.mark.anyio


async def test_asked_approved_and_used_once(world: Any) -> None:
    request = await world.ask()
    assert request.state is State.PENDING
    assert await world.approvals.claim(world.held(), "orders#2") is None
    answered = await world.answer(request, Choice.APPROVE, comment="fine", seal=request.seal)
    assert answered.state is State.APPROVED
    assert [(v.approver, v.choice, v.comment) for v in answered.votes] == [(world.ann, Choice.APPROVE, "fine")]
    # In a later session of the same bot.
    claim = await world.approvals.claim(world.held(session="session-2"), "orders#2")
    assert claim.session == "session-2"
    assert claim.request.statement == "DELETE FROM orders WHERE id = $1"
    assert claim.request.parameters == (Parameter("23", 0, b"7"),)
    assert await world.approvals.claim(world.held(), "orders#2") is None
    await world.store.finished(claim, "ok")
    assert (await world.store.get(request.handle)).state is State.USED
    # What comes next is asked anew.
    assert (await world.ask()).handle != request.handle


CHANGED = {
    "one byte": {"statement": "DELETE FROM orders WHERE id = $2"},
    "a space": {"statement": "DELETE FROM orders WHERE id = $1 "},
    "a letter's case": {"statement": "delete FROM orders WHERE id = $1"},
    "a comment": {"statement": "DELETE FROM orders WHERE id = $1 --"},
    "another normal form": {"statement": "DELETE FROM orders WHERE id = $1 -- e\u0301"},
    "parameter's value": {"parameters": (Parameter("23", 0, b"8"),)},
    "parameter's type": {"parameters": (Parameter("20", 0, b"7"),)},
    "parameter's format": {"parameters": (Parameter("23", 1, b"7"),)},
    "parameter NULL": {"parameters": (Parameter("23", 0, None),)},
    "parameter empty": {"parameters": (Parameter("23", 0, b""),)},
    "one more parameter": {"parameters": (Parameter("23", 0, b"7"), Parameter("23", 0, b"7"))},
    "no parameter": {"parameters": ()},
    "search_path": {"facts": {"search_path": "evil", "role": "app", "standard_conforming_strings": "on"}},
    "role": {"facts": {"search_path": "public", "role": "admin", "standard_conforming_strings": "on"}},
    "strings": {"facts": {"search_path": "public", "role": "app", "standard_conforming_strings": "off"}},
    "a fact less": {"facts": {"search_path": "public", "role": "app"}},
    "a fact more": {"facts": {"search_path": "public", "role": "app", "standard_conforming_strings": "on", "x": ""}},
    "target": {"target": "orders-prod"},
    "protocol": {"protocol": "mysql"},
    "bot": {"bot_id": "00000000-0000-4000-8000-0000000000ff"},
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
async def test_approve_a_run_b(sqlite_world: Any, change: dict[str, Any]) -> None:
    world = sqlite_world
    await world.approved()
    assert await world.approvals.claim(world.held(**change), "orders#2") is None
    # And another is asked for, not found as approved.
    other = await world.ask(**change)
    assert other.state is State.PENDING
    # The one that was approved still goes through.
    assert await world.approvals.claim(world.held(), "orders#2") is not None


async def test_approved_under_one_rule_or_policy_is_not_under_another(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.approved()
    assert await world.approvals.claim(world.held(), "orders#3") is None
    old = world.held()
    world.policy = "sha256:" + "2" * 64
    assert await world.approvals.claim(world.held(), "orders#2") is None
    # Nor by a session that has not noticed.
    assert await world.approvals.claim(old, "orders#2") is None
    with refused("policy-changed"):
        await world.approvals.ask(old, world.terms())
    assert (await world.store.get(request.handle)).uses == 0


async def test_what_was_asked_under_another_policy_is_void(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    world.policy = "sha256:" + "2" * 64
    with refused("policy-changed"):
        await world.answer(request, Choice.APPROVE)
    found = await world.store.get(request.handle)
    assert (found.state, found.note) == (State.VOID, "the policy changed")
    world.policy = request.policy
    with refused("hold-closed"):
        await world.answer(request, Choice.APPROVE)


async def test_a_bot_that_is_gone(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    world.gone[world.bot] = "it was disabled"
    with refused("bot-gone"):
        await world.answer(request, Choice.APPROVE)
    assert (await world.store.get(request.handle)).state is State.VOID


async def test_who_may_not_answer(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    both = (world.approvers, world.owners)
    attacks = {
        "approver-not-allowed": [world.person(world.eve, world.others)],
        "approver-is-owner": [world.person(world.ann, *both), world.person(world.owners)],
        "approver-is-requester": [world.person(world.bot), world.person(world.bot.upper())],
        "approver-not-a-person": [
            world.person(world.ann, kind=PrincipalKind.BOT),
            world.person(world.ann, kind=PrincipalKind.AGENT),
            world.person("", name="Ann"),
            world.person("ann@example.com"),
        ],
    }
    for code, people in attacks.items():
        for person in people:
            for choice in Choice:
                with refused(code):
                    await world.answer(request, choice, person)
    with refused("approver-not-allowed"):
        await world.answer(request, Choice.APPROVE, dataclasses.replace(world.person(world.eve), groups=frozenset()))
    assert (await world.store.get(request.handle)).votes == ()


async def test_groups_that_were_not_looked_up_count_for_nothing(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    for checked in (frozenset(), frozenset({world.approvers}), frozenset({world.owners})):
        with refused("approver-unchecked"):
            await world.answer(request, Choice.APPROVE, checked=checked)
    assert groups_to_check(request) == {world.approvers, world.owners}


async def test_an_owner_who_is_a_person(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.ask(owner="person:ann@example.com", owner_id=world.ann)
    with refused("approver-is-owner"):
        await world.answer(request, Choice.APPROVE, world.ann)
    with refused("approver-is-owner"):
        await world.answer(request, Choice.APPROVE, world.ann.upper())
    assert (await world.answer(request, Choice.APPROVE, world.bob)).state is State.APPROVED


async def test_a_quorum_is_of_people_not_of_names(world: Any, refused: Any) -> None:
    request = await world.ask(world.terms(quorum=2))
    assert (await world.answer(request, Choice.APPROVE, world.ann)).state is State.PENDING
    for name in ("Ann", "ann@example.com", "Bob"):
        for oid in (world.ann, world.ann.upper(), f" {world.ann} "):
            with refused("already-voted"):
                await world.answer(request, Choice.APPROVE, world.person(oid, name=name))
    assert await world.approvals.claim(world.held(), "orders#2") is None
    assert (await world.answer(request, Choice.APPROVE, world.bob)).state is State.APPROVED


async def test_one_denial_is_enough_and_holds(world: Any, refused: Any) -> None:
    request = await world.ask(world.terms(quorum=2))
    await world.answer(request, Choice.APPROVE, world.ann)
    assert (await world.answer(request, Choice.DENY, world.bob)).state is State.DENIED
    with refused("hold-closed"):
        await world.answer(request, Choice.APPROVE, world.eve)
    # Asking again and again tires nobody out.
    again = await world.ask(world.terms(quorum=2))
    assert (again.handle, again.state) == (request.handle, State.DENIED)
    world.clock.turn(601)
    assert (await world.ask()).handle != request.handle


async def test_an_approval_can_be_taken_back_until_it_is_used(world: Any, refused: Any) -> None:
    request = await world.approved()
    assert (await world.answer(request, Choice.DENY, world.ann)).state is State.DENIED
    assert await world.approvals.claim(world.held(), "orders#2") is None
    used = await world.approved(statement="DELETE FROM b")
    assert await world.approvals.claim(world.held(statement="DELETE FROM b"), "orders#2") is not None
    with refused("hold-closed"):
        await world.answer(used, Choice.DENY, world.ann)


async def test_two_approvers_at_once(world: Any) -> None:
    for number in range(10):
        request = await world.ask(statement=f"DELETE FROM t{number}")
        answers = await asyncio.gather(
            world.answer(request, Choice.APPROVE, world.ann),
            world.answer(request, Choice.DENY, world.bob),
            world.answer(request, Choice.APPROVE, world.eve),
            return_exceptions=True,
        )
        found = await world.store.get(request.handle)
        # Whoever came first: a denial is never lost, and what is denied does not run.
        assert any(v.choice is Choice.DENY for v in found.votes), answers
        assert found.state is State.DENIED
        assert await world.approvals.claim(world.held(statement=f"DELETE FROM t{number}"), "orders#2") is None


async def test_too_late(world: Any, refused: Any) -> None:
    late = await world.ask(statement="DELETE FROM late")
    unused = await world.approved(world.terms(use_within=30.0))
    world.clock.turn(31)
    assert await world.approvals.claim(world.held(), "orders#2") is None
    assert (await world.store.get(unused.handle)).state is State.EXPIRED
    world.clock.turn(600)
    with refused("hold-expired"):
        await world.answer(late, Choice.APPROVE)
    assert [r.handle for r in await world.store.list([State.EXPIRED])] == [late.handle, unused.handle]
    assert await world.store.list() == []
    assert await world.store.sweep() == 2
    # Written down once and for all: turning the clock back brings nothing back.
    world.clock.turn(-640)
    assert await world.approvals.claim(world.held(), "orders#2") is None
    assert (await world.store.get(late.handle)).state is State.EXPIRED
    with refused("hold-expired"):
        await world.answer(late, Choice.APPROVE)


async def test_a_clock_that_goes_back_voids_what_is_open(world: Any, refused: Any) -> None:
    pending, approved = await world.ask(statement="DELETE FROM a"), await world.approved()
    world.clock.turn(-3)  # as clocks are set right all the time
    assert (await world.ask(statement="DELETE FROM a")).handle == pending.handle
    world.clock.turn(-3600)
    assert await world.approvals.claim(world.held(), "orders#2") is None
    for handle in (pending.handle, approved.handle):
        found = await world.store.get(handle)
        assert (found.state, found.note) == (State.VOID, "the store's clock went back")
    with refused("hold-closed"):
        await world.answer(pending, Choice.APPROVE)
    # From then on all is as before.
    await world.approved()
    assert await world.approvals.claim(world.held(), "orders#2") is not None


async def test_for_a_while_only_as_the_rule_says(world: Any) -> None:
    request = await world.approved(world.terms(reuse=3600.0))
    for _ in range(3):
        claim = await world.approvals.claim(world.held(), "orders#2")
        await world.store.finished(claim, "ok")
    found = await world.store.get(request.handle)
    assert (found.state, found.uses) == (State.APPROVED, 3)
    assert await world.approvals.claim(world.held(statement="DELETE FROM orders"), "orders#2") is None
    world.clock.turn(3601)
    assert await world.approvals.claim(world.held(), "orders#2") is None


async def test_what_cannot_be_asked(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    ask = world.approvals.ask
    with refused("hold-not-showable"):
        await ask(world.held(statement="x" * (MAX_SHOWN + 1)), world.terms())
    with refused("hold-not-showable"):  # counted in bytes
        await ask(world.held(statement="ä" * (MAX_SHOWN // 2)), world.terms())
    with refused("hold-not-showable"):
        await ask(world.held(parameters=(Parameter("25", 0, b"x" * MAX_SHOWN),)), world.terms())
    with refused("hold-not-showable"):
        await ask(world.held(parameters=(Parameter("25", 0, None),) * 1001), world.terms())
    with refused("hold-not-showable"):
        await ask(world.held(statement="DELETE FROM a\0b"), world.terms())
    with refused("hold-not-showable"):
        await ask(world.held(statement="ALTER ROLE a PASSWORD 'x'"), world.terms(), shown="ALTER ROLE a PASSWORD '…'")
    with refused("hold-not-canonical"):
        await ask(world.held(statement="DELETE FROM \ud800"), world.terms())
    with refused("hold-not-canonical"):
        await ask(world.held(blast={"rows": 1.5}), world.terms())
    with refused("hold-reason-missing"):
        await ask(world.held(reason=" \n"), world.terms(reason_required=True))
    with refused("hold-reason-too-long"):
        await ask(world.held(reason="x" * 1001), world.terms())
    for wrong in ({"approver_groups": ()}, {"quorum": 0}, {"within": 0.0}, {"use_within": 0.0}, {"reuse": 0.0}):
        with refused("hold-unanswerable"):
            await ask(world.held(), world.terms(**wrong))
    for owner in ("", "group:platform"):
        with refused("hold-owner-unknown"):
            await ask(world.held(owner_id=owner), world.terms())
    assert await world.store.list(list(State)) == []


async def test_what_was_looked_at_is_what_is_answered(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    first, second = await world.ask(), await world.ask(statement="DELETE FROM orders")
    with refused("seal-mismatch"):
        await world.answer(second, Choice.APPROVE, seal=first.seal)
    with refused("comment-too-long"):
        await world.answer(second, Choice.APPROVE, comment="x" * 1001)
    # What the bot says it is for, and how far it reaches, is part of what is answered.
    third = await world.ask(statement="DELETE FROM x", reason="a", blast={"rows": 1})
    fourth = await world.ask(statement="DELETE FROM y", reason="a", blast={"rows": 2})
    assert third.seal != fourth.seal
    assert (await world.store.get(third.handle)).blast == {"rows": 1}


async def test_a_handle_opens_nothing(sqlite_world: Any, refused: Any) -> None:
    world = sqlite_world
    request = await world.approved()
    assert await world.store.claim(request.handle, world.bot, "s") is None
    assert await world.store.claim(request.seal, world.bot, "s") is None
    assert await world.store.claim(request.digest, "00000000-0000-4000-8000-0000000000ff", "s") is None
    for guess in ("", "hold-", "%", "hold-%", "' OR 1=1 --", "hold-" + "0" * 6, "\0", "x" * 10_000):
        with refused("hold-unknown"):
            await world.store.get(guess)
    # As people type it.
    for typed in (request.handle.upper(), f" {request.handle}\n", request.handle.removeprefix("hold-")):
        assert (await world.store.get(typed)).handle == request.handle


async def test_sweeping_writes_down_what_expires(sqlite_world: Any) -> None:
    world = sqlite_world
    request = await world.ask()
    world.clock.turn(601)
    task = asyncio.create_task(world.approvals.sweeping())
    async with asyncio.timeout(10):
        async for change in world.store.watch(since=0):
            if change.kind == "expired":
                break
    task.cancel()
    assert change.handle == request.handle


async def test_sweeping_goes_on_while_the_store_is_away(sqlite_world: Any, tmp_path: Path) -> None:
    world = sqlite_world
    await world.ask()
    path = world.store.database.path
    path.rename(tmp_path / "away")
    world.clock.turn(601)
    task = asyncio.create_task(world.approvals.sweeping())
    await asyncio.sleep(0.2)
    assert not task.done()
    (tmp_path / "away").rename(path)
    async with asyncio.timeout(10):
        async for change in world.store.watch(since=0):
            if change.kind == "expired":
                break
    task.cancel()
