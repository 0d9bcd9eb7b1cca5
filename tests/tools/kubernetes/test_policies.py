"""NetworkPolicies become rules that let through what they say, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tools.kubernetes.policies import matches, ruleset

NAMESPACES = [{"metadata": {"name": n, "labels": {"kubernetes.io/metadata.name": n}}} for n in ("a", "b")]


def pod(namespace: str, app: str, address: str) -> dict[str, Any]:
    metadata = {"name": app, "namespace": namespace, "labels": {"app": app}}
    return {"metadata": metadata, "spec": {}, "status": {"podIP": address}}


def policy(namespace: str, app: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec},
    }


PODS = [pod("a", "web", "10.0.0.1"), pod("a", "db", "10.0.0.2"), pod("b", "web", "10.0.0.3")]


def chain(text: str, name: str) -> list[str]:
    """The rules of a chain."""
    _, found, rest = text.partition(f"chain {name} {{\n")
    assert found, f"there is no chain {name} in\n{text}"
    return [line.strip() for line in rest.partition("  }\n")[0].splitlines()]


def test_a_pod_that_no_policy_selects_may_do_all() -> None:
    text = ruleset([policy("a", "db", ingress=[])], PODS, NAMESPACES)
    assert "10.0.0.1" not in text
    assert "10.0.0.3" not in text
    assert chain(text, "ingress_10_0_0_2") == ["drop"]
    assert "egress_10_0_0_2" not in text


def test_without_a_namespace_selector_peers_are_near() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}
    text = ruleset([policy("a", "db", ingress=[rule])], PODS, NAMESPACES)
    assert chain(text, "ingress_10_0_0_2") == ["ip saddr 10.0.0.1 tcp dport 5432 return", "drop"]


def test_both_selectors_of_a_peer_must_take_it() -> None:
    where = {"matchLabels": {"kubernetes.io/metadata.name": "b"}}
    peers = [{"namespaceSelector": where, "podSelector": {"matchLabels": {"app": "web"}}}]
    text = ruleset([policy("a", "db", ingress=[{"from": peers}])], PODS, NAMESPACES)
    assert chain(text, "ingress_10_0_0_2") == ["ip saddr 10.0.0.3  return", "drop"]
    nobody = [{"namespaceSelector": where, "podSelector": {"matchLabels": {"app": "db"}}}]
    text = ruleset([policy("a", "db", ingress=[{"from": nobody}])], PODS, NAMESPACES)
    assert chain(text, "ingress_10_0_0_2") == ["drop"]


def test_policies_add_up_and_an_empty_peer_is_everyone() -> None:
    egress = policy("a", "db", policyTypes=["Egress"], egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])
    more = policy("a", "db", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}])
    text = ruleset([egress, more], PODS, NAMESPACES)
    assert chain(text, "egress_10_0_0_2") == ["udp dport 53 return", "ip daddr 10.9.0.0/16  return", "drop"]
    assert "ip saddr 10.0.0.2 jump egress_10_0_0_2" in text
    assert "ct state established,related accept" in chain(text, "forward")[1]


@pytest.mark.parametrize(
    "rule",
    [
        {"ports": [{"port": "named"}]},
        {"ports": [{"port": 1, "endPort": 2}]},
        {"ports": [{"port": 1, "protocol": "SCTP"}]},
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
    ],
)
def test_what_is_not_known_is_no_hole(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not known"):
        ruleset([policy("a", "db", ingress=[rule])], PODS, NAMESPACES)


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_expressions(expression: dict[str, Any], taken: bool) -> None:
    assert matches({"matchExpressions": [expression]}, {"a": "1"}) is taken
    with pytest.raises(ValueError, match="not known"):
        matches({"matchExpressions": [{"key": "a", "operator": "Gt"}]}, {})
