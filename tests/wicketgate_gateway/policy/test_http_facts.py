"""What rules look at is put on record, and nothing else; from it a request is decided as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.http import ABSENT, UNREADABLE
from wicketgate_gateway.policy.http_facts import UndecidableError, facts_of, looks_of, with_facts
from wicketgate_gateway.policy.http_trial import point_of
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import bundle_of, policy_for, stand_in


def policy(*rules: dict[str, Any]) -> TargetPolicy:
    """One of these rules."""
    document = {"policy": "p", "targets": ["api"], "rules": list(rules)}
    found = policy_for(
        PolicySet(bundle_of([Policy.model_validate(document)], "bot", [])),
        stand_in("bot"),
        [],
        "api",
        kind=TargetKind.HTTP,
    )
    assert found is not None
    return found


ROUTE = {"methods": "*", "routes": "/**"}


@pytest.mark.parametrize(
    ("when", "headers", "everything", "paths"),
    [
        ('op.headers["x-tenant"] == ["a"]', {"x-tenant"}, False, ()),
        ("op.headers['x-a'].size() > 0", {"x-a"}, False, ()),
        ('"x-b" in op.headers', {"x-b"}, False, ()),
        ("has(op.headers.accept)", {"accept"}, False, ()),
        ("op.headers.exists(n, n == 'x')", set(), True, ()),
        ("op.headers.size() < 9", set(), True, ()),
        ("op.body.amount < 100", set(), False, (("amount",),)),
        ('op . body . order["kind"] == "a"', set(), False, ((),)),
        ("op.body.order.lines.all(l, l.price < 5)", set(), False, (("order", "lines"),)),
        ("size(op.body) < 3", set(), False, ((),)),
        ('op.body["a"] == op.body.b', set(), False, (("a",), ("b",))),
    ],
)
def test_what_conditions_look_at(when: str, headers: set[str], everything: bool, paths: tuple[Any, ...]) -> None:
    """Members that they name; all of it where they take the whole."""
    looks = looks_of(policy({"allow": {"http": ROUTE, "when": when}}).rules)
    assert (set(looks.headers), looks.all_headers, looks.paths) == (headers, everything, paths)


def test_only_what_is_looked_at_is_kept() -> None:
    """A header that no rule names, and a field that none looks at, are nobody's."""
    rules = policy(
        {"allow": {"http": {**ROUTE, "headers": {"X-Kind": "a"}, "json": {"$.lines[*].sku": "*"}}}},
        {"deny": {"http": {**ROUTE, "json": {"$.To": "evil"}}, "when": "op.body.amount > 5"}},
    ).rules
    body = {"lines": [{"sku": 1, "secret": 2}, {"sku": 3}], "to": "x", "TO": "y", "amount": 7, "password": "p"}
    point = point_of("POST /x", {"X-Kind": "a", "X-Secret": "s"}, body)
    facts = facts_of(looks_of(rules), point, body_read=True)
    assert json.loads(facts["body"][0]) == {"lines": [{"sku": 1}, {"sku": 3}], "to": "x", "TO": "y", "amount": 7}
    assert {name: values for name, values in facts.items() if name != "body"} == {"header x-kind": ["a"]}
    plain = policy({"allow": {"http": ROUTE}})
    assert facts_of(looks_of(plain.rules), point, body_read=False) == {}


RULES = [
    {"allow": {"http": {**ROUTE, "headers": {"x-kind": ["a", "b"]}}}},
    {
        "allow": {
            "http": {"methods": "POST", "routes": "/pay", "json": {"$.currency": "EUR"}},
            "when": "op.body.sum < 9",
        }
    },
    {"deny": {"http": {**ROUTE, "json": {"$.**.admin": "true"}}}},
    {"deny": {"http": {"routes": "/h/**"}, "when": 'op.headers["x-deny"] == ["yes"]'}},
]
REQUESTS: list[tuple[str, dict[str, str], Any]] = [
    ("GET /x", {"x-kind": "a"}, ABSENT),
    ("GET /x", {"x-kind": "c"}, ABSENT),
    ("GET /x", {}, ABSENT),
    ("GET /h/1", {"x-kind": "b", "x-deny": "yes"}, ABSENT),
    ("GET /h/1", {"x-kind": "b", "x-deny": "no"}, ABSENT),
    ("POST /pay", {}, {"currency": "EUR", "sum": 5}),
    ("POST /pay", {}, {"currency": "EUR", "sum": 50}),
    ("POST /pay", {}, {"currency": "EUR", "Currency": "EUR", "sum": 5}),
    ("POST /pay", {}, {"currency": "EUR", "sum": 5, "deep": [{"ADMIN": True}]}),
    ("POST /pay", {"x-kind": "a"}, UNREADABLE),
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_decided_again_as_before(number: int) -> None:
    """Facts are enough."""
    text, headers, body = REQUESTS[number]
    found = policy(*RULES)
    point = point_of(text, headers, body)
    verdict = found.decide_points([point], point.values(), text, 0.0)
    facts = json.loads(json.dumps(facts_of(looks_of(found.rules), point, body_read=True)))
    again = with_facts(point_of(text), facts, found.rules)
    decided = found.decide_points([again], again.values(), text, 0.0)
    assert (decided.effect, decided.rule) == (verdict.effect, verdict.rule)


def test_what_is_not_on_record_is_not_guessed() -> None:
    """A new policy may look at what nobody looked at; rules that are about other requests do not matter."""
    with pytest.raises(UndecidableError, match="x-new"):
        with_facts(point_of("GET /x"), {}, policy({"allow": {"http": {**ROUTE, "headers": {"x-new": "a"}}}}).rules)
    with pytest.raises(UndecidableError, match="body"):
        with_facts(point_of("POST /x"), {}, policy({"allow": {"http": {**ROUTE, "json": {"$.a": "a"}}}}).rules)
    elsewhere = policy({"allow": {"http": {"routes": "/y", "headers": {"x-new": "a"}}}})
    assert with_facts(point_of("GET /x"), {}, elsewhere.rules).headers == {}
    large = point_of("POST /x", {}, {"a": "b" * 20_000})
    assert "body" not in facts_of(
        looks_of(policy({"allow": {"http": {**ROUTE, "json": {"$.a": "a"}}}}).rules), large, body_read=True
    )
