"""From events to the rows of the audit store, a step at a time.

How this works: `Rows` takes events in the journal's order and collects what they change, so that a store can write it
in bulk: the end of an operation joins the operation's own row while both are in one step. `flush` writes what was
collected, within the transaction of the step.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TypeVar

import msgspec

from wicketgate_gateway.audit.events import (
    AgentRefused,
    AuditEvent,
    GatewayStarted,
    Operation,
    OperationFinished,
    RecordingClosed,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.store.base import Batch, EventRow, Outcome, SessionChange, Writer

REFUSED = "refused"
"""The verdict on a connection that did not become a session."""
_KNOWN_TEXTS = 4096
_KNOWN_SESSIONS = 4096
_to_json = msgspec.json.Encoder().encode
Who = tuple[str, str]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Rows:
    """Collects rows for one writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._ids: OrderedDict[bytes, int] = OrderedDict()
        self._who: OrderedDict[str, Who] = OrderedDict()
        self._purges = -1
        self._clear()

    def _clear(self) -> None:
        self._batch = Batch()
        self._open: dict[tuple[str, int], list[EventRow]] = {}
        """Operations of this step, by session and number."""
        self._strangers: list[tuple[EventRow, bool, bool]] = []
        """Rows whose session began in an earlier step, and whether they lack a bot, a target."""

    def begin(self, purges: int) -> None:
        """A step begins; `purges` is the store's count."""
        if purges != self._purges:
            self._ids.clear()
            self._purges = purges

    def forget(self) -> None:
        """The step was rolled back: drop what was collected, and ids that may not hold any more."""
        self._clear()
        self._ids.clear()
        self._who.clear()

    def raw(self, time: int, kind: str, data: str) -> None:
        """A row that no event stands behind."""
        self._batch.rows.append(EventRow(time, kind, data))

    def add(self, event: AuditEvent) -> None:
        """Collect one event."""
        match event:
            case Operation():
                self._operation(event)
                return
            case OperationFinished():
                self._finished(event)
                return
            case RecordingClosed():
                self._session(event.session).closed = (event.digest, event.files, event.size)
                return
            case SessionStarted():
                data = _to_json(event).decode()
                self._batch.sessions[event.session] = SessionChange((event.time, event.bot, event.target, data))
                _remember(self._who, event.session, (event.bot, event.target), _KNOWN_SESSIONS)
            case SessionEnded():
                change = (event.time, event.reason, event.bytes_in, event.bytes_out)
                self._session(event.session).ended = change
            case GatewayStarted():
                # What came before must stand in the store: these are the sessions that are lost now.
                self.flush()
                self._writer.lose_sessions(event.time)
            case _:
                pass
        self._other(event)

    def _session(self, session: str) -> SessionChange:
        return self._batch.sessions.setdefault(session, SessionChange())

    def _operation(self, event: Operation) -> None:
        encoded = event.statement.encode()
        digest = hashlib.blake2b(encoded, digest_size=16).digest()
        if digest in self._ids:
            self._ids.move_to_end(digest)
        else:
            self._batch.texts[digest] = event.statement
        # The text stands in `statements`; one with NUL stands there as far as a store can hold it.
        kept = event if "\0" in event.statement else msgspec.structs.replace(event, statement="")
        row = EventRow(
            event.time, "operation", _to_json(kept).decode(), event.session, event.seq, event.bot, event.target,
            event.effect, digest, rule=event.rule,
        )  # fmt: skip
        self._batch.rows.append(row)
        self._open.setdefault((event.session, event.seq), []).append(row)
        change = self._session(event.session)
        change.operations += 1
        change.denied += event.effect == "deny"

    def _finished(self, event: OperationFinished) -> None:
        found = self._open.get((event.session, event.seq))
        if found is None:
            self._batch.outcomes.append(
                Outcome(event.session, event.seq, event.outcome, event.rows, event.sqlstate, event.duration_us)
            )
            return
        for row in found:
            row.outcome, row.rows = event.outcome, event.rows
            row.sqlstate, row.duration_us = event.sqlstate, event.duration_us

    def _other(self, event: AuditEvent) -> None:
        refused = isinstance(event, SessionRefused | AgentRefused)
        row = EventRow(
            event.time,
            str(event.__struct_config__.tag),
            _to_json(event).decode(),
            event.session or None,
            bot=getattr(event, "bot", "") or None,
            target=getattr(event, "target", "") or None,
            verdict=REFUSED if refused else None,
            rule=getattr(event, "rule", "") or None,
            approver=getattr(event, "approver", "") or None,
        )
        if event.session and (row.bot is None or row.target is None):
            known = self._who.get(event.session)
            if known is None:
                self._strangers.append((row, row.bot is None, row.target is None))
            else:
                row.bot, row.target = row.bot or known[0], row.target or known[1]
        self._batch.rows.append(row)

    def flush(self) -> None:
        """Write what was collected. Raises one of the store's `FAILURES`."""
        batch, writer = self._batch, self._writer
        new = {digest: text for digest, text in batch.texts.items() if digest not in self._ids}
        ids = writer.add_texts(new) if new else {}
        self._introduce()
        if batch.rows:
            wanted = {row.statement for row in batch.rows if row.statement is not None}
            writer.add_events(batch.rows, {digest: ids.get(digest) or self._ids[digest] for digest in wanted})
        for digest, number in ids.items():
            _remember(self._ids, digest, number, _KNOWN_TEXTS)
        if batch.sessions:
            writer.change_sessions(batch.sessions)
        if batch.outcomes:
            writer.finish(batch.outcomes)
        self._clear()

    def _introduce(self) -> None:
        """Fill in the bots and targets of sessions that began earlier."""
        found = self._writer.who({str(row.session) for row, _, _ in self._strangers}) if self._strangers else {}
        for row, bot, target in self._strangers:
            known = found.get(str(row.session))
            if known is not None:
                row.bot, row.target = known[0] if bot else row.bot, known[1] if target else row.target
        for session, known in found.items():
            _remember(self._who, session, known, _KNOWN_SESSIONS)


def _remember(known: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    known[key] = value
    if len(known) > limit:
        known.popitem(last=False)
