"""What flies comes to the same as the general way, whatever the client asks and however the server answers."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from wicketgate_gateway.audit.events import Operation, OperationFinished
from wicketgate_gateway.session import express
from wicketgate_gateway.session import flow as flows
from wicketgate_gateway.wire.postgres import frontend
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.messages import FieldDescription
from wicketgate_gateway.wire.postgres.sql.parser import native

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(native(), "express_query"), reason="the native crate is not built"),
]
EMAIL = m.row_description([FieldDescription("email", 20000, 3, 25)])
NUMBER = m.row_description([FieldDescription("n", 0, 0, 23)])
ROW = m.data_row([b"eve@example.com"])
TEXTS = [
    "SELECT count(*) FROM orders WHERE id = {n}",
    "SELECT email FROM customers WHERE id = {n}",
    "SELECT email FROM customers WHERE email = '{n}'",
    "INSERT INTO orders (id) VALUES ({n})",
    "SELECT 1 -- {n}",
    "SELECT {n}; SELECT 2",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "DROP TABLE orders",
    "SET statement_timeout = {n}",
    "SELECT",
    "",
    "DISCARD ALL",
    "DECLARE c CURSOR FOR SELECT email FROM customers",
    "FETCH 1 FROM c",
]


class Server:
    """Answers what reaches it as a server might: mostly well, at times with errors, notices and odd pieces."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._decoder = frontend.FrontendDecoder()
        self._texts: dict[str, str] = {}
        self._portal = ""
        self._skipping = False
        self._state = b"I"

    def answer(self, sent: bytes) -> list[bytes]:
        self._decoder.feed(sent)
        out = b""
        while (event := self._decoder.next()) is not None:
            out += self._one(event)
        if not out or self._source.random() < 0.7:
            return [out] if out else []
        cut = self._source.randrange(len(out) + 1)
        return [piece for piece in (out[:cut], out[cut:]) if piece]

    def _fail(self, message: str) -> bytes:
        if self._state == b"T":
            self._state = b"E"
        return m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42601", "M": message, "D": "eve@example.com"})

    def _one(self, event: Any) -> bytes:
        if self._skipping and not isinstance(event, frontend.Sync):
            return b""
        match event:
            case frontend.Query():
                return self._run(event.text, told=True) + m.ready_for_query(self._state)
            case frontend.Parse():
                if "wicketgate_denied" in event.text:
                    return self._skip(f'syntax error at or near "{event.text}"')
                if ";" in event.text:
                    return self._skip("cannot insert multiple commands into a prepared statement")
                self._texts[event.name] = event.text
                return m.PARSE_COMPLETE
            case frontend.Bind():
                if event.statement not in self._texts:
                    return self._skip("no such statement")
                self._portal = self._texts[event.statement]
                return m.BIND_COMPLETE
            case frontend.Describe():
                text = self._portal if event.what == "P" else self._texts.get(event.name, "")
                said = EMAIL if "email" in text else NUMBER if text.startswith("SELECT") else m.message(b"n", b"")
                return m.message(b"t", b"\0\0") + said if event.what == "S" else said
            case frontend.Execute():
                out = self._run(self._portal, told=False)
                self._skipping = out[:1] == b"E"
                return out
            case frontend.Sync():
                self._skipping = False
                return m.ready_for_query(self._state)
            case _:
                return b""

    def _skip(self, message: str) -> bytes:
        self._skipping = True
        return self._fail(message)

    def _run(self, text: str, *, told: bool) -> bytes:
        first = text.split(" ")[0]
        if "wicketgate_denied" in text:
            return self._fail(f'syntax error at or near "{text}"')
        if self._state == b"E" and first not in ("COMMIT", "ROLLBACK"):
            return self._fail("aborted")
        if self._source.random() < 0.1:
            return self._fail("division by zero")
        if first == "DISCARD":
            self._texts.clear()
        out = m.report(b"N", {"S": "NOTICE", "V": "NOTICE", "C": "0", "M": "x"}) if self._source.random() < 0.1 else b""
        if first == "BEGIN":
            self._state = b"T"
        elif first in ("COMMIT", "ROLLBACK"):
            self._state = b"I"
        if not text:
            return m.message(b"I", b"")
        if first in ("SELECT", "FETCH"):
            rows = self._source.randrange(4)
            columns = EMAIL if "email" in text or first == "FETCH" else NUMBER
            shown = ROW if columns is EMAIL else m.data_row([b"7"])
            out += (columns if told else b"") + shown * rows + m.command_complete(f"{first} {rows}")
            if text.endswith("SELECT 2"):
                out += NUMBER + m.command_complete("SELECT 0")
            return out
        return out + m.command_complete({"INSERT": "INSERT 0 1", "DISCARD": "DISCARD ALL"}.get(first, first))


