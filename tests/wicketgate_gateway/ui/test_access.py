"""Who reaches what by which rule; what ends soon."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.policy import BundledPolicy
from wicketgate_gateway.ui import access

POLICY: dict[str, Any] = {
    "policy": "orders",
    "targets": {"kind": "postgres", "labels": {"env": "prod"}},
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}}},
        {"hold": {"sql": {"statements": ["write"]}, "approvers": {"groups": ["dba"]}}},
    ],
}


def test_reach_names_targets_and_rules() -> None:
    targets = {
        "a": GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"}),
        "b": GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "test"}),
        "c": GatewayTarget(kind=TargetKind.HTTP, agent="eu", labels={"env": "prod"}),
    }
    (found,) = access.reach([BundledPolicy.model_validate(POLICY, strict=False)], targets)
    assert (found["target"], found["kind"]) == ("a", "postgres")
    rules = [(rule["effect"], rule["name"]) for rule in found["policies"][0]["rules"]]
    assert rules == [("allow", "orders#1"), ("deny", "orders#2"), ("hold", "orders#3")]
    assert access.reach([], targets) == []


@pytest.mark.parametrize(("moment", "said"), [(99.0, "over"), (101.0, "soon"), (100 + 15 * 86400.0, "")])
def test_what_ends(moment: float, said: str) -> None:
    assert access.ending(moment, 100.0) == said
    assert access._midnight("1970-01-01") == 86400.0


def test_the_page_says_it(record: Any, tab: Any) -> None:
    record("postgres", [], ["SELECT 1"], bot="code-review")
    text = tab("Ada").get("/ui/access").text
    assert 'href="/ui/sessions?bot=code-review"' in text
    assert 'href="/ui/audit?rule=orders%231"' in text
    assert "never seen" in text
    # An approver sees who may do what, and nothing of what was done.
    assert "/ui/sessions?bot=" not in tab("Dana").get("/ui/access").text
