"""Finding text in recordings: in one (`replay --grep`), and in all (`wicketgate recordings search`).

How this works: a recording is first searched as bytes, direction by direction, across the borders of records; only
where that finds something is it taken apart into statements and results, which say where the text is. Masked values
are masked in the recording, so they cannot be found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.cli import output, render
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import values
from wicketgate_gateway.recording.conversations import reader_of
from wicketgate_gateway.recording.objects import at_hand
from wicketgate_gateway.recording.reader import Recording
from wicketgate_gateway.recording.replay import Answered, Asked, Output, Step

_ROWS = 1_000_000
_AROUND = 60


def where(step: Step, text: str) -> tuple[str, str] | None:
    """Where in a step the text is (`statement`, `parameter`, `row`, `column`, `error`, `notice`), and what is there."""
    wanted = text.lower()

    def has(found: str | None) -> bool:
        return found is not None and wanted in found.lower()

    match step:
        case Asked():
            if has(step.text):
                return "statement", step.text
            for value in values.show_parameters(step.parameters, step.formats) or []:
                if value is not None and has(value):
                    return "parameter", value
        case Answered():
            for row in step.rows:
                for value in render.cells(step, row):
                    if value is not None and has(value):
                        return "row", value
            for column in step.columns:
                if has(column.name):
                    return "column", column.name
            for kind, reports in (("error", [step.error]), ("notice", step.notices)):
                for report in reports:
                    for letter in "MDH":
                        if has(report.get(letter)):
                            return kind, report[letter]
        case Output():
            shown = step.data.decode("utf-8", "replace")
            if has(shown):
                return step.stream, shown
        case _:
            pass
    return None


def matching(steps: Iterator[Step], text: str, since: int) -> Iterator[Step]:
    """The steps from `since` on (ns since 1970) that hold `text`, each result with its statement; all for no text."""
    asked: dict[int, Asked] = {}
    shown: set[int] = set()
    for step in steps:
        late = step.time >= since
        if not text:
            if late:
                yield step
            continue
        number = getattr(step, "number", 0)
        if where(step, text) is not None and late:
            if isinstance(step, Answered) and number in asked:
                yield asked.pop(number)
            shown.add(number)
            yield step
        elif isinstance(step, Asked):
            asked[number] = step
        elif isinstance(step, Answered):
            if number in shown and late:
                yield step
            elif step.complete and not step.tag.startswith("(more rows"):
                asked.pop(number, None)


def may_hold(recording: Recording, text: str) -> bool:
    """Whether the bytes of a recording hold `text`; True also where bytes cannot tell."""
    if not text.isascii():
        return True
    wanted = text.lower().encode()
    tails: dict[int, bytes] = {}
    for record in recording.records():
        data = tails.get(record.direction, b"") + record.data.lower()
        if wanted in data:
            return True
        tails[record.direction] = data[-(len(wanted) - 1) :] if len(wanted) > 1 else b""
    return False


def recordings_search(
    text: str,
    /,
    *,
    bot: str = "",
    target: str = "",
    since: str = "",
    sessions: int = 1000,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """Find text in what was recorded: statements, parameters, results as the bot saw them, errors.

    Parameters
    ----------
    text
        The text, in any case of letters.
    bot
        Only in this bot's sessions.
    target
        Only in those with this target.
    since
        Only in those that were running since then: `30m`, `24h`, or a date.
    sessions
        Look in at most so many, the newest (1000).
    json
        One object a line.
    """
    if not text:
        raise WicketgateError("there is nothing to look for", code="usage", remedy="give a text")
    earliest = output.moment(since, "--since") if since else None
    count = 0
    with place.store() as (folder, connection):
        for row in query.sessions(connection, bot=bot, target=target, since=earliest, limit=sessions):
            for found in search_one(folder / "recordings", row, text):
                count += 1
                if json:
                    output.print_json(found)
                else:
                    offset = output.duration(found["offset_us"] * 1000)
                    line = f"{found['session']}  {found['bot']}  +{offset}  {found['where']}: {found['text']}"
                    print(output.clean(line, line=True))
    if not count and not json:
        output.console(stderr=True).print("no recording holds it", style="dim")


def search_one(recordings: Path, row: SessionRow, text: str) -> Iterator[dict[str, Any]]:
    """All places in one session's recording; none if it is not there any more."""
    started = row.started
    with at_hand(recordings, started.session) as place:
        try:
            recording = Recording(place, started.session)
        except WicketgateError as error:
            if error.code == "recording-missing":
                return
            raise
        if not may_hold(recording, text):
            return
        conversation = reader_of(started, tuple, max_rows=_ROWS)

        def steps() -> Iterator[Step]:
            for record in recording.records():
                yield from conversation.feed(record)
            yield from conversation.finish()

        for step in steps():
            found = where(step, text)
            if found is not None:
                yield {
                    "session": started.session,
                    "bot": started.bot,
                    "target": started.target,
                    "time": output.iso(step.time),
                    "offset_us": (step.time - started.time) // 1000,
                    "number": getattr(step, "number", 0),
                    "where": found[0],
                    "text": _around(found[1], text),
                }


def _around(found: str, text: str) -> str:
    at = found.lower().find(text.lower())
    start, end = max(0, at - _AROUND), at + len(text) + _AROUND
    return ("…" if start else "") + found[start:end] + ("…" if end < len(found) else "")
