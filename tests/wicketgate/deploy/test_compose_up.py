"""`pulumi up` of the kind `compose`, then `docker compose up` of what it rendered, with the quickstart's story."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.deployed import Deployed, changed, tenant
from tests.engines import Relay
from tests.running import AUDIENCE, SCHEMA
from tools.engine.cache import ProvideError

if TYPE_CHECKING:
    from tools.image.engine import Engine
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.postgres import PostgresServer

pytestmark = [pytest.mark.build, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]
HOST, DATABASE, ROLE = "gate.test", "compose_up", "compose_up_owner"
BOTS = {"code-review": "bot:code-review", "nightly-report": "bot:nightly-report"}
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
    "policy": "orders",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.customers", "pg_catalog.*"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.uploads"]},
                "approvers": {"groups": ["dba"]},
                "wait": "90s",
            }
        },
    ],
    "mask": [{"columns": ["public.customers.email"], "with": "partial"}],
}


class Up:
    """The running project."""

    def __init__(self, engine: Engine, ca: CertificateAuthority, postgres: PostgresServer, stack: Deployed) -> None:
        self.engine, self.ca, self.postgres, self.stack = engine, ca, postgres, stack
        self.folder = stack.folder / "out"

    def compose(self, *arguments: str, timeout: float = 200) -> str:
        return self.engine.docker("compose", "-f", str(self.folder / "compose.yaml"), *arguments, timeout=timeout)

    def psql(self, bot: str, *commands: str) -> subprocess.CompletedProcess[str]:
        token = self.stack.exchanged(bot, self.stack.issuer.token(BOTS[bot], AUDIENCE))
        values = {
            "host": HOST, "hostaddr": self.engine.address, "port": "5432", "dbname": "orders-db", "user": bot,
            "password": token, "sslmode": "verify-full", "sslrootcert": str(self.ca.cert_file),
        }  # fmt: skip
        dsn = " ".join(f"{k}='{v}'" for k, v in values.items())
        each = [part for command in commands for part in ("-c", command)]
        command = ["psql", "-X", "-A", "-t", "-q", dsn, *each]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def inside(self, network: str, code: str) -> str:
        """What Python prints in a container on a network alone."""
        image = "wicketgate:test"
        return self.engine.docker("run", "--rm", "--network", network, "--entrypoint", "python3", image, "-c", code)

    def containers(self) -> dict[str, str]:
        """The id of each service's container."""
        lines = self.compose("ps", "--format", "json", "--no-trunc").splitlines()
        return {one["Service"]: one["ID"] for one in map(json.loads, lines)}


def bot(stack: Deployed, name: str) -> dict[str, Any]:
    oidc = {"oidc": {"issuer": stack.issuer.url, "subject": BOTS[name]}}
    return {"owner": "group:platform-team", "groups": ["reviewers"], "expires": "2027-06-30", "credentials": [oidc]}


def readable(*folders: Path) -> None:
    """What the processes read belongs to their user, as an operator arranges it; the way there is open to them."""
    for folder in folders:
        subprocess.run(["chown", "-R", "65532:65532", str(folder)], check=True)
        for parent in (folder, *folder.parents[:-1]):
            if parent.stat().st_uid != 65532 and parent.name.startswith("pytest"):
                parent.chmod(0o755)


