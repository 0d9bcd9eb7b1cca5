"""Fixtures that every test may use."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from wicketgate.testing.postgres import PostgresServer

# The same examples in every run of CI, whatever its machine's speed; people and `python -m fuzz` look further.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

pytest_plugins = ["tests.running", "tests.ssh", "tests.web", "tests.clusters", "tests.engines", "tests.browser"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failed-file", help="write what failed here, as JSON: [[test, phase], …]")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if file := config.getoption("failed_file"):
        reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
        failed = [(one.nodeid, getattr(one, "when", "collect")) for one in reports]
        Path(file).write_text(json.dumps(failed))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole run: SCRAM, and TLS where the build has it (`.ca_file` is None where not).

    The roles `login_md5`, `login_password` and `login_trust`, once made, log in by the method of that name.
    """
    methods = [f"host all login_{method} 127.0.0.1/32 {method}" for method in ("md5", "password", "trust")]
    folder: Path = tmp_path_factory.mktemp("postgres")
    with PostgresServer(folder, hba=methods) as server:
        yield server


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Coroutine tests (`pytest.mark.anyio`) run on the loop that ships."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await eventually(lambda: condition)`: polls until it holds; fails after `seconds` (10)."""

    async def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is polled here tells of itself by no event
                await asyncio.sleep(0.005)

    return wait


