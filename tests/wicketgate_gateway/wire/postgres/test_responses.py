"""The tracker: conversations, attacks, and random pipelines against a model of the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.expected import (
    Ask,
    Change,
    CopyFilter,
    Denial,
    Expected,
    Portal,
    Prepared,
    RowMasker,
    SqlPrepared,
)
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.responses import Responses

NONCE = "wicketgate_denied_0123"
OURS = errors.error("ERROR", "42501", "denied by policy")
SYNTAX = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42601", "M": f'syntax error at or near "{NONCE}"', "P": "1"})
FAILED = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "22012", "M": "division by zero"})
FIELDS = (FieldDescription("a", 1, 1, 25),)
T = m.row_description(FIELDS)


@dataclass(eq=False)
class Text:
    """A statement as the session knows it."""

    label: str
    masked: bool = False
    changes: Sequence[tuple[Change, str]] = ()
    copies_in: bool = False
    copies_out: bool = False
    written: frozenset[str] | None = None

    @property
    def hides_errors(self) -> bool:
        return self.masked


@dataclass
class Session:
    """Records what the tracker reports; masks rows by putting `M:` before each value."""

    done: list[tuple[object, str, str | None]] = field(default_factory=list)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    copied: list[tuple[bool, int]] = field(default_factory=list)

    def masker(
        self, prepared: Prepared | None, fields: tuple[FieldDescription, ...], formats: tuple[int, ...]
    ) -> RowMasker | None:
        assert prepared is not None
        if not prepared.masked:
            return None

        def mask(buffer: bytes, start: int, end: int) -> bytes:
            out = b""
            while start < end:
                after = start + 1 + int.from_bytes(buffer[start + 1 : start + 5], "big")
                values = m.read_data_row(buffer[start + 5 : after])
                out += m.data_row([None if v is None else b"M:" + v for v in values])
                start = after
            return out

        return mask

    def copying(self, prepared: Prepared, looks: CopyFilter | None, *, binary: bool, columns: int) -> CopyFilter | None:
        self.copied.append((binary, columns))
        return looks

    def finished(self, expected: Expected, outcome: str, ran: Prepared | None) -> None:
        label = ran.label if isinstance(ran, Text) else None
        self.done.append((expected.operation, outcome, label))

    def parameter(self, name: str, value: str) -> None:
        self.parameters.append((name, value))


def make() -> tuple[Responses, Session]:
    session = Session()
    return Responses(session, NONCE), session


def ask_query(text: Text, operation: object = None) -> Expected:
    return Expected(Ask.QUERY, prepared=text, operation=operation)


def ask_bind(r: Responses, portal: str, statement: str) -> Expected:
    made = Portal(r.statements.candidates(statement), None, ())
    return Expected(Ask.BIND, name=portal, portal=made, statement=statement)


def push_all(r: Responses, *asks: Expected) -> None:
    for ask in asks:
        r.push(ask)


def feed(r: Responses, *parts: bytes) -> bytes:
    return b"".join(b"".join(r.feed(part)) for part in parts)


SELECT = m.data_row([b"1"]) + m.command_complete("SELECT 1")
Z = m.ready_for_query()


def test_a_simple_query_is_one_slice() -> None:
    r, session = make()
    r.push(ask_query(Text("a"), 1))
    answer = T + SELECT + Z
    assert r.feed(answer) == [answer]
    assert session.done == [(1, "ok", "a")]
    assert len(r) == 0


def test_everything_split_at_every_byte() -> None:
    masked = Text("m", masked=True)
    answer = (
        T + m.data_row([b"x" * 10]) + m.data_row([None]) + m.command_complete("SELECT 2") + Z
        + m.PARSE_COMPLETE + m.BIND_COMPLETE + T + m.data_row([b"y"]) + m.command_complete("SELECT 1") + Z
        + SYNTAX + Z + T + SELECT + Z
    )  # fmt: skip
    expected = (
        T + m.data_row([b"M:" + b"x" * 10]) + m.data_row([None]) + m.command_complete("SELECT 2") + Z
        + m.PARSE_COMPLETE + m.BIND_COMPLETE + m.data_row([b"M:y"]) + m.command_complete("SELECT 1") + Z
        + OURS + Z + T + SELECT + Z
    )  # fmt: skip

    def started() -> Responses:
        r, _ = make()
        push_all(r, ask_query(masked), Expected(Ask.PARSE, name="", prepared=masked))
        push_all(r, ask_bind(r, "", ""), Expected(Ask.DESCRIBE_PORTAL, name="", swallow=True))
        push_all(r, Expected(Ask.EXECUTE, name="", prepared=masked), Expected(Ask.SYNC))
        push_all(r, Expected(Ask.QUERY, denial=Denial(OURS)), ask_query(Text("plain")))
        return r

    for i in range(len(answer) + 1):
        assert feed(started(), answer[:i], answer[i:]) == expected
    r = started()
    assert feed(r, *(answer[i : i + 1] for i in range(len(answer)))) == expected
    assert r.held == 0


def test_large_rows_pass_in_parts_and_are_not_held() -> None:
    r, _ = make()
    r.push(ask_query(Text("a")))
    row = m.data_row([b"z" * 1_000_000])
    assert feed(r, T + row[:100]) == T + row[:100]
    assert r.held == 0
    assert feed(r, row[100:] + m.command_complete("SELECT 1") + Z) == row[100:] + m.command_complete("SELECT 1") + Z


def test_a_denied_message_in_a_pipeline() -> None:
    r, session = make()
    push_all(
        r,
        Expected(Ask.PARSE, name=NONCE, denial=Denial(OURS)),
        ask_bind(r, "", "x"),
        Expected(Ask.EXECUTE, name="", operation=1),
        ask_query(Text("within"), 2),
        Expected(Ask.SYNC),
        ask_query(Text("after"), 3),
    )
    assert feed(r, SYNTAX + Z + T + SELECT + Z) == OURS + Z + T + SELECT + Z
    assert session.done == [(1, "skipped", None), (2, "skipped", None), (3, "ok", "after")]


def test_messages_sent_while_the_server_skips() -> None:
    r, session = make()
    r.push(Expected(Ask.PARSE, name="s", prepared=Text("bad")))
    assert feed(r, FAILED) == FAILED
    assert r.statements.candidates("s") == ()
    push_all(r, Expected(Ask.PARSE, name="s", prepared=Text("skipped")), Expected(Ask.EXECUTE, operation=1))
    assert r.statements.candidates("s") == ()
    assert session.done == [(1, "skipped", None)]
    r.push(Expected(Ask.SYNC))
    assert feed(r, Z) == Z
    assert len(r) == 0


def test_only_the_poisons_own_error_is_replaced() -> None:
    r, _ = make()
    r.push(Expected(Ask.QUERY, denial=Denial(OURS)))
    other = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceling statement"})
    assert feed(r, other + Z) == other + Z
    # And an allowed statement's error is not, though it quotes the nonce.
    r.push(ask_query(Text("a")))
    assert feed(r, SYNTAX + Z) == SYNTAX + Z


@pytest.mark.parametrize(
    "answer",
    [
        T,  # a denied statement that is answered at all
        m.command_complete("SELECT 1"),
        Z,
        m.EMPTY_QUERY,
        m.copy_response(b"G"),
        m.copy_response(b"H"),
    ],
)
def test_a_denied_query_that_the_server_runs_ends_the_session(answer: bytes) -> None:
    r, _ = make()
    r.push(Expected(Ask.QUERY, denial=Denial(OURS)))
    with pytest.raises(ProtocolError):
        r.feed(answer)


@pytest.mark.parametrize(
    "answer",
    [
        m.data_row([b"1"]),
        m.copy_data(b"x"),
        m.COPY_DONE,
        Z,
        FAILED,
        m.PARSE_COMPLETE,
        m.message(b"V", b"\0\0\0\0"),
        m.message(b"W", b"\0\0\0"),
        m.message(b"K", b"12345678"),
        m.AUTHENTICATION_OK,
        m.message(b"R", b"\0\0\0\3"),
        m.message(b"v", b""),
        b"~\0\0\0\4",
        b"D\0\0\0\0",
        b"Z\x7f\xff\xff\xff",
    ],
)
def test_what_has_no_place_ends_the_session(answer: bytes) -> None:
    r, _ = make()
    with pytest.raises(ProtocolError):
        r.feed(answer)


def test_a_row_without_its_description_ends_the_session() -> None:
    r, _ = make()
    r.push(ask_query(Text("a")))
    with pytest.raises(ProtocolError):
        r.feed(m.data_row([b"1"]))


def test_masked_rows_of_unknown_columns_end_the_session() -> None:
    masked = Text("m", masked=True)
    r, _ = make()
    r.push(Expected(Ask.PARSE, name="", prepared=masked))
    push_all(r, ask_bind(r, "", ""), Expected(Ask.EXECUTE, name=""))
    with pytest.raises(ProtocolError):
        r.feed(m.PARSE_COMPLETE + m.BIND_COMPLETE + m.data_row([b"1"]))


# Attacks on the names: whatever the client believes, rows are those of what the server runs.


def test_attack_parse_of_an_innocent_text_fails_while_the_old_one_stays() -> None:
    r, session = make()
    secret, innocent = Text("secret", masked=True), Text("innocent")
    push_all(r, Expected(Ask.PARSE, name="s", prepared=secret), Expected(Ask.SYNC))
    feed(r, m.PARSE_COMPLETE + Z)
    push_all(r, Expected(Ask.PARSE, name="s", prepared=innocent), Expected(Ask.SYNC))
    bind = ask_bind(r, "", "s")
    assert bind.portal is not None
    assert bind.portal.candidates == (secret, innocent)
    push_all(r, bind, Expected(Ask.DESCRIBE_PORTAL, name="", swallow=True))
    push_all(r, Expected(Ask.EXECUTE, name="", operation=1, prepared=innocent), Expected(Ask.SYNC))
    exists = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42P05", "M": "exists"})
    out = feed(r, exists + Z + m.BIND_COMPLETE + T + SELECT + Z)
    assert m.data_row([b"M:1"]) in out
    assert session.done == [(1, "ok", "secret")]


def test_attack_unnamed_parse_is_skipped() -> None:
    r, session = make()
    secret, innocent = Text("secret", masked=True), Text("innocent")
    push_all(r, Expected(Ask.PARSE, name="", prepared=secret), Expected(Ask.SYNC))
    push_all(r, Expected(Ask.DESCRIBE_STATEMENT, name="nope"), Expected(Ask.PARSE, name="", prepared=innocent))
    push_all(r, Expected(Ask.SYNC), ask_bind(r, "", ""), Expected(Ask.DESCRIBE_PORTAL, name="", swallow=True))
    push_all(r, Expected(Ask.EXECUTE, name="", operation=1), Expected(Ask.SYNC))
    out = feed(r, m.PARSE_COMPLETE + Z + FAILED + Z + m.BIND_COMPLETE + T + SELECT + Z)
    assert m.data_row([b"M:1"]) in out
    assert session.done == [(1, "ok", "secret")]


def test_attack_portal_bound_before_its_statement_was_replaced() -> None:
    r, session = make()
    secret, innocent = Text("secret", masked=True), Text("innocent")
    r.push(Expected(Ask.PARSE, name="", prepared=secret))
    push_all(r, ask_bind(r, "p", ""), Expected(Ask.PARSE, name="", prepared=innocent))
    push_all(r, Expected(Ask.DESCRIBE_PORTAL, name="p"), Expected(Ask.EXECUTE, name="p", operation=1))
    push_all(r, Expected(Ask.EXECUTE, name="p", operation=2), Expected(Ask.SYNC))
    suspended = m.data_row([b"1"]) + m.PORTAL_SUSPENDED
    out = feed(r, m.PARSE_COMPLETE + m.BIND_COMPLETE + m.PARSE_COMPLETE + T + suspended + SELECT + Z)
    assert out.count(m.data_row([b"M:1"])) == 2
    assert m.data_row([b"1"]) not in out
    assert session.done == [(1, "ok", "secret"), (2, "ok", "secret")]


def test_attack_portal_name_reused_by_a_sql_cursor() -> None:
    r, _ = make()
    innocent = Text("innocent")
    r.push(Expected(Ask.PARSE, name="", prepared=innocent))
    push_all(r, ask_bind(r, "c", ""))
    feed(r, m.PARSE_COMPLETE + m.BIND_COMPLETE)
    r.push(ask_query(Text("DECLARE", changes=[(Change.CLOSE, "c"), (Change.DECLARE, "c")])))
    feed(r, m.command_complete("CLOSE CURSOR") + m.command_complete("DECLARE CURSOR") + m.ready_for_query(b"T"))
    assert r.portals.candidates("c") == ()
    r.push(Expected(Ask.EXECUTE, name="c"))
    with pytest.raises(ProtocolError):
        r.feed(SELECT)


def test_attack_sql_prepare_takes_a_name_over() -> None:
    r, _ = make()
    innocent = Text("innocent")
    push_all(r, Expected(Ask.PARSE, name="s", prepared=innocent), Expected(Ask.SYNC))
    prepare = Text("PREPARE", changes=[(Change.DEALLOCATE, "s"), (Change.PREPARE, "s")])
    r.push(ask_query(prepare))
    innocent_or_sql = r.statements.candidates("s")
    assert innocent in innocent_or_sql
    assert any(isinstance(x, SqlPrepared) for x in innocent_or_sql)
    feed(r, m.PARSE_COMPLETE + Z + m.command_complete("DEALLOCATE") + m.command_complete("PREPARE") + Z)
    (left,) = r.statements.candidates("s")
    assert isinstance(left, SqlPrepared)
    assert left.origin is prepare


def test_a_sql_prepare_that_fails_leaves_the_name() -> None:
    r, _ = make()
    innocent = Text("innocent")
    push_all(r, Expected(Ask.PARSE, name="s", prepared=innocent), Expected(Ask.SYNC))
    r.push(ask_query(Text("PREPARE", changes=[(Change.PREPARE, "s")])))
    feed(r, m.PARSE_COMPLETE + Z + FAILED + Z)
    assert r.statements.candidates("s") == (innocent,)


def test_attack_the_server_binds_what_was_not_decided_on() -> None:
    r, _ = make()
    r.push(ask_bind(r, "", "made-by-a-function"))
    with pytest.raises(ProtocolError):
        r.feed(m.BIND_COMPLETE)


@pytest.mark.parametrize(
    ("tag", "left"), [("DEALLOCATE", {"s"}), ("DEALLOCATE ALL", set[str]()), ("DISCARD ALL", set[str]())]
)
def test_the_answer_tells_whether_all_is_a_name(tag: str, left: set[str]) -> None:
    r, _ = make()
    for name in ("s", "all"):
        r.push(Expected(Ask.PARSE, name=name, prepared=Text(name)))
    changes = [] if tag == "DISCARD ALL" else [(Change.DEALLOCATE, "all")]
    r.push(ask_query(Text("x", changes=changes)))
    feed(r, m.PARSE_COMPLETE * 2 + m.command_complete(tag) + Z)
    assert set(r.statements.confirmed) == left


def test_portals_end_with_the_transaction() -> None:
    r, _ = make()
    r.push(Expected(Ask.PARSE, name="", prepared=Text("a")))
    push_all(r, ask_bind(r, "p", ""), Expected(Ask.SYNC))
    feed(r, m.PARSE_COMPLETE + m.BIND_COMPLETE + Z)
    assert r.portals.candidates("p") == ()
    assert r.status == b"I"


# COPY.


def test_copy_in_is_announced() -> None:
    r, session = make()
    copy = ask_query(Text("copy", copies_in=True), 1)
    r.push(copy)
    assert not copy.settled
    feed(r, m.copy_response(b"G"))
    assert r.copying is copy
    assert copy.settled
    feed(r, m.command_complete("COPY 3") + Z)
    assert r.copying is None
    assert session.done == [(1, "ok", "copy")]
    assert copy.rows == 3


def test_copy_in_that_nothing_announced_ends_the_session() -> None:
    r, _ = make()
    r.push(ask_query(Text("a")))
    with pytest.raises(ProtocolError):
        r.feed(m.copy_response(b"G"))


def test_copy_out_passes_where_it_was_announced() -> None:
    r, session = make()
    r.push(ask_query(Text("copy", copies_out=True)))
    answer = m.copy_response(b"H") + m.copy_data(b"1\n") + m.copy_data(b"2\n") + m.COPY_DONE
    answer += m.command_complete("COPY 2") + Z
    assert feed(r, *(answer[i : i + 3] for i in range(0, len(answer), 3))) == answer
    assert session.copied == [(False, 1)]
    r.push(ask_query(Text("copy")))
    with pytest.raises(ProtocolError):
        r.feed(m.copy_response(b"H"))


# What comes unasked.


def test_parameters_notices_and_notifications() -> None:
    r, session = make()
    notice = m.report(b"N", {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": "hello"})
    status, notification = m.parameter_status("TimeZone", "UTC"), m.message(b"A", b"\0\0\0\1c\0p\0")
    assert feed(r, status + notice + notification) == status + notice + notification
    assert session.parameters == [("TimeZone", "UTC")]
    r.push(ask_query(Text("m", masked=True)))
    assert b"hello" not in feed(r, notice)


def test_errors_of_masked_statements_show_no_value() -> None:
    r, _ = make()
    bad = m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "22P02", "M": 'invalid input syntax: "eve"'})
    r.push(ask_query(Text("m", masked=True)))
    assert b"eve" not in feed(r, bad)
    feed(r, Z)
    r.push(ask_query(Text("plain")))
    assert b"eve" in feed(r, bad)


def test_a_fatal_error_is_told() -> None:
    r, session = make()
    r.push(ask_query(Text("a"), 1))
    fatal = m.report(b"E", {"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating connection"})
    assert feed(r, fatal) == fatal
    assert r.fatal
    assert [e.operation for e in r.lost()] == [1]
    assert session.done == []


# Random pipelines against a model.


@dataclass
class Model:
    """PostgreSQL's rules for names, errors and skipping, in the order messages arrive."""

    statements: dict[str, Text] = field(default_factory=dict)
    portals: dict[str, Text] = field(default_factory=dict)
    skipping: bool = False

    def answer(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, str | None]:
        """The server's bytes, and the label of the statement whose row is among them."""
        kind = step[0]
        if kind == "sync":
            self.skipping = False
            self.portals.clear()
            return Z, None
        if self.skipping:
            return b"", None
        if kind == "query":
            assert text is not None
            self.statements.pop("", None)
            self.portals.clear()
            return self._query(text)
        reply = getattr(self, "_" + kind)(step, text)
        if reply is None:
            self.skipping = True
            self.portals.clear()
            return FAILED, None
        return reply

    def _query(self, text: Text) -> tuple[bytes, str | None]:
        out = b""
        for change, name in text.changes:
            if change is Change.PREPARE:
                if name in self.statements:
                    return out + FAILED + Z, None
                self.statements[name] = Text("sql:" + text.label, masked=True)
                out += m.command_complete("PREPARE")
            else:
                if name not in self.statements:
                    return out + FAILED + Z, None
                del self.statements[name]
                out += m.command_complete("DEALLOCATE")
        if text.changes:
            return out + Z, None
        return T + m.data_row([text.label.encode()]) + m.command_complete("SELECT 1") + Z, text.label

    def _parse(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, None] | None:
        name = step[1]
        assert text is not None
        if not name:
            self.statements.pop(name, None)
        if text.label.startswith("bad") or name in self.statements:
            return None
        self.statements[name] = text
        return m.PARSE_COMPLETE, None

    def _bind(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, None] | None:
        portal, statement = step[1], step[2]
        if statement not in self.statements or (portal and portal in self.portals):
            return None
        self.portals[portal] = self.statements[statement]
        return m.BIND_COMPLETE, None

    def _describe(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, None] | None:
        return (T, None) if step[1] in self.portals else None

    def _execute(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, str] | None:
        found = self.portals.get(step[1])
        if found is None:
            return None
        return m.data_row([found.label.encode()]) + m.command_complete("SELECT 1"), found.label

    def _close(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, None]:
        (self.statements if step[1] == "S" else self.portals).pop(step[2], None)
        return m.CLOSE_COMPLETE, None

    def _deny(self, step: tuple[str, ...], text: Text | None) -> tuple[bytes, None]:
        self.skipping = True
        self.portals.clear()
        return SYNTAX, None


