"""The objects of the Kubernetes deployment, as golden files, and what must hold for each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate.deploy import manifests

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "kubernetes"


@pytest.fixture
def objects(stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    settings = stack_settings(kubernetes_deploy)
    deploy = settings.gateway.deploy
    inside = manifests.within(settings, deploy)
    made = {"gateway": manifests.gateway_objects(inside, deploy, "settings", "digest", "bundle")}
    for agent in ("desk", "far"):
        made[f"agent-{agent}"] = manifests.agent_objects(
            inside, deploy, agent, "settings", "digest", ("the-tenant", f"client-of-{agent}")
        )
    return made


def pods(objects: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for group in objects.values():
        yield from (o["spec"]["template"] for o in group.values() if o["kind"] in ("StatefulSet", "Deployment"))


@pytest.mark.parametrize("group", ["gateway", "agent-desk", "agent-far"])
def test_they_are_as_reviewed(objects: dict[str, dict[str, Any]], group: str) -> None:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump_all([objects[group][n] for n in sorted(objects[group])], Dumper=Plain, sort_keys=False, width=120)
    path = GOLDEN / f"{group}.yaml"
    if os.environ.get("WICKETGATE_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_no_pod_has_a_token_for_the_cluster(objects: dict[str, dict[str, Any]]) -> None:
    found = list(pods(objects))
    assert len(found) == 3
    for pod in found:
        assert pod["spec"]["automountServiceAccountToken"] is False
        (token,) = [v["projected"]["sources"] for v in pod["spec"]["volumes"] if "projected" in v]
        assert [s["serviceAccountToken"]["audience"] for s in token] == ["api://AzureADTokenExchange"]


def test_nobody_reaches_an_agent(objects: dict[str, dict[str, Any]]) -> None:
    for group in ("agent-desk", "agent-far"):
        assert not [o for o in objects[group].values() if o["kind"] == "Service"]
        assert objects[group]["network"]["spec"]["ingress"] == []
    denied = objects["gateway"]["deny"]["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in denied


def test_a_new_bundle_rolls_no_pod_and_new_settings_do(
    stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]
) -> None:
    settings = stack_settings(kubernetes_deploy)
    made = [
        manifests.gateway_objects(settings, settings.gateway.deploy, text, digest, bundle)
        for text, digest, bundle in (("s", "1", "b"), ("s", "1", "other"), ("t", "2", "b"))
    ]
    changed = [{n for n in made[0] if made[0][n] != other[n]} for other in made[1:]]
    assert changed == [{"policies"}, {"settings", "gateway"}]


def test_agents_dial_every_replica_by_name(
    stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]
) -> None:
    settings = stack_settings({**kubernetes_deploy, "agentHosts": ["a.gate.example", "b.gate.example"]})
    deploy = settings.gateway.deploy
    near = [e.host for e in manifests.gateways(settings, deploy, "desk")]
    assert near == [f"gateway-{i}.gateway-replicas.wicketgate.svc" for i in range(4)]
    assert [e.host for e in manifests.gateways(settings, deploy, "far")] == ["a.gate.example", "b.gate.example"]
    services = manifests.gateway_objects(settings, deploy, "", "", "")
    assert services["service-agents-1"]["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] == "gateway-1"


def test_monitoring_alone_reaches_the_metrics(objects: dict[str, dict[str, Any]]) -> None:
    rules = objects["gateway"]["network"]["spec"]["ingress"]
    (one,) = [rule for rule in rules if {"protocol": "TCP", "port": 9464} in rule["ports"]]
    names = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in one["from"]]
    assert names == ["monitoring"]
    assert len(one["ports"]) == 1


def test_state_stays_unless_it_is_said(stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]) -> None:
    found: list[str] = []
    for more in ({}, {"keepState": False}):
        settings = stack_settings({**kubernetes_deploy, **more})
        made = manifests.gateway_objects(settings, settings.gateway.deploy, "", "", "")
        policy = made["gateway"]["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert policy["whenScaled"] == "Retain"
        found.append(policy["whenDeleted"])
    assert found == ["Retain", "Delete"]


@pytest.mark.parametrize(
    ("address", "port"), [("db:5432", 5432), ("https://api.example", 443), ("https://api:6443/x", 6443)]
)
def test_ports_of_targets(address: str, port: int) -> None:
    assert manifests.target_port(address) == port
