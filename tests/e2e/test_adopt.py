"""`stacks/Pulumi.adopt.yaml` with the real engine: what exists is imported, changed in nothing, and outlives the stack.

The doctor then looks at the same tenant, by the command line.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.provide import provide
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.issuer.server import WorkloadIssuer

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
AUDIENCE = "api://AzureADTokenExchange"
GITHUB = "https://token.actions.githubusercontent.com"
GROUP, APPLICATION = "8d3a6f52-1a0f-4a7e-9a64-2f6f0a6f5b01", "3c5f7c1e-52c5-4e0c-8b0e-6a1b6f1f9d02"
GATE, CREDENTIAL = "3c5f7c1e-52c5-4e0c-8b0e-6a1b6f1f9d0a", "5b0c9a7d-9a35-4a55-8c1e-0d8e1c3b7a03"
SEED: dict[str, Any] = {
    "users": [{"displayName": "Ada", "mail": "ada@contoso.example"}],
    "groups": [
        {"displayName": "old-group", "id": GROUP, "description": "Ours since 2019", "owners": ["ada@contoso.example"]}
    ],
    "applications": [
        {
            "displayName": "old-pipeline",
            "appId": APPLICATION,
            "notes": "Mind the gap",
            "tags": ["team:shop"],
            "web": {"redirectUris": ["https://shop.example.com/callback"]},
            "owners": ["ada@contoso.example", "wicketgate-deployer"],
            "groups": ["old-group"],
            "graphRoles": ["User.Read.All"],
        },
        {
            "displayName": "old-gate",
            "appId": GATE,
            "notes": "Registered by hand",
            "owners": ["wicketgate-deployer"],
        },
    ],
}


@dataclass
class Adopting:
    """A tenant with something in it, and a stack that takes it in."""

    entra: EntraEmulator
    file: Path
    command: str
    env: dict[str, str]

    def run(self, *arguments: str, good: bool = True) -> str:
        """Run pulumi; gives all that it printed."""
        done = subprocess.run(
            [self.command, *arguments, "--non-interactive", "--stack", "adopt"],
            cwd=self.file.parents[1],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode == 0) is good, done.stdout
        return done.stdout

    def operations(self, verb: str, *more: str) -> dict[str, set[str]]:
        """Names of resources by what happened, or would happen, to them."""
        text = self.run(verb, "--json", *more)
        found: dict[str, set[str]] = {}
        if verb == "preview":
            for step in json.loads(text[text.index("{\n") :])["steps"]:
                found.setdefault(step["op"], set()).add(step["urn"].rsplit("::", 1)[-1])
            return found
        for line in text.splitlines():
            metadata = json.loads(line).get("resourcePreEvent", {}).get("metadata") if line.startswith("{") else None
            if metadata:
                found.setdefault(metadata["op"], set()).add(metadata["urn"].rsplit("::", 1)[-1])
        return found

    def doctor(self, *arguments: str) -> tuple[list[dict[str, Any]], int]:
        """Findings of `wicketgate doctor --json`, with the sums last, and its exit code."""
        command = [sys.executable, "-m", "wicketgate_gateway.cli", "doctor", "--file", str(self.file), "--json"]
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.stdout, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.returncode

    def of(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the tenant as it is."""
        return self.entra.core.directory.find_by(kind, "displayName", name)

    def credentials(self) -> set[str]:
        """Names of the old application's federated credentials."""
        old = self.of("application", "old-pipeline")
        assert old is not None
        directory = self.entra.core.directory
        return {c["name"] for c in directory.all("federatedIdentityCredential") if c["_parent"] == old["id"]}


@pytest.fixture(scope="module")
def adopting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopting]:
    folder = tmp_path_factory.mktemp("adopt")
    engine = provide(folder=folder / "engine")
    with (
        WorkloadIssuer(folder / "issuer") as issuer,
        EntraEmulator(
            folder / "entra",
            trust=[issuer.ca_file],
            seed=SEED
            | {
                "deployer": {
                    "federatedCredentials": [{"name": "pipeline", "issuer": issuer.url, "subject": "deployer"}],
                    "graphRoles": [
                        "Application.ReadWrite.OwnedBy",
                        "Application.Read.All",
                        "Group.Create",
                        "RoleManagement.Read.Directory",
                    ],
                }
            },
        ) as entra,
    ):
        old = entra.core.directory.find_by("application", "displayName", "old-pipeline")
        deployer = entra.core.directory.find_by("application", "displayName", "wicketgate-deployer")
        assert old is not None
        assert deployer is not None
        credential = {
            "id": CREDENTIAL,
            "_kind": "federatedIdentityCredential",
            "_created": 0.0,
            "_parent": old["id"],
            "name": "main",
            "description": "by hand",
            "issuer": GITHUB,
            "subject": "repo:acme/shop:ref:refs/heads/main",
            "audiences": [AUDIENCE],
            "claimsMatchingExpression": None,
        }
        entra.core.directory.save(credential)
        # A project of its own: `stack init` writes into the stack file.
        project = folder / "project"
        (project / "stacks").mkdir(parents=True)
        (folder / "state").mkdir()
        document = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
        document["runtime"]["options"] = {"toolchain": "pip", "virtualenv": sys.prefix}
        for provider in document["plugins"]["providers"]:
            provider["path"] = str(ROOT / provider["path"])
        (project / "Pulumi.yaml").write_text(yaml.safe_dump(document))
        shutil.copytree(ROOT / "policies" / "access", project / "policies" / "access")
        shutil.copy(ROOT / "stacks" / "__main__.py", project / "stacks")
        file = project / "stacks" / "Pulumi.adopt.yaml"
        shutil.copy(ROOT / "stacks" / file.name, file)
        head = (
            f"  wicketgate:entra: {{authority: {entra.authority}, graph: {entra.graph}, caFile: {entra.ca_file}}}\n"
            f"  wicketgate:gateway:\n    adopt: {{application: {GATE}}}\n    host: gate.example.com\n"
        )
        text = file.read_text().replace("  wicketgate:gateway:\n    host: gate.example.com\n", head)
        file.write_text(text.replace("folder: out", f"folder: {folder / 'out'}"))
        env = {
            **os.environ,
            **{name: value for name, value in engine.env.items() if name != "PULUMI_CONFIG_PASSPHRASE_FILE"},
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "adopt",
            "SSL_CERT_FILE": str(entra.bundle_file),
            "ARM_METADATA_HOSTNAME": entra.metadata_host,
            "ARM_TENANT_ID": entra.tenant,
            "ARM_CLIENT_ID": deployer["appId"],
            "ARM_USE_OIDC": "true",
            "ARM_USE_CLI": "false",
            "ARM_DISABLE_TERRAFORM_PARTNER_ID": "true",
            "ARM_OIDC_TOKEN": issuer.token("deployer", AUDIENCE, lifetime=3600),
            "WICKETGATE_AZUREAD_WAIT_SECONDS": "0.01",
        }
        made = Adopting(entra, file, str(engine.command), env)
        made.run("stack", "init")
        yield made


