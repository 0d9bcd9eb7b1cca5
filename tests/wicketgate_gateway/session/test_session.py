"""A session whatever its protocol: policy, numbering, events."""

import asyncio
import dataclasses
import hashlib
from typing import Any

import pytest

from wicketgate_gateway.recording.reader import Recording
from wicketgate_gateway.session.session import (
    MAX_NOTICES,
    NOTICE_SECONDS,
    Running,
    Session,
    SessionOverError,
    shown_parameters,
)

pytestmark = pytest.mark.anyio


async def test_a_bot_without_a_policy_has_no_session(world: Any) -> None:
    principal = dataclasses.replace(world.opening.principal, groups=frozenset())
    with pytest.raises(SessionOverError):
        Session(world.gate, dataclasses.replace(world.opening, principal=principal))
    with pytest.raises(SessionOverError):
        world.session.become(principal)


async def test_the_start_is_recorded(world: Any) -> None:
    recording = Recording(world.recorder.folder, world.session.id)
    assert recording.started is not None
    assert recording.started.bot == "code-review"
    assert recording.started.target == "orders-db"


async def test_operations_are_numbered_and_told(world: Any) -> None:
    session = world.session
    decision = session.decide("SELECT email FROM customers")
    event = session.operation(decision, decision.verdict, "SELECT email FROM customers", now=5)
    assert (event.seq, event.effect, event.masked, event.time) == (1, "allow", True, 5)
    assert event.relations == ["public.customers"]
    counted = session.decide("SELECT count(*) FROM customers")
    assert not session.operation(counted, counted.verdict, "SELECT count(*) FROM customers", now=5, seq=1).masked
    assert event.policy == world.policies.digest
    again = session.operation(decision, decision.verdict, "x", now=6)
    assert again.seq == 2
    finished = session.finished(Running(2, 6_000, None), "ok", now=9_000, rows=3, sqlstate="")
    assert (finished.seq, finished.rows, finished.duration_us) == (2, 3, 3)


async def test_a_new_catalogue_or_bundle_is_taken_up(world: Any, decider: Any) -> None:
    epoch = world.session.epoch
    world.session.refresh()
    assert world.session.epoch == epoch
    world.catalogue = None
    world.session.refresh()
    assert world.session.epoch == epoch + 1
    assert world.session.facts.catalogue is None
    world.policies = decider("rules:\n  - allow: {sql: {statements: [read]}}\n").set
    world.session.refresh()
    assert world.session.policy.digest == world.policies.digest


async def test_long_texts_are_not_even_parsed(world: Any) -> None:
    decision = world.session.decide("SELECT 1 -- " + "ü" * 6_000)
    assert decision.verdict.code == "sql-too-large"
    assert not decision.statements


async def test_notices_wait_for_each_other_but_not_long(world: Any) -> None:
    event = world.session.finished(Running(1, 0, None), "ok", now=1, rows=None, sqlstate="")
    for _ in range(3):
        world.notices.add([event])
    assert event not in world.events
    await asyncio.sleep(NOTICE_SECONDS * 2)
    assert world.events.count(event) == 3
    world.notices.add([event] * MAX_NOTICES)
    assert world.events.count(event) == 3 + MAX_NOTICES


def test_large_parameters_are_told_by_their_digest() -> None:
    assert shown_parameters([b"a", None]) == [b"a", None]
    large = b"x" * 100_000
    small, cut = shown_parameters([b"a", large])
    assert small == b"a"
    assert cut is not None
    assert hashlib.sha256(large).hexdigest().encode() in cut
    assert sum(len(p or b"") for p in shown_parameters([b"y" * 60_000] * 100)) < 2_000_000
