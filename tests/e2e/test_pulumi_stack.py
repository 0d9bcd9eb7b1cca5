"""The whole access stack with the real engine: up, nothing to do, one bot more, one bot less, destroy."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.engine import build, pins
from tools.provide import provide
from tools.quickstart import layout as layouts
from tools.quickstart import pulumi, services
from tools.quickstart.layout import ROOT, STACK, Layout
from wicketgate.testing.postgres import PostgresServer

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(600)]

SECOND_BOT = """\
    nightly-report:
      owner: group:data-team
      groups: [reviewers]
      expires: 2027-06-30
      credentials:
        - github: {repository: acme/reports, branch: main}
"""


@dataclass
class Stack:
    """The stack `quickstart` on services of its own, with a stack file of its own."""

    layout: Layout
    file: Path
    command: str
    env: dict[str, str]

    def run(self, *arguments: str, good: bool = True) -> str:
        """Run pulumi; gives all that it printed."""
        result = subprocess.run(
            [self.command, *arguments, "--non-interactive"],
            cwd=ROOT,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (result.returncode == 0) is good, result.stdout
        return result.stdout

    def up(self) -> dict[str, set[str]]:
        """`pulumi up`; names of resources by what happened to them (`create`, `update`, `delete`, `same`, …)."""
        text = self.run("up", "--yes", "--skip-preview", "--stack", STACK, "--config-file", str(self.file), "--json")
        return operations(text)

    def resources(self) -> dict[str, dict[str, Any]]:
        """The state, by URN."""
        deployment = json.loads(self.run("stack", "export", "--stack", STACK))["deployment"]
        return {r["urn"]: r for r in deployment.get("resources", [])}

    def directory(self) -> dict[str, list[str]]:
        """Display names of what is in the emulated tenant, by kind; without what was there before."""
        context = ssl.create_default_context(cafile=str(self.layout.ca))
        token = self._graph_token(context)
        found: dict[str, list[str]] = {}
        for kind in ("applications", "servicePrincipals", "groups"):
            request = urllib.request.Request(
                f"{self.layout.entra}/v1.0/{kind}?$top=999", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, context=context) as response:
                items = json.load(response)["value"]
            found[kind] = sorted(i["displayName"] for i in items if i["displayName"].startswith("wicketgate-"))
            found[kind] = [n for n in found[kind] if n != "wicketgate-deployer"]
        return found

    def _graph_token(self, context: ssl.SSLContext) -> str:
        body = "&".join(
            (
                f"client_id={layouts.DEPLOYER_CLIENT}",
                "grant_type=client_credentials",
                "scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
                f"client_assertion={self.layout.path('tokens', 'deployer.jwt').read_text().strip()}",
            )
        )
        url = f"{self.layout.entra}/{layouts.TENANT}/oauth2/v2.0/token"
        with urllib.request.urlopen(url, data=body.encode(), context=context) as response:
            return json.load(response)["access_token"]


def operations(text: str) -> dict[str, set[str]]:
    """What `--json` of an update says: the engine's events, one object a line."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        metadata = event.get("resourcePreEvent", {}).get("metadata")
        if metadata:
            found.setdefault(metadata["op"], set()).add(metadata["urn"].rsplit("::", 1)[-1])
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    layout = layouts.load(folder / "home")
    engine = provide(folder=layout.path("engine"))
    file = folder / f"Pulumi.{STACK}.yaml"
    shutil.copy(ROOT / "stacks" / file.name, file)
    try:
        services.certificates(layout)
        services.issuer(layout)
        services.entra(layout)
        server = services.database(layout)
        made = Stack(layout, file, str(engine.command), pulumi.environment(layout, engine, server))
        made.run("stack", "init", STACK)
        yield made
    finally:
        services.stop(layout)
        PostgresServer(layout.path("postgres")).destroy()


