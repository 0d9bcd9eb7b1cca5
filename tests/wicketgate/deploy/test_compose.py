"""The Compose deployment writes its files, and what one bot needs is one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from wicketgate.deploy.compose import ComposeDeployment


def test_its_files(
    under_mocks: Callable[..., Any],
    stack_settings: Callable[..., Any],
    compose_deploy: dict[str, Any],
    deployment_args: Callable[..., Any],
) -> None:
    settings = stack_settings(compose_deploy)
    one, two = (
        under_mocks(lambda bots=bots: ComposeDeployment("compose", deployment_args(settings, *bots))).of("File")
        for bots in (["one"], ["one", "two"])
    )
    paths = {str(Path(f["path"]).relative_to("/srv/wg")): yaml.safe_load(f["content"]) for f in two.values()}
    assert set(paths) == {
        "compose.yaml",
        "gateway/bundle.json",
        "gateway/gateway.yaml",
        "agents/desk/agent.yaml",
        "agents/far/agent.yaml",
        "clients/one.yaml",
        "clients/two.yaml",
        "people.yaml",
    }
    assert {name: two[name] for name in one} == one
    agent = paths["agents/desk/agent.yaml"]
    assert agent["gateways"] == [{"host": "gate.example.com", "port": 8443, "caFile": "/etc/wicketgate-ca/gateway.pem"}]
    assert agent["targets"]["orders-db"]["credential"] == "/run/secrets/orders-db"
    assert agent["workload"]["tokenFile"] == "/run/tokens/desk/desk.jwt"
    assert paths["gateway/gateway.yaml"]["tls"]["keyFile"] == "/run/secrets/gateway-key"
    assert paths["clients/one.yaml"]["gateway"]["caFile"] == "/srv/tls/ca.crt"
