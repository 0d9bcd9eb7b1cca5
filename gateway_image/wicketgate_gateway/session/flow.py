"""A PostgreSQL session's two streams: bytes in, what they lead to out, in order, and the session's end.

How this works: `from_client` feeds the decoder, `pump` takes some messages off and gives each to its handler
(`HANDLERS`, which `session.postgres` fills) and all that they lead to, in order, to the journal: the bytes go to the
server when the journal releases them. `pump` stops at a *barrier* after a COPY FROM STDIN until the server has asked
for data or refused: which messages a server in COPY mode swallows depends on that, and guessing would get us out of
step with it. A statement that is held for people is a barrier, too (`holding`).

No sockets here: `Ends` are the two directions out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from msgspec import Raw

from wicketgate_gateway.audit.events import AuditEvent
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.masking.copy_in import CopyStars
from wicketgate_gateway.masking.copy_out import MaskedCopy
from wicketgate_gateway.masking.detected import AnswerFilter, DetectingMasker
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.masking.rows import RowMasker
from wicketgate_gateway.session.holding import MAX_BEHIND, Holding
from wicketgate_gateway.session.holds import Hold
from wicketgate_gateway.session.pinned import PinnedSettings
from wicketgate_gateway.session.session import Running, Session, SessionOverError, named
from wicketgate_gateway.session.settings import SessionSettings
from wicketgate_gateway.session.statement import NamedFacts, Statement
from wicketgate_gateway.wire.postgres import errors, frontend, messages
from wicketgate_gateway.wire.postgres.expected import (
    CopyFilter,
    Expected,
    Prepared,
    SqlPrepared,
)
from wicketgate_gateway.wire.postgres.frontend import FrontendDecoder
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.responses import Responses
from wicketgate_gateway.wire.postgres.sql.model import Facts

AnyMasker = RowMasker | DetectingMasker
PUMP_MESSAGES = 64
"""Messages that one session may have looked at in one loop turn."""
MAX_UNDER_WAY = 4096
"""Unanswered messages. The server holds back at most 8 KiB of answers (5 bytes each), so waiting for them must end."""
MAX_MASKERS = 64


class Ends(Protocol):
    """Where the session's bytes go."""

    def to_client(self, data: bytes) -> None:
        """Send to the client."""
        ...

    def to_target(self, data: bytes) -> None:
        """Send to the target."""
        ...

    def wake(self) -> None:
        """Call `pump` in the next loop turn."""
        ...

    def ended(self, *, terminate: bool) -> None:
        """The session is over; `terminate` says that the target should still be sent a Terminate."""
        ...


