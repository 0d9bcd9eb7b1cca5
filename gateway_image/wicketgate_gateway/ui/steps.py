"""One session's recording as a page shows it: operation by operation, with the verdict and what the bot got to see.

How this works: the steps of a recording are gathered by the operation that they belong to, in the order in which those
began; what people said to a held operation stands between them. A recording may be long: only what the page shows is
kept, the rest is counted. Seeking leads to an operation's number or to a moment; searching keeps the operations that
hold a text, and says where in the terminal player each find is.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.cli import hold_notes
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import values
from wicketgate_gateway.recording.conversations import Reader, reader_of
from wicketgate_gateway.recording.objects import at_hand
from wicketgate_gateway.recording.reader import Recording, check_closed
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output, Resized, Step
from wicketgate_gateway.store.base import FAILURES
from wicketgate_gateway.store.place import open_reader
from wicketgate_gateway.ui.layout import laid_out
from wicketgate_gateway.ui.terminal import Cast, Clock, cast

PAGE = 100
ROWS = 20
MAX_CELL = 300
MAX_STATEMENT = 20_000
MAX_BODY = 64 * 1024
"""Bytes of an output or a body that a page shows."""
MAX_PARTS = 40
"""Parts of one operation that a page shows."""
MAX_FINDS = 20
CLOSING_NS = 10 * 10**9
"""After its end a session's recording may need so long until the store knows its digest."""
_AROUND = 60
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""What moves a cursor or sets a colour (ECMA-48): a page shows the text."""
_GO = re.compile(r"#?(\d{1,9})|(?:(\d{1,4}):)?(\d{1,6}):(\d{1,2}(?:\.\d{1,3})?)")
_BODIES = {"http": {"stdin": "request body", "stdout": "answer"}, "kubernetes": {"body": "request body"}}
"""What a protocol's streams are called."""


@dataclass(slots=True)
class Opened:
    """A recording that is being read."""

    row: SessionRow
    recording: Recording | None
    """None if it is not there; `trouble` then says so."""
    conversation: Reader
    steps: Iterator[Step]
    trouble: str = ""

    @property
    def live(self) -> bool:
        """Whether the session still runs, or has ended so lately that its recording is being closed."""
        return running(self.row)


@dataclass(slots=True)
class _Part:
    """Bytes of one stream without anything of another between them."""

    stream: str
    data: bytearray = field(default_factory=bytearray)
    size: int = 0


@dataclass(slots=True)
class Group:
    """An operation, or a note beside one."""

    time: int
    asked: dict[str, Any] | None = None
    note: str = ""
    number: int = 0
    parts: list[dict[str, Any] | _Part] = field(default_factory=list[dict[str, Any] | _Part])
    more: int = 0
    """Parts that are not shown."""
    status: str = ""
    duration: float | None = None
    terminal: bool = False
    pty: bool = False
    hit: bool = False
    kept: bool = True
    """Whether the page may show it."""
    finds: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """Where the text that is looked for is in the terminal's output: the player's seconds, and the line."""
    clock: Clock = field(default_factory=lambda: Clock(0))
    tail: str = ""


class Steps:
    """Reads sessions below a state folder, for one request each."""

    def __init__(self, state: Path) -> None:
        self._state = state

    @contextlib.contextmanager
    def open(self, name: str) -> Generator[Opened]:
        """The recording of a session. Raises WicketgateError."""
        try:
            connection = open_reader(self._state)
        except FAILURES as error:
            raise _unavailable(error) from None
        if connection is None:
            raise WicketgateError("there is no session yet", code="session-unknown")
        try:
            row = query.session(connection, name)
            operations = [
                found.event
                for found in query.operations(connection, row.started.session, after=(0, 0))
                if isinstance(found.event, Operation)
            ]
            notes = hold_notes.look(connection, row.started.session)
        except FAILURES as error:
            raise _unavailable(error) from None
        finally:
            connection.close()
        given = iter([operations])
        conversation = reader_of(row.started, lambda: next(given, []), max_rows=ROWS)
        with at_hand(self._state / "recordings", row.started.session) as folder:
            try:
                recording = Recording(folder, row.started.session)
            except WicketgateError as error:
                yield Opened(row, None, conversation, iter(notes), error.message)
                return
            steps = hold_notes.merged(_steps(recording, conversation), lambda: notes)
            yield Opened(row, recording, conversation, steps)

    def read(self, name: str, text: str = "", page: int = 0, go: str = "") -> dict[str, Any]:
        """A session, the operations of one page (those that hold `text`), and whether the recording is whole.

        `go` leads to an operation (`12`) or a moment (`1:23`): the page is then its, and `target` its anchor. Raises
        WicketgateError.
        """
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(self.open(name))
            gathered = _Gathered(opened.row.started.time, opened.row.started.protocol, text, page, go)
            for step in opened.steps:
                gathered.take(step)
            problems = [] if opened.live else _problems(opened)
            return gathered.result() | {
                "row": opened.row,
                "live": opened.live,
                "problems": problems,
                "whole": opened.row.closed is not None and not problems,
            }

    def live(self, name: str) -> bool:
        """Whether a session still runs. Raises WicketgateError."""
        try:
            connection = open_reader(self._state)
            if connection is None:
                return False
            try:
                row = query.session(connection, name)
            finally:
                connection.close()
        except FAILURES as error:
            raise _unavailable(error) from None
        return running(row)

    def terminal(self, name: str, number: int) -> Cast:
        """What the terminal of an operation showed. Raises WicketgateError."""
        with self.open(name) as opened:
            made = cast(opened.steps, number)
        if made is None:
            raise WicketgateError(f"there is no operation {number} in this session", code="operation-unknown")
        return made


