"""What the stack needs locally: workload issuer, emulated Entra, demo database; and what it yields: gateway, agent."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from tools.engine.cache import Progress
from tools.kubernetes.cluster import AGENT
from tools.kubernetes.provide import Binaries, provide
from tools.quickstart import processes
from tools.quickstart.cluster import tokens
from tools.quickstart.layout import BOT, CLUSTER, DEPLOYER_CLIENT, ROOT, TARGET, TENANT, Layout
from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.entra.seed import DEPLOYER_ROLES
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE

DEPLOYER_SUBJECT = "system:serviceaccount:wicketgate:deployer"
SUBJECTS = {
    "deployer": DEPLOYER_SUBJECT,
    "gateway": "system:serviceaccount:wicketgate:gateway",
    "desk": "system:serviceaccount:wicketgate:agent",
}
BUNDLE = "ca-bundle.pem"
ENGINEER = "Erin Eriksen"


def certificates(layout: Layout) -> None:
    """One throwaway CA for all, the gateway's certificate, and a bundle of system roots and that CA."""
    ca = CertificateAuthority.open(layout.path("ca"), name="Wicketgate quickstart CA")
    if not layout.path("tls", "gateway.pem").exists():
        layout.path("tls").mkdir(exist_ok=True, mode=0o700)
        ca.issue_files(layout.path("tls"), "gateway", ["127.0.0.1", "localhost"])
    if not layout.path("ca", BUNDLE).exists():
        ca.write_bundle(layout.path("ca", BUNDLE))


def environment(layout: Layout) -> dict[str, str]:
    """The environment of our processes: the quickstart's CA beside the system's."""
    return {**os.environ, "SSL_CERT_FILE": str(layout.path("ca", BUNDLE)), "PYTHONUNBUFFERED": "1"}


def stack_bots(stack: str) -> dict[str, str]:
    """Subject of the first federated credential of each bot in the stack file: whom the issuer vouches for."""
    data: dict[str, Any] = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    found: dict[str, str] = {}
    for name, bot in (data.get("wicketgate:bots") or {}).items():
        for credential in bot.get("credentials", []):
            if "oidc" in credential:
                found[name] = credential["oidc"]["subject"]
                break
    return found


def issuer(layout: Layout) -> bool:
    """Start the workload issuer, which keeps a token file for every workload as a cluster's kubelet does.

    Gives whether it had to be started (or started again, since the stack file names other bots).
    """
    folder = layout.path("issuer")
    folder.mkdir(exist_ok=True, mode=0o700)
    tokens = layout.path("tokens")
    tokens.mkdir(exist_ok=True, mode=0o700)
    wanted = {
        "projected": [
            {"subject": subject, "audience": TOKEN_EXCHANGE_AUDIENCE, "path": str(tokens / f"{name}.jwt")}
            for name, subject in sorted({**SUBJECTS, **stack_bots(layout.stack)}.items())
        ]
    }
    config = folder / "issuer.json"
    text = json.dumps(wanted, indent=2)
    up = processes.running(layout.folder, "issuer")
    settings = layout.path("issuer-config.json")
    if up and settings.is_file() and settings.read_text() == text:
        return False
    processes.stop(layout.folder, "issuer")
    settings.write_text(text)
    config.unlink(missing_ok=True)
    processes.start(
        layout.folder,
        "issuer",
        [
            sys.executable,
            "-m",
            "wicketgate.testing.issuer",
            "--state",
            str(folder),
            "--public-host",
            "127.0.0.1",
            "--ca-dir",
            str(layout.path("ca")),
            "--port",
            str(layout.ports["issuer"]),
            "--config",
            str(settings),
        ],
        log=layout.log("issuer"),
        env=environment(layout),
        ready=lambda: config.is_file() and all(Path(p["path"]).is_file() for p in wanted["projected"]),
    )
    return True


def entra(layout: Layout) -> bool:
    """Start the Entra and Graph emulator with the deployer seeded; gives whether it had to be started."""
    if processes.running(layout.folder, "entra"):
        return False
    folder = layout.path("entra")
    folder.mkdir(exist_ok=True, mode=0o700)
    seed = layout.path("entra-seed.json")
    seed.write_text(json.dumps(_seed(layout), indent=2))
    ready = folder / "emulator.json"
    ready.unlink(missing_ok=True)
    processes.start(
        layout.folder,
        "entra",
        [
            sys.executable,
            "-m",
            "wicketgate.testing.entra",
            "--state",
            str(folder),
            "--public-host",
            "127.0.0.1",
            "--ca-dir",
            str(layout.path("ca")),
            "--port",
            str(layout.ports["entra"]),
            "--tenant",
            TENANT,
            "--trust",
            str(layout.ca),
            "--seed",
            str(seed),
        ],
        log=layout.log("entra"),
        env=environment(layout),
        ready=ready.is_file,
    )
    return True


