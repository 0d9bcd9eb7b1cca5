"""Objects of operators' kinds say what those operators read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from wicketgate.deploy import operators
from wicketgate.places import Monitoring, VaultSecret


def test_a_certificate_is_for_every_name_by_which_a_gateway_is_reached(
    stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]
) -> None:
    settings = stack_settings({**kubernetes_deploy, "agentHosts": ["a.gate.example"]})
    spec = operators.certificate(settings, settings.gateway.deploy)["spec"]
    assert spec["dnsNames"] == ["gate.example.com", "*.gateway-replicas.wicketgate.svc", "a.gate.example"]
    assert spec["issuerRef"]["name"] == "corporate"


def test_a_monitor_finds_the_service_by_its_label(
    stack_settings: Callable[..., Any], kubernetes_deploy: dict[str, Any]
) -> None:
    deploy = stack_settings(kubernetes_deploy).gateway.deploy
    monitoring = Monitoring.model_validate({"namespaces": ["m"], "labels": {"release": "p"}, "interval": "1m"})
    made = operators.service_monitor(deploy, monitoring)
    assert made["spec"]["selector"]["matchLabels"] == operators.MONITORED
    assert made["metadata"]["labels"]["release"] == "p"
    assert made["spec"]["endpoints"][0]["interval"] == "1m"


def test_the_azure_providers_list_is_yaml_in_yaml() -> None:
    where = VaultSecret.model_validate({"vault": "corp-kv", "files": {"username": "db-user", "password": "db-pw"}})
    made = operators.secret_provider("ns", "agent-desk", "orders-db", where, ("tenant", "client"))
    parameters = made["spec"]["parameters"]
    listed = [yaml.safe_load(text) for text in yaml.safe_load(parameters["objects"])["array"]]
    assert {item["objectAlias"]: item["objectName"] for item in listed} == {"username": "db-user", "password": "db-pw"}
    assert {item["objectType"] for item in listed} == {"secret"}
    assert (parameters["tenantId"], parameters["clientID"]) == ("tenant", "client")
    assert made["metadata"] | {"labels": None} == {"name": "agent-desk-orders-db", "namespace": "ns", "labels": None}
