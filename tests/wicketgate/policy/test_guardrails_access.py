"""Guardrails on who may do what: each stops what it names, and an ordinary stack passes."""

import datetime
from typing import Any

import pytest

from wicketgate.policy.guardrails_access import ACCESS_GUARDRAILS, MOST_DAYS
from wicketgate_gateway.contract.access import Access

TODAY = datetime.datetime.now(datetime.UTC).date()
SOON, FAR = ((TODAY + datetime.timedelta(days=d)).isoformat() for d in (90, MOST_DAYS + 2))
HOLD = {"hold": {"sql": {"statements": ["write"]}, "approvers": {"groups": ["dba"]}}}
ALLOW = {"allow": {"sql": {"statements": ["read"]}}}


def access(bot: dict[str, Any] | None = None, **policy: Any) -> Access:
    document = {
        "policies": [{"policy": "p", "targets": ["db"], "groups": ["team"], "rules": [ALLOW, HOLD], **policy}],
        "targets": {"db": {"kind": "postgres"}},
        "bots": {"robot": {"owner": "group:platform", "groups": ["team"], "expires": SOON, **(bot or {})}},
        "approvers": {"dba": "Database people"},
    }
    return Access.model_validate(document)


def said(document: Access) -> dict[str, list[str]]:
    return {name: found for name, _, check in ACCESS_GUARDRAILS if (found := list(check(document)))}


def test_an_ordinary_stack_passes() -> None:
    assert said(access()) == {}


@pytest.mark.parametrize(
    ("guardrail", "bot", "policy"),
    [
        ("owner-and-last-day", {"owner": ""}, {}),
        ("owner-and-last-day", {"expires": None}, {}),
        ("owner-and-last-day", {"expires": FAR}, {}),
        ("no-approving-owner", {"owner": "group:dba"}, {}),
        ("no-approving-owner", {"owner": "group:Database people"}, {}),
        ("recorded", {}, {"record": {"keep": "1d"}}),
        ("recorded", {}, {"targets": ["elsewhere"]}),
    ],
)
def test_what_a_guardrail_names_is_stopped(guardrail: str, bot: dict[str, Any], policy: dict[str, Any]) -> None:
    assert list(said(access(bot, **policy))) == [guardrail]


def test_a_hold_that_is_not_about_the_bot_is_no_matter() -> None:
    assert said(access({"owner": "group:dba", "groups": []})) == {}
