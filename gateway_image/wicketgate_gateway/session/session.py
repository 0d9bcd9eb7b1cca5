"""A bot's session with a target, whatever its protocol: who, under which policy, on record.

How this works: a `Session` asks the policy in force for each operation, numbers operations, and writes the audit
events. Nothing of it knows a wire format. `Gate` is what the process lends to all its sessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from wicketgate_gateway.approvals.model import Held
from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished, SessionEnded, SessionStarted
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayTarget
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.policy import RecordLevel
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.detectors import Detecting, DetectorError, detecting
from wicketgate_gateway.masking.hiding import hide
from wicketgate_gateway.policy.engine import Decision, TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.policy.points import Point
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder, SessionRecording
from wicketgate_gateway.session.estimates import Estimator
from wicketgate_gateway.session.holds import Hold, Holds
from wicketgate_gateway.session.statement import NamedFacts, traits_of
from wicketgate_gateway.wire.postgres.sql.model import Facts

NOTICE_SECONDS = 0.05
MAX_NOTICES = 256
MAX_STATEMENT_SHOWN = 1024 * 1024
MAX_PARAMETER_SHOWN = 64 * 1024
MAX_PARAMETERS_SHOWN = 1024 * 1024


class SessionOverError(WicketgateError):
    """The session must end now."""

    code = "session-over"

    def __init__(self, message: str, *, code: str | None = None, remedy: str = "", sqlstate: str = "57P01") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.sqlstate = sqlstate


class Notices:
    """Events of what has already happened: they wait a little for each other, so that an operation costs one write.

    What an operation's end says is lost if the process dies within `NOTICE_SECONDS` of it; that it went out is not.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[AuditEvent | msgspec.Raw] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, events: Sequence[AuditEvent | msgspec.Raw]) -> None:
        """Have these written soon."""
        self._waiting += events
        if len(self._waiting) >= MAX_NOTICES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NOTICE_SECONDS, self.flush)

    def flush(self) -> None:
        """Have all that wait written now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._journal.submit(waiting)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a gateway process lends to its sessions."""

    journal: Journal
    notices: Notices
    recorder: Recorder
    policies: Callable[[], PolicySet]
    """The bundle in force."""
    catalogue: Callable[[str], Catalogue | None]
    """A target's catalogue as its agent read it last."""
    refresh_catalogue: Callable[[str], None]
    """Asks for a target's catalogue to be read again soon."""
    mask_key: bytes
    statement_bytes: int
    holds: Holds | None = None
    """Asks people; without it nothing that is held can run."""
    estimate: Estimator | None = None
    """Asks agents how far a statement reaches."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Who opened a session, to what, from where."""

    principal: Principal
    target_name: str
    target: GatewayTarget
    protocol: str
    peer: str
    agent: str
    client: str = ""


class Running(msgspec.Struct, eq=False):
    """An operation under way."""

    seq: int
    started: int
    """Nanoseconds since 1970."""
    statement: object
    parameters: list[bytes | None] | None = None
    formats: Sequence[int] = ()
    hold: Hold | None = None
    """What let it run, if it was held."""


