"""The session between its two ends: what goes out to the server, what comes back, what is on record first."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation, OperationFinished, SessionEnded
from wicketgate_gateway.recording.recorder import RecordingError
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.messages import FieldDescription

pytestmark = pytest.mark.anyio
EMAIL = m.row_description([FieldDescription("email", 20000, 3, 25)])
Z = m.ready_for_query()


def nonce_of(target: bytes) -> str:
    start = target.index(b"wicketgate_denied_")
    return target[start : target.index(b"\0", start)].decode()


def syntax_error(nonce: str) -> bytes:
    return m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42601", "M": f'syntax error at or near "{nonce}"'})


async def test_nothing_goes_out_before_it_is_on_record(world: Any) -> None:
    query = m.query("SELECT 1")
    world.postgres.from_client(query)
    assert world.target == b""
    assert world.of(Operation)[0].statement == "SELECT 1"
    await world.journal.drain()
    assert world.target == query


async def test_a_journal_that_fails_lets_nothing_out(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(world.journal, "_write", broken)
    assert await world.send(m.query("SELECT 1")) == b""
    monkeypatch.undo()
    assert m.read_report(world.client[5:])["C"] == "58030"
    assert world.over == [True]


async def test_a_recording_that_fails_refuses_statements_and_the_session_lives(world: Any) -> None:
    world.session.recording.failed = RecordingError("disk full")
    sent = await world.send(m.query("SELECT 1"))
    assert b"SELECT 1" not in sent
    out = await world.answer(syntax_error(nonce_of(sent)) + Z)
    assert m.read_report(out[5:])["C"] == "58030"
    world.session.recording.failed = None
    assert await world.send(m.query("SELECT 1")) == m.query("SELECT 1")


@pytest.mark.parametrize("text", ["DELETE FROM customers", "SELECT 1; DROP TABLE orders", "SELEC", "DO $$ $$"])
async def test_denied_bytes_never_leave(world: Any, text: str) -> None:
    for message in (m.query(text), m.parse("", text)):
        sent = await world.send(message)
        assert text.encode() not in sent
        nonce = nonce_of(sent)
        out = await world.answer(syntax_error(nonce) + (Z if message[:1] == b"Q" else b""))
        error = m.read_report(out[5:])
        assert error["C"] == ("42601" if text == "SELEC" else "42501")
        assert nonce.encode() not in out
        assert world.session.id in error["D"]
        if message[:1] == b"P":
            await world.send(m.SYNC)
            await world.answer(Z)
    assert [o.effect for o in world.of(Operation)] == ["deny", "deny"]


async def test_masked_rows_and_the_describe_that_we_put_in(world: Any) -> None:
    execute = m.bind("", "s") + m.execute("") + m.SYNC
    sent = await world.send(m.parse("s", "SELECT email FROM customers"), execute)
    assert (
        sent
        == m.parse("s", "SELECT email FROM customers") + m.bind("", "s") + m.describe(b"P", "") + m.execute("") + m.SYNC
    )
    row = m.data_row([b"eve@example.com"]) + m.command_complete("SELECT 1")
    out = await world.answer(m.PARSE_COMPLETE + m.BIND_COMPLETE + EMAIL + row + Z)
    assert out == m.PARSE_COMPLETE + m.BIND_COMPLETE + m.data_row(["•••".encode()]) + m.command_complete("SELECT 1") + Z
    (finished,) = world.of(OperationFinished)
    assert (finished.outcome, finished.rows) == ("ok", 1)


async def test_parameters_are_on_record(world: Any) -> None:
    await world.send(m.parse("", "SELECT $1::text"), m.bind("", "", [b"x", None][:1]), m.execute(""), m.SYNC)
    (operation,) = world.of(Operation)
    assert operation.parameters == [b"x"]
    assert operation.statement == "SELECT $1::text"


async def test_what_really_ran_is_on_record(world: Any) -> None:
    """A name that is taken keeps its meaning: the event that told of the other text is put right."""
    await world.send(m.parse("s", "SELECT 1"), m.SYNC)
    await world.answer(m.PARSE_COMPLETE + Z)
    await world.send(m.parse("s", "SELECT 2"), m.SYNC, m.bind("", "s"), m.execute(""), m.SYNC)
    exists = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42P05", "M": "exists"})
    done = m.BIND_COMPLETE + m.row_description([])[:0] + m.data_row([b"1"]) + m.command_complete("SELECT 1")
    plan = m.row_description([FieldDescription("n", 0, 0, 23)])
    await world.answer(exists + Z + m.BIND_COMPLETE + plan + done[len(m.BIND_COMPLETE) :] + Z)
    told = [(o.seq, o.statement) for o in world.of(Operation)]
    assert told == [(1, "SELECT 2"), (1, "SELECT 1")]


async def test_an_execute_of_an_unknown_portal_is_denied(world: Any) -> None:
    sent = await world.send(m.execute("nope"), m.SYNC)
    assert m.execute("nope") not in sent
    out = await world.answer(syntax_error(nonce_of(sent)) + Z)
    assert m.read_report(out[5:])["C"] == "34000"


async def test_statements_prepared_before_a_new_policy_are_decided_anew(world: Any, decider: Any) -> None:
    await world.send(m.parse("s", "SELECT id FROM orders"), m.SYNC)
    await world.answer(m.PARSE_COMPLETE + Z)
    world.policies = decider("rules:\n  - allow: {sql: {statements: [read], relations: [public.customers]}}\n").set
    sent = await world.send(m.bind("", "s"), m.execute(""), m.SYNC)
    assert m.execute("") not in sent
    assert world.of(Operation)[-1].effect == "deny"
    assert world.of(Operation)[-1].policy == world.policies.digest


async def test_a_bundle_without_a_policy_for_the_bot_ends_the_session(world: Any, decider: Any) -> None:
    world.policies = decider(
        "policy: other\ntargets: [elsewhere, orders-db]\nrules:\n  - allow: {sql: {statements: [read]}}\n"
    ).set
    world.policies.for_principal = lambda *_: None
    await world.send(m.query("SELECT 1"))
    assert m.read_report(world.client[5:])["V"] == "FATAL"
    assert world.of(SessionEnded)[0].reason == "no-policy"


async def test_copy_in_waits_for_the_server(world: Any) -> None:
    copy = m.query("COPY orders FROM STDIN")
    rest = m.copy_data(b"1\n") + m.COPY_DONE + m.query("SELECT 1")
    assert await world.send(copy, rest) == copy
    assert not world.postgres.hungry
    world.target = b""
    await world.answer(m.copy_response(b"G"))
    assert world.target == m.copy_data(b"1\n") + m.COPY_DONE
    await world.answer(m.command_complete("COPY 1") + Z)
    await world.send()
    assert world.of(Operation)[-1].statement == "SELECT 1"


async def test_copy_done_of_an_unrecorded_copy_becomes_a_failure(world: Any) -> None:
    await world.send(m.query("COPY orders FROM STDIN"))
    await world.answer(m.copy_response(b"G"))
    world.session.recording.failed = RecordingError("disk full")
    sent = await world.send(m.copy_data(b"1\n") + m.COPY_DONE)
    assert sent.endswith(m.copy_fail("the session cannot be recorded"))


async def test_a_pinned_setting_that_changes_ends_the_session(world: Any) -> None:
    out = await world.answer(m.parameter_status("standard_conforming_strings", "off"))
    assert m.read_report(out[5:])["V"] == "FATAL"
    assert b"standard_conforming_strings\0off" not in out
    assert world.of(SessionEnded)[0].reason == "pinned-setting-changed"


async def test_a_statement_with_the_good_bye_still_goes_out(world: Any) -> None:
    sent = await world.send(m.query("INSERT INTO orders VALUES (1)"), m.TERMINATE)
    assert sent == m.query("INSERT INTO orders VALUES (1)") + m.TERMINATE
    assert world.over == [False]
    assert world.of(OperationFinished)[0].outcome == "lost"


async def test_a_denied_statement_of_too_many_bytes(world: Any) -> None:
    sent = await world.send(m.query("SELECT '" + "x" * 20_000 + "'"))
    assert len(sent) < 100
    assert world.of(Operation)[0].code == "sql-too-large"


async def test_ddl_asks_for_the_catalogue(make_world: Any) -> None:
    world = make_world("rules:\n  - allow: {sql: {statements: [ddl, read], relations: [public.*]}}\n")
    await world.send(m.query("CREATE TABLE public.fresh(id int)"))
    await world.answer(m.command_complete("CREATE TABLE") + Z)
    assert world.asked_to_refresh == ["orders-db"]


async def test_lost_ends(world: Any) -> None:
    await world.send(m.query("SELECT 1"))
    world.postgres.target_lost("the agent went away")
    assert m.read_report(world.client[5:])["C"] == "08006"
    assert world.over == [False]
    assert world.of(OperationFinished)[0].outcome == "lost"
    world.postgres.client_lost()
    assert len(world.of(SessionEnded)) == 1


async def test_a_long_burst_is_looked_at_in_turns(world: Any) -> None:
    burst = m.query("SELECT 1") * 1000
    world.postgres.from_client(burst)
    assert not world.postgres.hungry
    assert len(world.of(Operation)) < 100
    await world.send()
    for _ in range(50):
        await world.send()
    assert len(world.of(Operation)) == 1000
    assert world.postgres.hungry


async def test_what_was_prepared_within_a_time_window_does_not_outlive_it(make_world: Any) -> None:
    rules = """
