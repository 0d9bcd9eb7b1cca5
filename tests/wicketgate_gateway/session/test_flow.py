"""A session's streams: what goes out when, who is read, and the end."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.audit.events import OperationFinished, SessionEnded
from wicketgate_gateway.session.flow import MAX_UNDER_WAY, PUMP_MESSAGES, Flow
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.wire.postgres import frontend
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.anyio
Z = m.ready_for_query()


def test_every_message_of_a_client_has_a_handler() -> None:
    assert set(PostgresSession.HANDLERS) == set(frontend.Event.__args__)
    assert Flow.HANDLERS == {}


async def test_many_messages_are_looked_at_in_turns_and_stay_in_order(world: Any) -> None:
    count = 3 * PUMP_MESSAGES
    sent = await world.send(*(m.query(f"SELECT {i}") for i in range(count)))
    assert sent == b"".join(m.query(f"SELECT {i}") for i in range(count))
    assert world.postgres.busy


@pytest.mark.parametrize("count", [PUMP_MESSAGES - 1, PUMP_MESSAGES, PUMP_MESSAGES + 1, 2 * PUMP_MESSAGES])
async def test_a_turn_that_ends_with_the_bytes_that_came_reads_on(world: Any, count: int) -> None:
    """A pipeline without its Sync: the server says nothing yet, so nothing but reading can go on."""
    await world.send(m.query("BEGIN"))
    await world.answer(m.command_complete("BEGIN"), m.ready_for_query(b"T"))
    await world.send(*([m.FLUSH] * count))
    for _ in range(4):
        await world.send()
    assert world.postgres.hungry


async def test_too_many_without_an_answer_stop_the_reading(world: Any) -> None:
    await world.send(*([m.SYNC] * (MAX_UNDER_WAY + 10)))
    assert not world.postgres.hungry
    await world.answer(*([Z] * MAX_UNDER_WAY))
    for _ in range(5):
        await world.answer()
    assert world.postgres.hungry
    await world.answer(*([Z] * 10))
    assert not world.postgres.busy


async def test_a_notice_of_ours_is_on_record_and_none_is_sent_after_the_end(world: Any) -> None:
    before = world.session.recording
    assert before is not None
    world.postgres.tell(b"N-bytes")
    assert world.client == b"N-bytes"
    world.postgres.client_lost()
    world.postgres.tell(b"more")
    assert world.client == b"N-bytes"


async def test_what_was_under_way_at_the_end_is_lost(world: Any) -> None:
    await world.send(m.query("SELECT 1"))
    world.postgres.end("57P01", "killed", reason="killed (order 1)")
    assert m.read_report(world.client[5:])["C"] == "57P01"
    assert world.of(OperationFinished)[0].outcome == "lost"
    assert world.of(SessionEnded)[0].reason == "killed (order 1)"
    assert not world.postgres.cancel()
