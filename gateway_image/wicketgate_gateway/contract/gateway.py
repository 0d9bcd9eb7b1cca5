"""`gateway.yaml`, `agent.yaml` and a bot's `client.yaml`: what a deployment renders and the processes read.

No field here holds a secret: credentials are files that the platform mounts or a workload issuer keeps fresh.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.values import Duration, Name, Port, Uuid

AGENT_ROLE = "Agent.Connect"
BOT_ROLE = "Bot.Connect"
TOKEN_EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"  # noqa: S105 - an audience, not a token


class TargetKind(StrEnum):
    """The protocols that the gateway speaks."""

    POSTGRES = "postgres"


class TlsMode(StrEnum):
    """How the agent reaches a target (libpq's words)."""

    VERIFY_FULL = "verify-full"
    DISABLE = "disable"


class Entra(Model):
    """The tenant, and where to reach it; the defaults are the public cloud."""

    tenant: Uuid
    authority: str = "https://login.microsoftonline.com"
    graph: str = "https://graph.microsoft.com"
    ca_file: str | None = None
    """Extra CA certificates (PEM) for both, beside the system's."""


class Workload(Model):
    """How a process proves who it is: a projected token of its platform, exchanged at Entra (RFC 7523)."""

    client_id: Uuid
    token_file: str
    """The platform's token; read again for each exchange, since platforms rotate it."""


class Listen(Model):
    """An address to listen on; port 0 lets the system choose, and the state folder's `ports.json` says which."""

    host: str = "127.0.0.1"
    port: Port


class ServerTls(Model):
    """The gateway's certificate, as PEM files."""

    certificate_file: str
    key_file: str


class Endpoint(Model):
    """Where clients and agents reach a gateway."""

    host: str
    port: Port
    ca_file: str | None = None
    """The CA that signed the gateway's certificate; without it, the system's."""


class GatewayTarget(Model):
    """What the gateway knows of a target: no address and no credential, those are the agent's."""

    kind: Annotated[TargetKind, Field(strict=False)]
    agent: Name
    labels: dict[str, str] = Field(default_factory=dict)


class GatewayListeners(Model):
    """One address per protocol, and one that agents dial."""

    postgres: Listen
    agents: Listen


class Limits(Model):
    """Bounds that keep one peer from harming others."""

    login: Duration = "20s"
    """Time from connection to the end of log-in."""
    sessions: int = 5000
    """Sessions at once in one process."""
    statement_bytes: int = 1024 * 1024
    """The longest statement that is parsed; longer ones are denied."""
    groups_cache: Duration = "60s"
    """How long a bot's groups and its enabled state are taken from the last answer of Graph (60 s at most)."""


class GatewayConfig(Model):
    """`gateway.yaml`."""

    version: int = 1
    name: Name
    entra: Entra
    audience: Uuid
    """The client id of the gateway's registration: the only audience that is accepted."""
    workload: Workload
    """The gateway's own identity, for Graph."""
    agents: dict[Uuid, Name]
    """Service principals (object ids) that may connect as agents, and the name of each."""
    listen: GatewayListeners
    tls: ServerTls
    state: str
    """Folder of the journal, the recordings and the audit store."""
    policies: str
    """The policy bundle; read again when it changes."""
    targets: dict[Name, GatewayTarget]
    limits: Limits = Field(default_factory=Limits)


class AgentTarget(Model):
    """Where a target is and which credential opens it."""

    kind: Annotated[TargetKind, Field(strict=False)]
    address: str
    """`host:port`."""
    database: str
    tls: Annotated[TlsMode, Field(strict=False)] = TlsMode.VERIFY_FULL
    ca_file: str | None = None
    credential: str
    """Folder with the files `username` and `password`, as Kubernetes mounts a Secret; read at each log-in."""
    search_path: str = "public"
    """The schema search path that is pinned for all sessions: unqualified names mean what policies think they mean."""


class AgentConfig(Model):
    """`agent.yaml`."""

    version: int = 1
    name: Name
    gateways: list[Endpoint] = Field(min_length=1)
    entra: Entra
    audience: Uuid
    workload: Workload
    targets: dict[Name, AgentTarget]


class ClientConfig(Model):
    """`client.yaml`: what a bot's machine needs to get a token and to find the gateway. Nothing in it is secret."""

    version: int = 1
    bot: Name
    entra: Entra
    audience: Uuid
    workload: Workload
    gateway: Endpoint
    targets: dict[Name, Annotated[TargetKind, Field(strict=False)]]
