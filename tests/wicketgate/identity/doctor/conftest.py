"""A tenant (the emulator) that is as a small stack says, so that each test can spoil one thing."""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from wicketgate import config
from wicketgate.identity import roles
from wicketgate.identity.doctor.findings import Finding, Report
from wicketgate.identity.doctor.visit import visit
from wicketgate.testing.entra.builtin import furnish
from wicketgate.testing.entra.quirks import Quirks
from wicketgate.testing.entra.seed import DEPLOYER, DEPLOYER_ROLES, apply_seed
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.entra.store import Store
from wicketgate.testing.issuer.server import WorkloadIssuer

AUDIENCE = "api://AzureADTokenExchange"
REVIEW = "repo:acme/shop:ref:refs/heads/main"


def role(value: str, members: str) -> dict[str, Any]:
    shown = {"value": value, "displayName": value, "description": value}
    return {"id": roles.role_id(value), **shown, "allowedMemberTypes": [members]}


def seed(issuer: str) -> dict[str, Any]:
    def workload(name: str, subject: str, **more: Any) -> dict[str, Any]:
        credential = {"name": "own", "issuer": issuer, "subject": subject}
        made = {"displayName": name, "federatedCredentials": [credential], "owners": [DEPLOYER]}
        return made | {"signInAudience": "AzureADMyOrg"} | more

    gate = workload(
        "wicketgate-gate",
        "gateway",
        api={"requestedAccessTokenVersion": 2},
        appRoles=[
            role("Bot.Connect", "Application"),
            role("Agent.Connect", "Application"),
            role("Approval.Decide", "User"),
        ],
        optionalClaims={"accessToken": [{"name": "idtyp"}]},
        web={"redirectUris": ["https://gate.example.com:8444/ui/signed-in"]},
        appRoleAssignmentRequired=True,
        graphRoles=["Application.Read.All", "User.Read.All", "GroupMember.Read.All"],
    )
    cli = {
        "displayName": "wicketgate-gate-cli",
        "owners": [DEPLOYER],
        "publicClient": {"redirectUris": ["http://127.0.0.1/"]},
    }
    connect = {"resource": "wicketgate-gate", "role": "Agent.Connect"}
    bots = {"resource": "wicketgate-gate", "role": "Bot.Connect"}
    return {
        "users": [{"displayName": "Mallory", "mail": "mallory@contoso.example"}],
        "groups": [
            {"displayName": "wicketgate-reviewers", "owners": [DEPLOYER]},
            {"displayName": "dba", "members": ["mallory@contoso.example"]},
        ],
        "applications": [
            {
                "displayName": DEPLOYER,
                "graphRoles": [*DEPLOYER_ROLES, "GroupMember.Read.All", "RoleManagement.Read.Directory"],
                "federatedCredentials": [{"name": "pipeline", "issuer": issuer, "subject": "deployer"}],
            },
            gate,
            cli,
            workload("wicketgate-agent-desk", "agent", assignments=[connect]),
            workload("wicketgate-bot-review", REVIEW, assignments=[bots], groups=["wicketgate-reviewers"]),
            {"displayName": "other", "secrets": []},
        ],
    }


SETTINGS: dict[str, Any] = {
    "gateway": {
        "host": "gate.example.com",
        "apiPort": 8444,
        "deploy": {
            "kind": "local",
            "folder": "out",
            "certificateFile": "a",
            "keyFile": "b",
            "caFile": "c",
            "tokenFolder": "tokens",
            "secretFolder": "e",
        },
    },
    "targets": {},
    "groups": {"reviewers": {"policies": []}},
    "approvers": {"dba": {"group": "dba"}},
}


