"""The Kubernetes deployment under mocks: what is registered, in which order, on which cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
import yaml

from wicketgate.deploy.kubernetes import MOST_BYTES, KubernetesDeployment


@pytest.fixture
def made(
    under_mocks: Callable[..., Any],
    stack_settings: Callable[..., Any],
    kubernetes_deploy: dict[str, Any],
    deployment_args: Callable[..., Any],
) -> Any:
    args = deployment_args(stack_settings(kubernetes_deploy), "one")
    return under_mocks(lambda: KubernetesDeployment("kubernetes", args))


def test_each_object_is_a_resource(made: Any) -> None:
    kinds = sorted({r.typ.rsplit(":", 1)[-1] for r in made.resources if r.custom})
    assert kinds == [
        "Certificate", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy",
        "PodDisruptionBudget", "SecretProviderClass", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet",
        "kubernetes",
    ]  # fmt: skip
    assert made.of("StatefulSet")["kubernetes-gateway-gateway"]["spec"]["serviceName"] == "gateway-replicas"


def test_an_agent_of_another_cluster_is_made_there(made: Any) -> None:
    (provider,) = [r for r in made.resources if r.typ == "pulumi:providers:kubernetes"]
    assert provider.inputs == {"context": "far-cluster"}
    there = {r.name for r in made.requests if r.provider and provider.name in r.provider and r.custom}
    assert {n for n in there if "agent-far" in n} == {r.name for r in made.resources if "agent-far" in r.name}
    assert not {n for n in there if "agent-desk" in n or "-gateway-" in n}


def test_settings_name_every_replica_and_no_secret_is_held(made: Any) -> None:
    settings = made.of("ConfigMap")["kubernetes-agent-desk-settings"]["data"]["agent.yaml"]
    assert yaml.safe_load(settings)["gateways"][0]["host"] == "gateway-0.gateway-replicas.wicketgate.svc"
    assert made.of("Secret") == {}


def test_a_vault_is_read_as_the_agents_own_identity(made: Any) -> None:
    (found,) = made.of("SecretProviderClass").values()
    parameters = found["spec"]["parameters"]
    assert parameters["clientID"] == "33333333-3333-3333-3333-333333333333"
    assert parameters["tenantId"] == "11111111-1111-1111-1111-111111111111"
    mounted = made.of("Deployment")["kubernetes-agent-far-agent"]["spec"]["template"]["spec"]["volumes"]
    (volume,) = [v for v in mounted if v["name"] == "secret-far-db"]
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == found["metadata"]["name"]


def test_a_bundle_that_no_config_map_holds_is_refused(
    under_mocks: Callable[..., Any],
    stack_settings: Callable[..., Any],
    kubernetes_deploy: dict[str, Any],
    deployment_args: Callable[..., Any],
) -> None:
    args = deployment_args(stack_settings(kubernetes_deploy), bundle="x" * (MOST_BYTES + 1))
    with pytest.raises(pulumi.RunError, match="split the stack"):
        under_mocks(lambda: KubernetesDeployment("kubernetes", args))
