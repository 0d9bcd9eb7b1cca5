"""A statement that waits for people, between the session's two ends: order, exactly once, and what the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Choice, Request, State, Vote
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.audit.events import HoldUsed, Operation, OperationFinished
from wicketgate_gateway.contract.policy import BundledBot
from wicketgate_gateway.session import holds
from wicketgate_gateway.session.holding import declared
from wicketgate_gateway.session.holds import Holds
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.anyio
RULES = """
rules:
  - allow: {sql: {statements: [read], relations: [public.*]}}
  - hold: {sql: {statements: [write], relations: [public.orders]}, approvers: {groups: [dba]}, wait: 5s}
"""
OWNER = "00000000-0000-4000-8000-00000000000f"
Z = m.ready_for_query()
DELETE = "DELETE FROM orders WHERE id = 1"


class Held:
    """A session whose writes are held, and the people's side of it."""

    def __init__(self, world: Any, store: ApprovalStore) -> None:
        self.world = world
        self.store = store
        digest = lambda: world.policies.digest  # noqa: E731
        self.holds = Holds(Approvals(store, policy=digest), digest)
        world.session.gate = replace(world.gate, holds=self.holds)
        bot = world.session.principal.object_id
        world.policies.bots = {bot: BundledBot(name="code-review", owner="group:x", owner_id=OWNER)}

    async def asked(self) -> Request:
        """The one request that waits."""
        return (await self.until(lambda: self.store.list((State.PENDING,))))[0]

    async def until(self, look: Callable[[], Any]) -> Any:
        async with asyncio.timeout(10):
            while True:
                found = await look()
                if found:
                    return found
                await asyncio.sleep(0.01)

    async def vote(self, choice: Choice, comment: str = "") -> Request:
        request = await self.asked()
        return await self.store.vote(request.handle, Vote("ann", "Ann", choice, comment, seal=request.seal))

    async def out(self) -> bytes:
        """What goes to the target next."""

        async def look() -> bytes:
            return self.world.target

        return await self.until(look)

    async def state(self, handle: str, state: State) -> None:
        async def look() -> bool:
            return (await self.store.get(handle)).state is state

        await self.until(look)


@pytest.fixture
async def held(make_world: Callable[..., Any], tmp_path: Path) -> AsyncIterator[Held]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/control/control.db")
    made = Held(make_world(RULES), store)
    yield made
    await made.holds.close()
    await store.close()


def report(data: bytes, kind: bytes = b"E") -> dict[str, str]:
    """The first report of that kind in what the client got."""
    at = 0
    while at < len(data):
        end = at + 1 + int.from_bytes(data[at + 1 : at + 5], "big")
        if data[at : at + 1] == kind:
            return m.read_report(data[at + 5 : end])
        at = end
    raise AssertionError(f"no {kind!r} in {data!r}")


def syntax_error(target: bytes) -> bytes:
    start = target.index(b"wicketgate_denied_")
    nonce = target[start : target.index(b"\0", start)].decode()
    return m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42601", "M": f'syntax error at or near "{nonce}"'})


async def test_a_query_waits_and_what_is_behind_it_too(held: Held) -> None:
    world = held.world
    assert await world.send(m.query(DELETE), m.query("SELECT 1")) == b""
    request = await held.asked()
    assert request.statement == DELETE
    notice = report(world.client, b"N")
    assert notice["C"] == "01WG1"
    assert request.handle in notice["M"]
    assert "dba" in notice["D"]
    assert f"wicketgate approvals approve {request.handle}" in notice["H"]
    assert world.target == b""
    await held.vote(Choice.APPROVE)
    assert await held.out() == m.query(DELETE) + m.query("SELECT 1")
    (used,) = world.of(HoldUsed)
    operation = next(o for o in world.of(Operation) if o.statement == DELETE)
    assert (operation.effect, operation.code, operation.seq) == ("hold", "hold-approved", used.seq)
    assert world.events.index(used) == world.events.index(operation) + 1
    await world.answer(m.command_complete("DELETE 1"), Z)
    await held.state(request.handle, State.USED)
    assert world.of(OperationFinished)[0].outcome == "ok"