rules:
  - allow: {sql: {statements: [read], relations: [public.*]}, during: {from: "08:00", to: "18:00", zone: UTC}}
"""
    world = make_world(rules)
    policy = world.session.policy
    noon, night = 1_700_050_000.0, 1_700_090_000.0  # 12:06 and 23:13 UTC
    policy.clock = lambda: noon
    world.session.refresh()
    parse = m.parse("s", "SELECT item FROM orders")
    assert parse in await world.send(parse, m.SYNC)
    await world.answer(m.message(b"1"), m.message(b"Z", b"I"))
    bind, execute = m.bind("", "s"), m.execute("")
    sent = await world.send(bind, execute, m.SYNC)
    assert execute in sent
    await world.answer(m.message(b"2"), m.message(b"C", b"SELECT 0\0"), m.message(b"Z", b"I"))
    policy.clock = lambda: night
    sent = await world.send(bind, execute, m.SYNC)
    assert execute not in sent
    assert world.of(Operation)[-1].effect == "deny"


async def test_a_parameter_of_a_type_of_ones_own_is_refused(world: Any) -> None:
    # The CHECK of a domain runs when a value is bound.
    parse = m.parse("", "SELECT item FROM orders WHERE id = $1", [20001])
    assert parse not in await world.send(parse, m.SYNC)
    event = world.of(Operation)[-1]
    assert (event.effect, event.code) == ("deny", "parameter-type")
    builtin = m.parse("", "SELECT item FROM orders WHERE id = $1", [23])
    assert builtin in await world.send(builtin, m.SYNC)