def ask(source: random.Random) -> list[bytes]:
    """What a client sends next, in pieces."""
    text = source.choice(TEXTS if source.random() < 0.5 else TEXTS[:4]).format(n=source.randrange(1000))
    kind = source.random()
    if kind < 0.3:
        whole = m.query(text)
    elif kind < 0.5:
        whole = _row_of_them(source)
    else:
        name = source.choice(["", "", "a", "b"])
        whole = m.parse(name, text.format(n=1)) if source.random() < 0.5 else b""
        values = [source.choice([b"x", None]) for _ in range(source.randrange(3))]
        whole += m.bind(source.choice(["", "", "", "p"]), name, values, source.choice([[], [0], [1]]), [0])
        whole += m.describe(b"P", "") if source.random() < 0.7 else b""
        whole += m.execute("") + m.SYNC
    if source.random() < 0.1:
        whole += m.query("SELECT count(*) FROM orders WHERE id = 5")
    if source.random() < 0.15:
        cut = source.randrange(len(whole) + 1)
        return [piece for piece in (whole[:cut], whole[cut:]) if piece]
    return [whole]


def _row_of_them(source: random.Random) -> bytes:
    """What a pipeline sends: several queries, with a Sync between them or not, and one at the end."""
    whole = b""
    for _ in range(source.randrange(2, 6)):
        name = source.choice(["", "", "", "a"])
        known = TEXTS[:4] if source.random() < 0.8 else [*TEXTS[4:9]]
        whole += m.parse("", source.choice(known).format(n=1)) if not name else b""
        whole += m.bind("", name, [b"x"] * source.randrange(2), [0], [0])
        whole += m.describe(b"P", "") if source.random() < 0.8 else b""
        whole += m.execute("") + (m.SYNC if source.random() < 0.3 else b"")
    return whole + m.SYNC


async def play(world: Any, seed: int) -> tuple[list[Any], int]:
    """All that goes in and out of a session, and how often something flew."""
    source, server = random.Random(seed), Server(random.Random(seed + 1))
    seen: list[Any] = []
    flown = 0
    for _ in range(40):
        for piece in ask(source):
            sent = await world.send(piece)
            flown += world.postgres._flight is not None
            seen.append((sent, world.postgres.busy, world.over))
            seen += [await world.answer(answer) for answer in server.answer(sent)]
        if source.random() < 0.03:
            world.session.take_names()  # as if the policy had changed
    world.postgres.client_lost()
    events = [
        msgspec.structs.replace(event, time=0, session="", **({"duration_us": 0} if hasattr(event, "outcome") else {}))
        for event in (*world.of(Operation), *world.of(OperationFinished))
    ]
    return [*seen, *events], flown