@dataclass
class Cloud:
    """A tenant (the emulator) with a gateway, an agent and a bot in it, and the platform (an issuer) of all three.

    Its people: Dana (role Approval.Decide, group dba), Erik (Approval.Decide, no group), Ada (Session.Read),
    Root (Gateway.Admin), Nils (no role: Entra gives him no token). They sign in with the public client `cli`.
    """

    entra: Any
    issuer: Any
    folder: Path
    audience: str = ""
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """Object ids of service principals, groups and people by display name."""
    clients: dict[str, str] = field(default_factory=dict[str, str])
    """Client ids by display name."""
    roles: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Roles of people."""

    def document(self) -> dict[str, Any]:
        """The `entra` part of a configuration file."""
        return {
            "tenant": self.entra.tenant,
            "authority": self.entra.authority,
            "graph": self.entra.graph,
            "caFile": str(self.entra.ca_file),
        }

    def workload(self, name: str) -> dict[str, Any]:
        """The `workload` part for `gateway`, `agent` or `bot`."""
        return {"clientId": self.clients[name], "tokenFile": str(self.folder / f"{name}.token")}

    def person_token(self, name: str, *, client: str = "cli", scope: str = "", refresh: bool = False) -> str:
        """An access token of a person for the gateway, got by the device code flow."""
        import ssl

        import httpx2

        base = f"{self.entra.authority}/{self.entra.tenant}/oauth2/v2.0"
        context = ssl.create_default_context(cafile=str(self.entra.ca_file))
        with httpx2.Client(verify=context, trust_env=False) as http:
            form = {"client_id": self.clients[client], "scope": scope or f"{self.audience}/Gateway.Use"}
            code = http.post(f"{base}/devicecode", data=form).json()
            self.entra.approve_device(code["user_code"], self.ids[name])
            grant = "urn:ietf:params:oauth:grant-type:device_code"
            answer = http.post(
                f"{base}/token",
                data={"grant_type": grant, "client_id": form["client_id"], "device_code": code["device_code"]},
            ).json()
        if "access_token" not in answer:
            raise ValueError(answer["error_description"])
        return answer["access_token"]

    def mint_person(self, name: str, **claims: Any) -> str:
        """A token as the emulator would sign it for a person, with these claims; None takes one away."""
        import time

        good = {
            "aud": self.audience,
            "oid": self.ids[name],
            "azp": self.clients["cli"],
            "azpacr": "0",
            "name": name,
            "scp": "Gateway.Use",
            "idtyp": None,
            "roles": self.roles.get(name),
            "auth_time": int(time.time()),
        }
        return self.entra.mint({**good, **claims})

    def patch(self, path: str, body: dict[str, Any], method: str = "PATCH") -> None:
        """Changes an object by Graph, as an administrator would."""
        import ssl

        import httpx2

        context = ssl.create_default_context(cafile=str(self.entra.ca_file))
        with httpx2.Client(verify=context, trust_env=False) as http:
            headers = {"Authorization": f"Bearer {self.entra.graph_token()}"}
            answer = http.request(method, f"{self.entra.graph}/v1.0/{path}", json=body or None, headers=headers)
            assert answer.status_code < 300, answer.text

    def allow_redirect(self, name: str, address: str) -> None:
        """Registers one more redirect (reply) address of an application; those of other tests stay."""
        found = self.entra.core.directory.find_by("application", "displayName", name)
        assert found is not None
        redirects = [*found["web"]["redirectUris"], address]
        self.patch(f"applications/{found['id']}", {"web": {"redirectUris": redirects}})


@pytest.fixture(scope="session")
def whole_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The session's cloud; tests take `cloud`."""
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer

    def role(number: int, value: str, members: str = "Application") -> dict[str, Any]:
        return {
            "id": f"5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c{number}",
            "value": value,
            "displayName": value,
            "description": value,
            "allowedMemberTypes": [members],
        }

    people = {
        "Dana": ["Approval.Decide"],
        "Erik": ["Approval.Decide"],
        "Ada": ["Session.Read"],
        "Root": ["Gateway.Admin"],
        "Nils": [],
    }
    scope = {
        "id": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c50",
        "value": "Gateway.Use",
        "type": "User",
        "isEnabled": True,
        "adminConsentDisplayName": "Use the gateway",
        "adminConsentDescription": "Use the gateway",
    }
    public = {"isFallbackPublicClient": True, "publicClient": {"redirectUris": ["http://127.0.0.1/"]}}

    def workload(name: str, **more: Any) -> dict[str, Any]:
        credential = {"name": "platform", "issuer": issuer.url, "subject": f"workload:{name}"}
        return {"displayName": name, "federatedCredentials": [credential], **more}

    folder = tmp_path_factory.mktemp("cloud")
    with WorkloadIssuer(folder / "issuer") as issuer, EntraEmulator(trust=[issuer.ca_file]) as entra:
        entra.seed(
            {
                "groups": [
                    {"displayName": "reviewers", "members": []},
                    {"displayName": "everyone", "members": ["reviewers"]},
                    {"displayName": "others", "members": []},
                    {"displayName": "dba-inner", "members": []},
                    {"displayName": "dba", "members": ["dba-inner"]},
                ],
                "users": [{"displayName": name, "groups": ["dba-inner"] if name == "Dana" else []} for name in people],
                "applications": [
                    workload(
                        "gateway",
                        api={"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [scope]},
                        appRoles=[
                            role(40, "Bot.Connect"),
                            role(41, "Agent.Connect"),
                            role(42, "Approval.Decide", "User"),
                            role(43, "Session.Read", "User"),
                            role(44, "Gateway.Admin", "User"),
                        ],
                        optionalClaims={
                            "accessToken": [
                                {"name": "idtyp", "additionalProperties": ["include_user_token"]},
                                {"name": "auth_time"},
                            ],
                            "idToken": [{"name": "auth_time"}],
                        },
                        web={"redirectUris": ["https://gate.example:8444/ui/signed-in"]},
                        appRoleAssignmentRequired=True,
                        graphRoles=["Application.Read.All", "User.Read.All", "GroupMember.Read.All"],
                    ),
                    {
                        "displayName": "gateway-saml",
                        "identifierUris": ["api://gateway-saml"],
                        "web": {"redirectUris": ["https://gate.example:8444/ui/saml/acs"]},
                        "appRoles": [
                            role(62, "Approval.Decide", "User"),
                            role(63, "Session.Read", "User"),
                            role(64, "Gateway.Admin", "User"),
                        ],
                        "appRoleAssignmentRequired": True,
                    },
                    {"displayName": "cli", **public},
                    {"displayName": "other-cli", **public},
                    workload("agent", assignments=[{"resource": "gateway", "role": "Agent.Connect"}]),
                    workload("bot", assignments=[{"resource": "gateway", "role": "Bot.Connect"}], groups=["reviewers"]),
                ],
            }
        )
        cloud = Cloud(entra, issuer, folder)
        for name in ("gateway", "agent", "bot"):
            application = entra.core.directory.find_by("application", "displayName", name)
            principal = entra.core.directory.find_by("servicePrincipal", "displayName", name)
            assert application is not None
            assert principal is not None
            cloud.clients[name], cloud.ids[name] = application["appId"], principal["id"]
            issuer.project(f"workload:{name}", "api://AzureADTokenExchange", folder / f"{name}.token")
        for name in ("cli", "other-cli", "gateway-saml"):
            application = entra.core.directory.find_by("application", "displayName", name)
            assert application is not None
            cloud.clients[name] = application["appId"]
        for kind, names in (("group", ("reviewers", "everyone", "others", "dba")), ("user", people)):
            for name in names:
                found = entra.core.directory.find_by(kind, "displayName", name)
                assert found is not None
                cloud.ids[name] = found["id"]
        cloud.audience = cloud.clients["gateway"]
        cloud.roles = people
        for api in ("gateway", "gateway-saml"):
            principal = entra.core.directory.find_by("servicePrincipal", "displayName", api)
            assert principal is not None
            known = {one["value"]: one["id"] for one in entra.core.directory.with_application(principal)["appRoles"]}
            for name, roles in people.items():
                for value in roles:
                    body = {"principalId": cloud.ids[name], "resourceId": principal["id"], "appRoleId": known[value]}
                    cloud.patch(f"servicePrincipals/{principal['id']}/appRoleAssignedTo", body, "POST")
        yield cloud


@pytest.fixture
def cloud(whole_cloud: Cloud) -> Iterator[Cloud]:
    """A gateway, an agent and a bot (in `reviewers`, and so in `everyone`); quirks are reset afterwards."""
    from wicketgate.testing.entra.quirks import Quirks

    yield whole_cloud
    whole_cloud.entra.core.quirks.update(Quirks().as_dict())