@dataclass
class Practice:
    """The emulated tenant, the stack's settings, and visits."""

    entra: EntraEmulator
    issuer: WorkloadIssuer
    folder: Path
    settings: dict[str, Any]
    slept: list[float] = field(default_factory=list[float])
    environ: dict[str, str] = field(default_factory=dict[str, str])

    def id(self, name: str, kind: str = "servicePrincipal") -> str:
        found = self.entra.core.directory.find_by(kind, "displayName", name)
        assert found is not None, name
        return found["id"]

    def graph(self, method: str, path: str, body: Any = None, version: str = "v1.0") -> Any:
        """Does it by Graph, as an administrator."""
        context = ssl.create_default_context(cafile=str(self.entra.ca_file))
        with httpx2.Client(verify=context, trust_env=False) as http:
            headers = {"Authorization": f"Bearer {self.entra.graph_token()}"}
            answer = http.request(method, f"{self.entra.graph}/{version}/{path}", json=body, headers=headers)
            assert answer.status_code < 300, answer.text
            return answer.json() if answer.content else None

    def proof(self, name: str, subject: str, **more: Any) -> Path:
        """A platform's token for `subject`, where the deployment mounts it."""
        file = self.folder / "tokens" / f"{name}.jwt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(self.issuer.token(subject, AUDIENCE, **more))
        return file

    def config(self) -> config.StackConfig:
        return config.load(json.loads(json.dumps(self.settings)))

    def visit(self, **given: Path) -> Report:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return asyncio.run(visit(self.config(), self.environ, given, sleep=sleep))


@pytest.fixture(scope="session")
def doctor_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkloadIssuer]:
    with WorkloadIssuer(tmp_path_factory.mktemp("doctor-issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="session")
def doctor_entra(doctor_issuer: WorkloadIssuer) -> Iterator[EntraEmulator]:
    with EntraEmulator(trust=[doctor_issuer.ca_file]) as entra:
        yield entra


@pytest.fixture
def practice(doctor_issuer: WorkloadIssuer, doctor_entra: EntraEmulator, tmp_path: Path) -> Practice:
    issuer, entra = doctor_issuer, doctor_entra
    # A tenant of its own for each test, in the server of all: keys and certificates take longest to make.
    directory = entra.core.directory
    directory.store, directory.quirks = Store(), Quirks()
    furnish(directory)
    apply_seed(directory, seed(issuer.url))
    entra.core.sign_ins.clear()

    def credentials(subject: str) -> list[dict[str, Any]]:
        return [{"oidc": {"issuer": issuer.url, "subject": subject}}]

    gateway = SETTINGS["gateway"]
    deploy = gateway["deploy"] | {"tokenFolder": str(tmp_path / "tokens")}
    settings = SETTINGS | {
        "entra": {"authority": entra.authority, "graph": entra.graph, "caFile": str(entra.ca_file)},
        "gateway": gateway | {"deploy": deploy, "credentials": credentials("gateway")},
        "agents": {"desk": {"credentials": credentials("agent")}},
        "bots": {
            "review": {
                "owner": "group:dba",
                "groups": ["reviewers"],
                "expires": "2099-12-31",
                "credentials": credentials(REVIEW),
            }
        },
    }
    made = Practice(entra, issuer, tmp_path, settings)
    deployer = entra.core.directory.find_by("application", "displayName", DEPLOYER)
    assert deployer is not None
    made.environ |= {
        "ARM_TENANT_ID": entra.tenant,
        "ARM_CLIENT_ID": deployer["appId"],
        "ARM_OIDC_TOKEN": issuer.token("deployer", AUDIENCE),
    }
    # Cloud Application Administrator of the gateway's service principal alone, as the documentation advises.
    made.graph(
        "POST",
        "roleManagement/directory/roleAssignments",
        {
            "principalId": made.id(DEPLOYER),
            "roleDefinitionId": "158c047a-c907-4556-b7ef-446551a6b5f7",
            "directoryScopeId": f"/{made.id('wicketgate-gate')}",
        },
    )
    decide = {"principalId": made.id("dba", "group"), "resourceId": made.id("wicketgate-gate")}
    path = f"servicePrincipals/{decide['resourceId']}/appRoleAssignedTo"
    made.graph("POST", path, decide | {"appRoleId": roles.role_id("Approval.Decide")})
    entra.core.quirks.update({"enforce_permissions": True})
    return made


@pytest.fixture
def codes() -> Callable[[Report], list[tuple[str, str]]]:
    """The findings of a report in short: code and what about; notes left out."""

    def short(report: Report) -> list[tuple[str, str]]:
        return [(one.code, one.about) for one in report.sorted() if one.level != "note"]

    return short


@pytest.fixture
def only() -> Callable[[Report, str], Finding]:
    """The one finding with a code."""

    def find(report: Report, code: str) -> Finding:
        (found,) = [one for one in report.findings if one.code == code]
        return found

    return find
