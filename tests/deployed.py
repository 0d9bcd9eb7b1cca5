"""A stack with the real engine, on an emulated Entra that containers and pods reach. For tests of deployments."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from tests.running import AUDIENCE
from wicketgate_gateway.identity import exchange

if TYPE_CHECKING:
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer

ROOT = Path(__file__).resolve().parents[1]
DEPLOYER, SUBJECT = "6a3f0d1e-90c4-4b7e-8f55-3d2b1c0a9e87", "workload:deployer"


def tenant(issuer: WorkloadIssuer) -> dict[str, Any]:
    """What is in the tenant before the first `up`: Dana, who approves, two groups, and the deployer."""
    from wicketgate.testing.entra.seed import DEPLOYER_ROLES

    return {
        "users": [{"displayName": "Dana", "groups": ["dba"]}],
        "groups": [{"displayName": "dba"}, {"displayName": "platform-team"}],
        "deployer": {
            "appId": DEPLOYER,
            "graphRoles": [*DEPLOYER_ROLES, "GroupMember.Read.All"],
            "federatedCredentials": [{"name": "test", "issuer": issuer.url, "subject": SUBJECT}],
        },
    }


def changed(done: dict[str, set[str]]) -> set[str]:
    """What an `up` did not leave as it was."""
    return set().union(*(names for what, names in done.items() if what != "same"))


@dataclass
class Deployed:
    """A stack: `up`, then ask what it made."""

    folder: Path
    name: str
    entra: EntraEmulator
    issuer: WorkloadIssuer
    config: dict[str, Any]
    """The settings, without the namespace."""
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    _command: str = ""
    _env: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def project(self) -> Path:
        """A project of its own with the program of this one: a stack that is made writes a salt into its stack file."""
        return self.folder / "project"

    def begin(self, policy: dict[str, Any], *, kubernetes: bool = False) -> None:
        """Lay out the engine, the only policy and the stack, in a backend of its own."""
        from tools.provide import provide

        engine = provide(folder=self.folder / "engine", kubernetes=kubernetes)
        (self.folder / "backend").mkdir()
        self._lay_out()
        (self.folder / "policies").mkdir()
        (self.folder / "policies" / f"{policy['policy']}.yaml").write_text(yaml.safe_dump(policy))
        self.config["policyFolder"] = str(self.folder / "policies")
        self.config["entra"] = {"authority": self.entra.authority, "graph": self.entra.graph, **self.config["entra"]}
        self._command = str(engine.command)
        self._env = {
            **{name: value for name, value in engine.env.items() if name != "PULUMI_CONFIG_PASSPHRASE_FILE"},
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "SSL_CERT_FILE": str(self.entra.bundle_file),
            "ARM_METADATA_HOSTNAME": self.entra.metadata_host,
            "ARM_TENANT_ID": self.entra.tenant,
            "ARM_CLIENT_ID": DEPLOYER,
            "ARM_USE_OIDC": "true",
            "ARM_USE_CLI": "false",
            "ARM_DISABLE_TERRAFORM_PARTNER_ID": "true",
            "ARM_OIDC_TOKEN": self.issuer.token(SUBJECT, AUDIENCE),
            "WICKETGATE_AZUREAD_WAIT_SECONDS": "0.01",
        }
        self._write()
        self.run("stack", "init", self.name)

    def run(self, *arguments: str) -> str:
        """What the engine prints."""
        done = subprocess.run(
            [self._command, *arguments, "--non-interactive"],
            cwd=self.project,
            env={**os.environ, **self._env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

    def of_stack(self, *arguments: str) -> str:
        """The same, for this stack."""
        return self.run(*arguments, "--stack", self.name)

    def up(self) -> dict[str, set[str]]:
        """`pulumi up` of the settings as they are now; names of resources by what happened to them."""
        self._write()
        text = self.of_stack("up", "--yes", "--skip-preview", "--json")
        found: dict[str, set[str]] = {}
        for line in text.splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if metadata := event.get("resourcePreEvent", {}).get("metadata"):
                found.setdefault(metadata["op"], set()).add(metadata["urn"].rsplit("::", 1)[-1])
        self.outputs = json.loads(self.run("stack", "output", "--json", "--stack", self.name))
        return found

    def left_in_entra(self) -> set[str]:
        """Display names of what is in the tenant beside what was there before."""
        directory = self.entra.core.directory
        kinds = ("application", "servicePrincipal", "group")
        names = {str(o.get("displayName")) for kind in kinds for o in directory.all(kind)}
        return {name for name in names if name.startswith("wicketgate-")} - {"wicketgate-deployer"}

    def exchanged(self, bot: str, assertion: str) -> str:
        """A bot's token for the gateway, for one of its platform."""
        scope, client = f"{self.outputs['audience']}/.default", self.outputs["bots"][bot]
        request = exchange.request(self.entra.authority, self.entra.tenant, client, scope, assertion)
        call = urllib.request.Request(request.url, request.body, request.headers)
        with urllib.request.urlopen(call, context=self._context(), timeout=20) as answer:
            return exchange.answer(answer.status, answer.read()).token

    def person(self, name: str) -> str:
        """A person's token for the gateway, by the device code flow."""
        directory = self.entra.core.directory
        cli = directory.find_by("application", "displayName", "wicketgate-gate-cli")
        user = directory.find_by("user", "displayName", name)
        assert cli is not None
        assert user is not None
        base = f"{self.entra.authority}/{self.entra.tenant}/oauth2/v2.0"

        def post(path: str, **form: str) -> dict[str, Any]:
            body = urlencode({"client_id": cli["appId"], **form}).encode()
            with urllib.request.urlopen(f"{base}/{path}", body, context=self._context(), timeout=20) as answer:
                return json.loads(answer.read())

        code = post("devicecode", scope=f"{self.outputs['audience']}/Gateway.Use")
        self.entra.approve_device(code["user_code"], user["id"])
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        return post("token", grant_type=grant, device_code=code["device_code"])["access_token"]

    def people(self, address: str, port: int, host: str, ca_file: Path) -> People:
        """A gateway's API for Dana, where it is reached at `address` and has a certificate for `host`."""
        return People(address, port, host, ca_file, self.person("Dana"))

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.entra.ca_file))

    def _lay_out(self) -> None:
        (self.project / "config").mkdir(parents=True)
        (self.project / "stacks").symlink_to(ROOT / "stacks")
        document = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
        document["runtime"]["options"] = {"virtualenv": sys.prefix}
        document["stackConfigDir"] = "config"
        for plugin in document["plugins"]["providers"]:
            plugin["path"] = str(ROOT / plugin["path"])
        (self.project / "Pulumi.yaml").write_text(yaml.safe_dump(document))

    def _write(self) -> None:
        file = self.project / "config" / f"Pulumi.{self.name}.yaml"
        kept = yaml.safe_load(file.read_text()) if file.exists() else {}
        settings = {f"wicketgate:{key}": value for key, value in self.config.items()}
        file.write_text(yaml.safe_dump({**kept, "config": settings}, sort_keys=False))


