"""The components from programs in YAML and TypeScript, with the real engine, against the emulated tenant."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tools.engine import build, pins
from tools.provide import provide
from tools.quickstart import layout as layouts
from tools.quickstart import pulumi, services
from tools.quickstart.layout import ROOT, Layout
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.issuer.server import WorkloadIssuer

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(600)]
TYPESCRIPT = Path(__file__).parent / "typescript"
SUBJECT = "repo:acme/app:ref:refs/heads/main"

PROGRAM: dict[str, Any] = {
    "name": "yaml",
    "runtime": "yaml",
    "plugins": {"providers": [{"name": "wicketgate", "path": str(ROOT / "components")}]},
    "config": {"deployer": {"type": "string"}},
    "resources": {
        "gateway": {
            "type": "wicketgate:index:GatewayIdentity",
            "properties": {
                "displayName": "yaml-gate",
                "deployerObjectId": "${deployer}",
                "readDirectory": False,
            },
        },
        "readers": {
            "type": "wicketgate:index:BotGroup",
            "properties": {"displayName": "yaml-readers", "deployerObjectId": "${deployer}"},
        },
        "typist": {
            "type": "wicketgate:index:Bot",
            "properties": {
                "displayName": "yaml-bot",
                "owner": "group:platform",
                "deployerObjectId": "${deployer}",
                "gatewayObjectId": "${gateway.objectId}",
                "groupNames": ["readers"],
                "groupObjectIds": ["${readers.objectId}"],
                "credentials": [
                    {
                        "kind": "github",
                        "issuer": "https://token.actions.githubusercontent.com",
                        "subject": SUBJECT,
                        "audience": "api://AzureADTokenExchange",
                    }
                ],
            },
        },
    },
    "outputs": {"bot": "${typist.clientId}", "audience": "${gateway.clientId}"},
}


@dataclass
class Place:
    """An engine with a tenant of its own."""

    folder: Path
    layout: Layout
    entra: EntraEmulator
    command: Path
    env: dict[str, str]

    def run(self, folder: Path, *arguments: str, good: bool = True) -> str:
        """Run pulumi in a project's folder; gives all that it printed."""
        command = [self.command, *arguments, "--non-interactive"]
        done = subprocess.run(
            command, cwd=folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is good, done.stdout + done.stderr
        return done.stdout if good else done.stdout + done.stderr

    @property
    def deployer(self) -> str:
        """Object id of the identity that runs pulumi."""
        found = self.entra.core.directory.find_by("servicePrincipal", "appId", layouts.DEPLOYER_CLIENT)
        assert found is not None
        return found["id"]

    def made(self, prefix: str) -> dict[str, list[str]]:
        """Display names in the tenant that begin so, by kind."""
        found: dict[str, list[str]] = {}
        for kind in ("application", "servicePrincipal", "group"):
            names = (str(one.get("displayName", "")) for one in self.entra.core.directory.all(kind))
            found[kind] = sorted(name for name in names if name.startswith(prefix))
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("components")
    layout = layouts.load(folder / "home")
    engine = provide(folder=layout.path("engine"))
    services.certificates(layout)
    with (
        WorkloadIssuer(layout.path("issuer")) as issuer,
        EntraEmulator(layout.path("entra"), trust=[issuer.ca_file], tenant=layouts.TENANT) as entra,
    ):
        entra.seed(
            {
                "deployer": {
                    "appId": layouts.DEPLOYER_CLIENT,
                    "graphRoles": services.DEPLOYER_ROLES,
                    "federatedCredentials": [
                        {"name": "deployer", "issuer": issuer.url, "subject": services.DEPLOYER_SUBJECT}
                    ],
                }
            }
        )
        layout.path("tokens").mkdir()
        issuer.project(
            services.DEPLOYER_SUBJECT, services.TOKEN_EXCHANGE_AUDIENCE, layout.path("tokens", "deployer.jwt")
        )
        server: Any = SimpleNamespace(host="127.0.0.1", port=1, ca_file=None)
        bundle = folder / "bundle.pem"
        bundle.write_text(entra.ca_file.read_text() + layout.path("ca", services.BUNDLE).read_text())
        env = {
            **os.environ,
            **pulumi.environment(layout, engine, server),
            "ARM_METADATA_HOSTNAME": entra.authority.removeprefix("https://"),
            "SSL_CERT_FILE": str(bundle),
        }
        yield Place(folder, layout, entra, engine.command, env)


@pytest.fixture
def yaml_place(place: Place) -> Place:
    """With the host of YAML programs beside the CLI, where the engine looks for it."""
    host = build.build(pins.YAML_HOST, lambda _: None)
    path = f"{host.parent}{os.pathsep}{place.env['PATH']}"
    return Place(place.folder, place.layout, place.entra, place.command, {**place.env, "PATH": path})


def test_a_yaml_program(yaml_place: Place) -> None:
    place = yaml_place
    project = place.folder / "yaml"
    project.mkdir()
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(PROGRAM))
    place.run(project, "stack", "init", "dev")
    place.run(project, "config", "set", "deployer", place.deployer, "--stack", "dev")
    place.run(project, "up", "--yes", "--skip-preview", "--stack", "dev")
    assert place.made("yaml-") == {
        "application": ["yaml-bot", "yaml-gate"],
        "servicePrincipal": ["yaml-bot", "yaml-gate"],
        "group": ["yaml-readers"],
    }
    outputs = json.loads(place.run(project, "stack", "output", "--json", "--stack", "dev"))
    bot = place.entra.core.directory.find_by("application", "displayName", "yaml-bot")
    assert bot is not None
    assert outputs["bot"] == bot["appId"]
    place.run(project, "preview", "--stack", "dev", "--expect-no-changes")

    # A wrong word is named before anything is asked of the tenant.
    wrong = json.loads(json.dumps(PROGRAM))
    wrong["resources"]["typist"]["properties"]["ownr"] = "group:x"
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(wrong))
    assert "ownr" in place.run(project, "preview", "--stack", "dev", good=False)
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(PROGRAM))

    place.run(project, "destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert not any(place.made("yaml-").values())


def test_a_typescript_program(place: Place) -> None:
    if shutil.which("npm") is None:
        pytest.fail("there is no `npm` on PATH; install Node.js 20 or newer")
    project = place.folder / "typescript"
    shutil.copytree(TYPESCRIPT, project, ignore=shutil.ignore_patterns("node_modules", "out"))
    for command in (["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], ["npx", "--no-install", "tsc"]):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    work = place.folder / "typescript-work"
    work.mkdir()
    settings = {"name": "typescript", "runtime": "nodejs", "plugins": PROGRAM["plugins"]}
    (work / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
    path = f"{place.command.parent}{os.pathsep}{place.env['PATH']}"
    env = {**place.env, "PATH": path, "WORK_DIR": str(work), "DEPLOYER_OBJECT_ID": place.deployer}

    def run(verb: str) -> dict[str, Any]:
        done = subprocess.run(
            ["node", "out/program.js", verb], cwd=project, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    first = run("up")
    bot = place.entra.core.directory.find_by("application", "displayName", "ts-bot")
    assert bot is not None
    assert first["outputs"]["bot"] == bot["appId"]
    assert SUBJECT in [one["subject"] for one in place.entra.core.directory.all("federatedIdentityCredential")]
    assert set(run("preview")["changes"]) == {"same"}
    run("destroy")
    assert not any(place.made("ts-").values())
