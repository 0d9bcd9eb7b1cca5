"""A recording as a conversation: what the client asked, what it was answered, and the verdict on it.

How this works: the recorded bytes of both directions go, in their order, through the codecs of `wire/postgres`. What a
client may send ahead (the extended protocol's pipeline) waits in a queue, as at a server; what comes back is given to
the head of it. The audit store's operations (verdict, rule, rows) are matched to what was asked by their text. Steps
come out as they happened: `Asked` when the client sent it, `Answered` when the answer was complete.

A recording begins after the log-in, so it holds no password message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, Record
from wicketgate_gateway.wire.postgres import frontend
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.messages import (
    FieldDescription,
    ProtocolError,
    read_command_tag,
    read_data_row,
    read_report,
    read_row_description,
    rows_of,
)

DEFAULT_ROWS = 20
FILE_READ, FILE_WRITTEN = "file read", "file written"
"""Streams of an `Output` that is a file's content, and was on no terminal."""
_MATCH_WITHIN = 200
_MATCH_PREFIX = 8
_MAX_TEXT = 1024 * 1024
_SLACK_NS = 5_000_000_000
_ANSWERS = {"1": "P", "2": "B", "3": "C", "n": "D"}


@dataclass(slots=True)
class Asked:
    """The client sent a statement, or ran a prepared one."""

    number: int
    time: int
    """Nanoseconds since 1970."""
    text: str
    prepared: bool = False
    parameters: Sequence[bytes | None] = ()
    formats: Sequence[int] = ()
    operation: Operation | None = None
    """The verdict, if the audit has one for it."""


@dataclass(slots=True)
class Answered:
    """One result of a statement: rows, a command's tag, an error, or both rows and an error."""

    number: int
    """Of the `Asked` that it answers; 0 for what the server said of itself."""
    time: int
    duration_ns: int = 0
    columns: tuple[FieldDescription, ...] = ()
    rows: list[list[bytes | None]] = field(default_factory=list[list[bytes | None]])
    """The first rows; `row_count` says how many there were."""
    row_count: int = 0
    tag: str = ""
    error: dict[str, str] = field(default_factory=dict[str, str])
    """Fields of an ErrorResponse by their letters: S(everity), C(ode), M(essage), D(etail), H(int) …"""
    notices: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    copied: int = 0
    """Bytes of COPY data, in either direction."""
    complete: bool = True
    """False where the recording ends before the answer does."""


@dataclass(slots=True)
class Note:
    """Something about the recording itself."""

    time: int
    text: str


@dataclass(slots=True)
class Resized(Note):
    """The terminal of an operation has a size from here on."""

    number: int = 0
    """Of the `Asked` that it belongs to."""
    columns: int = 0
    rows: int = 0


@dataclass(slots=True)
class Output:
    """Bytes that passed on a channel of an SSH session, as the client sent or saw them."""

    number: int
    """Of the `Asked` that they belong to."""
    time: int
    stream: str
    """`stdin`, `stdout`, `stderr`, `file read`, `file written`, …"""
    data: bytes
    pty: bool = False


Step: TypeAlias = Asked | Answered | Note | Output


@dataclass(slots=True)
class _Prepared:
    """A prepared statement, or a portal made of one."""

    text: str
    bind: frontend.Bind | None = None
    statement: _Prepared | None = None
    columns: tuple[FieldDescription, ...] = ()

    def result_columns(self) -> tuple[FieldDescription, ...]:
        """The columns of a result; a statement's description does not know the formats that Bind asked for."""
        if self.columns or self.statement is None or self.bind is None:
            return self.columns
        columns, formats = self.statement.columns, self.bind.result_formats
        if len(formats) not in (1, len(columns)):
            return columns
        return tuple(
            column._replace(format=formats[number if len(formats) > 1 else 0]) for number, column in enumerate(columns)
        )


@dataclass(slots=True)
class _Waiting:
    """What the server still has to answer: `kind` is the message's type letter."""

    kind: str
    time: int
    asked: Asked | None = None
    prepared: _Prepared | None = None