name = st.sampled_from(["", "a", "b"])
step = st.one_of(
    st.tuples(st.just("parse"), name, st.sampled_from(["bad", "masked", "plain"])),
    st.tuples(st.just("bind"), name, name),
    st.tuples(st.just("execute"), name),
    st.tuples(st.just("close"), st.sampled_from("SP"), name),
    st.tuples(st.just("sync")),
    st.tuples(st.just("query"), st.sampled_from(["masked", "plain", "prepare", "swap", "deallocate"])),
    st.tuples(st.just("deny")),
)


def _text(number: int, flavour: str) -> Text:
    changes = {
        "prepare": [(Change.PREPARE, "a")],
        "swap": [(Change.DEALLOCATE, "b"), (Change.PREPARE, "b")],
        "deallocate": [(Change.DEALLOCATE, "a")],
    }.get(flavour, [])
    return Text(f"{flavour}{number}", masked=flavour == "masked", changes=changes)


def _send(r: Responses, model: Model, step: tuple[str, ...], number: int) -> tuple[bytes, str | None]:
    """Push what the session pushes for this step; returns what the model server answers."""
    kind = step[0]
    if kind == "parse":
        text = _text(number, step[2])
        r.push(Expected(Ask.PARSE, name=step[1], prepared=text))
        return model.answer(step, text)
    if kind == "bind":
        r.push(ask_bind(r, step[1], step[2]))
        return model.answer(step, None)
    if kind == "execute":
        candidates = r.portals.candidates(step[1])
        sql = any(isinstance(s, SqlPrepared) for p in candidates for s in p.candidates)
        if not candidates or sql or any(not p.candidates for p in candidates):
            r.push(Expected(Ask.PARSE, name=NONCE, denial=Denial(OURS)))
            return model.answer(("deny",), None)
        r.push(Expected(Ask.DESCRIBE_PORTAL, name=step[1], swallow=True))
        described, _ = model.answer(("describe", step[1]), None)
        r.push(Expected(Ask.EXECUTE, name=step[1], operation=number))
        ran, label = model.answer(step, None)
        return described + ran, label
    if kind == "close":
        r.push(Expected(Ask.CLOSE_STATEMENT if step[1] == "S" else Ask.CLOSE_PORTAL, name=step[2]))
    elif kind == "sync":
        r.push(Expected(Ask.SYNC))
    elif kind == "deny":
        r.push(Expected(Ask.PARSE, name=NONCE, denial=Denial(OURS)))
    else:
        text = _text(number, step[1])
        r.push(ask_query(text, number))
        return model.answer(step, text)
    return model.answer(step, None)


