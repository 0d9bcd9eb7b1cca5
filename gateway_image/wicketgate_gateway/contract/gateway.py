"""`gateway.yaml`, `agent.yaml`, `client.yaml`, `people.yaml`: what a deployment renders and the processes read.

No field here holds a secret: credentials are files that the platform mounts or a workload issuer keeps fresh.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from wicketgate_gateway.contract.keeping import AuditSettings, RecordingStore, Retention
from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.targets import (
    AgentTarget,
    HttpsUrl,
    HttpTarget,
    KubernetesTarget,
    PostgresTarget,
    SshTarget,
    TargetKind,
    TlsMode,
)
from wicketgate_gateway.contract.values import Duration, Name, Port, Uuid, seconds

__all__ = [
    "AgentTarget",
    "HttpTarget",
    "HttpsUrl",
    "KubernetesTarget",
    "PostgresTarget",
    "SshTarget",
    "TargetKind",
    "TlsMode",
]  # of `targets`; all else here is this module's own

AGENT_ROLE = "Agent.Connect"
BOT_ROLE = "Bot.Connect"
APPROVER_ROLE = "Approval.Decide"
AUDITOR_ROLE = "Session.Read"
ADMIN_ROLE = "Gateway.Admin"
PEOPLE_SCOPE = "Gateway.Use"
"""The delegated permission with which the command line acts for a person."""
TOKEN_EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"  # noqa: S105 - an audience, not a token


class Entra(Model):
    """The tenant, and where to reach it; the defaults are the public cloud."""

    tenant: Uuid
    """The tenant's id."""
    authority: str = "https://login.microsoftonline.com"
    """Where tokens are asked for."""
    graph: str = "https://graph.microsoft.com"
    """Where groups are asked for."""
    ca_file: str | None = None
    """Extra CA certificates (PEM) for both, beside the system's."""


class Workload(Model):
    """How a process proves who it is: a projected token of its platform, exchanged at Entra (RFC 7523)."""

    client_id: Uuid
    """The client id of its application."""
    token_file: str
    """The platform's token; read again for each exchange, since platforms rotate it."""


class Listen(Model):
    """An address to listen on; port 0 lets the system choose, and the state folder's `ports.json` says which."""

    host: str = "127.0.0.1"
    """The address."""
    port: Port
    """The port."""


class PostgresListen(Listen):
    """An address for PostgreSQL clients, which speak TLS if nothing else is said."""

    plaintext: bool = False
    """Whether clients may leave TLS out, as a bot does that shares a pod or a host with its gateway. Only with a
    loopback address, since the password is a token; clients that ask for TLS still get it."""

    @model_validator(mode="after")
    def _loopback(self) -> Self:
        if self.plaintext and not _is_loopback(self.host):
            raise ValueError(
                "`plaintext` needs `host` to be a loopback address (`127.0.0.1` or `::1`), since tokens would cross a "
                "network in clear; leave `plaintext` out, or change `host`"
            )
        return self


def _is_loopback(host: str) -> bool:
    # Not by name: what a name stands for is not this file's to say.
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class ServerTls(Model):
    """The gateway's certificate, as PEM files."""

    certificate_file: str
    """Certificate and chain."""
    key_file: str
    """Private key."""


class Endpoint(Model):
    """Where clients and agents reach a gateway."""

    host: str
    """Host name or address; the certificate must be for it."""
    port: Port
    """The port."""
    ca_file: str | None = None
    """The CA that signed the gateway's certificate; without it, the system's."""


class GatewayTarget(Model):
    """What the gateway knows of a target: no address and no credential, those are the agent's."""

    kind: Annotated[TargetKind, Field(strict=False)]
    """The protocol."""
    agent: Name
    """The agent that reaches it."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that policies can select targets by."""


class GatewayListeners(Model):
    """One address per protocol, one that agents dial, one for people."""

    postgres: PostgresListen
    """For PostgreSQL clients."""
    agents: Listen
    """For agents."""
    http: Listen | None = None
    """For HTTP clients."""
    kubernetes: Listen | None = None
    """For kubectl and other clients of Kubernetes."""
    ssh: Listen | None = None
    """For SSH clients."""
    api: Listen | None = None
    """For people: approvals, sessions, the kill switch. Without it there is no API, and nobody can approve."""
    metrics: Listen | None = None
    """For the platform: `/metrics` in Prometheus format and `/healthz`, without TLS and without log-in. Nothing in
    it names a bot or an operation; still, bots and people should not reach it."""