@pytest.fixture
def up(container_engine: Engine, built_image: str, postgres: PostgresServer, tmp_path: Path) -> Iterator[Up]:
    from tools.image import compose
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer

    plugin = container_engine.folder / ".docker" / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(compose.binary(lambda _: None))
    password = secrets.token_urlsafe(18)
    postgres.create_user(ROLE, password)
    postgres.create_database(DATABASE, ROLE)
    postgres.sql(f"SET ROLE {ROLE};" + SCHEMA, DATABASE)
    given = tmp_path / "given"
    (given / "secrets" / "orders-db").mkdir(parents=True)
    for name, value in (("username", ROLE), ("password", password)):
        (given / "secrets" / "orders-db" / name).write_text(value)
    ca = CertificateAuthority.open(tmp_path / "ca")
    leaf = ca.issue_files(given, "gateway", [HOST])
    (given / "ca.pem").write_bytes(ca.cert_file.read_bytes())
    host = container_engine.host
    with contextlib.ExitStack() as closing:
        relay = Relay(host, postgres.port)
        closing.callback(relay.listener.close)
        issuer = closing.enter_context(WorkloadIssuer(tmp_path / "issuer"))
        entra = closing.enter_context(
            EntraEmulator(
                tmp_path / "entra", host=host, public_host=host, ca_dir=ca.folder, trust=[issuer.ca_file],
                seed=tenant(issuer),
            )
        )  # fmt: skip
        for name in ("gateway", "desk"):
            (given / "tokens" / name).mkdir(parents=True)
            issuer.project(f"machine:{name}", AUDIENCE, given / "tokens" / name / f"{name}.jwt")
        stack = Deployed(tmp_path, "compose", entra, issuer, {})
        stack.config |= {
            "entra": {"caFile": str(given / "ca.pem")},
            "gateway": {
                "host": HOST,
                "apiPort": 8444,
                "credentials": [{"oidc": {"issuer": issuer.url, "subject": "machine:gateway"}}],
                "deploy": {
                    "kind": "compose", "folder": str(tmp_path / "out"), "image": built_image, "project": "wgtest",
                    "publish": "0.0.0.0", "certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file),
                    "caFile": str(given / "ca.pem"), "tokenFolder": str(given / "tokens"),
                    "secretFolder": str(given / "secrets"),
                },
            },
            "agents": {"desk": {"credentials": [{"oidc": {"issuer": issuer.url, "subject": "machine:desk"}}]}},
            "targets": {
                "orders-db": {
                    "kind": "postgres", "address": "db.internal:5432", "database": DATABASE, "agent": "desk",
                    "credential": {"secret": "orders-db"}, "tls": "disable",
                },
            },
            "approvers": {"dba": {"group": "dba"}},
            "groups": {"reviewers": {"policies": ["orders"]}},
            "bots": {"code-review": bot(stack, "code-review")},
        }  # fmt: skip
        stack.begin(POLICY)
        made = Up(container_engine, ca, postgres, stack)
        assert "compose-compose" in stack.up()["create"]
        readable(given, made.folder)
        made.compose("config", "--quiet")
        made.compose("create", "--pull", "never")
        # The target: a container on the agents' network, and on another that leads to the database.
        container_engine.docker("network", "create", "database")
        container_engine.docker(
            "run", "-d", "--name", "target", "--network", "database", "--entrypoint", "python3", built_image,
            "-c", RELAY, host, str(relay.port),
        )  # fmt: skip
        container_engine.docker("network", "connect", "--alias", "db.internal", "wgtest-targets", "target")
        try:
            made.compose("up", "--detach", "--wait", "--pull", "never")
            yield made
        finally:
            if (made.folder / "compose.yaml").exists():  # `destroy` deletes it, after a `down`
                print(made.compose("logs", "--no-color", "--tail", "40"))
                made.compose("down", "--volumes", "--timeout", "20")
            container_engine.docker("rm", "-f", "target")
            container_engine.docker("network", "rm", "database")


def test_the_quickstarts_story_through_compose(up: Up) -> None:
    states = {s["Service"]: s for s in map(json.loads, up.compose("ps", "--format", "json").splitlines())}
    assert {name: s["Health"] for name, s in states.items()} == {"gateway": "healthy", "agent-desk": "healthy"}
    allowed = up.psql("code-review", "SELECT name, email FROM customers WHERE id = 1")
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stdout.startswith("Ann|")
    assert "ann@example.com" not in allowed.stdout
    denied = up.psql("code-review", "DELETE FROM customers")
    assert denied.returncode != 0
    assert "denied" in denied.stderr.lower()
    # Held, and let go by a person at the published API.
    done: list[subprocess.CompletedProcess[str]] = []
    statement = "INSERT INTO uploads VALUES (7, 'held')"
    held = threading.Thread(target=lambda: done.append(up.psql("code-review", statement)))
    held.start()
    up.stack.people(up.engine.address, 8444, HOST, up.ca.cert_file).approve("INSERT INTO uploads")
    held.join()
    assert done[0].returncode == 0, done[0].stderr
    assert up.postgres.sql("SELECT value FROM uploads", DATABASE).strip() == "held"
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
    # A second `up` changes nothing; a bot more is known without a restart, also by an `up` of Compose.
    assert changed(up.stack.up()) == set()
    before = up.containers()
    up.stack.config["bots"]["nightly-report"] = bot(up.stack, "nightly-report")
    more = up.stack.up()
    assert changed(more) - more["create"] <= {"compose-bundle", "policies", "wicketgate-compose"}
    readable(up.folder)
    up.compose("up", "--detach", "--wait", "--pull", "never")
    end = time.monotonic() + 60
    while (answer := up.psql("nightly-report", "SELECT 1")).stdout != "1\n":
        assert time.monotonic() < end, answer.stderr
    assert up.containers() == before
    # An end by SIGTERM is an end in order.
    up.compose("stop", "--timeout", "20")
    codes = {
        s["Service"]: s["ExitCode"] for s in map(json.loads, up.compose("ps", "-a", "--format", "json").splitlines())
    }
    assert codes == {"gateway": 0, "agent-desk": 0}
    assert "gateway stopped" in up.compose("logs", "gateway")
    log = up.compose("logs", "--no-color")
    up.compose("down", "--volumes")
    up.stack.of_stack("destroy", "--yes", "--skip-preview")
    assert [path for path in up.folder.rglob("*") if path.is_file()] == []
    assert up.stack.left_in_entra() == set()
    password = (up.stack.folder / "given/secrets/orders-db/password").read_text()
    backend = "".join(p.read_text(errors="replace") for p in (up.stack.folder / "backend").rglob("*") if p.is_file())
    assert password not in backend + log
