"""What goes over the wire: strict requests, and answers that hold everything an approver must see.

Nothing of a held operation is cut: the statement is the stored text, and each parameter has its bytes in base64 beside
what a person can read. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wicketgate_gateway.approvals import display
from wicketgate_gateway.approvals.model import Kill, Parameter, Request, Scope, State
from wicketgate_gateway.approvals.service import MAX_COMMENT
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.recording import values

MAX_REASON = 500
_TEXT_TYPES = frozenset({"18", "19", "25", "114", "1042", "1043"})
_MAX_DECODED = 1000


class In(BaseModel):
    """A request's body: unknown members are errors, nothing is coerced, errors do not repeat it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


Seal = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Exchange(In):
    """RFC 7521's parameters of a token request, as JSON."""

    grant_type: Annotated[str, Field(max_length=200)]
    """`urn:ietf:params:oauth:grant-type:saml2-bearer`."""
    assertion: Annotated[str, Field(min_length=1, max_length=200_000, repr=False)]
    """One signed SAML 2.0 assertion, in base64url."""


class Token(Out):
    """What an assertion was exchanged for."""

    access_token: str
    """For the Authorization header of this API, and nothing else."""
    token_type: str
    """`Bearer`."""
    expires_in: int
    """Seconds."""


class Approve(In):
    """An approval of exactly what was looked at."""

    seal: Seal
    """The seal of the request as it was shown."""
    comment: Annotated[str, Field(max_length=MAX_COMMENT)] = ""


class Deny(In):
    """A denial; with a seal, of exactly what was looked at."""

    seal: Seal | None = None
    comment: Annotated[str, Field(max_length=MAX_COMMENT)] = ""


class KillSession(In):
    """Why a session is ended."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]


class KillOrder(In):
    """What to end, and keep out until it is lifted."""

    scope: Annotated[Scope, Field(strict=False)]
    value: Annotated[str, Field(max_length=200)] = ""
    """The bot's or group's name or object id, or the target's name; empty for `all`."""
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]


class Lift(In):
    """Lifts a kill."""


class Me(Out):
    """Who is signed in."""

    name: str
    id: str
    roles: list[str]
    signed_in: str | None
    token_ends: str


class Bot(Out):
    """A bot, and who answers for it."""

    name: str
    id: str
    owner: str


class Group(Out):
    """A group of people."""

    name: str
    id: str


class Value(Out):
    """A bound parameter."""

    type: str
    """The type as the protocol names it (PostgreSQL: the OID; 0 where the client left it open)."""
    binary: bool
    text: str | None
    """The value as a person reads it; None for NULL. Binary values of other types are in hexadecimal."""
    base64: str | None
    """Its bytes."""


class Answer(Out):
    """One person's answer."""

    name: str
    id: str
    choice: str
    comment: str
    time: str


class Approval(Out):
    """A held operation, whole, and where it stands."""

    handle: str
    state: State
    bot: Bot
    target: str
    protocol: str
    session: str
    statement: str
    parameters: list[Value]
    facts: dict[str, str]
    """Settings of the session that change what the statement means."""
    policy: str
    rule: str
    reason: str
    """What the bot says it is for: its words."""
    blast: dict[str, Any] | None
    """How far it reaches, as measured before asking."""
    approvers: list[Group]
    quorum: int
    answers: list[Answer]
    created: str
    expires: str
    decided: str | None
    use_by: str | None
    reuse_seconds: float | None
    """How long an approval lets the same operation through again and again; None: once."""
    uses: int
    note: str
    warnings: list[str]
    """What an approver should know before believing their eyes."""
    digest: str
    seal: str
    """Names all of this: an approval must repeat it."""
    link: str


class Approvals(Out):
    """Held operations, oldest first."""

    approvals: list[Approval]


class Session(Out):
    """A session."""

    session: str
    state: str
    bot: str
    bot_id: str
    target: str
    protocol: str
    peer: str
    client: str
    agent: str
    started: str
    ended: str | None
    reason: str
    operations: int
    denied: int