class WebhookFormat(StrEnum):
    """How a message is written."""

    JSON = "json"
    """Our own JSON, signed by the Standard Webhooks scheme."""
    SLACK = "slack"
    """Blocks for an incoming webhook of Slack."""
    TEAMS = "teams"
    """An adaptive card for a workflow of Microsoft Teams."""


class Webhook(Model):
    """Where messages on held operations go. A message links to the approval; it never is one."""

    format: Annotated[WebhookFormat, Field(strict=False)] = WebhookFormat.JSON
    """`json`, `slack` or `teams`."""
    url: HttpsUrl | None = None
    """The https address, where it is no secret."""
    url_file: str | None = None
    """A file with the address: whoever knows the address of a Slack or Teams webhook can post there."""
    secret_file: str | None = None
    """A file with the secret that signs messages, `whsec_…`; needed for `json`."""
    ca_file: str | None = None
    """Extra CA certificates (PEM) for the receiver, beside the system's."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("needs exactly one of `url`, `urlFile`")
        if self.format is WebhookFormat.JSON and self.secret_file is None:
            raise ValueError("needs `secretFile`: an unsigned message could come from anybody")
        return self


class ControlStore(Model):
    """Where held operations, answers and kills are kept, for all gateways that share them."""

    url_file: str | None = None
    """A file with the store's URL, `postgresql+asyncpg://…`, which may hold a password; left out, SQLite in the state
    folder, for one gateway alone."""


class Masks(Model):
    """How values are hidden."""

    key_file: str | None = None
    """A file with the key of `hash` masks, 64 hexadecimal digits: gateways that share it give one value one digest.
    Left out, each gateway makes a key of its own in its state folder."""


class Saml(Model):
    """Sign-in of browsers by SAML, at a registration of its own, beside OpenID Connect.

    A registration with a SAML certificate has all its tokens signed with that, also those of bots: the gateway's own
    stays without.
    """

    client: Uuid
    """Client id of the SAML registration; Entra's metadata is asked for with it."""
    entity_id: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,240}$")]
    """Its identifier URI: what Entra says that an assertion is for."""
    metadata: HttpsUrl | None = None
    """Where the signing certificates are published; left out, the tenant's federation metadata for `client`."""
    certificates_file: str | None = None
    """A PEM file with the signing certificates, instead of the metadata."""
    fingerprints: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=list[str])
    """SHA-256 of the certificates (DER) that count, in lowercase hex; left empty, all that the metadata lists."""
    bearer: bool = False
    """Whether the API takes a person's signed assertion for a short token (`POST /v1/token`)."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.metadata is not None and self.certificates_file is not None:
            raise ValueError("needs at most one of `metadata`, `certificatesFile`")
        return self


class People(Model):
    """How people reach the gateway and prove who they are."""

    url: HttpsUrl
    """The API's address as people reach it; links in messages begin with it."""
    client: Uuid
    """Client id of the public client that people sign in with: tokens that another client got are refused."""
    sign_in: Duration = "12h"
    """For how long after signing in a person may approve, deny and end sessions."""
    webhooks: dict[Name, Webhook] = Field(default_factory=dict)
    """Who is told of held operations."""
    saml: Saml | None = None
    """Sign-in by SAML in the browser; left out, there is none."""
    apply_policies: bool = False
    """Whether administrators may put a changed policy in force from the pages, until the next deployment."""


def _at_most_a_minute(value: str) -> str:
    if not 0 < seconds(value) <= 60:
        raise ValueError("a bot taken out of a group would keep it for too long: write at most `60s`")
    return value


