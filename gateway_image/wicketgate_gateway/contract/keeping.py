"""What `gateway.yaml` says about the audit's seals and streams, about retention and the store of recordings."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.values import Duration

ANCHOR_SCHEMES = ("https", "s3", "az", "gs", "file")


class Anchor(Model):
    """A place outside the state folder where every seal is kept; give `file` or `url`."""

    file: str | None = None
    """A file that seals are appended to, best on another machine's disk."""
    url: str | None = None
    """`https://…`, which gets each seal by POST; or an object store (`s3://bucket/prefix`, `az://…`, `gs://…`), which
    gets an object for each."""
    ca_file: str | None = None
    """Extra CA certificates (PEM) for an `https` URL."""
    token_file: str | None = None
    """A file whose content is sent as the bearer token to an `https` URL."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("needs `file` or `url`, and not both")
        if self.url is not None and self.url.partition("://")[0] not in ANCHOR_SCHEMES:
            raise ValueError(f"`url` begins with one of {', '.join(f'`{s}://`' for s in ANCHOR_SCHEMES)}")
        return self


class Syslog(Model):
    """Audit events as syslog messages (RFC 5424)."""

    address: str
    """`tcp://host:601`, `tls://host:6514`, `udp://host:514` or `unix:/dev/log`."""
    ca_file: str | None = None
    """The CA of a `tls` server (PEM); without it, the system's."""
    format: Literal["ndjson", "ocsf"] = "ndjson"
    """What a message holds: our own event, or OCSF."""

    @field_validator("address")
    @classmethod
    def _reachable(cls, value: str) -> str:
        kind, _, rest = value.partition(":")
        if (kind in ("tcp", "tls", "udp") and rest.startswith("//") and len(rest) > 2) or (
            kind == "unix" and rest.startswith("/")
        ):
            return value
        raise ValueError("write `tcp://host:601`, `tls://host:6514`, `udp://host:514` or `unix:/dev/log`")


class Otlp(Model):
    """Audit events as OpenTelemetry log records (OTLP/HTTP, JSON)."""

    url: str
    """The collector's address of logs, such as `https://collector:4318/v1/logs`."""
    ca_file: str | None = None
    """Extra CA certificates (PEM)."""
    token_file: str | None = None
    """A file whose content is sent as the bearer token."""
    format: Literal["ndjson", "ocsf"] = "ndjson"
    """What a record's body holds: our own event, or OCSF."""


class AuditStore(Model):
    """Where events are kept for questions. The journal is the truth: this can be built from it again."""

    url_file: str | None = None
    """A file with the URL of a PostgreSQL database, `postgresql://USER:PASSWORD@HOST/DATABASE`, which gateways may
    share; left out, SQLite in the state folder."""


class AuditSettings(Model):
    """How the audit is sealed, who gets it, and where questions to it are answered."""

    store: AuditStore = Field(default_factory=AuditStore)
    """The store that answers questions."""

    every: Duration = "60s"
    """How often the journal's head is sealed."""
    anchor: Anchor | None = None
    """Where seals are kept outside, so that a cut or rolled-back state folder is found out."""
    syslog: Syslog | None = None
    """A stream of all events to syslog."""
    otlp: Otlp | None = None
    """A stream of all events to an OpenTelemetry collector."""


class Retention(Model):
    """How long things are kept where no policy says it; legal holds come before all of it."""

    recordings: Duration = "90d"
    """Recordings of sessions that no policy of the current bundle is about; else its `record.keep` (the longest)."""
    audit: Duration = "400d"
    """Events; never less than the recordings that they belong to."""
    approvals: Duration = "400d"
    """Requests that were answered, used, or ended otherwise, in the control store; of gateways that share it, the
    shortest counts."""
    every: Duration = "1d"
    """How often what is too old is deleted; `0s` leaves it to `wicketgate retention run`."""


class RecordingStore(Model):
    """Where closed recordings are kept beside, or instead of, the state folder."""

    url: str
    """`s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` or `file:///folder`; credentials are the
    platform's or the environment's."""
    keep_local: bool = True
    """Whether the state folder keeps its copy once the store's was read back and checked."""