class Sessions(Out):
    """Sessions of this gateway, oldest first."""

    sessions: list[Session]


class KillOut(Out):
    """An order to end sessions."""

    id: int
    scope: Scope
    value: str
    name: str
    """What people call it."""
    by: str
    by_id: str
    reason: str
    time: str
    lifted: str | None
    lifted_by: str


class Kills(Out):
    """Kills, oldest first."""

    kills: list[KillOut]


class End(Out):
    """Why a stream ends."""

    code: str
    detail: str


class Problem(Out):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    """Stable, for programs."""
    detail: str
    remedy: str
    """What to do next."""


def moment(ns: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _maybe(ns: int | None) -> str | None:
    return None if ns is None else moment(ns)


def link(config: GatewayConfig, handle: str) -> str:
    """Where a person reads how to look at a request."""
    assert config.people is not None
    return f"{config.people.url.rstrip('/')}/approvals/{handle}"


def value(parameter: Parameter) -> Value:
    """A bound parameter, whole."""
    data = parameter.value
    if data is None:
        return Value(type=parameter.type, binary=parameter.format == 1, text=None, base64=None)
    return Value(
        type=parameter.type,
        binary=parameter.format == 1,
        text=_readable(data, parameter),
        base64=base64.b64encode(data).decode(),
    )


def _readable(data: bytes, parameter: Parameter) -> str:
    if parameter.format == 0 or parameter.type in _TEXT_TYPES:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "\\x" + data.hex()
    if len(data) <= _MAX_DECODED and parameter.type.isdecimal() and len(parameter.type) <= 10:
        shown = values.show(data, int(parameter.type), 1)
        if len(shown) <= 2 * _MAX_DECODED + 2:  # else it may be cut
            return shown
    return "\\x" + data.hex()


def approval(request: Request, config: GatewayConfig) -> Approval:
    """A request as it is shown."""
    return Approval(
        handle=request.handle,
        state=request.state,
        bot=Bot(name=request.bot, id=request.bot_id, owner=request.owner),
        target=request.target,
        protocol=request.protocol,
        session=request.session,
        statement=request.statement,
        parameters=[value(parameter) for parameter in request.parameters],
        facts=dict(request.facts),
        policy=request.policy,
        rule=request.rule,
        reason=request.reason,
        blast=None if request.blast is None else dict(request.blast),
        approvers=[
            Group(name=request.approver_names[i] if i < len(request.approver_names) else group, id=group)
            for i, group in enumerate(request.approver_groups)
        ],
        quorum=request.quorum,
        answers=[
            Answer(name=v.name, id=v.approver, choice=v.choice.value, comment=v.comment, time=moment(v.time))
            for v in request.votes
        ],
        created=moment(request.created),
        expires=moment(request.expires),
        decided=_maybe(request.decided),
        use_by=_maybe(request.use_by),
        reuse_seconds=request.reuse,
        uses=request.uses,
        note=request.note,
        warnings=display.warnings(request.statement),
        digest=request.digest,
        seal=request.seal,
        link=link(config, request.handle),
    )


def session(row: SessionRow, *, running: bool) -> Session:
    """A session of the audit store."""
    started = row.started
    return Session(
        session=started.session,
        state="lost" if row.state == "live" and not running else row.state,
        bot=started.bot,
        bot_id=started.bot_id,
        target=started.target,
        protocol=started.protocol,
        peer=started.peer,
        client=started.client,
        agent=started.agent,
        started=moment(started.time),
        ended=_maybe(row.ended),
        reason=row.reason,
        operations=row.operations,
        denied=row.denied,
    )


def kill(order: Kill, name: str) -> KillOut:
    """A kill."""
    return KillOut(
        id=order.id,
        scope=order.scope,
        value=order.value,
        name=name,
        by=order.by,
        by_id=order.by_id,
        reason=order.reason,
        time=moment(order.time),
        lifted=_maybe(order.lifted),
        lifted_by=order.lifted_by,
    )
