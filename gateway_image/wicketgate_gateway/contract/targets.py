"""Targets by their protocol: what the gateway may know of each, and where the agent finds it and what opens it.

An agent's target is a union by `kind`. No field holds a secret: a credential is a folder of files, as Kubernetes mounts
a Secret, and it is read when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from wicketgate_gateway.contract.model import Model


class TargetKind(StrEnum):
    """The protocols that the gateway speaks."""

    POSTGRES = "postgres"
    HTTP = "http"
    KUBERNETES = "kubernetes"
    SSH = "ssh"


PROTOCOL_OF: Mapping[str, str] = {
    TargetKind.POSTGRES: "sql",
    TargetKind.HTTP: "http",
    TargetKind.KUBERNETES: "kubernetes",
    TargetKind.SSH: "ssh",
}
"""The terms (`sql`, `http`, …) in which rules speak of targets of each kind."""


class TlsMode(StrEnum):
    """How the agent reaches a target (libpq's words)."""

    VERIFY_FULL = "verify-full"
    DISABLE = "disable"


def https_address(value: str) -> str:
    """An https address without anything that could hide where it leads; plain http on loopback alone."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("not an address: write it as `https://host/path`") from None
    plain = parts.scheme == "http" and host in ("127.0.0.1", "::1", "localhost")
    if (parts.scheme != "https" and not plain) or not host:
        raise ValueError("must be an https address (http is for loopback alone)")
    if "@" in parts.netloc or parts.fragment or any(c <= " " or c == "\\" for c in value) or not value.isascii():
        raise ValueError("must hold no user, fragment, space or backslash")
    return value


def base_address(value: str) -> str:
    """An https address that paths are added to."""
    parts = urlsplit(https_address(value))
    if "?" in value or "%" in parts.path or "//" in parts.path or any(s in (".", "..") for s in parts.path.split("/")):
        raise ValueError("must be a host, perhaps with a plain path, as in `https://api.internal/v2`")
    return value


HttpsUrl = Annotated[str, AfterValidator(https_address)]
"""An https address that leads where it says."""
BaseUrl = Annotated[str, AfterValidator(base_address)]
"""An https address that paths are added to, perhaps with a path of its own."""


class PostgresTarget(Model):
    """A PostgreSQL database."""

    kind: Literal["postgres"]
    """The protocol."""
    address: str
    """`host:port`."""
    database: str
    """The database's own name."""
    tls: Annotated[TlsMode, Field(strict=False)] = TlsMode.VERIFY_FULL
    """Whether the server's certificate is checked; `disable` is for loopback and sockets alone."""
    ca_file: str | None = None
    """The CA of the server's certificate (PEM); without it, the system's."""
    credential: str
    """Folder with the files `username` and `password`, as Kubernetes mounts a Secret; read at each log-in."""
    search_path: str = "public"
    """The schema search path that is pinned for all sessions: unqualified names mean what policies think they mean."""


class HttpAuth(StrEnum):
    """How the agent proves to an HTTP target who it is."""

    NONE = "none"
    """Not at all."""
    BEARER = "bearer"
    """`Authorization: Bearer`, with the file `token`."""
    BASIC = "basic"
    """`Authorization: Basic`, with the files `username` and `password`."""
    HEADER = "header"
    """A header of its own, named by `header`, with the file `value`."""
    CLIENT_CERTIFICATE = "client-certificate"
    """A TLS client certificate, the files `tls.crt` and `tls.key`."""
    OAUTH_CLIENT = "oauth-client"
    """A token of `tokenUrl` (RFC 6749, client credentials), with the files `client_id` and `client_secret`."""
    COOKIE = "cookie"
    """A log-in form at `loginPath`, with the files `username` and `password`; the cookie stays with the agent."""


class HttpTarget(Model):
    """An HTTP service."""

    kind: Literal["http"]
    """The protocol."""
    address: BaseUrl
    """`https://host:port/base`; what bots ask for is added behind `base`."""
    ca_file: str | None = None
    """The CA of the server's certificate (PEM); without it, the system's."""
    auth: Annotated[HttpAuth, Field(strict=False)] = HttpAuth.NONE
    """How the agent proves who it is: `none`, `bearer`, `basic`, `header`, `client-certificate`, `oauth-client` or
    `cookie`."""
    credential: str | None = None
    """Folder with the credential's files; read again when they change."""
    header: str | None = None
    """The header's name, for `auth: header`."""
    token_url: HttpsUrl | None = None
    """Where tokens are asked for, for `auth: oauth-client`."""
    scope: str | None = None
    """The scope that is asked for, for `auth: oauth-client`."""
    login_path: str | None = None
    """The path that the log-in form is posted to, for `auth: cookie`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.auth is HttpAuth.NONE) != (self.credential is None):
            raise ValueError("`auth` and `credential` go together")
        for auth, name, value in (
            (HttpAuth.HEADER, "header", self.header),
            (HttpAuth.OAUTH_CLIENT, "tokenUrl", self.token_url),
            (HttpAuth.COOKIE, "loginPath", self.login_path),
        ):
            if (self.auth is auth) != (value is not None):
                raise ValueError(f"`{name}` goes with `auth: {auth.value}`")
        return self


class KubernetesTarget(Model):
    """A Kubernetes API server."""

    kind: Literal["kubernetes"]
    """The protocol."""
    address: BaseUrl
    """`https://host:port` of the API server."""
    ca_file: str | None = None
    """The CA of the API server's certificate (PEM); without it, the system's."""
    credential: str
    """Folder with the file `token`, or with `tls.crt` and `tls.key`; read again when they change."""
    impersonate: bool = False
    """Whether the agent acts as the bot (`Impersonate-User`), so that the cluster's own audit names it."""


class SshTarget(Model):
    """An SSH server."""

    kind: Literal["ssh"]
    """The protocol."""
    address: str
    """`host:port`."""
    host_keys: list[str] = Field(min_length=1)
    """The server's public keys, as in a `known_hosts` file (`ssh-ed25519 AAAA…`): it must have one of them."""
    user: str
    """The account that the agent logs in to."""
    credential: str
    """Folder with one of the files `key` (a private key), `password`, `ca_key` (which signs a certificate)."""


AgentTarget: TypeAlias = Annotated[
    PostgresTarget | HttpTarget | KubernetesTarget | SshTarget, Field(discriminator="kind")
]
"""Where a target is and which credential opens it."""
