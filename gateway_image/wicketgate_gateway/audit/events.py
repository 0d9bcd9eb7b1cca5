"""The audit events: one schema for all protocols, written to the journal before an operation goes out.

Times are nanoseconds since 1970 (UTC). `session` is a ULID-like text, sortable by start. An operation is numbered by
`seq` within its session, from 1. Nothing here ever holds a token or a credential.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    """What every event has."""

    time: int
    session: str = ""
    """Empty for events outside a session."""


class SessionStarted(Event, frozen=True, kw_only=True, tag="session-started"):
    """A bot's session with a target begins; everything before it in the log-in succeeded."""

    bot: str
    bot_id: str
    """Object id of the service principal."""
    token_id: str
    """`uti` of the token: the key into Entra's sign-in log."""
    target: str
    protocol: str
    peer: str
    """Address of the client, `host:port`."""
    agent: str
    groups: list[str] = []
    policy: str = ""
    """Digest of the bundle at the start."""
    client: str = ""
    """What the client calls itself (application_name)."""
    record: str = "full"
    """How much is recorded: `full`, or `requests` (no answers)."""


class SessionRefused(Event, frozen=True, kw_only=True, tag="session-refused"):
    """A connection that did not become a session. Identity fields are empty unless the token was verified."""

    code: str
    reason: str
    target: str = ""
    protocol: str = ""
    peer: str = ""
    bot: str = ""
    bot_id: str = ""
    token_id: str = ""


class Operation(Event, frozen=True, kw_only=True, tag="operation"):
    """The verdict on one operation, durable before it goes out."""

    seq: int
    statement: str
    """The text as the client sent it (password literals blanked), at most 1 MiB."""
    effect: str
    rule: str
    kinds: list[str] = []
    relations: list[str] = []
    parameters: list[bytes | None] | None = None
    """Bound parameters as sent, where there are any."""
    formats: list[int] = []
    code: str = ""
    reason: str = ""
    policy: str = ""
    masked: bool = False
    """Whether a masked column flows into its answer. In older journals: whether the target has masks at all."""
    bot: str = ""
    target: str = ""
    facts: dict[str, list[str]] = {}
    """What else rules look at, so that it can be decided again: of an HTTP request headers and parts of its body
    (`policy.http_facts`)."""


class OperationFinished(Event, frozen=True, kw_only=True, tag="operation-finished"):
    """How an operation ended at the target."""

    seq: int
    outcome: str
    """`ok`, `error`, `cancelled` or `lost` (the connection broke first)."""
    rows: int | None = None
    sqlstate: str = ""
    duration_us: int = 0


class SessionEnded(Event, frozen=True, kw_only=True, tag="session-ended"):
    """The end of a session and why."""

    reason: str
    bytes_in: int = 0
    bytes_out: int = 0


class AgentConnected(Event, frozen=True, kw_only=True, tag="agent-connected"):
    """An agent's tunnel came up; `targets` are those it offers."""

    agent: str
    agent_id: str
    peer: str
    targets: list[str]
    version: str = ""
    """The agent's own version, as it says."""


class AgentCredentials(Event, frozen=True, kw_only=True, tag="agent-credentials"):
    """What an agent says of its credentials' ends, when it connects and when that changes."""

    agent: str
    expires: dict[str, int] = {}
    """Seconds since 1970 by target; those that say no end are not here."""


class AgentDisconnected(Event, frozen=True, kw_only=True, tag="agent-disconnected"):
    """An agent's tunnel went down."""

    agent: str
    reason: str


class AgentRefused(Event, frozen=True, kw_only=True, tag="agent-refused"):
    """Something dialled the agents' address and was not let in."""

    peer: str
    code: str
    reason: str


class PolicyLoaded(Event, frozen=True, kw_only=True, tag="policy-loaded"):
    """A bundle came into force."""

    policy: str
    by: str = ""
    """The person who put it in force from the pages, and why; empty where it came with a deployment."""
    by_id: str = ""
    reason: str = ""


