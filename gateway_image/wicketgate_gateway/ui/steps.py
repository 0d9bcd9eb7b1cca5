"""One session's recording as a page shows it: what was asked, the verdict, and what the bot got to see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import values
from wicketgate_gateway.recording.conversations import reader_of
from wicketgate_gateway.recording.objects import at_hand
from wicketgate_gateway.recording.reader import Recording, check_closed
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output, Step
from wicketgate_gateway.store.base import FAILURES
from wicketgate_gateway.store.place import open_reader

PAGE = 200
ROWS = 20
MAX_CELL = 300
MAX_STATEMENT = 20_000
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""What moves a cursor or sets a colour (ECMA-48): a page shows the text."""


class Steps:
    """Reads sessions below a state folder, for one request each."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def read(self, name: str, text: str = "", page: int = 0) -> dict[str, Any]:
        """A session, the steps of one page (those that hold `text`), and whether the recording is whole.

        Raises WicketgateError.
        """
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
        except FAILURES as error:
            raise _unavailable(error) from None
        finally:
            connection.close()
        given = iter([operations])
        conversation = reader_of(row.started, lambda: next(given, []), max_rows=ROWS)
        steps: list[dict[str, Any]] = []
        problems: list[str] = []
        with at_hand(self._state / "recordings", row.started.session) as folder:
            try:
                recording = Recording(folder, row.started.session)
                for record in recording.records(follow=False, alive=lambda: False):
                    steps += [_step(step, row.started.time) for step in conversation.feed(record)]
                steps += [_step(step, row.started.time) for step in conversation.finish()]
                live = row.ended is None
                problems = [] if live else recording.problems + check_closed(recording, row.closed)
            except WicketgateError as error:
                problems = [error.message]
        found = [step for step in steps if not text or text.lower() in step["all"].lower()]
        return {
            "row": row,
            "steps": found[page : page + PAGE],
            "count": len(found),
            "next": page + PAGE if page + PAGE < len(found) else None,
            "previous": max(0, page - PAGE) if page else None,
            "problems": problems,
            "whole": row.closed is not None and not problems,
        }


def _unavailable(error: BaseException) -> WicketgateError:
    return WicketgateError(
        f"the audit store cannot be read: {type(error).__name__}", code="sessions-unavailable", remedy="try again"
    )


def _step(step: Step, start: int) -> dict[str, Any]:
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
                "all": " ".join([text, *(str(p) for p in parameters)]),
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
                "all": " ".join([*(c or "" for row in rows for c in row), *(error or {}).values(), *notices]),
            }
        case Output():
            text = _TERMINAL.sub("", step.data.decode("utf-8", "replace")).replace("\r\n", "\n")
            shown = visible(text[:MAX_STATEMENT])
            return (
                common
                | {"kind": "output", "stream": step.stream, "text": shown, "cut": len(text) > MAX_STATEMENT}
                | {"all": text}
            )
        case Note():
            return common | {"kind": "note", "text": visible(step.text), "all": step.text}


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
