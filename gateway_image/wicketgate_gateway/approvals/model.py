"""What is held for a person, and what became of it: plain values, independent of protocol and store.

Times are whole nanoseconds since 1970 (UTC), as in the audit events; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

NANOSECONDS = 1_000_000_000


class State(StrEnum):
    """Where a request is in its life. `pending` and `approved` are open; the others are its end."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"
    VOID = "void"
    """It can no longer be decided or used: its policy changed, its bot is gone or was killed, a clock went back."""


class Choice(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A bound value: its type as the protocol names it (PostgreSQL: the OID), format (0 text, 1 binary), bytes."""

    type: str
    format: int
    value: bytes | None
    """None is NULL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One operation of one bot, whole."""

    bot_id: str
    """Object id of the service principal."""
    bot: str
    owner: str
    """Who answers for the bot, in words: `group:NAME` or `person:MAIL`."""
    owner_id: str
    """The owner's object id (a person's or a group's): may not approve."""
    target: str
    protocol: str
    session: str
    statement: str
    """The exact text: what is shown is what is run."""
    parameters: tuple[Parameter, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of the session that change what the operation means (`search_path`, `role`, …)."""
    policy: str
    """Digest of the bundle in force."""
    reason: str = ""
    """What the bot says it is for: its words, not ours."""
    blast: Mapping[str, Any] | None = None
    """How far it reaches, as measured before asking: JSON of texts, whole numbers, truth values and None."""


class Terms(Protocol):
    """What the deciding rule asks for (`contract.verdict.HoldTerms`)."""

    @property
    def rule(self) -> str: ...
    @property
    def approver_groups(self) -> Sequence[str]: ...
    @property
    def approver_names(self) -> Sequence[str]: ...
    @property
    def quorum(self) -> int: ...
    @property
    def within(self) -> float: ...
    @property
    def use_within(self) -> float: ...
    @property
    def reason_required(self) -> bool: ...
    @property
    def reuse(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Vote:
    """One approver's answer; people are told apart by object id alone."""

    approver: str
    """Object id."""
    name: str
    choice: Choice
    comment: str = ""
    time: int = 0
    seal: str = ""
    """The seal of what the approver saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Held):
    """A held operation with the terms of its approval, and where it stands."""

    handle: str
    """For people and models to say and type, such as `hold-7kq2m9`. It names a request and opens nothing."""
    digest: str
    """SHA-256 (hex) of the operation: what, by which bot, at which target, in which session state and policy."""
    seal: str
    """SHA-256 (hex) of all that an approver is shown and bound to, the digest included."""
    rule: str
    approver_groups: tuple[str, ...]
    """Object ids."""
    approver_names: tuple[str, ...]
    quorum: int
    created: int
    expires: int
    """Until when it may be approved."""
    use_within: float
    """Seconds from approval to use."""
    reuse: float | None
    """Seconds from approval in which the same operation may go through again and again; None: once."""
    state: State = State.PENDING
    decided: int | None = None
    use_by: int | None = None
    """Until when it may be used, once approved."""
    uses: int = 0
    note: str = ""
    """Why it ended as it did."""
    votes: tuple[Vote, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it may still be decided or used."""
        return self.state in (State.PENDING, State.APPROVED)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one operation now. What runs is `request.statement` with `request.parameters`, as stored."""

    id: str
    request: Request
    session: str
    time: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened, in the order in which it did."""

    id: int
    time: int
    kind: str
    """`requested`, `voted`, `approved`, `denied`, `expired`, `void`, `used`, `released`, `finished`, `kill`,
    `lifted`."""
    handle: str
    """Empty for kills."""
    data: Mapping[str, Any]


class Scope(StrEnum):
    """What a kill is about."""

    BOT = "bot"
    GROUP = "group"
    TARGET = "target"
    SESSION = "session"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Kill:
    """An order to end sessions, and to let none begin, until it is lifted."""

    id: int
    scope: Scope
    value: str
    """Object id of the bot or group, name of the target, id of the session; empty for `all`."""
    by: str
    by_id: str
    reason: str
    time: int
    lifted: int | None = None
    lifted_by: str = ""

    def covers(self, *, bot_id: str, groups: frozenset[str], target: str, session: str) -> bool:
        """Whether a session is meant."""
        if self.lifted is not None:
            return False
        match self.scope:
            case Scope.ALL:
                return True
            case Scope.BOT:
                return self.value == bot_id
            case Scope.GROUP:
                return self.value in groups
            case Scope.TARGET:
                return self.value == target
            case Scope.SESSION:
                return self.value == session