class Flow:
    """One session; `parameters` are the server's at log-in. Nothing here raises: what goes wrong ends the session."""

    HANDLERS: ClassVar[Mapping[type[frontend.Message], Callable[[Any, Any], None]]] = MappingProxyType({})
    """What is done with a message of each type."""

    def __init__(self, session: Session, ends: Ends, parameters: dict[str, str]) -> None:
        self.session = session
        self.over = False
        self.hungry = True
        """Whether all that came was looked at, so that the client should be read on."""
        nonce = f"wicketgate_denied_{secrets.token_hex(8)}"
        self._ends = ends
        self._pinned = PinnedSettings(parameters)
        self._decoder = FrontendDecoder()
        self._responses = Responses(self, nonce)
        self._nonce = nonce
        self._poison_query = messages.query(nonce)
        self._poison_parse = messages.parse(nonce, nonce)
        self._barrier: Expected | Holding | None = None
        self._settings = SessionSettings(self._prepared_facts)
        self._holding = Holding(session, self, self._settings, lambda: not len(self._responses))
        self._sending: list[Hold] = []
        self._copied = False
        self._leaving = False
        self._cursors: dict[str, dict[tuple[Facts, str], None]] = {}
        self._events: list[AuditEvent] = []
        self._out: list[bytes] = []
        self._recorded: list[bytes] = []
        self._notices: list[AuditEvent | Raw] = []
        self._unreleased = 0
        self._maskers: dict[tuple[int, int, int], tuple[object, object, AnyMasker | None]] = {}
        """For a mask plan and an answer's columns: how rows are rewritten."""
        self._now = 0
        self._detecting: Detecting | None = None
        self._copying_in: Redactor | None = None
        """What COPY data of the client goes through before it is recorded."""
        self._stars: CopyStars | None = None
        """The same for masked columns, and before."""
        self._detect()
        session.prepared = NamedFacts(self._prepared_facts)
        session.cursors = NamedFacts(self._cursor_facts)
        session.search_path = self._pinned.search_path
        session.take_names()

    # What comes in.

    def from_client(self, data: bytes) -> None:
        """Bytes of the client. If it is not `hungry` afterwards, read no more until it is."""
        if self.over:
            return
        self.session.bytes_in += len(data)
        if data and not self._fly(data):
            self._decoder.feed(data)
            self.pump()

    def pump(self) -> None:
        """Look at some of the messages that came; asks to be woken if there are more."""
        if self.over:
            return
        self._land()
        self._now = time.time_ns()
        try:
            self.session.refresh()
            if self.session.detecting is not self._detecting:
                self._detect()
            self._take()
        except ProtocolError as error:
            self._submit()
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=f"protocol violation: {error.message}")
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)
        else:
            self._submit()
        if self._notices:
            self._flush_notices()

    def _detect(self) -> None:
        # The policy changed. Statements take up its detectors when they are decided on anew.
        self._detecting = detecting = self.session.detecting
        self._responses.filter = None if detecting is None else AnswerFilter(detecting)

    def _take(self) -> None:
        left = PUMP_MESSAGES
        decoder, under_way = self._decoder, self._responses.under_way
        handlers = self.HANDLERS
        self.hungry = False
        while not self.over and not self._leaving:
            barrier = self._barrier
            if barrier is not None:
                held = barrier is self._holding
                if not barrier.settled:
                    # Who hangs up is only noticed by reading.
                    self.hungry = held and self._holding.waiting and decoder.buffered < MAX_BEHIND
                    return
                self._barrier = None
                if held:
                    self._holding.resume()
                    continue
            if len(under_way) >= MAX_UNDER_WAY:
                return
            if not left:
                if decoder.buffered:
                    self._ends.wake()
                else:
                    # Nothing may come from the target either, which answers at a Sync that has yet to be read.
                    self.hungry = True
                return
            left -= 1
            event = decoder.next()
            if event is None:
                self.hungry = True
                return
            handlers[type(event)](self, event)

    def _submit(self) -> None:
        recorded = self._recorded
        if recorded and self.session.recording is not None:
            self.session.recording.client(recorded[0] if len(recorded) == 1 else b"".join(recorded))
            recorded.clear()
        out, self._out = self._out, []
        events, self._events = self._events, []
        if not events and not self._unreleased:
            self._release(out)
            return
        if not events and not out:
            return
        self._unreleased += 1
        sending = self._sending
        if sending:
            self._sending = []

        def release(error: Exception | None) -> None:
            self._unreleased -= 1
            for hold in sending:
                (hold.not_sent if self.over or error is not None else hold.sent)()
            if error is None:
                self._release(out)
            else:
                self._not_recorded()

        self.session.gate.journal.submit(events, release)

    def _not_recorded(self) -> None:
        message = "the statement cannot be recorded, and what is not recorded is not executed"
        self.end("58030", message, hint="try again later", reason="journal-failed")

    def _release(self, out: list[bytes]) -> None:
        if self.over:
            return
        if out:
            self._ends.to_target(out[0] if len(out) == 1 else b"".join(out))
        if self._leaving and not self._unreleased:
            self._finish("the client ended it", terminate=False)

    def from_target(self, data: bytes) -> None:
        """Bytes of the target."""
        if self.over:
            return
        try:
            answer = self._arrive(data) if self._flight is not None else None
            if answer is None:
                self._land()
                out = self._responses.feed(data)
                answer = out[0] if len(out) == 1 else b"".join(out)
        except ProtocolError as error:
            self.end(
                "08P01",
                f"the gateway and the server lost step: {error.message}",
                hint="connect again",
                reason=f"server protocol violation: {error.message}",
            )
            return
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)
            return
        if answer:
            session = self.session
            session.bytes_out += len(answer)
            if session.recording is not None:
                session.recording.server(answer)
            self._ends.to_client(answer)
        if self._notices:
            self._flush_notices()
        if not self.hungry:
            self._ends.wake()

    # The common round trips: see `express`.

    _flight: Any = None

    def _fly(self, data: bytes) -> bool:
        return False

    def _arrive(self, data: bytes) -> bytes | None:
        return None

    def _land(self) -> None:
        """Puts what flies into the queue of what is not answered."""

    def _flush_notices(self) -> None:
        if self._notices:
            notices, self._notices = self._notices, []
            self.session.gate.notices.add(notices)
            if self.over:
                self.session.gate.notices.flush()

    def tell(self, notice: bytes) -> None:
        """See `holding.Host`."""
        if not self.over:
            if self.session.recording is not None:
                self.session.recording.server(notice)
            self._ends.to_client(notice)

    def wake(self) -> None:
        """See `holding.Host`."""
        self._ends.wake()

    def cancel(self) -> bool:
        """The client cancels; True if it was a wait that this ends, and the server has nothing to cancel."""
        return not self.over and self._holding.cancel()

    @property
    def busy(self) -> bool:
        """Whether the server has something to answer."""
        return self._flight is not None or len(self._responses) > 0

    # Ends.

    def client_lost(self) -> None:
        """The client hung up."""
        self._finish("the client hung up", terminate=True)

    def target_lost(self, reason: str) -> None:
        """The target, its agent or the tunnel went away."""
        if self._responses.fatal:
            self._finish("the server ended the session", terminate=False)
        else:
            self.end(
                "08006",
                f"the connection to `{self.session.opening.target_name}` is lost: {reason}",
                hint="connect again",
                reason=f"target lost: {reason}",
                terminate=False,
            )

    def become(self, principal: Principal) -> None:
        """The bot as Graph says it now; ends the session if no policy is left for it."""
        try:
            self.session.become(principal)
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)

    def end(self, sqlstate: str, message: str, *, hint: str = "", reason: str, terminate: bool = True) -> None:
        """End the session with a fatal error."""
        if self.over:
            return
        if not self._responses.within_message:
            report = errors.error("FATAL", sqlstate, message, hint=hint)
            if self.session.recording is not None:
                self.session.recording.server(report)
            self._ends.to_client(report)
        self._finish(reason, terminate=terminate)

    def _finish(self, reason: str, *, terminate: bool) -> None:
        if self.over:
            return
        self.over = True
        self._land()
        now = time.time_ns()
        for expected in self._responses.lost():
            if isinstance(expected.operation, Running):
                running = expected.operation
                self._notices.append(
                    self.session.finished(running, "lost", now=now, rows=None, sqlstate=expected.error)
                )
                if running.hold is not None:
                    running.hold.finished("lost")
        self._holding.abandon()
        self._notices.append(self.session.ended(reason))
        self._flush_notices()
        if self.session.recording is not None:
            self.session.recording.finish(reason)
        self._ends.ended(terminate=terminate and not self._decoder.within_copy_data)

    # What the tracker calls.

    def masker(
        self, prepared: Prepared | None, fields: tuple[FieldDescription, ...], formats: tuple[int, ...]
    ) -> AnyMasker | None:
        """See `Hooks`."""
        assert isinstance(prepared, Statement)
        return self._masker(prepared.plan, fields, prepared.detecting)

    def _masker(
        self, plan: MaskPlan | None, fields: tuple[FieldDescription, ...], detecting: Detecting | None = None
    ) -> AnyMasker | None:
        # All are kept alive by what is found, so their ids are theirs alone.
        key = (id(plan), id(fields), id(detecting))
        made = self._maskers.get(key)
        if made is not None:
            return made[2]
        columns = [None] * len(fields) if plan is None else plan.columns(fields)
        masker: AnyMasker | None = (
            None
            if all(method is None for method in columns)
            else RowMasker(columns, fields, self.session.gate.mask_key)
        )
        if detecting is not None:
            masker = DetectingMasker(detecting, masker, fields)
        if len(self._maskers) >= MAX_MASKERS:
            self._maskers.clear()
        self._maskers[key] = ((plan, fields), detecting, masker)
        return masker

    def copying(self, prepared: Prepared, looks: CopyFilter | None, *, binary: bool, columns: int) -> CopyFilter | None:
        """See `Hooks`."""
        plan = prepared.plan if isinstance(prepared, Statement) else None
        if plan is None or plan.copy is None:
            return looks
        return MaskedCopy(plan.copy.rows(binary=binary, count=columns, key=self.session.gate.mask_key), looks)

    def finished(self, expected: Expected, outcome: str, ran: Prepared | None) -> None:
        """See `Hooks`."""
        running = expected.operation
        assert isinstance(running, Running)
        now = time.time_ns()
        if ran is not running.statement and outcome != "skipped" and isinstance(ran, Statement):
            # A name meant something else by the time the server read it: that was decided on too, but not told.
            event = self.session.operation(
                ran.decision,
                ran.verdict,
                ran.shown,
                now=now,
                parameters=running.parameters,
                formats=running.formats,
                seq=running.seq,
            )
            self._notices.append(event)
        self._notices.append(
            self.session.finished(running, outcome, now=now, rows=expected.rows, sqlstate=expected.error)
        )
        if running.hold is not None:
            running.hold.finished(outcome)
        if outcome == "ok" and isinstance(ran, Statement) and ran.traits.defines:
            self.session.gate.refresh_catalogue(self.session.opening.target_name)

    def parameter(self, name: str, value: str) -> None:
        """See `Hooks`: the server reports a setting. One that a decision stands on must not change."""
        self._pinned.reported(name, value)

    def _prepared_facts(self, name: str) -> list[Facts]:
        found: list[Facts] = []
        for prepared in self._responses.statements.candidates(name):
            if isinstance(prepared, Statement):
                found += prepared.facts
            elif isinstance(prepared, SqlPrepared) and isinstance(prepared.origin, Statement):
                found += named([facts for facts in prepared.origin.facts if facts.prepared_name == name])
        return found

    def _cursor_facts(self, name: str) -> list[Facts]:
        found = [facts for facts, _ in self._cursors.get(name, ())]
        for portal in self._responses.portals.candidates(name):
            for prepared in portal.candidates:
                if isinstance(prepared, Statement):
                    found += prepared.facts
        return found
