"""Requests as text: decided as the gateway would, also those that it refuses for their form."""

from __future__ import annotations

import pytest

from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.http_trial import decide
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import bundle_of, policy_for, stand_in

RULES = [
    {"allow": {"http": {"routes": "/orders/**"}}},
    {"allow": {"http": {"methods": "POST", "routes": "/pay", "json": {"$.a": "1"}, "headers": {"X-Kind": "a"}}}},
    {"allow": {"http": {"routes": "/ws", "upgrade": "websocket"}}},
]


@pytest.mark.parametrize(
    ("text", "more", "effect"),
    [
        ("GET /orders/1?x=2", {}, Effect.ALLOW),
        ("GET /orders/../x", {}, Effect.DENY),
        ("/orders/1", {}, Effect.DENY),
        ("POST /pay", {"body": {"a": 1}, "headers": {"x-kind": "a"}}, Effect.ALLOW),
        ("POST /pay", {"body": {"a": 2}, "headers": {"x-kind": "a"}}, Effect.DENY),
        ("POST /pay", {"body": {"a": 1}}, Effect.DENY),
        ("GET /ws", {"upgrade": "websocket"}, Effect.ALLOW),
        ("GET /ws", {}, Effect.DENY),
    ],
)
def test_decided_as_the_gateway_does(text: str, more: dict[str, object], effect: Effect) -> None:
    """The same engine, the same parser."""
    document = {"policy": "p", "targets": ["api"], "rules": RULES}
    whole = PolicySet(bundle_of([Policy.model_validate(document)], "bot", []))
    policy = policy_for(whole, stand_in("bot"), [], "api", kind=TargetKind.HTTP)
    assert policy is not None
    assert decide(policy, text, **more).effect is effect  # pyright: ignore[reportArgumentType]
