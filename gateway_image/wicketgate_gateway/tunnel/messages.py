"""What gateway and agent say to each other in control frames (MessagePack)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from wicketgate_gateway.contract.catalogue import Catalogue

WORKER_KNOWN = "worker-known"
"""`Rejected.code`: the agent has a tunnel to this process already."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of the control messages."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Agent to gateway, first, and again before the token ends: who I am and what I offer."""

    agent: str
    token: str
    """Entra access token for the gateway's audience, with the role `Agent.Connect`."""
    targets: list[str]
    version: int = 1
    software: str = ""
    """The agent's own version."""
    expires: dict[str, int] = {}
    """When credentials of targets end (seconds since 1970), as far as they say."""
    holds: list[str] = []
    """Processes of this gateway (`Welcome.instance`) that the agent has a tunnel to already: another is wanted."""


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """Gateway to agent: the tunnel is up."""

    gateway: str
    instance: str = ""
    """Which process of the gateway this is; another one after a restart."""
    workers: int = 1
    """How many processes share the address; the agent keeps a tunnel to each."""


class Rejected(Message, frozen=True, kw_only=True, tag="rejected"):
    """Gateway to agent, before closing: why not."""

    code: str
    reason: str


class Open(Message, frozen=True, kw_only=True, tag="open"):
    """Gateway to agent: log in to `target` for this bot. `parameters` are the client's start-up parameters."""

    target: str
    bot: str
    session: str
    parameters: dict[str, str]


class Opened(Message, frozen=True, kw_only=True, tag="opened"):
    """Agent to gateway: logged in; data frames may flow. `parameters` are the server's ParameterStatus values."""

    parameters: dict[str, str]


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """Agent to gateway: no log-in. `reason` never holds credentials, nor the target's own words about them."""

    code: str
    reason: str
    sqlstate: str = "08006"


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Gateway to agent: ask the target to cancel what this stream's session runs."""


class HttpRequest(Message, frozen=True, kw_only=True, tag="http-request"):
    """Gateway to agent, on a stream to an HTTP or Kubernetes target: send this request. Data frames are its body,
    framed as `headers` say; the answer comes back as the target sent it."""

    method: str
    path: str
    """Path and query, as they go out behind the target's own base path."""
    headers: list[tuple[str, str]]
    """All headers but `Host` and the credential's."""


class CatalogueUpdate(Message, frozen=True, kw_only=True, tag="catalogue"):
    """Agent to gateway: the target's catalogue, at the start and whenever it changed."""

    target: str
    catalogue: Catalogue


class CatalogueRefresh(Message, frozen=True, kw_only=True, tag="catalogue-refresh"):
    """Gateway to agent: read the catalogue again soon (an unknown relation was seen)."""

    target: str


class Estimate(Message, frozen=True, kw_only=True, tag="estimate"):
    """Gateway to agent: how far would this statement reach at `target`? `count` asks for a run that is rolled back."""

    number: int
    """The gateway's, for the answer."""
    target: str
    statement: str
    types: list[int] = []
    """The parameters' types as far as they were declared; 0 leaves one to the server."""
    parameters: list[bytes | None] = []
    formats: list[int] = []
    count: bool = False


class Estimated(Message, frozen=True, kw_only=True, tag="estimated"):
    """Agent to gateway: as far as could be told. Holds no value of the target's."""

    number: int
    rows: int | None = None
    """The planner's estimate."""
    counted: int | None = None
    """What a run that was rolled back did."""
    plan: str = ""
    """What the plan does, and on which tables."""
    note: str = ""
    """Why something is missing."""


class SshConnect(Message, frozen=True, kw_only=True, tag="ssh-connect"):
    """SSH process to gateway: a client says that it is a bot. The answer is `Opened` or `Failed`; the stream stays open
    for as long as the connection is, and its end is the session's, in both directions."""

    target: str
    token: str
    user: str
    """The name that the client logs in with; decides nothing."""
    peer: str
    client: str = ""
    """What the client's software calls itself."""


class SshChannel(Message, frozen=True, kw_only=True, tag="ssh-channel"):
    """SSH process to gateway: a connection's client opens a channel. Frames (`wire.ssh.channel`) follow both ways."""

    session: str
    kind: str
    """`exec`, `shell`, `subsystem` or `forward`."""
    command: str = ""
    """The command's text; the subsystem's name; `host:port` of a forwarded connection."""
    env: dict[str, str] = {}
    pty: str = ""
    """The terminal's type; empty: none."""
    size: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Columns, rows, pixels."""
    modes: dict[int, int] = {}
    cut: int = 0
    """The command's size in bytes, if it was too long to be sent whole: nothing may run."""
    inexact: bool = False
    """`command` only shows what was sent, which is no text: nothing may run."""


Control: TypeAlias = (
    Hello
    | Welcome
    | Rejected
    | Open
    | Opened
    | Failed
    | Cancel
    | HttpRequest
    | CatalogueUpdate
    | CatalogueRefresh
    | Estimate
    | Estimated
    | SshConnect
    | SshChannel
)
