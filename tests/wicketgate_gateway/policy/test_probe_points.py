"""Probes of HTTP, Kubernetes and SSH tell apart what rules tell apart."""

from typing import Any

import pytest

from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.policy import probe_points
from wicketgate_gateway.policy.probe_points import _POD as POD
from wicketgate_gateway.wire.kubernetes.pods import traits


def policy(*rules: object) -> Policy:
    return Policy.model_validate({"policy": "tried", "targets": ["db"], "rules": list(rules)})


@pytest.mark.parametrize(
    ("make", "protocol", "terms", "wanted"),
    [
        (probe_points.http, "http", {"methods": "POST", "routes": "/orders/{id}"}, {"POST /orders/x", "GET /x"}),
        (probe_points.http, "http", {"methods": "GET", "routes": "/a/**"}, {"GET /a", "GET /x"}),
        (
            probe_points.kubernetes,
            "kubernetes",
            {"verbs": "read", "resources": "pods/log", "namespaces": "shop-*"},
            {"get pods/log in shop-"},
        ),
        (
            probe_points.kubernetes,
            "kubernetes",
            {"verbs": "create", "resources": "pods/exec", "commands": "ls **"},
            {"create pods/exec: ls"},
        ),
        (probe_points.kubernetes, "kubernetes", {"paths": "/metrics"}, {"get /metrics"}),
        (probe_points.ssh, "ssh", {"commands": "systemctl status *"}, {"systemctl status x", "shell"}),
        (probe_points.ssh, "ssh", {"paths": "~/in/**", "operations": "write"}, {f"write {probe_points.HOME}/in/x"}),
        (probe_points.ssh, "ssh", {"forward": "db.internal:5432"}, {"forward to db.internal:5432"}),
        (probe_points.ssh, "ssh", {"subsystems": "netconf"}, {"subsystem netconf"}),
    ],
)
def test_a_rule_is_met_and_missed(make: Any, protocol: str, terms: dict[str, Any], wanted: set[str]) -> None:
    found = make([policy({"allow": {protocol: terms}})])
    assert found.complete
    texts = {probe.text for probe in found.probes}
    assert wanted <= texts, texts
    assert len(texts) > 1, "also what the rule is not about"


def test_values_of_requests_are_made() -> None:
    rule = {
        "allow": {
            "http": {"methods": "POST", "routes": "/pay", "json": {"$.amount": ["1", "2"]}, "query": {"dry": "yes"}}
        }
    }
    assert len(probe_points.http([policy(rule)]).probes) > 1


@pytest.mark.parametrize("trait", sorted(POD))
def test_each_pod_asks_for_its_trait_alone(trait: str) -> None:
    assert traits({"spec": {"containers": [{}], **POD[trait]}}) == {trait}
