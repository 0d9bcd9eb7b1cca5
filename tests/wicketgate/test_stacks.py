"""Each stack file of `stacks/` previews: the whole program under mocks, with the repository's own policies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from wicketgate import config, stack

ROOT = Path(__file__).resolve().parents[2]
CLIENT = SimpleNamespace(tenant_id="11111111-1111-1111-1111-111111111111", object_id="deployer")


def load(name: str) -> config.StackConfig:
    file = ROOT / "stacks" / f"Pulumi.{name}.yaml"
    values = yaml.safe_load(file.read_text())["config"]
    plain = yaml.safe_load(yaml.safe_dump(values, default_flow_style=False))
    for bot in plain["wicketgate:bots"].values():
        bot["expires"] = str(bot["expires"])  # the engine gives JSON, which has no dates
    return config.load({key.removeprefix("wicketgate:"): value for key, value in plain.items()}, file)


@pytest.mark.parametrize(
    ("name", "component", "found"),
    [
        ("adopt", "LocalDeployment", "File"),
        ("compose", "ComposeDeployment", "File"),
        ("kubernetes", "KubernetesDeployment", "StatefulSet"),
    ],
)
def test_it_previews(under_mocks: Callable[..., Any], name: str, component: str, found: str) -> None:
    made = under_mocks(lambda: stack.access_stack(load(name), ROOT, CLIENT))
    deployment = "local" if name == "adopt" else name
    assert [r.name for r in made.resources if r.typ.endswith(f":{component}")] == [deployment]
    assert made.of(found)
    components = {r.name for r in made.resources if r.typ.startswith("wicketgate:")}
    assert all(r.parent for r in made.requests if r.name not in components and not r.name.startswith("project-"))