def wicketgate(*arguments: str) -> tuple[list[dict[str, Any]], int]:
    """What `wicketgate … --json` prints, an object a line, and its exit code."""
    command = [sys.executable, "-m", "wicketgate_gateway.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


PIPELINES = ROOT / "stacks" / "pipelines"
PRELUDE = """\
set -euo pipefail
uv() { if [ "$1" = run ]; then shift; "$@"; fi; }  # what `uv sync` would install is there
"""


def scripts(kind: str, job: str) -> list[str]:
    """The commands of a pipeline's job, as they stand; without the one that talks to the forge."""
    data = yaml.safe_load((PIPELINES / f"{kind}.yaml").read_text())
    if kind == "gitlab":
        return data[job]["script"]
    return [step["run"] for step in data["jobs"][job]["steps"] if "run" in step and step["name"] != "Comment"]


def changed(done: dict[str, set[str]]) -> set[str]:
    return set().union(*(names for what, names in done.items() if what != "same"))


def test_the_life_of_a_stack(stack: Stack) -> None:
    first = stack.up()
    assert {"gateway-application", "bot-code-review-principal", "local-bundle"} <= first["create"]
    assert stack.directory() == {
        "applications": [
            "wicketgate-agent-desk",
            "wicketgate-bot-code-review",
            "wicketgate-gate",
            "wicketgate-gate-cli",
        ],
        "servicePrincipals": [
            "wicketgate-agent-desk",
            "wicketgate-bot-code-review",
            "wicketgate-gate",
            "wicketgate-gate-cli",
        ],
        "groups": ["wicketgate-reviewers"],
    }
    assert changed(stack.up()) == set(), "a second up changes nothing"
    stack.run("refresh", "--yes", "--stack", STACK, "--config-file", str(stack.file), "--expect-no-changes")

    # Onboarding is six lines, and touches nobody else.
    before = stack.file.read_text()
    head, tail = before.split("encryptionsalt:")
    stack.file.write_text(f"{head}{SECOND_BOT}encryptionsalt:{tail}")

    # The preview says who gains what before anything is made, and nothing about anybody else.
    preview = stack.file.with_name("preview.json")
    preview.write_text(stack.run("preview", "--json", "--stack", STACK, "--config-file", str(stack.file)))
    changes, code = wicketgate("access", "diff", str(preview), "--json")
    assert code == 1
    assert {c.get("bot") for c in changes} == {"nightly-report", None}
    assert {c["after"][:5] for c in changes[:-1]} == {"allow"}
    added = stack.up()
    assert {n for n in added["create"] if "nightly-report" not in n} == set()
    assert changed(added) - added["create"] <= {"local-bundle", "policies", "wicketgate-quickstart"}
    assert "wicketgate-bot-nightly-report" in stack.directory()["applications"]
    assert stack.layout.rendered.joinpath("clients", "nightly-report.yaml").is_file()

    # A preview with the guardrails passes, and a stack that breaks one does not.
    guarded = ("preview", "--stack", STACK, "--policy-pack", "policies/guardrails", "--config-file", str(stack.file))
    assert "wicketgate-guardrails" in stack.run(*guarded)

    state = stack.file.with_name("state.json")
    state.write_text(stack.run("stack", "export", "--stack", STACK))
    found, code = wicketgate("guardrails", "check", str(state), "--json")
    assert (code, found[-1]["broken"]) == (0, 0), found

    stack.file.write_text(f"{head}{SECOND_BOT.replace('2027-06-30', '2199-06-30')}encryptionsalt:{tail}")
    refused = stack.run(*guarded, good=False)
    assert "the bot `nightly-report` lasts until 2199-06-30" in refused
    assert "owner-and-last-day" in refused

    stack.file.write_text(before)
    removed = stack.up()
    assert {n for n in removed["delete"] if "nightly-report" not in n} == set()
    assert removed["delete"]
    assert "wicketgate-bot-nightly-report" not in stack.directory()["applications"]
    assert not stack.layout.rendered.joinpath("clients", "nightly-report.yaml").exists()

    # The database's password is in no state, and nor is any token.
    state = json.dumps(stack.resources()) + "".join(
        p.read_text(errors="replace") for p in stack.layout.path("pulumi").rglob("*") if p.is_file()
    )
    assert stack.layout.path("secrets", layouts.TARGET, "password").read_text() not in state
    assert not re.search(r"eyJ[\w-]+\.eyJ[\w-]+\.", state)

    stack.run("destroy", "--yes", "--skip-preview", "--stack", STACK, "--config-file", str(stack.file))
    assert stack.directory() == {"applications": [], "servicePrincipals": [], "groups": []}
    assert list(stack.layout.rendered.rglob("*.yaml")) == []


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_pipeline_does_what_it_says(stack: Stack, kind: str, tmp_path: Path) -> None:
    """Its commands in a copy of the project, as a runner would run them: a reviewer reads who gains what; then `up`."""
    project = tmp_path / "checkout"
    shutil.copytree(ROOT / "stacks", project / "stacks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "policies", project / "policies")
    settings = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    # This environment as it is, and no install into it.
    settings["runtime"]["options"] = {"virtualenv": str(Path(sys.executable).parents[1])}
    for plugin in settings["plugins"]["providers"]:
        plugin["path"] = str(ROOT / plugin["path"])
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
    path = [Path(sys.executable).parent, Path(stack.command).parent, stack.env.get("PATH", os.environ["PATH"])]
    env = {**os.environ, **stack.env, "STACK": STACK, "PATH": os.pathsep.join(map(str, path))}

    def run(job: str) -> None:
        for script in scripts(kind, job):
            done = subprocess.run(
                ["bash", "-c", PRELUDE + script], cwd=project, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, script + done.stdout + done.stderr

    run("preview")
    comment = (project / "comment.md").read_text()
    assert "code-review" in comment
    assert "| " in comment, "a table"
    run("up")
    assert "wicketgate-bot-code-review" in stack.directory()["applications"]
    stack.run("destroy", "--yes", "--skip-preview", "--stack", STACK, "--config-file", str(stack.file))
    assert stack.directory() == {"applications": [], "servicePrincipals": [], "groups": []}


def test_the_github_pipeline_has_no_mistakes() -> None:
    linter = build.build(pins.ACTIONLINT, lambda _: None)
    done = subprocess.run(
        [linter, "-no-color", PIPELINES / "github.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    wrong = (PIPELINES / "github.yaml").read_text().replace("github.event_name", "github.event_nam")
    done = subprocess.run([linter, "-"], input=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, "a mistake is found"


def test_a_wrong_line_is_named(stack: Stack) -> None:
    before = stack.file.read_text()
    try:
        stack.file.write_text(before.replace("groups: [reviewers]", "groups: [reviwers]"))
        text = stack.run("preview", "--stack", STACK, "--config-file", str(stack.file), good=False)
    finally:
        stack.file.write_text(before)
    assert re.search(r"Pulumi\.quickstart\.yaml:\d+:\d+.*there is no group `reviwers`; known: `reviewers`", text)
