"""`wicketgate replay`: a session as it was, at its own speed, faster, or at once."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from wicketgate_gateway.audit import ingest, query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.cli import hold_notes, output, render
from wicketgate_gateway.cli.asciicast import Asciicast
from wicketgate_gateway.cli.find import matching
from wicketgate_gateway.cli.main import INCOMPLETE
from wicketgate_gateway.cli.sessions import describe, state_of
from wicketgate_gateway.cli.state import Place, gateway_runs
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.conversations import reader_of
from wicketgate_gateway.recording.objects import at_hand
from wicketgate_gateway.recording.reader import Recording, check_closed
from wicketgate_gateway.recording.replay import DEFAULT_ROWS, Step
from wicketgate_gateway.store.base import Connection

_ALL_ROWS = 1_000_000


def replay(
    session: str,
    /,
    *,
    speed: float = 1.0,
    at_once: bool = False,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    idle: float = 2.0,
    rows: int = DEFAULT_ROWS,
    begin: Annotated[str, Parameter(name="--from")] = "",
    grep: str = "",
    export: Literal["asciicast", "ndjson"] | None = None,
    to: Path | None = None,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> int:
    """Show a session: each statement, the verdict on it, and what the bot got to see.

    On a terminal it runs at the session's own speed; into a pipe, and with --json, at once.

    Parameters
    ----------
    session
        The session's id, the end of it, or `last`.
    speed
        So many times faster than it was (1: as it was; 0.5: slower).
    at_once
        Do not wait at all.
    follow
        Go on while the session runs.
    idle
        Shorten longer pauses to so many seconds (2).
    rows
        Show at most so many rows of each result (20).
    begin
        Begin there: minutes and seconds from the start (`12:30`, `1:02:03`), or a date and time.
    grep
        Show only statements, with their results, in which this text is, in any case of letters.
    export
        Write it as a terminal recording (asciicast v3, for asciinema) or as JSON lines with all rows.
    to
        The file to export to; without it, standard output.
    json
        One object a line: the session, then each step, then the recording's state.
    """
    if speed <= 0 or idle < 0 or rows < 0:
        raise WicketgateError(
            "--speed, --idle and --rows take positive numbers", code="usage", remedy="leave them out, or raise them"
        )
    wait = not (at_once or json or follow or export) and sys.stdout.isatty()
    with place.store() as (folder, connection), contextlib.ExitStack() as stack:
        row = query.session(connection, session)
        start = row.started.time
        since = output.offset(begin, start) if begin else start
        rows = _ALL_ROWS if (export == "ndjson" or grep) and rows == DEFAULT_ROWS else rows
        recordings = stack.enter_context(at_hand(folder / "recordings", row.started.session))
        source = _Source(folder, recordings, connection, row, follow=follow, max_rows=rows)
        shown = stack.enter_context(_shown(export, to, json=json, rows=rows, idle=idle, since=since))
        shown.head(row, describe(row, folder, gateway_runs(folder)))
        clock = _Clock(since, speed, idle) if wait else None
        for step in matching(source.steps(), grep, since):
            if clock is not None:
                clock.wait(step.time)
            shown.step(step, start)
        problems, note = source.verdict()
        shown.end(problems, note, source.missing())
    return INCOMPLETE if problems else 0


@contextlib.contextmanager
def _shown(
    export: str | None, to: Path | None, *, json: bool, rows: int, idle: float, since: int
) -> Generator[render.Json | render.Terminal | Asciicast]:
    if export is None:
        yield render.Json(rows) if json else render.Terminal(output.console(), rows)
        return
    with output.written(to) as file:
        yield Asciicast(file, idle=idle, since=since) if export == "asciicast" else render.Json(rows, file)


class _Source:
    """The steps of one recording, with the verdicts from the audit store."""

    def __init__(
        self,
        folder: Path,
        recordings: Path,
        connection: Connection,
        row: SessionRow,
        *,
        follow: bool,
        max_rows: int,
    ) -> None:
        self._folder = folder
        self._connection = connection
        self._session = row.started.session
        self._follow = follow
        self._recording = Recording(recordings, self._session)
        self._after = (0, 0)
        self._conversation = reader_of(row.started, self._operations, max_rows=max_rows)

    def _operations(self) -> list[Operation]:
        if self._follow:
            ingest.catch_up(self._folder, self._connection)
        found = query.operations(self._connection, self._session, after=self._after)
        operations = [row.event for row in found if isinstance(row.event, Operation)]
        if operations:
            self._after = (operations[-1].seq, found[-1].id)
        return operations

    def _live(self) -> bool:
        row = query.session(self._connection, self._session)
        return state_of(row, self._folder, gateway_runs(self._folder)) == "live"

    def steps(self) -> Iterator[Step]:
        """The conversation, with what people said to what was held."""
        found = lambda: hold_notes.look(self._connection, self._session)  # noqa: E731
        return hold_notes.merged(self._steps(), found, again=self._follow)

    def _steps(self) -> Iterator[Step]:
        for record in self._recording.records(follow=self._follow, alive=self._live):
            yield from self._conversation.feed(record)
        yield from self._conversation.finish()

    def missing(self) -> list[Operation]:
        """What the journal says went out, and the recording does not hold; nothing while the session still runs."""
        return [] if self._live() else self._conversation.missing()

    def verdict(self) -> tuple[list[str], str]:
        """What is wrong with the recording, and in words that it is whole or still grows."""
        recording = self._recording
        if recording.end is None and self._live():
            return [p for p in recording.problems if p.startswith("damaged")], "the session is still running"
        closed = query.session(self._connection, self._session).closed
        problems = recording.problems + check_closed(recording, closed)
        problems += [_say_missing(operation) for operation in self._conversation.missing()]
        if problems:
            return problems, ""
        anchored = " and matches the journal's digest" if closed is not None else ""
        reason = recording.end.reason if recording.end else ""
        return [], f"the recording is whole{anchored}; the session ended: {reason}"


def _say_missing(operation: Operation) -> str:
    text = " ".join(operation.statement.split())
    return f"missing: statement {operation.seq} of {output.iso(operation.time)} went out: {text[:120]}"


class _Clock:
    """Waits as the session did."""

    def __init__(self, start: int, speed: float, idle: float) -> None:
        self._last = start
        self._speed = speed
        self._idle = idle

    def wait(self, at: int) -> None:
        """Sleep for the time from the step before to `at` (ns), scaled and bounded."""
        pause = max(0, at - self._last) / 1e9 / self._speed
        self._last = max(self._last, at)
        if pause > 0.001:
            sys.stdout.flush()
            time.sleep(min(pause, self._idle))
