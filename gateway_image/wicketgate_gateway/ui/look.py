"""Sessions and audit in the browser: lists, a session replayed step by step, the search and its export."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response, StreamingResponse

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import AuditFilter, AuditRow
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AUDITOR_ROLE
from wicketgate_gateway.ui.desk import Page, Visit
from wicketgate_gateway.ui.steps import Steps

LISTED = 100
EXPORTED = 100_000
_PERIODS = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "all": 0}
_VERDICTS = ("allow", "deny", "hold", "refused")


async def sessions(visit: Visit) -> Page:
    """`/ui/sessions`: who was connected."""
    return Page("sessions.html", {**await _sessions(visit), "title": "Sessions"})


async def session_rows(visit: Visit) -> Page:
    """The list's rows alone."""
    return Page("sessions-rows.html", await _sessions(visit))


async def _sessions(visit: Visit) -> dict[str, Any]:
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    asked = visit.query
    wanted = {"bot": asked.get("bot", ""), "target": asked.get("target", "")}
    live = asked.get("live") == "1"
    found = await visit.desk.parts.sessions.list(**wanted, live=live, limit=LISTED)
    return {"rows": list(reversed(found)), "asked": {**wanted, "live": live}, "query": _query(asked)}


async def session(visit: Visit) -> Page:
    """`/ui/sessions/{session}`: one session, replayed as a list of what was asked and answered."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    name, text = visit.request.path_params["session"], visit.query.get("q", "")
    start = visit.query.get("from", "0")
    page = int(start) if start.isascii() and start.isdigit() and len(start) < 8 else 0
    found = await asyncio.to_thread(Steps(visit.desk.parts.sessions.state).read, name, text, page)
    return Page("session.html", {**found, "title": f"Session {name[-8:]}", "q": text, "page": page})


async def kill(visit: Visit) -> Response:
    """End a session."""
    visit.require(ADMIN_ROLE)
    form = await visit.form()
    reason = form.get("reason", "").strip()
    if not reason:
        raise WicketgateError("why it is ended is not said", code="kill-invalid", remedy="give a reason")
    person = (await visit.acting()).person.principal
    name = visit.request.path_params["session"]
    await visit.desk.parts.approvals.store.kill(
        Scope.SESSION, name, by=person.name, by_id=person.object_id, reason=reason[:500]
    )
    return RedirectResponse(f"/ui/sessions/{name}", 303)


async def audit(visit: Visit) -> Page:
    """`/ui/audit`: search; the filters are the address."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    asked = visit.query
    wanted = _filter(asked, LISTED)
    began = time.perf_counter()
    found = await asyncio.to_thread(visit.desk.parts.sessions.ask, lambda c: query.events(c, wanted))
    before = {**asked, "before": str(found[0].time)} if len(found) == LISTED else None
    return Page(
        "audit.html",
        {
            "title": "Audit",
            "rows": [_event(row) for row in reversed(found)],
            "asked": asked,
            "periods": list(_PERIODS),
            "verdicts": _VERDICTS,
            "took": time.perf_counter() - began,
            "bars": _bars(found),
            "query": _query({k: v for k, v in asked.items() if k != "before"}),
            "older": _query(before) if before else "",
            "chain": await asyncio.to_thread(visit.desk.parts.sessions.chain),
        },
    )


async def export(visit: Visit) -> Response:
    """The same search as JSON lines."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    wanted = _filter(visit.query, EXPORTED)
    found = await asyncio.to_thread(visit.desk.parts.sessions.ask, lambda c: query.events(c, wanted))
    headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
    return StreamingResponse(_lines(found), media_type="application/x-ndjson", headers=headers)


def _lines(rows: list[AuditRow]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(_event(row), ensure_ascii=True, default=str) + "\n"


def _filter(asked: dict[str, str], limit: int) -> AuditFilter:
    seconds = _PERIODS.get(asked.get("since", ""), _PERIODS["7d"])
    before = asked.get("before", "")
    verdict = asked.get("verdict", "")
    return AuditFilter(
        bot=asked.get("bot", ""),
        target=asked.get("target", ""),
        verdict=verdict if verdict in _VERDICTS else "",
        session=asked.get("session", "").lower(),
        rule=asked.get("rule", ""),
        text=asked.get("q", ""),
        since=time.time_ns() - seconds * 10**9 if seconds else None,
        until=int(before) if before.isascii() and before.isdigit() and len(before) < 20 else None,
        limit=limit,
    )


def _event(row: AuditRow) -> dict[str, Any]:
    event = row.event
    statement = event.statement if isinstance(event, Operation) else ""
    return {
        "time": row.time,
        "kind": row.kind,
        "session": row.session,
        "bot": row.bot,
        "target": row.target,
        "verdict": row.verdict,
        "rule": str(getattr(event, "rule", "") or ""),
        "statement": visible(statement[:2000]),
        "reason": visible(row.reason),
        "outcome": row.outcome,
        "rows": row.rows,
        "duration_us": row.duration_us,
    }


def _bars(rows: list[AuditRow], count: int = 48) -> list[dict[str, float]]:
    """The answer over time: heights between 0 and 1 per slice, of all and of what was not allowed."""
    if len(rows) < 2 or rows[-1].time == rows[0].time:
        return []
    first, width = rows[0].time, (rows[-1].time - rows[0].time) / count
    slices = [[0, 0] for _ in range(count)]
    for row in rows:
        place = slices[min(count - 1, int((row.time - first) / width))]
        place[0] += 1
        place[1] += row.verdict in ("deny", "refused")
    most = max(all_ for all_, _ in slices)
    return [{"x": i, "all": all_ / most, "bad": bad / most} for i, (all_, bad) in enumerate(slices)]


def _query(asked: dict[str, str]) -> str:
    return urlencode({name: value for name, value in asked.items() if value})
