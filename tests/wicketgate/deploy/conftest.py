"""Settings for other kinds of place than the local one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate import config

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "local" / "settings.yaml"
UUID = "{0}{0}{0}{0}{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}"
KUBERNETES = {
    "kind": "kubernetes",
    "image": "registry.example/wicketgate:1.0",
    "certificate": {"issuer": "corporate"},
    "autoscale": {"max": 4},
    "caConfigMap": "corporate-ca",
    "gatewaySecrets": ["stores"],
    "serviceType": "LoadBalancer",
    "botNamespaces": ["ci"],
    "monitoring": {"namespaces": ["monitoring"], "labels": {"release": "prometheus"}},
    "keyVault": {"far-db": {"vault": "corp-kv", "files": {"username": "billing-user", "password": "billing-pw"}}},
    "agents": {"far": {"context": "far-cluster", "namespace": "wg-agents", "replicas": 1}},
}
COMPOSE = {
    "kind": "compose",
    "folder": "/srv/wg",
    "image": "registry.example/wicketgate:1.0",
    "certificateFile": "/srv/tls/tls.crt",
    "keyFile": "/srv/tls/tls.key",
    "caFile": "/srv/tls/ca.crt",
    "tokenFolder": "/srv/tokens",
    "secretFolder": "/srv/secrets",
    "gatewaySecrets": ["stores"],
}


@pytest.fixture
def stack_settings() -> Callable[..., config.StackConfig]:
    """`stack_settings(deploy, **gateway)`: the golden stack in another place."""

    def make(deploy: dict[str, Any], **gateway: Any) -> config.StackConfig:
        data: dict[str, Any] = yaml.safe_load(GOLDEN.read_text())
        metrics = {"metricsPort": 9464} if "monitoring" in deploy else {}
        data["gateway"] |= {"deploy": deploy, **metrics, **gateway}
        return config.load(data)

    return make


@pytest.fixture
def kubernetes_deploy() -> dict[str, Any]:
    """A `deploy` of kind `kubernetes` with most that can be said."""
    return {**KUBERNETES}


@pytest.fixture
def compose_deploy() -> dict[str, Any]:
    """A `deploy` of kind `compose`."""
    return {**COMPOSE}


@pytest.fixture
def deployment_args() -> Callable[..., Any]:
    """`deployment_args(settings, bots)`: what a deployment component takes."""

    def make(settings: config.StackConfig, *bots: str, bundle: str = "{}\n") -> Any:
        groups = {n: g.model_copy(update={"policies": []}) for n, g in settings.groups.items()}
        known = dict.fromkeys(bots, next(iter(settings.bots.values())))
        return {
            "config": settings.model_copy(update={"groups": groups, "bots": known}),
            "tenant_id": UUID.format(1),
            "gateway_client_id": UUID.format(2),
            "agents": {n: [UUID.format(3), UUID.format(4)] for n in settings.agents},
            "bots": dict.fromkeys(bots, UUID.format(5)),
            "bundle": bundle,
            "policies": {},
            "cli_client_id": UUID.format(7),
        }

    return make
