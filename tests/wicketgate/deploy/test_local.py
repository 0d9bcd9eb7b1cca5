"""The local deployment writes one file per process and bot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import yaml

from wicketgate import config
from wicketgate.deploy.local import LocalDeployment

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "local"
UUID = "{0}{0}{0}{0}{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}-{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}"


def files(under_mocks: Callable[..., Any], bots: dict[str, pulumi.Input[str]]) -> dict[str, dict[str, Any]]:
    settings = config.load(yaml.safe_load((GOLDEN / "settings.yaml").read_text()))
    settings = settings.model_copy(update={"bots": dict.fromkeys(bots, settings.bots["code-review"])})
    settings = settings.model_copy(
        update={"groups": {"reviewers": settings.groups["reviewers"].model_copy(update={"policies": []})}}
    )

    def program() -> None:
        LocalDeployment(
            "local",
            {
                "config": settings,
                "tenant_id": UUID.format(1),
                "gateway_client_id": pulumi.Output.from_input(UUID.format(2)),
                "agents": {n: [UUID.format(3), UUID.format(4)] for n in ("desk", "far")},
                "bots": bots,
                "bundle": "{}\n",
                "policies": {},
                "cli_client_id": UUID.format(7),
            },
        )

    return under_mocks(program).of("File")


def test_each_process_and_bot_has_its_file(under_mocks: Callable[..., Any]) -> None:
    made = files(under_mocks, {"one": UUID.format(5), "two": UUID.format(6)})
    folder = Path("d").absolute()
    assert {str(Path(f["path"]).relative_to(folder)) for f in made.values()} == {
        "bundle.json",
        "gateway.yaml",
        "people.yaml",
        "agents/desk.yaml",
        "agents/far.yaml",
        "clients/one.yaml",
        "clients/two.yaml",
    }


def test_another_bot_changes_no_file_of_the_others(under_mocks: Callable[..., Any]) -> None:
    one = files(under_mocks, {"one": UUID.format(5)})
    two = files(under_mocks, {"one": UUID.format(5), "two": UUID.format(6)})
    assert {name: two[name] for name in one} == one