class Conversation:
    """Turns records into steps. `more` gives the session's next operations in order, none when there are none yet;
    `answers` says whether what the client was sent is recorded, too."""

    def __init__(
        self,
        more: Callable[[], Sequence[Operation]] = tuple,
        *,
        max_rows: int = DEFAULT_ROWS,
        answers: bool = True,
    ) -> None:
        self._answers = answers
        self._more = more
        self._unmatched: deque[Operation] = deque()
        self._passed: list[Operation] = []
        self._max_rows = max_rows
        self._client: frontend.FrontendDecoder | None = frontend.FrontendDecoder()
        self._server: BackendDecoder | None = BackendDecoder()
        self._waiting: deque[_Waiting] = deque()
        self._statements: dict[str, _Prepared] = {}
        self._portals: dict[str, _Prepared] = {}
        self._result: Answered | None = None
        self._notices: list[dict[str, str]] = []
        self._number = 0
        self._since = 0
        self._last_client = 0

    def feed(self, record: Record) -> Iterator[Step]:
        """The steps that `record` completes."""
        client = record.direction == CLIENT
        try:
            if client and self._client is not None:
                self._last_client = record.time
                self._client.feed(record.data)
                while (event := self._client.next()) is not None:
                    yield from self._sent(event, record.time)
                if not self._answers:
                    self._waiting.clear()
            elif not client and self._server is not None:
                self._server.feed(record.data)
                for kind, body in self._server:
                    yield from self._came(kind, body, record.time)
        except ProtocolError as error:
            side = "client" if client else "server"
            yield Note(record.time, f"the {side} broke the protocol here and is not shown any further: {error.message}")
            if client:
                self._client = None
            else:
                self._server = None

    def finish(self) -> Iterator[Step]:
        """What the recording's end leaves unanswered."""
        if not self._answers:
            yield Note(self._last_client, "answers are not recorded here: the policy says `record: {level: requests}`")
            return
        for waiting in self._waiting:
            if waiting.asked is not None:
                result = self._result or Answered(waiting.asked.number, self._last_client)
                self._result = None
                result.complete = False
                yield result
        self._waiting.clear()

    def missing(self) -> list[Operation]:
        """Operations that went out according to the journal, but that the recording does not hold."""
        while found := self._more():
            self._unmatched.extend(found)
        return [operation for operation in (*self._passed, *self._unmatched) if operation.effect == "allow"]

    # -- what the client sent --------------------------------------------------------------------------------------

    def _sent(self, event: frontend.Event, time: int) -> Iterator[Step]:
        match event:
            case frontend.Query():
                yield self._ask("Q", time, event.text)
            case frontend.Parse():
                prepared = self._statements[event.name] = _Prepared(event.text)
                self._waiting.append(_Waiting("P", time, prepared=prepared))
            case frontend.Bind():
                statement = self._statements.get(event.statement) or _Prepared(f"(statement `{event.statement}`)")
                portal = self._portals[event.portal] = _Prepared(statement.text, event, statement)
                self._waiting.append(_Waiting("B", time, prepared=portal))
            case frontend.Describe():
                prepared = (self._statements if event.what == "S" else self._portals).get(event.name)
                self._waiting.append(_Waiting("D", time, prepared=prepared))
            case frontend.Execute():
                portal = self._portals.get(event.portal) or _Prepared(f"(portal `{event.portal}`)")
                yield self._ask("E", time, portal.text, portal)
            case frontend.FunctionCall():
                yield self._ask("F", time, f"(call of the function with oid {event.function})")
            case frontend.Close() | frontend.Sync():
                self._waiting.append(_Waiting("C" if isinstance(event, frontend.Close) else "S", time))
            case frontend.CopyBytes():
                self._current(time).copied += len(event.raw)
            case _:
                pass

    def _ask(self, kind: str, time: int, text: str, portal: _Prepared | None = None) -> Asked:
        self._number += 1
        asked = Asked(self._number, time, text, prepared=portal is not None)
        if portal is not None and portal.bind is not None:
            asked.parameters, asked.formats = portal.bind.parameters, portal.bind.formats
        asked.operation = self._match(text[:_MAX_TEXT], time)
        self._waiting.append(_Waiting(kind, time, asked, portal))
        return asked

    def _match(self, text: str, time: int) -> Operation | None:
        # Where the audit blanked a password's literal, the text before it must do.
        while self._unmatched and self._unmatched[0].time < time - _SLACK_NS:
            self._passed.append(self._unmatched.popleft())
        while len(self._unmatched) < _MATCH_WITHIN and (found := self._more()):
            self._unmatched.extend(found)
        before = text.partition("'")[0]
        candidates = list(islice(self._unmatched, _MATCH_WITHIN))
        for same in (
            lambda other: other == text,
            lambda other: len(before) >= _MATCH_PREFIX and other.partition("'")[0] == before,
        ):
            for number, operation in enumerate(candidates):
                if operation.time >= time - _SLACK_NS and same(operation.statement):
                    # Both are in the client's order: what was passed over is not in the recording.
                    self._passed += candidates[:number]
                    for _ in range(number + 1):
                        self._unmatched.popleft()
                    return operation
        return None

    # -- what the server answered ----------------------------------------------------------------------------------

    def _came(self, kind: str, body: bytes, time: int) -> Iterator[Step]:
        head = self._waiting[0] if self._waiting else None
        match kind:
            case "1" | "2" | "3" | "n":
                if head is not None and head.kind == _ANSWERS[kind]:
                    self._waiting.popleft()
            case "T":
                columns = read_row_description(body)
                if head is not None and head.kind == "D":
                    if head.prepared is not None:
                        head.prepared.columns = columns
                    self._waiting.popleft()
                else:
                    self._current(time).columns = columns
            case "D":
                result = self._current(time)
                result.row_count += 1
                if len(result.rows) < self._max_rows:
                    result.rows.append(read_data_row(body))
            case "G" | "H" | "W":
                self._current(time)
            case "d":
                self._current(time).copied += len(body)
            case "C" | "I" | "s" | "V":
                yield self._complete(kind, body, time)
                if head is not None and head.kind == "E":
                    self._waiting.popleft()
            case "E":
                yield from self._error(head, read_report(body), time)
            case "N":
                self._notices.append(read_report(body))
            case "Z":
                self._ready(time)
            case "A":
                yield Note(time, "a notification (NOTIFY) came")
            case _:
                pass

    def _current(self, time: int) -> Answered:
        if self._result is None:
            head = self._waiting[0] if self._waiting else None
            number = head.asked.number if head is not None and head.asked is not None else 0
            self._result = Answered(number, time)
            if head is not None and head.prepared is not None:
                self._result.columns = head.prepared.result_columns()
        return self._result

    def _complete(self, kind: str, body: bytes, time: int) -> Answered:
        result = self._current(time)
        self._result = None
        if kind == "C":
            result.tag = read_command_tag(body)
            result.row_count = max(result.row_count, rows_of(result.tag) or 0)
        else:
            result.tag = {"I": "(empty)", "s": "(more rows on request)", "V": "(function result)"}[kind]
        return self._timed(result, time)

    def _timed(self, result: Answered, time: int) -> Answered:
        head = self._waiting[0] if self._waiting else None
        begun = max(self._since, head.time if head is not None else 0)
        result.time, result.duration_ns = time, max(0, time - begun) if begun else 0
        result.notices, self._notices = self._notices, []
        self._since = time
        return result

    def _error(self, head: _Waiting | None, fields: dict[str, str], time: int) -> Iterator[Step]:
        failed = head
        if head is not None and head.asked is None and head.prepared is not None:
            # Parse, Bind or Describe failed: this is the answer to the execution that was sent along, if one was.
            failed = self._execution_of(head.prepared.text)
            if failed is None:
                self._number += 1
                head.asked = Asked(self._number, head.time, head.prepared.text, prepared=True)
                head.asked.operation = self._match(head.prepared.text[:_MAX_TEXT], head.time)
                yield head.asked
                failed = head
        result = self._current(time)
        if failed is not None and failed.asked is not None:
            result.number = failed.asked.number
        self._result = None
        result.error = fields
        yield self._timed(result, time)
        if head is not None and head.kind != "Q":
            # The server skips all until Sync; what was asked in between is not run.
            while self._waiting and self._waiting[0].kind not in ("S", "F", "Q"):
                skipped = self._waiting.popleft()
                if skipped is not failed and skipped.asked is not None:
                    yield Answered(skipped.asked.number, time, tag="(skipped after the error)")

    def _execution_of(self, text: str) -> _Waiting | None:
        for waiting in self._waiting:
            if waiting.kind in ("S", "Q", "F"):
                return None
            if waiting.asked is not None and waiting.asked.text == text:
                return waiting
        return None

    def _ready(self, time: int) -> None:
        self._result, self._since = None, time
        while self._waiting and self._waiting.popleft().kind not in ("Q", "S", "F"):
            pass