@settings(max_examples=400, deadline=None)
@given(st.lists(step, max_size=25), st.data())
def test_random_pipelines_stay_in_step_with_the_server(steps: list[tuple[str, ...]], data: st.DataObject) -> None:
    r, session = make()
    model = Model()
    wire = b""
    out = b""
    ran: list[str] = []
    for number, one in enumerate(steps):
        answer, label = _send(r, model, one, number)
        wire += answer
        ran += [label] if label is not None else []
        arrived = data.draw(st.integers(0, len(wire)))  # the server answers in its own time
        out += feed(r, wire[:arrived])
        wire = wire[arrived:]
    r.push(Expected(Ask.SYNC))
    out += feed(r, wire + model.answer(("sync",), None)[0])
    assert len(r) == 0
    assert r.held == 0
    rows: list[str] = []
    decoder = BackendDecoder()
    decoder.feed(out)
    for message in decoder:
        if message.kind == "D":
            (value,) = m.read_data_row(message.body)
            assert value is not None
            rows.append(value.decode())
        elif message.kind == "E":
            assert NONCE not in message.body.decode()
    assert rows == [("M:" if label.startswith("masked") else "") + label for label in ran]
    done = [label for _, outcome, label in session.done if outcome == "ok" and label is not None]
    assert [label for label in done if not label.startswith(("prepare", "swap", "deallocate"))] == ran
    confirmed = {k: (v.label if isinstance(v, Text) else "sql") for k, v in r.statements.confirmed.items()}
    truth = {k: ("sql" if v.label.startswith("sql:") else v.label) for k, v in model.statements.items()}
    assert truth.items() <= confirmed.items()  # the server may have dropped the unnamed statement
    assert set(confirmed) - set(truth) <= {""}


def report(**more: str) -> bytes:
    return m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "23503", "M": 'no "secret value"', **more})


def test_errors_that_tell_of_other_tables_are_hidden_where_anything_is_masked() -> None:
    cascaded = report(D="Key (x)=(secret value)", t="links")
    for written, shown in ((None, True), (frozenset({"orders"}), False), (frozenset({"links"}), True)):
        r, _ = make()
        r.push(ask_query(Text("delete", written=written)))
        assert (b"secret value" in feed(r, cascaded + Z)) is shown


def test_errors_at_the_end_of_a_transaction_are_hidden_where_anything_is_masked() -> None:
    for written, shown in ((None, True), (frozenset({"links"}), False)):
        r, _ = make()
        r.push(Expected(Ask.PARSE, name="s", prepared=Text("insert", written=written)))
        feed(r, m.message(b"1"))
        r.push(Expected(Ask.SYNC))
        assert (b"secret value" in feed(r, report(D="Key (x)=(secret value)", t="links") + Z)) is shown
