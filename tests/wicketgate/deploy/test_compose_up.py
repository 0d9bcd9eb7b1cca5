"""`docker compose up` on what the component renders, by a real engine: the quickstart's story, and no other way."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools.engine.cache import ProvideError
from wicketgate import config
from wicketgate.deploy.compose import ComposeDeployment

if TYPE_CHECKING:
    from tests.engines import Relay
    from tests.running import Cloud
    from tools.image.engine import Engine

pytestmark = [pytest.mark.build, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]
HOST, GROUP = "gate.test", "10000000-0000-4000-8000-000000000001"
RELAY = """
import asyncio, sys
async def carry(reader, writer):
    while data := await reader.read(65536):
        writer.write(data); await writer.drain()
    writer.close()
async def serve(reader, writer):
    far = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(carry(reader, far[1]), carry(far[0], writer))
async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", 5432) as server:
        await server.serve_forever()
asyncio.run(main())
"""
POLICY: dict[str, Any] = {
    "policy": "e2e",
    "targets": ["orders-db"],
    "rules": [{"allow": {"sql": {"statements": ["read"], "relations": ["public.customers", "pg_catalog.*"]}}}],
    "mask": [{"columns": ["public.customers.email"], "with": "partial"}],
}


class Up:
    """The running project."""

    def __init__(self, engine: Engine, cloud: Cloud, folder: Path) -> None:
        self.engine, self.cloud, self.folder = engine, cloud, folder
        self.seconds = 0.0

    def compose(self, *arguments: str, timeout: float = 200) -> str:
        return self.engine.docker("compose", "-f", str(self.folder / "compose.yaml"), *arguments, timeout=timeout)

    def psql(self, *commands: str) -> subprocess.CompletedProcess[str]:
        values = {
            "host": HOST, "hostaddr": self.engine.address, "port": "5432", "dbname": "orders-db", "user": "bot",
            "password": self.cloud.bot_token(), "sslmode": "verify-full", "sslrootcert": str(self.cloud.ca.cert_file),
        }  # fmt: skip
        dsn = " ".join(f"{k}='{v}'" for k, v in values.items())
        each = [part for command in commands for part in ("-c", command)]
        command = ["psql", "-X", "-A", "-t", "-q", dsn, *each]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def inside(self, network: str, code: str) -> str:
        """What Python prints in a container on a network alone."""
        image = "wicketgate:test"
        return self.engine.docker("run", "--rm", "--network", network, "--entrypoint", "python3", image, "-c", code)


def write(under_mocks: Callable[..., Any], settings: config.StackConfig, cloud: Cloud) -> None:
    """What the component renders, onto the disk, as the File resource would."""
    from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy

    bundle = Bundle(
        tenant=cloud.entra.tenant,
        policies=[BundledPolicy.model_validate({**POLICY, "groups": {GROUP: "reviewers"}}, strict=False)],
        bots={cloud.principal("bot"): BundledBot(name="code-review", owner="group:platform-team")},
    )

    def program() -> None:
        ComposeDeployment(
            "compose",
            {
                "config": settings,
                "tenant_id": cloud.entra.tenant,
                "gateway_client_id": cloud.audience,
                "agents": {"desk": [cloud.client("agent"), cloud.principal("agent")]},
                "bots": {},
                "bundle": bundle.render(),
                "policies": {},
            },
        )

    for file in under_mocks(program).of("File").values():
        path = Path(file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])


@pytest.fixture
def up(
    under_mocks: Callable[..., Any],
    container_engine: Engine,
    built_image: str,
    container_cloud: Cloud,
    database_relay: Relay,
    tmp_path: Path,
) -> Iterator[Up]:
    from tools.image import compose

    plugin = container_engine.folder / ".docker" / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(compose.binary(lambda _: None))
    cloud = container_cloud
    leaf = cloud.ca.issue_files(tmp_path, "gateway", [HOST])
    oidc = [{"oidc": {"issuer": cloud.issuer.url, "subject": "workload:it"}}]
    settings = config.load(
        {
            "entra": {
                "authority": cloud.entra.authority, "graph": cloud.entra.graph, "caFile": str(cloud.entra.ca_file),
            },
            "gateway": {
                "host": HOST,
                "credentials": oidc,
                "deploy": {
                    "kind": "compose", "folder": str(tmp_path / "out"), "image": built_image, "project": "wgtest",
                    "publish": "0.0.0.0", "certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file),
                    "caFile": str(cloud.ca.cert_file), "tokenFolder": str(cloud.folder / "tokens"),
                    "secretFolder": str(cloud.folder / "secrets"),
                },
            },
            "agents": {"desk": {"credentials": [{"oidc": {"issuer": cloud.issuer.url, "subject": "workload:agent"}}]}},
            "targets": {
                "orders-db": {
                    "kind": "postgres", "address": "db.internal:5432", "database": "e2e_containers", "agent": "desk",
                    "credential": {"secret": "orders-db"}, "tls": "disable",
                },
            },
            "groups": {"reviewers": {"policies": []}},
        }
    )  # fmt: skip
    write(under_mocks, settings, cloud)
    # What the processes read belongs to their user, as an operator arranges it; the way there is open to them.
    for folder in (tmp_path, cloud.folder):
        subprocess.run(["chown", "-R", "65532:65532", str(folder)], check=True)
        for parent in (folder, *folder.parents[:-1]):
            if parent.stat().st_uid != 65532 and parent.name.startswith("pytest"):
                parent.chmod(0o755)
    made = Up(container_engine, cloud, tmp_path / "out")
    made.compose("config", "--quiet")
    started = time.monotonic()
    made.compose("create", "--pull", "never")
    # The target: a container on the agents' network, and on another that leads to the database.
    container_engine.docker("network", "create", "database")
    container_engine.docker(
        "run", "-d", "--name", "target", "--network", "database", "--entrypoint", "python3", built_image,
        "-c", RELAY, container_engine.host, str(database_relay.port),
    )  # fmt: skip
    container_engine.docker("network", "connect", "--alias", "db.internal", "wgtest-targets", "target")
    try:
        made.compose("up", "--detach", "--wait", "--pull", "never")
        made.seconds = time.monotonic() - started
        yield made
    finally:
        print(made.compose("logs", "--no-color", "--tail", "40"))
        made.compose("down", "--volumes", "--timeout", "20")
        container_engine.docker("rm", "-f", "target")
        container_engine.docker("network", "rm", "database")


def test_the_quickstarts_story_through_compose(up: Up) -> None:
    states = {s["Service"]: s for s in map(json.loads, up.compose("ps", "--format", "json").splitlines())}
    assert {name: s["Health"] for name, s in states.items()} == {"gateway": "healthy", "agent-desk": "healthy"}
    print(f"healthy after {up.seconds:.1f} s")
    allowed = up.psql("SELECT name, email FROM customers WHERE id = 1")
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stdout.startswith("Ann|")
    assert "ann@example.com" not in allowed.stdout
    denied = up.psql("DELETE FROM customers")
    assert denied.returncode != 0
    assert "denied" in denied.stderr.lower()
    # Bots reach the gateway, by the name that its certificate is for, and neither targets nor agents.
    reach = "import socket; socket.create_connection(({!r}, {}), 3); print('reached')"
    assert up.inside("wgtest-bots", reach.format(HOST, 5432)).strip() == "reached"
    address = up.engine.docker(
        "inspect", "-f", '{{(index .NetworkSettings.Networks "wgtest-targets").IPAddress}}', "target"
    ).strip()
    assert up.inside("wgtest-targets", reach.format(address, 5432)).strip() == "reached"
    for host in ("db.internal", "agent-desk", address):
        with pytest.raises(ProvideError, match=r"unreachable|not known|resolution|timed out"):
            up.inside("wgtest-bots", reach.format(host, 5432))
    # An end by SIGTERM is an end in order.
    up.compose("stop", "--timeout", "20")
    codes = {
        s["Service"]: s["ExitCode"] for s in map(json.loads, up.compose("ps", "-a", "--format", "json").splitlines())
    }
    assert codes == {"gateway": 0, "agent-desk": 0}
    assert "gateway stopped" in up.compose("logs", "gateway")