def _seed(layout: Layout) -> dict[str, Any]:
    return {
        # Dana may approve; so may Olga, but for bots that her own team answers for; Ada audits.
        "users": [
            {"displayName": "Dana Dimitrova", "groups": ["dba"]},
            {"displayName": "Olga Okafor", "groups": ["dba", "platform-team"]},
            {"displayName": "Ada Auber", "groups": ["security"]},
            # Erin is on call for the cluster.
            {"displayName": ENGINEER, "groups": ["sre"]},
        ],
        "groups": [{"displayName": name} for name in ("dba", "platform-team", "data-team", "security", "sre")],
        "deployer": {
            "appId": DEPLOYER_CLIENT,
            "graphRoles": [*DEPLOYER_ROLES, "GroupMember.Read.All"],
            "federatedCredentials": [{"name": "quickstart", "issuer": layout.issuer, "subject": DEPLOYER_SUBJECT}],
        },
    }


def database(layout: Layout) -> PostgresServer:
    """Start the demo database; at the first start make the tables and the agent's own role.

    The role's password is made here, handed to the server on standard input and written into the agent's secret: it
    stands nowhere else.
    """
    server = PostgresServer(layout.path("postgres"), durable=True)
    server.start()
    if server.pid is not None:
        processes.adopt(layout.folder, "postgres", server.pid)
    secret = layout.path("secrets", TARGET)
    if not (secret / "password").exists():
        password = secrets.token_urlsafe(24)
        server.create_user("wicketgate", password)
        server.create_database("orders")
        server.sql((Path(__file__).parent / "demo.sql").read_text(), "orders")
        secret.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, value in (("username", "wicketgate"), ("password", password)):
            with os.fdopen(os.open(secret / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(value)
    return server


def cluster(layout: Layout, progress: Progress) -> tuple[Binaries, dict[str, Any]]:
    """Start the cluster, and hand its agent's token over; its binaries, and what `ready.json` says of it.

    Raises ProvideError if it cannot be built.
    """
    binaries = provide(node=os.geteuid() == 0, progress=progress)
    folder = layout.path("cluster")
    ready = folder / "ready.json"
    if not processes.running(layout.folder, "cluster"):
        ready.unlink(missing_ok=True)
        progress("starting etcd, the API server and a node")
        processes.start(
            layout.folder,
            "cluster",
            [sys.executable, "-m", "tools.quickstart.cluster", str(folder), str(layout.ports["cluster"])],
            log=layout.log("cluster"),
            env=environment(layout),
            ready=ready.is_file,
            within=240,
        )
    secret = layout.path("secrets", CLUSTER)
    secret.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(secret / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(tokens(folder)[AGENT])
    return binaries, json.loads(ready.read_text())


def gateway(layout: Layout) -> bool:
    """Start the gateway from the rendered `gateway.yaml`; gives whether it had to be started."""
    config = layout.rendered / "gateway.yaml"
    if not _changed(layout, "gateway", config):
        return False
    ports = layout.rendered / "state" / "ports.json"
    ports.unlink(missing_ok=True)
    processes.start(
        layout.folder,
        "gateway",
        [sys.executable, "-m", "wicketgate_gateway.server", "--config", str(config)],
        log=layout.log("gateway"),
        env=environment(layout),
        ready=ports.is_file,
    )
    return True


def agent(layout: Layout) -> bool:
    """Start the agent from the rendered `agent.yaml`; gives whether it had to be started."""
    config = layout.rendered / "agents" / "desk.yaml"
    if not _changed(layout, "agent", config):
        return False
    log = layout.log("agent")
    seen = log.stat().st_size if log.exists() else 0

    def up() -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            file.seek(seen)
            return b'"tunnel up"' in file.read()

    processes.start(
        layout.folder,
        "agent",
        [sys.executable, "-m", "wicketgate_gateway.agent", "--config", str(config)],
        log=layout.log("agent"),
        env=environment(layout),
        ready=up,
    )
    return True


def _changed(layout: Layout, name: str, config: Path) -> bool:
    """Whether `name` must be started: it does not run, or runs on another text of its configuration."""
    seen = layout.path("run", f"{name}.config")
    text = config.read_text()
    if processes.running(layout.folder, name) and seen.is_file() and seen.read_text() == text:
        return False
    processes.stop(layout.folder, name)
    seen.parent.mkdir(exist_ok=True)
    seen.write_text(text)
    return True


NAMES = ("agent", "gateway", "entra", "issuer", "postgres", "cluster")
"""All processes, in the order in which they are ended."""


def stop(layout: Layout) -> list[str]:
    """End all processes; gives the names of those that ran."""
    import signal

    return [
        name
        for name in NAMES
        if processes.stop(
            layout.folder,
            name,
            signal_number=signal.SIGINT if name == "postgres" else signal.SIGTERM,
            within=60 if name == "cluster" else 15,
        )
    ]


def pids(layout: Layout) -> dict[str, int]:
    """Pid per running process."""
    return {name: pid for name in NAMES if (pid := processes.running(layout.folder, name)) is not None}


__all__ = [
    "BOT",
    "agent",
    "certificates",
    "cluster",
    "database",
    "entra",
    "environment",
    "gateway",
    "issuer",
    "pids",
    "stop",
]