class PolicyRefused(Event, frozen=True, kw_only=True, tag="policy-refused"):
    """A bundle did not compile; the one before stays in force."""

    reason: str
    policy: str
    """Digest of the bundle that stays in force."""


class RecordingClosed(Event, frozen=True, kw_only=True, tag="recording-closed"):
    """A session's recording is whole; its digest anchors every byte of it in the journal's own chain."""

    digest: bytes
    files: int
    size: int
    """Bytes as stored, all files."""


class GatewayStarted(Event, frozen=True, kw_only=True, tag="gateway-started"):
    """A process opened the journal, as its only writer: sessions that had not ended by now are lost."""

    instance: str
    repaired: str = ""
    """What the process before left half-written or damaged, in words."""


class JournalRecovered(Event, frozen=True, kw_only=True, tag="journal-recovered"):
    """The journal could not be written for a while. `refused` submissions did not go out meanwhile."""

    reason: str
    duration_us: int
    refused: int
    dropped: int = 0
    """Notices (ends of operations and sessions) that there was no memory left to keep."""


class HoldRequested(Event, frozen=True, kw_only=True, tag="hold-requested"):
    """People were asked whether an operation may run. The operation itself has the verdict `hold`."""

    handle: str
    digest: str
    """SHA-256 of the operation in canonical form."""
    seal: str
    """SHA-256 of all that approvers are shown and bound to."""
    bot: str
    bot_id: str
    target: str
    rule: str
    policy: str
    reason: str = ""
    """What the bot says it is for."""
    approvers: list[str] = []
    """Object ids of the groups that may decide."""
    quorum: int = 1
    expires: int = 0
    change: int = 0
    """Number of the change in the control store: an event that stands here twice happened once."""


class HoldVoted(Event, frozen=True, kw_only=True, tag="hold-voted"):
    """One person answered."""

    handle: str
    digest: str
    seal: str
    bot: str
    target: str
    approver: str
    """Object id."""
    name: str
    choice: str
    """`approve` or `deny`."""
    rule: str = ""
    comment: str = ""
    change: int = 0


class HoldDecided(Event, frozen=True, kw_only=True, tag="hold-decided"):
    """A request came to `state`: `approved`, `denied`, `expired`, `void`, or `released` (a claim was given back)."""

    handle: str
    digest: str
    bot: str
    target: str
    state: str
    rule: str = ""
    approvers: list[str] = []
    """Object ids of those who said so."""
    reason: str = ""
    change: int = 0


class HoldUsed(Event, frozen=True, kw_only=True, tag="hold-used"):
    """A held operation goes out, as approved: durable before it does."""

    handle: str
    digest: str
    seal: str
    bot: str
    target: str
    claim: str
    seq: int
    """The operation's number in its session."""
    rule: str = ""
    approvers: list[str] = []
    """Object ids."""


class KillOrdered(Event, frozen=True, kw_only=True, tag="kill-ordered"):
    """Someone ordered sessions to end, and none to begin."""

    kill: int
    scope: str
    """`bot`, `group`, `target`, `session` or `all`."""
    value: str
    by: str
    by_id: str
    reason: str = ""
    change: int = 0


class KillLifted(Event, frozen=True, kw_only=True, tag="kill-lifted"):
    """Someone took a kill back."""

    kill: int
    by: str
    by_id: str
    change: int = 0


class SessionKilled(Event, frozen=True, kw_only=True, tag="session-killed"):
    """A kill met this session; its running statement was cancelled at the server."""

    kill: int
    by: str
    reason: str = ""
    cancelled: bool = False
    """Whether a statement was running."""
    duration_us: int = 0
    """From the order to here."""


AuditEvent: TypeAlias = (
    SessionStarted
    | SessionRefused
    | Operation
    | OperationFinished
    | SessionEnded
    | AgentConnected
    | AgentCredentials
    | AgentDisconnected
    | AgentRefused
    | PolicyLoaded
    | PolicyRefused
    | RecordingClosed
    | GatewayStarted
    | JournalRecovered
    | HoldRequested
    | HoldVoted
    | HoldDecided
    | HoldUsed
    | KillOrdered
    | KillLifted
    | SessionKilled
)