GATEWAY = {"gateway-application", "gateway-principal"}
IMPORTED = GATEWAY | {
    "bot-code-review-application",
    "bot-code-review-principal",
    "bot-code-review-in-reviewers",
    "group-reviewers-group",
}


def test_what_exists_is_taken_in_and_let_go(adopting: Adopting) -> None:
    def old() -> list[dict[str, Any]]:
        """What was there; null and empty are the same, as the provider writes them."""
        kinds = (("application", "old-pipeline"), ("servicePrincipal", "old-pipeline"), ("group", "old-group"))
        found = [adopting.of(kind, name) or {} for kind, name in kinds]
        assert all(found)
        empty = (None, "", [], {}, {"relayState": ""})
        return [{k: v for k, v in doc.items() if v not in empty} for doc in found]

    before = old()

    # What is not as the stack says would be changed, and the preview says it.
    text = adopting.file.read_text()
    adopting.file.write_text(text.replace("repository: acme/shop, branch: main", "repository: acme/else, branch: b"))
    (changed,) = adopting.operations("preview")["update"] - GATEWAY
    adopting.file.write_text(text)
    assert changed.startswith("bot-code-review-github-")

    preview = adopting.operations("preview")
    assert {name for name in preview["import"] if not name.startswith("bot-code-review-github-")} == IMPORTED
    assert len(preview["import"]) == len(IMPORTED) + 1
    assert set(preview) == {"import", "create", "update"}, "nothing is replaced or deleted"
    assert preview["update"] == GATEWAY, "of the gateway's registration roles and claims are the stack's"

    # Throttled and failing now and then, as Graph does.
    adopting.entra.set_quirks(throttle_next=4, fail_next=2, retry_after=0)
    first = adopting.operations("up", "--yes", "--skip-preview")
    assert adopting.entra.core.quirks.throttle_next == 0
    assert first["import"] == preview["import"]
    assert old() == before, "adopting changes nothing of it"
    assert len(adopting.credentials()) == 2
    assert set(adopting.operations("up", "--yes", "--skip-preview")) == {"same"}, "a second up changes nothing"
    adopting.run("refresh", "--yes", "--expect-no-changes")

    # No secret is in the state.
    assert adopting.env["ARM_OIDC_TOKEN"] not in adopting.run("stack", "export")

    # The doctor finds the stack's own in order. What the old application holds beyond the stack is worth a thought.
    found, code = adopting.doctor()
    bad = [(one["code"], one["about"]) for one in found[:-1] if one["level"] != "note"]
    assert bad == [("role-assignment-missing", "deployer"), ("role-unexpected", "bot code-review")], found
    gateway = adopting.of("servicePrincipal", "old-gate")
    assert gateway is not None
    assert gateway["appRoleAssignmentRequired"] is True
    assert gateway["id"] in found[0]["remedy"], "a role for this object alone"
    assert (code, found[-1]["problems"], found[-1]["warnings"]) == (1, 1, 1)

    # An expired bot is stopped, also one that was there before.
    over, changes = re.subn(r"expires: .+(?=\n +adopt:)", 'expires: "2020-01-01"', text)
    assert changes == 1, text
    adopting.file.write_text(over)
    found, code = adopting.doctor()
    assert code == 1
    assert ("expired", "bot code-review") in {(one.get("code"), one.get("about")) for one in found}
    assert "bot-code-review-principal" in adopting.operations("up", "--yes", "--skip-preview")["update"]
    before[1]["accountEnabled"] = False
    assert old() == before, "and nothing else of it is changed"

    adopting.run("destroy", "--yes", "--skip-preview")
    assert old() == before, "what was adopted is there still"
    assert adopting.credentials() == {"main"}, "what the stack added is gone"
    assert adopting.entra.core.directory.store.targets("members", GROUP) == [before[1]["id"]]
    assert adopting.of("application", "wicketgate-bot-nightly-report") is None
    gate = adopting.of("application", "old-gate")
    assert gate is not None
    assert gate["notes"] == "Registered by hand"
