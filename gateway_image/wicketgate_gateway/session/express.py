"""The common round trip as a whole: one query whose like was decided on before, and its plainest answer.

How this works: `Flow` and `PostgresSession` take a message at a time, and can tell what any order of messages comes to.
Most chunks need none of that: all before is answered, the chunk is one Query (or one Parse, Bind, Describe, Execute,
Sync), the like of it was allowed under this very policy, catalogue and search path, and the answer is a row
description, rows, a row count and ReadyForQuery. Such a chunk is looked at by one native call, which also writes the
audit event; it is *flying* until its answer comes, and that is looked at by another. What a pipeline sends, several
such queries in one chunk, flies as a `Train`: its cars arrive one after the other, and where one does not, it and those
behind it land. Where detectors look at values, nothing flies.

Whatever is not exactly so takes the general way, which knows nothing of this. Anything else that happens while a query
flies makes it *land* first: its messages go into the queue of unanswered ones just as the general way would have put
them there. So this decides nothing of its own: what it may take was put into its tables by the general way
(`remember`), and they are dropped with the policy. Without the native crate there is only the general way, which is
also the reference in differential tests.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import time_ns
from typing import Any, TypeAlias

import msgspec

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.engine import CACHED_TEXT, TargetPolicy
from wicketgate_gateway.session.flow import MAX_MASKERS, AnyMasker, Ends, Flow
from wicketgate_gateway.session.session import Running, Session, SessionOverError
from wicketgate_gateway.session.statement import Statement, traits_of
from wicketgate_gateway.wire.postgres import frontend
from wicketgate_gateway.wire.postgres.expected import Ask, Expected, Portal
from wicketgate_gateway.wire.postgres.frontend import FrontendDecoder
from wicketgate_gateway.wire.postgres.responses import known_fields
from wicketgate_gateway.wire.postgres.sql.literals import strip_literals
from wicketgate_gateway.wire.postgres.sql.parser import native

MAX_TABLES = 256
"""Bots that share a policy, times search paths."""
MAX_TABLE = 2048
"""Texts that a policy remembers."""
_DESCRIPTION_BYTES = 4096
MAX_NAMED = 256
"""Prepared statements that a session remembers."""

_Entry: TypeAlias = "tuple[Any, bytes, int, str]"
"""A Decision (of a Query) or Statement; the event's MessagePack entries and their number; the statement's name."""
_Table: TypeAlias = dict[bytes, _Entry]
_Car: TypeAlias = tuple[_Entry, bytes, int, int]
"""Its event, its shape (`PARSED`, `DESCRIBED`, `SYNCED`), and where in the chunk it ends."""
PARSED, DESCRIBED, SYNCED = 1, 2, 4
TRAINS = True
"""Whether several queries in one chunk fly together; a switch for measurements."""
_ENDS = -2
"""In place of a count of rows: COMMIT or ROLLBACK."""

_query: Callable[..., tuple[_Entry, bytes] | None] | None = getattr(native(), "express_query", None)
_extended: Callable[..., tuple[_Entry, bytes, bool, bytes] | None] | None = getattr(native(), "express_extended", None)
_train: Callable[..., list[_Car] | None] | None = getattr(native(), "express_train", None)
_answer: Callable[..., tuple[int, int, int, int, int, int] | None] | None = getattr(native(), "express_answer", None)
_answers: Callable[..., list[tuple[int, int, int, int, int, int, int]]] | None = getattr(
    native(), "express_answers", None
)
_finished: Callable[..., bytes] | None = getattr(native(), "express_finished", None)

_encode = msgspec.msgpack.encode
_OUTCOME = _encode("outcome") + _encode("ok")
_VARIES = frozenset({"time", "session", "seq", "statement", "parameters", "formats"})
_IDLE = ord("I")
_Q, _P, _B = b"QPB"
_PARSED_AND_BOUND = b"1\0\0\0\x042\0\0\0\x04"
_BOUND = b"2\0\0\0\x04"

_tables: weakref.WeakKeyDictionary[TargetPolicy, tuple[object, dict[tuple[str, ...], _Table]]] = (
    weakref.WeakKeyDictionary()
)


def _table_for(policy: TargetPolicy, index: object, said: tuple[str, ...]) -> _Table:
    # What was decided under another catalogue goes when the first session takes up the new one.
    known = _tables.get(policy)
    if known is None or known[0] is not index or len(known[1]) >= MAX_TABLES:
        known = _tables[policy] = (index, {})
    return known[1].setdefault(said, {})


class Flight(msgspec.Struct, frozen=True, gc=False):
    """A query under way that the general way has not heard of."""

    entry: _Entry
    request: bytes
    seq: int
    started: int
    epoch: int
    simple: bool
    prefix: bytes
    described: bool


class Train(msgspec.Struct, gc=False):
    """Several queries of one chunk under way; those before `at` have arrived."""

    cars: list[_Car]
    request: bytes
    shapes: bytes
    seq: int
    started: int
    epoch: int
    at: int = 0

    def flight(self, number: int) -> Flight:
        """One car as a query of its own."""
        entry, _, shape, end = self.cars[number]
        start = self.cars[number - 1][3] if number else 0
        prefix = _PARSED_AND_BOUND if shape & PARSED else _BOUND
        return Flight(
            entry, self.request[start:end], self.seq + number, self.started, self.epoch, False, prefix,
            bool(shape & DESCRIBED),
        )  # fmt: skip


class ExpressFlow(Flow):
    """See the module."""

    def __init__(self, session: Session, ends: Ends, parameters: dict[str, str]) -> None:
        self._late: Flight | None = None
        """What left a portal behind, since its transaction goes on."""
        self._request = b""
        self._calm = False
        """The last thing that happened is that what flew arrived: nothing is under way, and nothing waits."""
        self._table: _Table | None = None
        self._parsed: _Table = {}
        self._named: _Table = {}
        self._told: dict[bytes, tuple[MaskPlan, AnyMasker | None]] = {}
        self._table_epoch = -1
        self._flight: Flight | Train | None = None
        super().__init__(session, ends, parameters)
        self._head = _encode("event") + _encode("operation") + _encode("session") + _encode(session.id)
        self._head_finished = (
            _encode("event") + _encode("operation-finished") + _encode("session") + _encode(session.id)
        )

    # What may fly.

    def _take_table(self) -> None:
        # Policy, catalogue or search path changed, or it is the first time.
        session = self.session
        self._table_epoch = session.epoch
        self._parsed.clear()
        self._named.clear()
        policy = session.policy
        # Detectors look at texts and parameters before they are recorded.
        looks = session.detecting is not None
        if _query is None or looks or policy.timed or policy.reads_text or session.gate.statement_bytes < CACHED_TEXT:
            self._table = None
            return
        self._table = _table_for(
            policy, session.facts.index, (session.search_path, session.bot, session.opening.target_name)
        )

    def remember(self, statement: Statement) -> None:
        """A text was allowed as a Query: the like of it may fly."""
        if self._table_epoch != self.session.epoch:
            self._take_table()
        table, traits = self._table, statement.traits
        if table is None or not traits.plain or len(statement.text) > CACHED_TEXT:
            return
        if statement.shown is not statement.text:
            return
        key = strip_literals(statement.text.encode())
        if key is not None and key not in table:
            if len(table) >= MAX_TABLE:
                table.clear()
            table[key] = (statement.decision, *self._tail(statement, ""), "")

    def remember_named(self, statement: Statement, name: str, raw: bytes = b"") -> None:
        """What `name` means was decided on: a Bind of it may fly; of the unnamed statement, with the Parse `raw`."""
        if self._table_epoch != self.session.epoch:
            self._take_table()
        if self._table is None or not statement.traits.plain or statement.epoch != self._table_epoch:
            return
        if len(statement.text) > CACHED_TEXT or statement.shown is not statement.text:
            return
        table, key = (self._parsed, raw) if raw else (self._named, name.encode())
        if table.get(key, (None,))[0] is not statement:
            if len(table) >= MAX_NAMED:
                table.clear()
            table[key] = (statement, *self._tail(statement, statement.shown), name)

    def _tail(self, statement: Statement, text: str) -> tuple[bytes, int]:
        event = self.session.operation(statement.decision, statement.verdict, text, now=0, seq=1)
        values = {
            name: value
            for name, value in msgspec.structs.asdict(event).items()
            if name not in _VARIES and value != _DEFAULTS.get(name)
        }
        if text:
            values["statement"] = text
        return b"".join(_encode(name) + _encode(value) for name, value in values.items()), len(values)

    # Out.

    def _fly(self, data: bytes) -> bool:
        """Whether the chunk was taken as a whole."""
        session = self.session
        recording = session.recording
        if self._flight is not None or recording is None or recording.failed is not None:
            return False
        if not self._calm and not self._is_calm():
            return False
        try:
            session.refresh()
        except SessionOverError:
            return False
        if session.epoch != self._table_epoch:
            return False
        now = time_ns()
        first = data[0]
        seq = session.seq + 1
        if first == _Q:
            assert _query is not None
            found = _query(data, self._table, self._head, now, seq)
            if found is None:
                return False
            entry, event = found
            flight = Flight(entry, data, seq, now, self._table_epoch, True, b"", False)
        elif first in (_B, _P):
            assert _extended is not None
            bound = _extended(data, self._parsed, self._named, self._head, now, seq)
            if bound is None:
                return self._fly_in_a_row(data, now)
            entry, event, described, _ = bound
            statement: Statement = entry[0]
            if statement.epoch != self._table_epoch or (statement.masked and not described):
                return False
            if first == _B and self._responses.statements.confirmed.get(entry[3]) is not statement:
                return False
            prefix = _PARSED_AND_BOUND if first == _P else _BOUND
            flight = Flight(entry, data, seq, now, self._table_epoch, False, prefix, described)
        else:
            return False
        session.seq = seq
        self._flight = flight
        self._request = data
        recording.client(data)
        self._unreleased = 1
        session.gate.journal.submit((msgspec.Raw(event),), self._take_off)
        return True

    def _fly_in_a_row(self, data: bytes, now: int) -> bool:
        session = self.session
        if not TRAINS or _train is None:
            return False
        cars = _train(data, self._parsed, self._named, self._head, now, session.seq + 1)
        if cars is None:
            return False
        confirmed = self._responses.statements.confirmed
        parsed: object = None
        for entry, _, shape, _ in cars:
            statement: Statement = entry[0]
            if statement.epoch != self._table_epoch or (statement.masked and not shape & DESCRIBED):
                return False
            if shape & PARSED:
                parsed = statement  # all that is parsed within a train is the unnamed one
            elif (confirmed.get(entry[3]) if entry[3] else parsed) is not statement:
                return False
        self._flight = Train(cars, data, bytes([car[2] for car in cars]), session.seq + 1, now, self._table_epoch)
        session.seq += len(cars)
        self._request = data
        assert session.recording is not None
        session.recording.client(data)
        self._unreleased = 1
        session.gate.journal.submit([msgspec.Raw(car[1]) for car in cars], self._take_off)
        return True

    def _is_calm(self) -> bool:
        return (
            self._table is not None
            and self._detecting is None
            and self._barrier is None
            and not self._leaving
            and not self._unreleased
            and self.hungry
            and self._responses.quiet
            and self._decoder.empty
        )

    def _take_off(self, error: Exception | None) -> None:
        self._unreleased -= 1
        if error is not None:
            self._not_recorded()
        elif self._leaving:
            self._release([self._request])
        elif not self.over:
            self._ends.to_target(self._request)

    # Back.

    def _arrive(self, data: bytes) -> bytes | None:
        """What the client gets for the whole answer of what flies; None if it is anything else.

        Raises ProtocolError for rows that cannot be masked.
        """
        flight = self._flight
        assert flight is not None
        if isinstance(flight, Train):
            return self._arrive_in_a_row(flight, data)
        assert _answer is not None
        assert _finished is not None
        found = _answer(data, flight.prefix, flight.described, flight.simple)
        if found is None:
            return None
        rows, status, told, told_end, start, end = found
        thing = flight.entry[0]
        plan: MaskPlan | None = traits_of(thing).plan if flight.simple else thing.plan
        if plan is not None and told:
            masker = self._masker_for(plan, data[told:told_end])
            if masker is not None and end > start:
                data = data[:start] + masker(data, start, end) + data[end:]
        self._flight = None
        self._calm = True
        responses = self._responses
        if not flight.simple and flight.prefix is _PARSED_AND_BOUND:
            responses.statements.confirm(flight.entry[3], thing)
        if rows == _ENDS:
            self._forget_columns()
        if status == _IDLE:
            responses.status = b"I"
            self._late = None
            if responses.portals.confirmed:
                responses.portals.confirmed.clear()
        else:
            responses.status = b"T"
            if not flight.simple:
                self._late = flight
        event = _finished(self._head_finished, _OUTCOME, time_ns(), flight.seq, rows, flight.started)
        self._notices.append(msgspec.Raw(event))
        return data

    def _arrive_in_a_row(self, train: Train, data: bytes) -> bytes | None:
        assert _answers is not None
        assert _finished is not None
        found = _answers(data, train.shapes[train.at :])
        if not found:
            return None
        responses, notices, cars = self._responses, self._notices, train.cars
        out: list[bytes] = []
        start = status = 0
        now = time_ns()
        for rows, status, told, told_end, first, end, _ in found:
            entry, _, shape, _ = cars[train.at]
            statement: Statement = entry[0]
            if statement.plan is not None and told:
                masker = self._masker_for(statement.plan, data[told:told_end])
                if masker is not None and end > first:
                    out += (data[start:first], masker(data, first, end))
                    start = end
            if shape & PARSED:
                responses.statements.confirm(entry[3], statement)
            if rows == _ENDS:
                self._forget_columns()
            if status:
                if status == _IDLE:
                    responses.status = b"I"
                    responses.portals.confirmed.clear()
                else:
                    responses.status = b"T"
            notices.append(
                msgspec.Raw(_finished(self._head_finished, _OUTCOME, now, train.seq + train.at, rows, train.started))
            )
            train.at += 1
        # What it left behind, if its transaction goes on.
        self._late = None if status == _IDLE else train.flight(train.at - 1)
        after = found[-1][6]
        out.append(data[start:after] if start or after < len(data) else data)
        if train.at == len(cars):
            self._flight = None
            self._calm = True
        if after < len(data):
            self._land()
            out += responses.feed(data[after:])
        return out[0] if len(out) == 1 else b"".join(out)

    def _forget_columns(self) -> None:
        # As `Responses` does after COMMIT and ROLLBACK.
        for portal in self._responses.portals.confirmed.values():
            portal.fields = None
            portal.described = False

    def _masker_for(self, plan: MaskPlan, description: bytes) -> AnyMasker | None:
        known = self._told.get(description)
        if known is not None and known[0] is plan:
            return known[1]
        masker = self._masker(plan, known_fields(description))
        if len(self._told) >= MAX_MASKERS:
            self._told.clear()
        if len(description) <= _DESCRIPTION_BYTES:
            self._told[description] = (plan, masker)
        return masker

    # Into the general way.

    def _land(self) -> None:
        self._calm = False
        flight, self._flight = self._flight, None
        late, self._late = self._late, None
        if late is not None:
            portal = Portal((late.entry[0],), None, ())
            for event in _events(late.request):
                if isinstance(event, frontend.Bind):
                    portal.bind = (event.parameters, event.formats)
                    portal.result_formats = event.result_formats
            portal.prepared = late.entry[0]
            portal.known = True
            # Its columns are asked for again if anyone fetches more of it.
            self._responses.portals.confirmed[""] = portal
        if flight is not None:
            flights = (
                (flight,) if isinstance(flight, Flight) else map(flight.flight, range(flight.at, len(flight.cars)))
            )
            for one in flights:
                for event in _events(one.request):
                    self._land_one(event, one)

    def _land_one(self, event: frontend.Message, flight: Flight) -> None:
        responses, thing = self._responses, flight.entry[0]
        match event:
            case frontend.Query():
                statement = Statement(event.text, thing, flight.epoch)
                running = Running(flight.seq, flight.started, statement)
                responses.push(Expected(Ask.QUERY, prepared=statement, operation=running))
            case frontend.Parse():
                responses.push(Expected(Ask.PARSE, name=event.name, prepared=thing))
            case frontend.Bind():
                candidates = responses.statements.candidates(event.statement)
                portal = Portal(candidates, (event.parameters, event.formats), event.result_formats)
                responses.push(Expected(Ask.BIND, event.portal, portal=portal, statement=event.statement))
            case frontend.Describe():
                for portal in responses.portals.candidates(event.name):
                    portal.described = True
                responses.push(Expected(Ask.DESCRIBE_PORTAL, name=event.name))
            case frontend.Execute():
                bound: Any = responses.portals.candidates(event.portal)[-1].bind
                running = Running(flight.seq, flight.started, thing, list(bound[0]), bound[1])
                responses.push(Expected(Ask.EXECUTE, event.portal, thing, operation=running))
            case _:
                responses.push(Expected(Ask.SYNC))


def _events(request: bytes) -> list[frontend.Message]:
    decoder = FrontendDecoder()
    decoder.feed(request)
    found: list[frontend.Message] = []
    while (event := decoder.next()) is not None:
        found.append(event)
    return found


_DEFAULTS = msgspec.structs.asdict(Operation(time=0, seq=0, statement="", effect="", rule=""))