class Session:
    """One session. Raises SessionOverError at once if no policy applies."""

    def __init__(self, gate: Gate, opening: Opening) -> None:
        self.id = new_session_id()
        self.gate = gate
        self.opening = opening
        self.principal = opening.principal
        self.recording: SessionRecording | None = None
        self.seq = 0
        self.epoch = 0
        """Rises whenever policy or catalogue changed, or a time window opened or closed."""
        self.search_path = "public"
        self.prepared = NamedFacts(lambda _: [])
        self.cursors = NamedFacts(lambda _: [])
        self.bytes_in = 0
        self.bytes_out = 0
        self._set: PolicySet | None = None
        self._catalogue: Catalogue | None = None
        self._stamp: object = ()
        self.policy: TargetPolicy
        self.detecting: Detecting | None = None
        """What looks for secrets in what the target sends, and in what is recorded of what the bot sends."""
        self.facts: SessionFacts
        self.refresh()

    @property
    def bot(self) -> str:
        """The bot's name as the bundle says it, else as its token does."""
        return self.policy.subject.bot or self.principal.name

    def refresh(self) -> None:
        """Take up a new bundle or catalogue. Raises SessionOverError if no policy applies any more."""
        current = self.gate.policies()
        catalogue = self.gate.catalogue(self.opening.target_name)
        if current is self._set and catalogue is self._catalogue:
            # What was prepared within a time window must not outlive it.
            if self.policy.timed and (stamp := self.policy.stamp()) != self._stamp:
                self._stamp = stamp
                self.epoch += 1
            return
        policy = current.for_principal(self.principal, self.opening.target_name, self.opening.target)
        if policy is None:
            raise SessionOverError(
                f"no policy lets this bot use `{self.opening.target_name}`",
                code="no-policy",
                remedy="ask for membership in a group whose policies name the target",
                sqlstate="28000",
            )
        if policy is not getattr(self, "policy", None):
            self.detecting = self._detecting(policy)
        self._set, self._catalogue, self.policy = current, catalogue, policy
        if self.recording is not None and policy.record.level is RecordLevel.FULL:
            self.recording.answers = True  # from now on; what was recorded before stays as it is
        self._stamp = policy.stamp() if policy.timed else ()
        self.facts = SessionFacts(self.search_path, catalogue, self.prepared, self.cursors)
        self.epoch += 1

    def _detecting(self, policy: TargetPolicy) -> Detecting | None:
        try:
            return detecting(policy, self.gate.mask_key)
        except DetectorError as error:
            raise SessionOverError(
                f"the policy's detectors cannot run: {error.message}", code=error.code, remedy=error.remedy
            ) from None

    def take_names(self) -> None:
        """`search_path`, `prepared` or `cursors` were set: decide by them from now on."""
        self.facts = SessionFacts(self.search_path, self._catalogue, self.prepared, self.cursors)
        self.epoch += 1

    def become(self, principal: Principal) -> None:
        """The same identity as Graph says it now. Raises SessionOverError as `refresh` does."""
        if principal != self.principal:
            self.principal = principal
            self._set = None
            self.refresh()

    def start(self) -> SessionStarted:
        """Begin the recording; returns the event, which the caller must see journalled before anything goes on.

        Raises RecordingError if the session cannot be recorded.
        """
        opening, principal = self.opening, self.principal
        event = SessionStarted(
            time=time.time_ns(),
            session=self.id,
            bot=self.bot,
            bot_id=principal.object_id,
            token_id=principal.token_id,
            target=opening.target_name,
            protocol=opening.protocol,
            peer=opening.peer,
            agent=opening.agent,
            groups=sorted(principal.groups),
            policy=self.policy.digest,
            client=opening.client,
            record=self.policy.record.level.value,
        )
        self.recording = self.gate.recorder.start(event)
        return event

    def decide(self, text: str) -> Decision:
        """The decision on one text."""
        most = self.gate.statement_bytes
        # No character takes over four bytes.
        if len(text) * 4 > most and (len(text) > most or len(text.encode()) > most):
            return Decision(
                Verdict(
                    Effect.DENY,
                    "builtin:size",
                    f"the statement is longer than {self.gate.statement_bytes} bytes",
                    "split it, or pass values as parameters",
                    "sql-too-large",
                )
            )
        return decide_text(self.policy, text, self.facts)

    def decide_points(self, points: Sequence[Point], values: Mapping[str, Any], text: str) -> Verdict:
        """The decision on an operation of another protocol than SQL; see `TargetPolicy.decide_points`."""
        return self.recording_trouble() or self.policy.decide_points(points, values, text)

    def held(self, statement: str, *, facts: Mapping[str, str] | None = None, reason: str = "") -> Held:
        """The operation as people are asked about it, in another protocol than SQL: `statement` is its canonical text,
        from which it is run; `facts` is what else changes its meaning."""
        bot_id = self.principal.object_id
        bot = self.gate.policies().bots.get(bot_id)
        return Held(
            bot_id=bot_id,
            bot=self.bot,
            owner=bot.owner if bot is not None else "",
            owner_id=str(bot.owner_id or "") if bot is not None else "",
            target=self.opening.target_name,
            protocol=self.opening.protocol,
            session=self.id,
            statement=statement,
            facts=facts or {},
            policy=self.policy.digest,
            reason=reason,
        )

    def operation_on(
        self,
        verdict: Verdict,
        shown: str,
        *,
        now: int,
        kinds: Sequence[str] = (),
        objects: Sequence[str] = (),
        seq: int = 0,
    ) -> Operation:
        """The event for one operation of another protocol than SQL; without `seq` it gets the next number.

        `shown` is what people read (secrets taken out), `objects` what is touched, as `relations` are in SQL.
        """
        if not seq:
            self.seq += 1
            seq = self.seq
        return Operation(
            time=now,
            session=self.id,
            seq=seq,
            statement=shown[:MAX_STATEMENT_SHOWN],
            effect=verdict.effect.value,
            rule=verdict.rule,
            kinds=list(kinds),
            relations=list(objects),
            code=verdict.code,
            reason=verdict.reason,
            policy=self.policy.digest,
            masked=verdict.masks is not None,
            bot=self.bot,
            target=self.opening.target_name,
        )

    def recording_trouble(self) -> Verdict | None:
        """Why nothing may be run at the moment: what cannot be recorded must not be executed."""
        recording = self.recording
        if recording is None or recording.failed is None:
            return None
        return Verdict(
            Effect.DENY,
            "builtin:recording",
            "the session cannot be recorded at the moment, and what is not recorded is not executed",
            "try again later; the gateway's operator must free space",
            "recording-failed",
        )

    def operation(
        self,
        decision: Decision,
        verdict: Verdict,
        shown: str,
        *,
        now: int,
        parameters: Sequence[bytes | None] | None = None,
        formats: Sequence[int] = (),
        seq: int = 0,
    ) -> Operation:
        """The event for one operation; without `seq` it gets the next number."""
        if not seq:
            self.seq += 1
            seq = self.seq
        if len(shown) > MAX_STATEMENT_SHOWN:
            shown = shown[:MAX_STATEMENT_SHOWN]
        traits = traits_of(decision)
        if parameters is not None and traits.hidden:
            parameters, formats = hide(parameters, formats, traits.hidden, self.gate.mask_key)
        return Operation(
            time=now,
            session=self.id,
            seq=seq,
            statement=shown,
            effect=verdict.effect._value_,
            rule=verdict.rule,
            kinds=traits.kinds,
            relations=traits.relations,
            parameters=None if parameters is None else shown_parameters(self.recordable(parameters)),
            formats=list(formats) if formats else [],
            code=verdict.code,
            reason=verdict.reason,
            policy=self.policy.digest,
            masked=traits.masks_answer,
            bot=self.bot,
            target=self.opening.target_name,
        )

    def recordable(self, parameters: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Bound parameters as they may be recorded: without what detectors find."""
        looks = self.detecting
        if looks is None:
            return parameters
        return [None if value is None else looks.text(value) for value in parameters]

    def finished(self, running: Running, outcome: str, *, now: int, rows: int | None, sqlstate: str) -> AuditEvent:
        """The event for an operation's end."""
        return OperationFinished(
            time=now,
            session=self.id,
            seq=running.seq,
            outcome=outcome,
            rows=rows,
            sqlstate=sqlstate,
            duration_us=(now - running.started) // 1000 if now > running.started else 0,
        )

    def ended(self, reason: str) -> SessionEnded:
        """The event for the session's end."""
        return SessionEnded(
            time=time.time_ns(), session=self.id, reason=reason, bytes_in=self.bytes_in, bytes_out=self.bytes_out
        )


def shown_parameters(parameters: Sequence[bytes | None]) -> list[bytes | None]:
    """Bound parameters for an event: as sent, but large ones cut, with size and SHA-256 (the recording has all)."""
    size = 0
    for value in parameters:
        if value is not None:
            size += len(value)
    if size <= MAX_PARAMETER_SHOWN:
        return list(parameters)
    shown: list[bytes | None] = []
    left = MAX_PARAMETERS_SHOWN
    for value in parameters:
        if value is None or (len(value) <= MAX_PARAMETER_SHOWN and len(value) <= left):
            shown.append(value)
            left -= len(value or b"")
        else:
            digest = hashlib.sha256(value).hexdigest()
            shown.append(value[: min(64, max(left, 0))] + f"… ({len(value)} bytes, sha256 {digest})".encode())
    return shown


def named(facts: Sequence[Facts]) -> list[Facts]:
    """What the names of these statements stand for: the inner statement of a PREPARE or DECLARE."""
    return [f.inner if f.inner is not None else f for f in facts]
