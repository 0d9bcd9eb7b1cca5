"""Where the quickstart keeps things, and the ports it chose once and for all.

`./quickstart` alone and `./quickstart --with kubernetes` are two: each has a folder and a stack of its own.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES: tuple[str, ...] = ("entra", "issuer", "postgres", "gateway", "agents", "api")
MORE: dict[str, tuple[str, ...]] = {"kubernetes": ("cluster", "kubernetes")}
"""What `--with` takes, and the services that come with it."""
TENANT = "2f1c9a54-7f0e-4d38-9a8b-0c6d5a1e7b42"
DEPLOYER_CLIENT = "6a3f0d1e-90c4-4b7e-8f55-3d2b1c0a9e87"
STACK = "quickstart"
BOT = "code-review"
TARGET = "orders-db"
CLUSTER_BOT = "oncall-helper"
CLUSTER = "prod-cluster"


@dataclass(frozen=True, slots=True)
class Layout:
    """Folder and ports. The ports stay, because the issuer's URL is part of every federated credential."""

    folder: Path
    ports: dict[str, int]
    extra: str = ""
    """What it is with, of `MORE`; empty: the plain one."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        return f"{STACK}-{self.extra}" if self.extra else STACK

    @property
    def entra(self) -> str:
        """URL of the emulator: authority and Graph alike."""
        return f"https://127.0.0.1:{self.ports['entra']}"

    @property
    def issuer(self) -> str:
        """URL of the workload issuer."""
        return f"https://127.0.0.1:{self.ports['issuer']}"

    @property
    def ca(self) -> Path:
        """The CA of everything that the quickstart serves over TLS."""
        return self.folder / "ca" / "ca.pem"

    @property
    def rendered(self) -> Path:
        """The files that the stack renders."""
        return self.folder / "deployment"

    @property
    def people(self) -> Path:
        """`people.yaml`, with which a person signs in."""
        return self.rendered / "people.yaml"

    @property
    def client(self) -> Path:
        """The bot's `client.yaml`."""
        return self.rendered / "clients" / f"{BOT}.yaml"

    @property
    def cluster_client(self) -> Path:
        """The `client.yaml` of the bot that uses kubectl."""
        return self.rendered / "clients" / f"{CLUSTER_BOT}.yaml"

    def path(self, *parts: str) -> Path:
        """A path below the folder."""
        return self.folder.joinpath(*parts)

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.folder / "logs" / f"{name}.log"


def default_folder(extra: str = "") -> Path:
    """`.wicketgate/quickstart` in the checkout, or `$WICKETGATE_QUICKSTART_HOME`; with something more, beside it."""
    override = os.environ.get("WICKETGATE_QUICKSTART_HOME")
    plain = Path(override).absolute() if override else ROOT / ".wicketgate" / "quickstart"
    return plain.with_name(f"{plain.name}-{extra}") if extra else plain


def load(folder: Path, extra: str = "") -> Layout:
    """The layout in `folder`, made at the first call: chooses a free loopback port for each service."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "ports.json"
    ports: dict[str, int] = json.loads(file.read_text()) if file.is_file() else {}
    missing = [name for name in (*SERVICES, *MORE.get(extra, ())) if name not in ports]
    if not missing:
        return Layout(folder, ports, extra)
    ports |= zip(missing, free_ports(len(missing)), strict=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(ports))
    temporary.replace(file)
    return Layout(folder, ports, extra)


def free_ports(count: int) -> list[int]:
    """`count` different free loopback ports."""
    # All bound at once, so that they differ.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()