def running(row: SessionRow) -> bool:
    """Whether more of a session may come: it is live, or its recording is being closed."""
    if row.ended is None:
        return row.state == "live"
    return row.closed is None and time.time_ns() - row.ended < CLOSING_NS


class _Gathered:
    """Steps by their operation, and of those the ones that a page shows."""

    def __init__(self, start: int, protocol: str, text: str, page: int, go: str) -> None:
        self._start, self._protocol, self._page = start, protocol, page
        self._text = text.lower()
        self._go = _moment(go, start)
        self._groups: list[Group] = []
        self._by_number: dict[int, Group] = {}
        self.target: Group | None = None

    def take(self, step: Step) -> None:
        """One step, in order of time."""
        if isinstance(step, Asked):
            group = Group(step.time, _step(step, self._start), number=step.number, clock=Clock(step.time))
            self._by_number[step.number] = group
            self._add(group)
            self._look(group, group.asked["all"] if group.asked else "")
        elif isinstance(step, Note) and not isinstance(step, Resized):
            group = Group(step.time, note=visible(step.text))
            self._add(group)
            self._look(group, step.text)
        else:
            group = self._by_number.get(getattr(step, "number", 0))
            if group is None:
                group = Group(step.time)
                self._by_number[getattr(step, "number", 0)] = group
                self._add(group)
            if group.kept:
                self._part(group, step)

    def _add(self, group: Group) -> None:
        index = len(self._groups)
        self._groups.append(group)
        if not self._text and not self._go[0] and not self._page <= index < self._page + PAGE:
            # Which page it is on is known, and that it is not this one: a session may have a million of them.
            group.kept, group.asked, group.note = False, None, group.note[:1]
        kind, value = self._go
        place = group.number if kind == "number" else group.time
        if self.target is None and kind and not group.note and place >= value:
            self.target = group

    def _part(self, group: Group, step: Step) -> None:
        match step:
            case Resized():
                group.clock.tick(step.time)
                group.pty = True
            case Output():
                at = group.clock.tick(step.time)
                self._output(group, step, at)
            case Answered():
                shown = _step(step, self._start)
                group.status = shown["error"]["C"] if shown["error"] else shown["tag"]
                group.duration = shown["duration"] if shown["complete"] else None
                self._look(group, shown["all"])
                self._append(group, shown)
            case _:
                pass

    def _output(self, group: Group, step: Output, at: float) -> None:
        group.pty = group.pty or step.pty
        group.terminal = group.terminal or (
            step.stream in ("stdout", "stderr") and self._protocol in ("ssh", "kubernetes")
        )
        last = group.parts[-1] if group.parts else None
        if group.more or not isinstance(last, _Part) or last.stream != step.stream:
            last = _Part(step.stream)
            self._append(group, last)
        last.size += len(step.data)
        last.data += step.data[: max(0, MAX_BODY - len(last.data))]
        if self._text:
            self._find(group, plain(step.data), at)

    def _find(self, group: Group, text: str, at: float) -> None:
        """A find may lie across the border between two pieces."""
        length = len(self._text)
        whole = group.tail + text
        place = whole.lower().find(self._text, max(0, len(group.tail) - length + 1))
        if place >= 0:
            group.hit = True
            if group.terminal and len(group.finds) < MAX_FINDS:
                group.finds.append((at, visible(_line(whole, place))))
            whole = whole[place + length :]
        group.tail = whole[-(length - 1 + _AROUND) :]

    def _append(self, group: Group, part: dict[str, Any] | _Part) -> None:
        if len(group.parts) < MAX_PARTS:
            group.parts.append(part)
        else:
            group.more += 1

    def _look(self, group: Group, text: str) -> None:
        group.hit = group.hit or not self._text or self._text in text.lower()

    def result(self) -> dict[str, Any]:
        """What the page shows."""
        found = [group for group in self._groups if not self._text or group.hit]
        page, target = self._page, ""
        if self.target is not None:
            place = next((n for n, group in enumerate(found) if group.time >= self.target.time), max(0, len(found) - 1))
            page = place // PAGE * PAGE
            target = _anchor(found[place], self._start) if found else ""
        return {
            "operations": [self._shown(group) for group in found[page : page + PAGE]],
            "count": len(found),
            "page": page,
            "target": target,
            "next": page + PAGE if page + PAGE < len(found) else None,
            "previous": max(0, page - PAGE) if page else None,
        }

    def _shown(self, group: Group) -> dict[str, Any]:
        asked = group.asked
        what, _, where = (asked["text"] if asked else "").partition(" ")
        return {
            "id": _anchor(group, self._start),
            "number": group.number,
            "at": group.time - self._start,
            "note": group.note,
            "asked": asked,
            "request": (what, where) if self._protocol in ("http", "kubernetes") else None,
            "parts": [self._shown_part(part) if isinstance(part, _Part) else part for part in group.parts],
            "more": group.more,
            "status": group.status,
            "duration": group.duration,
            "terminal": group.terminal and group.number > 0,
            "pty": group.pty,
            "failed": any(isinstance(part, dict) and part["error"] for part in group.parts),
            "finds": group.finds,
        }

    def _shown_part(self, part: _Part) -> dict[str, Any]:
        name = _BODIES.get(self._protocol, {}).get(part.stream, part.stream)
        text = plain(bytes(part.data))
        laid, language = laid_out(text) if part.size == len(part.data) else (text, "")
        # A few odd bytes must not hide a text.
        binary = text.count("\0") + text.count("\ufffd") > len(text) // 10 + 3
        return {
            "kind": "output",
            "stream": name,
            "text": "" if binary else laid,
            "language": language,
            "binary": binary,
            "size": part.size,
            "cut": part.size > len(part.data),
        }