@pytest.mark.parametrize("seed", range(25))
async def test_flying_changes_nothing(
    make_world: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(flows.secrets, "token_hex", lambda _: "0" * 16)
    flying, general = make_world(), make_world()
    monkeypatch.setattr(general.postgres, "_fly", lambda _: False)
    found, flown = await play(flying, seed)
    wanted, none = await play(general, seed)
    ids = (flying.session.id.encode(), general.session.id.encode())
    assert none == 0
    assert [_without(ids, thing) for thing in found] == [_without(ids, thing) for thing in wanted]
    assert flown > 0, "nothing flew, so nothing was compared"


def _without(ids: tuple[bytes, bytes], thing: Any) -> Any:
    if isinstance(thing, bytes):
        for one in ids:
            thing = thing.replace(one, b"")
    return thing


async def test_a_query_flies_and_lands(world: Any) -> None:
    one, two = (m.query(f"SELECT email FROM customers WHERE id = {n}") for n in (1, 2))
    answer = EMAIL + ROW + m.command_complete("SELECT 1") + m.ready_for_query()
    assert await world.send(one) == one
    assert world.postgres._flight is None, "what was never decided on does not fly"
    await world.answer(answer)
    assert await world.send(two) == two
    assert world.postgres._flight is not None
    assert world.postgres.busy
    assert await world.answer(answer) == answer.replace(ROW, m.data_row(["•••".encode()]))
    assert [event.statement for event in world.of(Operation)] == [one[5:-1].decode(), two[5:-1].decode()]
    assert [(event.seq, event.rows, event.outcome) for event in world.of(OperationFinished)] == [
        (1, 1, "ok"),
        (2, 1, "ok"),
    ]


def queries(*texts: str) -> bytes:
    each = [m.parse("", text) + m.bind("", "", [], [], []) + m.describe(b"P", "") + m.execute("") for text in texts]
    return b"".join(each) + m.SYNC


def answers(*rows: bytes) -> list[bytes]:
    head = m.PARSE_COMPLETE + m.BIND_COMPLETE
    return [head + row + m.command_complete("SELECT 1" if row else "COMMIT") for row in rows]


async def test_a_pipeline_flies_and_arrives_car_by_car(world: Any) -> None:
    if not express.TRAINS or not hasattr(native(), "express_train"):
        pytest.skip("trains are off")
    asked = queries("SELECT email FROM customers", "SELECT 1", "COMMIT")
    each = answers(EMAIL + ROW, NUMBER + m.data_row([b"7"]), b"")
    each[2] = m.PARSE_COMPLETE + m.BIND_COMPLETE + m.message(b"n", b"") + m.command_complete("COMMIT")
    whole = b"".join(each) + m.ready_for_query()
    masked = whole.replace(ROW, m.data_row(["•••".encode()]))
    assert await world.send(asked) == asked
    assert world.postgres._flight is None
    assert await world.answer(whole) == masked
    assert await world.send(asked) == asked
    assert isinstance(world.postgres._flight, express.Train)
    cut = len(each[0]) + 3
    first = await world.answer(whole[:cut])
    assert world.postgres._flight is None, "what came in part landed"
    assert first + await world.answer(whole[cut:]) == masked
    assert await world.send(asked) == asked
    got = [await world.answer(piece) for piece in (each[0], each[1])]
    assert world.postgres._flight.at == 2
    assert b"".join(got) + await world.answer(each[2] + m.ready_for_query()) == masked
    assert world.postgres._flight is None
    found = [(event.seq, event.rows, event.outcome) for event in world.of(OperationFinished)]
    assert found == [(n, None if n % 3 == 0 else 1, "ok") for n in range(1, 10)]


async def test_what_a_lost_client_had_in_a_pipeline_is_told_by_what_arrived(world: Any) -> None:
    if not express.TRAINS or not hasattr(native(), "express_train"):
        pytest.skip("trains are off")
    asked = queries("SELECT 1", "SELECT 1")
    each = answers(NUMBER + m.data_row([b"7"]), NUMBER + m.data_row([b"7"]))
    await world.send(asked)
    await world.answer(b"".join(each) + m.ready_for_query())
    await world.send(asked)
    await world.answer(each[0])
    world.postgres.client_lost()
    assert [event.outcome for event in world.of(OperationFinished)] == ["ok", "ok", "ok", "lost"]


async def test_transactions_fly(world: Any) -> None:
    for text, state in (("BEGIN", b"T"), ("COMMIT", b"I"), ("BEGIN", b"T"), ("ROLLBACK", b"I")):
        await world.send(m.query(text))
        flew = world.postgres._flight is not None
        await world.answer(m.command_complete(text) + m.ready_for_query(state))
        assert world.postgres._responses.status == state
        assert flew == (text == "BEGIN" and len(world.of(OperationFinished)) > 2)
    assert [event.rows for event in world.of(OperationFinished)] == [None] * 4


async def test_what_flies_when_the_client_hangs_up_is_lost(world: Any) -> None:
    query, answer = m.query("SELECT 1"), NUMBER + m.command_complete("SELECT 0") + m.ready_for_query()
    await world.send(query)
    await world.answer(answer)
    await world.send(query)
    assert world.postgres._flight is not None
    world.postgres.client_lost()
    assert [event.outcome for event in world.of(OperationFinished)] == ["ok", "lost"]


async def test_nothing_flies_that_cannot_be_recorded(world: Any) -> None:
    query, answer = m.query("SELECT 1"), NUMBER + m.command_complete("SELECT 0") + m.ready_for_query()
    await world.send(query)
    await world.answer(answer)
    world.journal._file.close()
    assert await world.send(query) == b""
    assert world.over


async def test_a_changed_policy_is_asked_again(make_world: Callable[..., Any], decider: Any) -> None:
    world = make_world()
    query, answer = m.query("SELECT email FROM customers"), EMAIL + m.command_complete("SELECT 0") + m.ready_for_query()
    await world.send(query)
    await world.answer(answer)
    world.policies = decider("rules:\n  - allow: {sql: {statements: [read], relations: [public.orders]}}").set
    assert b"wicketgate_denied" in await world.send(query)


async def test_an_answer_of_another_kind_is_not_passed_on(world: Any) -> None:
    query, answer = m.query("SELECT email FROM customers"), EMAIL + m.command_complete("SELECT 0") + m.ready_for_query()
    await world.send(query)
    await world.answer(answer)
    await world.send(query)
    out = await world.answer(ROW + m.command_complete("SELECT 1") + m.ready_for_query())
    assert b"eve@" not in out
    assert world.over


async def test_what_was_decided_under_another_catalogue_is_forgotten(make_world: Callable[..., Any]) -> None:
    world = make_world()
    query, answer = m.query("SELECT email FROM customers"), EMAIL + m.command_complete("SELECT 0") + m.ready_for_query()
    await world.send(query)
    await world.answer(answer)
    before = world.postgres._table
    assert len(before) == 1
    world.catalogue = msgspec.structs.replace(world.catalogue, version="another")
    await world.send(query)
    assert world.postgres._flight is None, "another catalogue asks for another decision"
    await world.answer(answer)
    assert world.postgres._table is not before
    assert not any(table is before for _, tables in express._tables.values() for table in tables.values())