async def test_a_client_that_waits_hears_from_us_now_and_then(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(holds, "_LOOK_SECONDS", 0.05)
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    request = await held.asked()

    async def look() -> bool:
        return b"01WG2" in world.client

    await held.until(look)
    notice = report(world.client[world.client.index(b"SNOTICE", 20) - 5 :], b"N")
    assert notice["C"] == "01WG2"
    assert notice["M"] == f"`{request.handle}` still waits for approval"
    assert world.target == b""
    await held.vote(Choice.APPROVE)
    assert await held.out() == m.query(DELETE)


async def test_everything_before_it_is_answered_first(held: Held) -> None:
    world = held.world
    sent = await world.send(m.query("SELECT 1"), m.query(DELETE))
    assert sent == m.query("SELECT 1") + m.FLUSH
    assert await held.store.list((State.PENDING,)) == []
    await world.answer(m.command_complete("SELECT 0"), Z)
    await held.asked()


async def test_a_denial_takes_its_place_and_the_session_goes_on(held: Held) -> None:
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    await held.vote(Choice.DENY, "not now")
    out = await held.out()
    assert b"DELETE" not in out
    error = report(await world.answer(syntax_error(out), Z))
    assert error["C"] == "WG002"
    assert "not now" in error["M"]
    assert await world.send(m.query("SELECT 1")) == m.query("SELECT 1")


async def test_an_execute_is_held_with_its_parameters(held: Held) -> None:
    world = held.world
    text = "DELETE FROM orders WHERE id = $1"
    first = m.parse("", text, [23]) + m.bind("", "", [b"\0\0\0\7"], [1])
    assert await world.send(first, m.execute(""), m.SYNC) == first + m.FLUSH
    await world.answer(m.PARSE_COMPLETE, m.BIND_COMPLETE)
    request = await held.asked()
    assert [(p.type, p.format, p.value) for p in request.parameters] == [("23", 1, b"\0\0\0\7")]
    world.target = b""
    await held.vote(Choice.APPROVE)
    assert await held.out() == m.execute("") + m.SYNC
    await world.answer(m.command_complete("DELETE 1"), Z)


async def test_more_rows_of_what_was_approved_need_no_other_approval(held: Held) -> None:
    world = held.world
    text = "DELETE FROM orders RETURNING id"
    await world.send(m.parse("", text), m.bind("c", ""), m.execute("c", 1), m.FLUSH)
    await world.answer(m.PARSE_COMPLETE, m.BIND_COMPLETE)
    await held.asked()
    world.target = b""
    await held.vote(Choice.APPROVE)
    await held.out()
    await world.answer(m.PORTAL_SUSPENDED)
    assert await world.send(m.execute("c", 1)) == m.execute("c", 1)
    await world.answer(m.PORTAL_SUSPENDED)
    assert len(world.of(HoldUsed)) == 1
    sent = await world.send(m.bind("c2", ""), m.execute("c2", 1))
    assert m.execute("c2", 1) not in sent
    await world.answer(m.BIND_COMPLETE)
    assert (await held.asked()).statement == text


async def test_what_the_server_would_skip_is_not_asked_for(held: Held) -> None:
    world = held.world
    await world.send(m.parse("", "DELETE FROM orders WHERE id = $1"), m.bind("", "", []), m.execute(""), m.SYNC)
    error = {"S": "ERROR", "V": "ERROR", "C": "08P01", "M": "bind message supplies 0 parameters"}
    await world.answer(m.PARSE_COMPLETE, m.report(b"E", error))
    await world.answer(Z)
    await asyncio.sleep(0.1)
    assert await held.store.list(tuple(State)) == []
    assert not world.over


async def test_in_a_failed_transaction_nobody_is_asked(held: Held) -> None:
    world = held.world
    await world.send(m.query("BEGIN"))
    await world.answer(m.command_complete("BEGIN"), m.ready_for_query(b"E"))
    out = await world.send(m.query(DELETE))
    error = report(await world.answer(syntax_error(out), m.ready_for_query(b"E")))
    assert error["C"] == "25P02"
    assert await held.store.list(tuple(State)) == []


async def test_cancel_ends_the_wait_only(held: Held) -> None:
    world = held.world
    assert not world.postgres.cancel()
    world.postgres.from_client(m.query(DELETE))
    request = await held.asked()
    await held.until(lambda: _now(b"01WG1" in world.client))
    assert world.postgres.cancel()
    error = report(await world.answer(syntax_error(await held.out()), Z))
    assert error["C"] == "57014"
    assert request.handle in error["H"]
    assert (await held.store.get(request.handle)).state is State.PENDING


async def test_a_journal_that_fails_gives_the_claim_back(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    request = await held.asked()

    def broken(_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(world.journal, "_write", broken)
    await held.vote(Choice.APPROVE)
    await held.until(lambda: _now(world.over))
    monkeypatch.undo()
    assert world.target == b""
    await held.holds.close()
    assert (await held.store.get(request.handle)).state is State.APPROVED


async def test_a_client_that_leaves_gives_the_claim_back(held: Held) -> None:
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    request = await held.asked()
    await held.vote(Choice.APPROVE)
    world.postgres.client_lost()
    await held.holds.close()
    assert world.target == b""
    assert (await held.store.get(request.handle)).state is State.APPROVED
    assert (await held.store.get(request.handle)).uses == 0


async def test_the_client_is_read_while_it_waits_but_not_without_end(held: Held) -> None:
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    await held.asked()
    assert world.postgres.hungry
    world.postgres.from_client(m.query("SELECT '" + "x" * 300_000 + "'"))
    assert not world.postgres.hungry


async def test_without_anyone_to_ask_it_fails_closed(held: Held) -> None:
    world = held.world
    world.session.gate = replace(world.gate, holds=None)
    error = report(await world.answer(syntax_error(await world.send(m.query(DELETE))), Z))
    assert error["C"] == "WG007"


async def test_a_session_whose_settings_are_unclear_holds_nothing(held: Held) -> None:
    world = held.world
    world.postgres._settings.unclear = "the server computed it"
    error = report(await world.answer(syntax_error(await world.send(m.query(DELETE))), Z))
    assert error["C"] == "WG006"


async def test_a_policy_that_allows_meanwhile_runs_it_without_the_approval(
    held: Held, make_world: Callable[..., Any]
) -> None:
    world = held.world
    world.postgres.from_client(m.query(DELETE))
    request = await held.asked()
    free = make_world(RULES.replace("hold:", "allow:").replace(", approvers: {groups: [dba]}, wait: 5s", ""))
    bots = world.policies.bots
    world.policies = free.policies
    world.policies.bots = bots
    assert await held.out() == m.query(DELETE)
    await held.state(request.handle, State.VOID)
    assert not world.of(HoldUsed)


@pytest.mark.parametrize(
    ("raw", "types"), [(b"", []), (b"\0\0", []), (b"\0\1\0\0\0\x17", [23]), (b"\0\2\0\0\0\x17", [23])]
)
def test_declared_types(raw: bytes, types: list[int]) -> None:
    assert declared(raw) == types


async def _now(value: object) -> object:
    return value