def _steps(recording: Recording, conversation: Reader) -> Iterator[Step]:
    for record in recording.records(follow=False, alive=lambda: False):
        yield from conversation.feed(record)
    yield from conversation.finish()


def _problems(opened: Opened) -> list[str]:
    """What is wrong with a recording that was read to its end."""
    if opened.recording is None:
        return [opened.trouble]
    missing = [f"statement {o.seq} went out, and the recording does not hold it" for o in opened.conversation.missing()]
    return opened.recording.problems + check_closed(opened.recording, opened.row.closed) + missing


def _anchor(group: Group, start: int) -> str:
    return f"n{group.number}" if group.number else f"t{group.time - start}"


def _moment(go: str, start: int) -> tuple[str, int]:
    found = _GO.fullmatch(go.strip())
    if found is None:
        return "", 0
    number, hours, minutes, seconds = found.groups()
    if number:
        return "number", int(number)
    return "time", start + int((int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)) * 1e9)


def _line(text: str, place: int) -> str:
    begin, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    return text[max(begin, place - _AROUND) : end if 0 <= end < place + 120 else place + 120].strip()


def plain(data: bytes) -> str:
    """Output as a text without what moves a terminal's cursor or colours it."""
    return _TERMINAL.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")


def _unavailable(error: BaseException) -> WicketgateError:
    return WicketgateError(
        f"the audit store cannot be read: {type(error).__name__}", code="sessions-unavailable", remedy="try again"
    )


def _step(step: Asked | Answered, start: int) -> dict[str, Any]:
    common: dict[str, Any] = {"at": step.time - start, "time": step.time}
    match step:
        case Asked():
            operation = step.operation
            parameters = values.show_parameters(step.parameters, step.formats) or []
            text = step.text[:MAX_STATEMENT]
            return common | {
                "kind": "asked",
                "number": step.number,
                "text": text,
                "cut": len(step.text) > MAX_STATEMENT,
                "prepared": step.prepared,
                "parameters": [visible(_cell(p)) for p in parameters],
                "verdict": operation.effect if operation else "",
                "rule": operation.rule if operation else "",
                "reason": visible(operation.reason) if operation else "",
                "masked": bool(operation and operation.masked),
                "all": " ".join([step.text, *(str(p) for p in parameters)]),
            }
        case Answered():
            rows = [[_value(step, number, value) for number, value in enumerate(row)] for row in step.rows]
            notices = [visible(str(notice.get("M", ""))) for notice in step.notices]
            error = {letter: visible(str(step.error.get(letter, ""))) for letter in "CMDH"} if step.error else None
            return common | {
                "kind": "answered",
                "number": step.number,
                "duration": step.duration_ns / 1e9,
                "columns": [visible(column.name) for column in step.columns],
                "rows": rows,
                "more": max(0, step.row_count - len(rows)),
                "tag": visible(step.tag),
                "error": error,
                "notices": notices,
                "copied": step.copied,
                "complete": step.complete,
                "all": " ".join([*(c or "" for row in rows for c in row), *(error or {}).values(), *notices, step.tag]),
            }


def _value(step: Answered, number: int, value: bytes | None) -> str | None:
    if value is None:
        return None
    described = step.columns[number] if number < len(step.columns) else None
    shown = values.show(value, described.type_oid, described.format) if described else values.show(value, 0, 0)
    return visible(_cell(shown))


def _cell(text: str | None) -> str:
    if text is None:
        return "NULL"
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"
