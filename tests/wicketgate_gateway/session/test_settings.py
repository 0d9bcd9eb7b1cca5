"""Which of a session's settings an approval is bound to, and where the reason comes from."""

from __future__ import annotations

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.engine import Decision
from wicketgate_gateway.session.settings import SessionSettings
from wicketgate_gateway.session.statement import Statement
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.model import Facts


def statement(text: str) -> Statement:
    return Statement(text, Decision(Verdict(Effect.ALLOW, "t"), analyze(text).statements), 1)


def settings(*texts: str, prepared: dict[str, list[Facts]] | None = None) -> SessionSettings:
    made = SessionSettings(lambda name: (prepared or {}).get(name, []))
    for text in texts:
        assert statement(text).traits.sets
        made.note(statement(text), ())
    return made


def test_what_the_server_reports_is_bound_by_value() -> None:
    current = {"search_path": "public", "DateStyle": "ISO, MDY", "application_name": "x", "server_version": "17"}
    assert settings().facts(current) == {"search_path": "public", "DateStyle": "ISO, MDY"}


@pytest.mark.parametrize("text", ["SET app.tenant = '2'", "SET LOCAL app.tenant = 2", "SET search_path = ''"])
def test_what_it_does_not_report_is_bound_by_its_text(text: str) -> None:
    assert settings(text).facts({}) == {"changed by": text}


def test_order_counts_and_repetition_does_not() -> None:
    a, b = "SET app.tenant = '1'", "SET app.tenant = '2'"
    assert settings(a, b).facts({}) != settings(b, a).facts({})
    assert settings(a, a).facts({}) == settings(a).facts({})


@pytest.mark.parametrize("text", ["SET statement_timeout = 5", "SET application_name = 'x'", "RESET ALL"])
def test_what_changes_no_meaning_is_not_bound(text: str) -> None:
    assert settings(text).facts({}) == {}


def test_parameters_are_bound_too() -> None:
    made = settings()
    made.note(statement("SELECT set_config('app.tenant', $1, false)"), [b"2"])
    assert "b'2'" in made.facts({})["changed by"]
    assert not made.unclear


def test_a_value_that_the_server_computes_makes_it_unclear() -> None:
    assert "app.tenant" in settings("SELECT set_config('app.tenant', max(id)::text, false) FROM orders").unclear


def test_a_prepared_name_that_sets_is_bound() -> None:
    inner = list(analyze("SELECT set_config('app.tenant', '3', false)").statements)
    assert settings("EXECUTE p", prepared={"p": inner}).facts({}) == {"changed by": "EXECUTE p"}
    assert settings("EXECUTE p", prepared={"p": list(analyze("SELECT 1").statements)}).facts({}) == {}


def test_too_many_are_unclear() -> None:
    assert settings(*(f"SET app.a{i} = '{'x' * 400}'" for i in range(30))).unclear


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/* reason: ticket 7 */ DELETE FROM t", "ticket 7"),
        ("  /*Reason :  a\n b*/ SELECT 1", "a b"),
        ("SELECT 1 /* reason: late */", "set"),
        ("/* reason: a /* nested */ */ SELECT 1", "set"),
        ("/* reason: */ SELECT 1", "set"),
    ],
)
def test_the_reason(text: str, reason: str) -> None:
    made = settings("SET wicketgate.reason = 'set'")
    assert made.reason_for(text) == reason
    assert made.facts({}) == {}


def test_the_reason_is_reset() -> None:
    assert settings("SET wicketgate.reason = 'a'", "RESET wicketgate.reason").reason == ""
    assert settings("SET wicketgate.reason = 'a'", "RESET ALL").reason == ""