class Limits(Model):
    """Bounds that keep one peer from harming others."""

    login: Duration = "20s"
    """Time from connection to the end of log-in."""
    sessions: int = 5000
    """Sessions at once in one process."""
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    """Gateway processes that share the ports; 0: one for each core. Other than 1 needs `audit.store.urlFile`."""
    statement_bytes: int = 1024 * 1024
    """The longest statement that is parsed; longer ones are denied."""
    groups_cache: Annotated[Duration, AfterValidator(_at_most_a_minute)] = "60s"
    """How long a bot's groups and its enabled state are taken from the last answer of Graph (60 s at most)."""


class GatewayConfig(Model):
    """`gateway.yaml`."""

    version: int = 1
    """Version of the file's form."""
    name: Name
    """The gateway's name."""
    entra: Entra
    """The tenant."""
    audience: Uuid
    """The client id of the gateway's registration: the only audience that is accepted."""
    workload: Workload
    """The gateway's own identity, for Graph."""
    agents: dict[Uuid, Name]
    """Service principals (object ids) that may connect as agents, and the name of each."""
    listen: GatewayListeners
    """Addresses to listen on."""
    tls: ServerTls
    """The certificate for clients and agents."""
    state: str
    """Folder of the journal, the recordings and the audit store."""
    policies: str
    """The policy bundle; read again when it changes."""
    targets: dict[Name, GatewayTarget]
    """Targets by the name that bots connect to."""
    people: People | None = None
    """People's way in, where `listen.api` is given."""
    control: ControlStore = Field(default_factory=ControlStore)
    """The store of held operations and kills."""
    masks: Masks = Field(default_factory=Masks)
    """How values are hidden."""
    limits: Limits = Field(default_factory=Limits)
    """Bounds."""
    audit: AuditSettings = Field(default_factory=AuditSettings)
    """How the audit is sealed, and who gets it."""
    retention: Retention = Field(default_factory=Retention)
    """How long recordings and events are kept."""
    recordings: RecordingStore | None = None
    """An object store for closed recordings."""

    @model_validator(mode="after")
    def _people_and_their_address(self) -> Self:
        if (self.listen.api is None) != (self.people is None):
            raise ValueError("`listen.api` and `people` belong together: give both, or neither")
        return self

    @model_validator(mode="after")
    def _workers_and_their_store(self) -> Self:
        if self.limits.workers != 1 and self.audit.store.url_file is None:
            raise ValueError("`limits.workers` other than 1 needs `audit.store.urlFile`, a store that they can share")
        return self


class AgentConfig(Model):
    """`agent.yaml`."""

    version: int = 1
    """Version of the file's form."""
    name: Name
    """The agent's name."""
    gateways: list[Endpoint] = Field(min_length=1)
    """Every gateway; the agent dials all of them."""
    entra: Entra
    """The tenant."""
    audience: Uuid
    """Client id of the gateway's registration."""
    workload: Workload
    """The agent's own identity."""
    targets: dict[Name, AgentTarget]
    """Targets by name."""


class ClientConfig(Model):
    """`client.yaml`: what a bot's machine needs to get a token and to find the gateway. Nothing in it is secret."""

    version: int = 1
    """Version of the file's form."""
    bot: Name
    """The bot's name."""
    entra: Entra
    """The tenant."""
    audience: Uuid
    """Client id of the gateway's registration."""
    workload: Workload
    """The bot's identity."""
    gateway: Endpoint
    """Where the gateway is."""
    targets: dict[Name, Annotated[TargetKind, Field(strict=False)]]
    """The targets that the bot's policies are about, and their protocols."""
    http: Endpoint | None = None
    """Where the gateway takes HTTP requests; needed for targets of kind `http`."""
    kubernetes: Endpoint | None = None
    """Where the gateway is a Kubernetes API server; needed for targets of kind `kubernetes`."""
    ssh: Endpoint | None = None
    """Where the gateway is an SSH server; needed for targets of kind `ssh`."""


class PeopleConfig(Model):
    """`people.yaml`: what a person's machine needs to sign in and to reach the API. Nothing in it is secret."""

    version: int = 1
    """Version of the file's form."""
    entra: Entra
    """The tenant."""
    audience: Uuid
    """Client id of the gateway's registration."""
    client: Uuid
    """Client id of the public client that people sign in with."""
    url: HttpsUrl
    """The API's address."""
    ca_file: str | None = None
    """The CA that signed the API's certificate; without it, the system's."""