class ApiError(Exception):
    """The API said no."""


@dataclass(frozen=True)
class People:
    """The API as a person uses it."""

    address: str
    port: int
    host: str
    ca_file: Path
    token: str
    refused: str = ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(self.host, self.port, context=context, timeout=30)
        near = socket.create_connection((self.address, self.port), 30)
        connection.sock = context.wrap_socket(near, server_hostname=self.host)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(text.decode())
        return json.loads(text)

    def _waiting(self) -> list[dict[str, Any]]:
        try:
            return self.ask("GET", "/v1/approvals")["approvals"]
        except ConnectionRefusedError:  # the API is a process of its own, and may come up a little later
            return []

    def _approved(self, handle: str, seal: str) -> bool:
        try:
            self.ask("POST", f"/v1/approvals/{handle}/approve", {"seal": seal})
        except ApiError as error:
            # Each process takes a new bundle by itself: this one has not looked yet.
            if '"policy-changed"' not in str(error):
                raise
            self.refused = str(error)
            return False
        return True

    def approve(self, part: str, seconds: float = 60.0) -> None:
        """Approve the held operation with this in its text, once there is one, having looked at it whole."""
        end = time.monotonic() + seconds
        while True:
            for each in self._waiting():
                whole = self.ask("GET", f"/v1/approvals/{each['handle']}")
                if part in json.dumps(whole) and self._approved(each["handle"], whole["seal"]):
                    return
            assert time.monotonic() < end, f"nobody was asked: {self._waiting()} {self.refused}"
            time.sleep(0.1)
