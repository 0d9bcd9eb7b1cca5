"""Targets in a stack's settings, by their kind: what an owner writes, and what the agent is told."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from wicketgate_gateway.contract import model
from wicketgate_gateway.contract import targets as contract
from wicketgate_gateway.contract.targets import BaseUrl, HttpAuth, HttpsUrl, TlsMode
from wicketgate_gateway.contract.values import Name


class SecretCredential(model.Model):
    """An existing secret of the platform that the agent's process mounts."""

    secret: Name
    """Its name; it holds the files that the target's kind asks for."""


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("`address` must be `host:port`")
    return value


Address = Annotated[str, AfterValidator(_host_and_port)]


class _Target(model.Model):
    agent: Name
    """The agent that reaches it."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Free labels that policies can select targets by."""


class PostgresTarget(_Target):
    """A PostgreSQL database."""

    kind: Literal["postgres"]
    """The protocol."""
    address: Address
    """`host:port`, as the agent sees it."""
    database: str
    """The database's own name; bots use the target's name."""
    credential: SecretCredential
    """The existing account with which the agent logs in: the files `username` and `password`."""
    tls: Annotated[TlsMode, Field(strict=False)] = TlsMode.VERIFY_FULL
    """How the agent connects."""
    ca_file: str | None = None
    """The CA of the target's certificate (PEM); left out, the system's."""

    def for_agent(self, secrets: str) -> contract.PostgresTarget:
        """What the agent is told; `secrets` is the folder that secrets are mounted in."""
        return contract.PostgresTarget(
            kind="postgres",
            address=self.address,
            database=self.database,
            tls=self.tls,
            ca_file=self.ca_file,
            credential=f"{secrets}/{self.credential.secret}",
        )


class HttpTarget(_Target):
    """An HTTP service."""

    kind: Literal["http"]
    """The protocol."""
    address: BaseUrl
    """`https://host:port/base`, as the agent sees it."""
    auth: Annotated[HttpAuth, Field(strict=False)] = HttpAuth.NONE
    """How the agent proves who it is: `none`, `bearer` (file `token`), `basic` (`username`, `password`), `header`
    (`value`), `client-certificate` (`tls.crt`, `tls.key`), `oauth-client` (`client_id`, `client_secret`), `cookie`
    (`username`, `password`)."""
    credential: SecretCredential | None = None
    """The existing secret with those files."""
    header: str | None = None
    """The header's name, for `auth: header`."""
    token_url: HttpsUrl | None = None
    """Where tokens are asked for, for `auth: oauth-client`."""
    scope: str | None = None
    """The scope that is asked for, for `auth: oauth-client`."""
    login_path: str | None = None
    """The path that the log-in form is posted to, for `auth: cookie`."""
    openapi: str | None = None
    """The service's OpenAPI 3 document (YAML or JSON), a file of the project: rules may then name `operations`."""
    ca_file: str | None = None
    """The CA of the target's certificate (PEM); left out, the system's."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.for_agent("")  # its own checks say what is missing
        return self

    def for_agent(self, secrets: str) -> contract.HttpTarget:
        """What the agent is told."""
        return contract.HttpTarget(
            kind="http",
            address=self.address,
            auth=self.auth,
            credential=None if self.credential is None else f"{secrets}/{self.credential.secret}",
            header=self.header,
            token_url=self.token_url,
            scope=self.scope,
            login_path=self.login_path,
            ca_file=self.ca_file,
        )


class KubernetesTarget(_Target):
    """A Kubernetes API server."""

    kind: Literal["kubernetes"]
    """The protocol."""
    address: BaseUrl
    """`https://host:port`, as the agent sees it."""
    credential: SecretCredential
    """The agent's existing account there: the file `token`, or `tls.crt` and `tls.key`."""
    impersonate: bool = False
    """Whether the agent acts as the bot, so that the cluster's own audit names it."""
    ca_file: str | None = None
    """The CA of the API server's certificate (PEM); left out, the system's."""

    def for_agent(self, secrets: str) -> contract.KubernetesTarget:
        """What the agent is told."""
        return contract.KubernetesTarget(
            kind="kubernetes",
            address=self.address,
            credential=f"{secrets}/{self.credential.secret}",
            impersonate=self.impersonate,
            ca_file=self.ca_file,
        )


class SshTarget(_Target):
    """An SSH server."""

    kind: Literal["ssh"]
    """The protocol."""
    address: Address
    """`host:port`, as the agent sees it."""
    host_keys: list[str] = Field(min_length=1)
    """The server's public keys, as in a `known_hosts` file."""
    user: str
    """The account that the agent logs in to."""
    credential: SecretCredential
    """Its existing secret: one of the files `key`, `password`, `ca_key`."""

    def for_agent(self, secrets: str) -> contract.SshTarget:
        """What the agent is told."""
        return contract.SshTarget(
            kind="ssh",
            address=self.address,
            host_keys=self.host_keys,
            user=self.user,
            credential=f"{secrets}/{self.credential.secret}",
        )


Target: TypeAlias = Annotated[PostgresTarget | HttpTarget | KubernetesTarget | SshTarget, Field(discriminator="kind")]
"""Something that bots reach."""
