"""A session in the browser: replayed operation by operation, as a terminal recording, and while it still runs.

How this works: the page is a list; a terminal's output is asked for by the player (`static/player.js`) as asciicast.
While a session runs, the list is asked for again every other second, and its terminal comes as server-sent events, as
long as the person may see it. Streams are few, as all of the API's are (`api.stream.place`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response, StreamingResponse

from wicketgate_gateway.api import stream
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AUDITOR_ROLE
from wicketgate_gateway.ui.desk import Page, Visit
from wicketgate_gateway.ui.steps import Steps
from wicketgate_gateway.ui.terminal import Cast

FOLLOW_SECONDS = 0.7


async def session(visit: Visit) -> Page | Response:
    """`/ui/sessions/{session}`: one session, operation by operation; `go` leads to one, or to a moment."""
    found = await _read(visit, go=visit.query.get("go", ""))
    name = visit.request.path_params["session"]
    if visit.query.get("go"):
        query = urlencode({k: v for k, v in (("q", found["q"]), ("from", found["page"])) if v})
        place = f"/ui/sessions/{name}" + (f"?{query}" if query else "")
        return RedirectResponse(f"{place}#{found['target']}" if found["target"] else place, 303)
    return Page("session.html", {**found, "title": f"Session {name[-8:]}"})


async def operations(visit: Visit) -> Page | Response:
    """The session's list alone, asked for again while it runs; once it has ended, the whole page is loaded again."""
    found = await _read(visit)
    if not found["live"]:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    return Page("session-operations.html", found)


async def _read(visit: Visit, go: str = "") -> dict[str, Any]:
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    name, text = visit.request.path_params["session"], visit.query.get("q", "")
    start = visit.query.get("from", "0")
    page = int(start) if start.isascii() and start.isdigit() and len(start) < 8 else 0
    found = await asyncio.to_thread(_steps(visit).read, name, text, page, go)
    return {**found, "q": text, "query": urlencode({k: v for k, v in (("q", text), ("from", page)) if v})}


async def terminal(visit: Visit) -> Response:
    """`/ui/sessions/{session}/terminal/{number}`: what one operation showed, as asciicast v3."""
    made = await _cast(visit)
    name = f"{visit.request.path_params['session'][-8:]}-{visit.request.path_params['number']}.cast"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(made.lines(), media_type="application/x-asciicast", headers=headers)


async def follow(visit: Visit) -> Response:
    """`/ui/sessions/{session}/terminal/{number}/live`: the same while it runs, as server-sent events."""
    await _cast(visit)  # refused before the answer begins, if there is nothing
    with stream.place(visit.caller):
        pass
    return StreamingResponse(_events(visit), media_type="text/event-stream")


async def _events(visit: Visit) -> AsyncIterator[str]:
    """First the terminal as it is, then each piece, in the words of the player's `eventsource` driver."""
    caller, checked, sent = visit.caller, time.monotonic(), -1
    steps, name = _steps(visit), visit.request.path_params["session"]
    try:
        with stream.place(caller):
            while True:
                if time.monotonic() - checked >= stream.RECHECK_SECONDS:
                    if not visit.still_signed_in():
                        break
                    caller, checked = await visit.look_up(frozenset()), time.monotonic()
                made, live = await asyncio.to_thread(_now, steps, name, _number(visit))
                if sent < 0:
                    first = "".join(text for _, code, text in made.events if code == "o")
                    at = made.events[-1][0] if made.events else 0.0
                    yield _data({"cols": made.columns, "rows": made.rows, "time": at, "init": first})
                else:
                    for event in made.events[sent:]:
                        yield _data(event)
                sent = len(made.events)
                if not live:
                    break
                yield ": alive\n\n"
                await asyncio.sleep(FOLLOW_SECONDS)
    except WicketgateError:
        pass
    yield "event: done\ndata: {}\n\n"


def _now(steps: Steps, name: str, number: int) -> tuple[Cast, bool]:
    return steps.terminal(name, number), steps.live(name)


def _data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


async def _cast(visit: Visit) -> Cast:
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    name = visit.request.path_params["session"]
    return await asyncio.to_thread(_steps(visit).terminal, name, _number(visit))


def _number(visit: Visit) -> int:
    given = visit.request.path_params["number"]
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise WicketgateError(
            "there is no such operation", code="operation-unknown", remedy="open it from its session's page"
        )
    return int(given)


def _steps(visit: Visit) -> Steps:
    return Steps(visit.desk.parts.sessions.state)
