"""`compose.yaml` keeps targets to agents, and processes small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from wicketgate.deploy import compose_file


def rendered(stack_settings: Callable[..., Any], deploy: dict[str, Any]) -> dict[str, Any]:
    settings = stack_settings(deploy)
    text = compose_file.render(settings, settings.gateway.deploy, {"gateway": "g", "desk": "d", "far": "f"})
    return yaml.safe_load(text)


def test_agents_alone_reach_targets(stack_settings: Callable[..., Any], compose_deploy: dict[str, Any]) -> None:
    made = rendered(stack_settings, compose_deploy)
    on = {name: set(service["networks"]) for name, service in made["services"].items()}
    assert on == {
        "gateway": {"bots", "outside"},
        "agent-desk": {"targets", "outside"},
        "agent-far": {"targets", "outside"},
    }
    assert {n for n, network in made["networks"].items() if network.get("internal")} == {"bots", "targets"}
    assert "ports" not in made["services"]["agent-desk"]
    assert made["services"]["gateway"]["ports"] == ["127.0.0.1:5432:5432", "127.0.0.1:8444:8444"]


def test_processes_may_do_little(stack_settings: Callable[..., Any], compose_deploy: dict[str, Any]) -> None:
    for service in rendered(stack_settings, compose_deploy)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "65532:65532"
        assert service["healthcheck"]["test"][0] == "CMD"
        binds = [m for m in service["volumes"] if m["type"] == "bind"]
        assert all(m["read_only"] and not m["bind"]["create_host_path"] for m in binds)


def test_each_agent_gets_its_own_secrets_alone(
    stack_settings: Callable[..., Any], compose_deploy: dict[str, Any]
) -> None:
    services = rendered(stack_settings, compose_deploy)["services"]
    sources = {n: {m["source"] for m in s["volumes"] if m["type"] == "bind"} for n, s in services.items()}
    assert "/srv/secrets/orders-db" in sources["agent-desk"]
    assert not sources["agent-far"] & {"/srv/secrets/orders-db", "/srv/tokens/desk", "/srv/tokens/gateway"}
    assert {s for s in sources["gateway"] if s.startswith("/srv/secrets")} == {"/srv/secrets/stores"}
    assert services["gateway"]["secrets"] == ["gateway-certificate", "gateway-key"]
    assert all("secrets" not in service for name, service in services.items() if name != "gateway")


def test_new_settings_make_that_container_anew(
    stack_settings: Callable[..., Any], compose_deploy: dict[str, Any]
) -> None:
    settings = stack_settings({**compose_deploy, "folder": "/srv/$HOME"})
    texts = {"gateway": "g", "desk": "d", "far": "f"}
    one, two = (
        yaml.safe_load(compose_file.render(settings, settings.gateway.deploy, {**texts, "desk": text}))["services"]
        for text in ("d", "other")
    )
    assert {name for name in one if one[name] != two[name]} == {"agent-desk"}
    # No variable of the environment gets in.
    assert one["agent-desk"]["volumes"][0]["source"] == "/srv/$$HOME/agents/desk"
