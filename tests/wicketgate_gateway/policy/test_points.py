"""The decision on operations of protocols other than SQL: deny over hold over allow, every point covered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.engine import decide_text
from wicketgate_gateway.policy.http import RequestPoint
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.policy.trial import bundle_of, policy_for, stand_in

Decide = Callable[..., Verdict]


def point(text: str) -> RequestPoint:
    """`GET /a/b` as a point."""
    method, _, path = text.partition(" ")
    return RequestPoint(method, tuple(path[1:].split("/")), {}, {})


def policy(*rules: Any, **more: Any) -> Any:
    """What applies to a bot under these rules."""
    document = {"policy": "p", "targets": ["api"], "rules": list(rules), **more}
    whole = PolicySet(bundle_of([Policy.model_validate(document)], "bot", []))
    found = policy_for(whole, stand_in("bot"), [], "api", kind=TargetKind.HTTP)
    assert found is not None
    return found


def decide(*rules: Any, points: str, now: float | None = None, **more: Any) -> Verdict:
    """The verdict on an operation that has these points, `;` between them."""
    found = [point(text) for text in points.split("; ") if text]
    values = found[0].values() if found else {}
    return policy(*rules, **more).decide_points(found, values, points, now)


ALLOW = {"allow": {"http": {"routes": "/orders/**"}}}
HOLD = {"hold": {"http": {"methods": "DELETE", "routes": "/orders/*"}, "approvers": {"groups": ["dba"]}}}
DENY = {"deny": {"http": {"routes": "/orders/secret"}, "because": "it is secret"}}


def test_allowed_by_its_rule() -> None:
    """The rule's label stands in the verdict."""
    verdict = decide(ALLOW, points="GET /orders/1")
    assert (verdict.effect, verdict.rule) == (Effect.ALLOW, "p#1")


def test_what_no_rule_covers_is_denied_with_what_is_allowed() -> None:
    """Default deny, and a remedy."""
    verdict = decide(ALLOW, points="GET /customers")
    assert (verdict.effect, verdict.code, verdict.rule) == (Effect.DENY, "not-allowed", "default")
    assert "`GET /customers`" in verdict.reason
    assert "`/orders/**`" in verdict.remedy


def test_every_point_must_be_covered() -> None:
    """One that is not is enough."""
    assert decide(ALLOW, points="GET /orders/1; GET /x").effect is Effect.DENY
    assert decide(ALLOW, points="GET /orders/1; GET /orders/2").effect is Effect.ALLOW


def test_deny_beats_all() -> None:
    """Whatever the order."""
    for rules in ((ALLOW, DENY), (DENY, ALLOW)):
        verdict = decide(*rules, points="GET /orders/1; GET /orders/secret")
        assert (verdict.effect, verdict.code) == (Effect.DENY, "denied-by-rule")
        assert verdict.reason.endswith("denies `GET /orders/secret`: it is secret")


def test_held_covers_and_meets() -> None:
    """A `hold` covers what no `allow` does, and holds what one does."""
    for rules in ((HOLD,), (ALLOW, HOLD), ({"allow": {"http": {"methods": "*", "routes": "/**"}}}, HOLD)):
        verdict = decide(*rules, points="DELETE /orders/1")
        assert (verdict.effect, verdict.code) == (Effect.HOLD, "approval-needed")
        assert verdict.hold is not None
        assert verdict.hold.approver_names == ("dba",)


def test_nothing_understood_is_denied() -> None:
    """No points, no permission."""
    assert decide({"allow": {"http": {"methods": "*", "routes": "/**"}}}, points="").code == "not-understood"


@pytest.mark.parametrize(
    ("when", "effect"),
    [
        ("op.method == 'GET' && bot.name == 'bot' && target.name == 'api'", Effect.ALLOW),
        ("op.path == '/other'", Effect.DENY),
        ("op.query['x'][0] == 'y'", Effect.DENY),  # an error
        ("'GET' in op.kinds && op.statement == 'GET /orders/1'", Effect.ALLOW),
    ],
)
def test_conditions(when: str, effect: Effect) -> None:
    """They speak of the protocol's own variables; an error denies."""
    verdict = decide({"allow": {"http": {"routes": "/**"}, "when": when}}, points="GET /orders/1")
    assert verdict.effect is effect


def test_a_deny_whose_condition_fails_denies() -> None:
    """It could have been about this."""
    deny = {"deny": {"http": {"routes": "/**"}, "when": "op.query['x'][0] == 'y'"}}
    assert decide(ALLOW, deny, points="GET /orders/1").code == "condition-error"


def test_windows() -> None:
    """A rule outside of its time covers nothing, and the verdict says so."""
    rule = {"allow": {"http": {"routes": "/**"}, "during": {"days": ["mon"]}}}
    assert decide(rule, points="GET /x", now=4 * 86400.0).effect is Effect.ALLOW  # 1970-01-05 was a Monday
    assert "at this time" in decide(rule, points="GET /x", now=0.0).reason


def test_rules_of_other_protocols_say_nothing() -> None:
    """A SQL rule opens no request, and an HTTP rule no statement."""
    sql = {"allow": {"sql": {"statements": "read"}}}
    assert decide(sql, points="GET /x").effect is Effect.DENY
    both = policy({"allow": {"http": {"methods": "*", "routes": "/**"}}})
    assert decide_text(both, "SELECT 1", SessionFacts("public", None)).verdict.effect is Effect.DENY
    assert decide_text(both, "DELETE FROM a", SessionFacts("public", None)).verdict.effect is Effect.DENY
