"""Operations by their templates: the one that a request is, those that it may be, and rules that name them."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.openapi import ApiOperation
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.api_operations import Operations
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.http_trial import decide
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import bundle_of, policy_for, stand_in

API = [
    ApiOperation(method=method, path=path, id=name)
    for method, path, name in (
        ("GET", "/orders", "listOrders"),
        ("POST", "/orders", "createOrder"),
        ("GET", "/orders/{id}", "getOrder"),
        ("GET", "/orders/mine", "myOrders"),
        ("DELETE", "/orders/{id}", "deleteOrder"),
        ("GET", "/report.{kind}", "report"),
        ("DELETE", "/unnamed", None),
    )
]


@pytest.mark.parametrize(
    ("method", "path", "certain", "possible"),
    [
        ("GET", "/orders", "listOrders", {"listOrders"}),
        ("HEAD", "/orders", "listOrders", {"listOrders"}),
        ("GET", "/Orders", "", {"listOrders"}),
        ("GET", "/orders/", "", {"listOrders"}),
        ("GET", "/orders/7", "getOrder", {"getOrder"}),
        ("GET", "/orders/mine", "myOrders", {"getOrder", "myOrders"}),
        ("GET", "/orders/MINE", "getOrder", {"getOrder", "myOrders"}),
        ("DELETE", "/orders/7/", "", {"deleteOrder"}),
        ("PATCH", "/orders/7", "", set()),
        ("GET", "/orders/7/lines", "", set()),
        ("GET", "/report.csv", "report", {"report"}),
        ("GET", "/report.", "", set()),
        ("DELETE", "/unnamed", "", set()),
        ("GET", "/", "", set()),
    ],
)
def test_find(method: str, path: str, certain: str, possible: set[str]) -> None:
    """Exactly the template for an `allow`; all that a server may take it for, for a `deny`."""
    found = Operations(API).find(method, tuple(path[1:].split("/")))
    assert found == (certain, frozenset(possible))


def test_what_is_ambiguous_is_none_for_certain() -> None:
    """Even if a bundle was written by hand."""
    crossing = [
        ApiOperation(method="GET", path="/a/{x}", id="one"),
        ApiOperation(method="GET", path="/{y}/b", id="two"),
    ]
    assert Operations(crossing).find("GET", ("a", "b")) == ("", frozenset({"one", "two"}))


def made(*rules: Any, api: bool = True, targets: Any = ("api",)) -> TargetPolicy:
    """What applies at the target."""
    document = {
        "policy": "p",
        "targets": list(targets) if isinstance(targets, tuple) else targets,
        "rules": list(rules),
    }
    policy = Policy.model_validate(document)
    policies = PolicySet(bundle_of([policy], "bot", [], {"api": API} if api else None))
    found = policy_for(policies, stand_in("bot"), (), "api", {}, TargetKind.HTTP)
    assert found is not None
    return found


ALLOW = {"allow": {"http": {"methods": "*", "routes": "/**"}}}


def test_rules_by_operation() -> None:
    """Without `methods` an operation's own method counts."""
    policy = made({"allow": {"http": {"operations": ["list*", "createOrder", "myOrders"]}}})
    for text, effect in (
        ("GET /orders", Effect.ALLOW),
        ("POST /orders", Effect.ALLOW),
        ("GET /orders/mine", Effect.ALLOW),
        ("GET /orders/7", Effect.DENY),
        ("GET /orders/", Effect.DENY),
        ("DELETE /orders/7", Effect.DENY),
    ):
        assert decide(policy, text).effect is effect, text
    policy = made(ALLOW, {"deny": {"http": {"operations": "deleteOrder"}}})
    for text in ("DELETE /orders/7", "DELETE /Orders/7", "DELETE /orders/7/"):
        assert decide(policy, text).rule == "p#2", text
    assert decide(policy, "GET /orders/7").effect is Effect.ALLOW
    policy = made(ALLOW, {"deny": {"http": {"routes": "/**"}, "when": "op.operation == 'getOrder'"}})
    assert decide(policy, "GET /orders/7").rule == "p#2"
    assert decide(policy, "GET /orders").effect is Effect.ALLOW


@pytest.mark.parametrize(
    "rule",
    [
        {"deny": {"http": {"operations": "deleteOrder"}}},
        {"deny": {"http": {"methods": "DELETE", "routes": "/**"}, "when": "op.operation == 'deleteOrder'"}},
    ],
)
def test_without_a_document(rule: Any) -> None:
    """Refused at load where the target is named; met by anything where it is not: it never fails open."""
    with pytest.raises(DocumentError, match="`api` has no OpenAPI document"):
        made(ALLOW, rule, api=False)
    policy = made(ALLOW, rule, api=False, targets={"kind": "http"})
    assert decide(policy, "DELETE /orders/7").effect is Effect.DENY


def test_operations_that_nobody_has() -> None:
    """A name that is misspelt would deny nothing."""
    with pytest.raises(DocumentError, match="no operation is called `deleteorder`"):
        made(ALLOW, {"deny": {"http": {"operations": "deleteorder"}}})
