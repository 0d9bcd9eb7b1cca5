"""The audit in the browser: search by filters that are the address, a timeline, an export, and the chain's state.

How this works: the store answers (`audit.query`); what the page shows is that answer, newest first. The timeline counts
what matches over the whole period, not only the rows that are shown. The chain's state is what the gateway's seals say,
and what the last walk along the journal found (`verifier.py`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response, StreamingResponse

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import AuditEvent, Event, Operation
from wicketgate_gateway.audit.query import AuditFilter, AuditRow, Slices
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AUDITOR_ROLE
from wicketgate_gateway.store.base import Connection
from wicketgate_gateway.ui.desk import Page, Visit

LISTED = 100
EXPORTED = 100_000
SLICES = 60
_PERIODS = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "all": 0}
_VERDICTS = ("allow", "deny", "hold", "refused")
_KINDS = tuple(str(kind.__struct_config__.tag) for kind in get_args(AuditEvent))
_SHOWN = ("handle", "name", "choice", "state", "agent", "comment", "scope", "value", "by", "client")
"""Fields that say what an event without a statement is about."""


async def audit(visit: Visit) -> Page:
    """`/ui/audit`: search; the filters are the address."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    asked = visit.query
    wanted = _filter(asked, LISTED)
    began = time.perf_counter()
    sessions = visit.desk.parts.sessions
    found, slices = await asyncio.to_thread(sessions.ask, lambda c: _look(c, wanted))
    before = {**asked, "before": str(found[0].time)} if len(found) == LISTED else None
    return Page(
        "audit.html",
        {
            "title": "Audit",
            "rows": [_event(row) for row in reversed(found)],
            "asked": asked,
            "periods": list(_PERIODS),
            "verdicts": _VERDICTS,
            "kinds": _KINDS,
            "took": time.perf_counter() - began,
            "timeline": bars(slices) if slices is not None else None,
            "query": _query({k: v for k, v in asked.items() if k != "before"}),
            "filtered": [(k, _query({n: v for n, v in asked.items() if n != k})) for k in asked if k in _NARROW],
            "older": _query(before) if before else "",
            "chain": await asyncio.to_thread(sessions.chain),
            "verified": visit.desk.verifier.last,
            "verifying": visit.desk.verifier.busy,
        },
    )


_NARROW = ("session", "approver")
"""Filters that links set and the form has no field for."""


def _look(connection: Connection, wanted: AuditFilter) -> tuple[list[AuditRow], Slices | None]:
    found = query.events(connection, wanted)
    # A text is found by an index of its own; counting all that hold it may take long.
    return found, None if wanted.text else query.timeline(connection, wanted, wanted.until or time.time_ns(), SLICES)


async def verified(visit: Visit) -> Response:
    """Walk along the chain, then back to the page."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    await visit.desk.verifier.walk()
    return RedirectResponse("/ui/audit", 303)


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
    before, verdict, kind = asked.get("before", ""), asked.get("verdict", ""), asked.get("event", "")
    return AuditFilter(
        bot=asked.get("bot", ""),
        target=asked.get("target", ""),
        verdict=verdict if verdict in _VERDICTS else "",
        session=asked.get("session", "").lower(),
        rule=asked.get("rule", ""),
        approver=asked.get("approver", "").lower(),
        text=asked.get("q", ""),
        kinds=(kind,) if kind in _KINDS else (),
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
        "about": "" if event is None or statement else visible(_about(event)),
        "handle": str(getattr(event, "handle", "") or ""),
        "reason": visible(row.reason),
        "outcome": row.outcome,
        "rows": row.rows,
        "duration_us": row.duration_us,
    }


def _about(event: Event) -> str:
    return " ".join(str(value)[:200] for name in _SHOWN if (value := getattr(event, name, "")))


def bars(slices: Slices) -> dict[str, Any]:
    """The timeline: heights between 0 and 1 per slice, of all and of what was not allowed, and its ends in time."""
    most = max(all_ for all_, _ in slices.counts) or 1
    return {
        "bars": [
            {"x": i, "all": all_ / most, "bad": bad / most} for i, (all_, bad) in enumerate(slices.counts) if all_
        ],
        "slices": len(slices.counts),
        "begin": slices.begin,
        "end": slices.begin + slices.width * len(slices.counts),
        "count": sum(all_ for all_, _ in slices.counts),
        "bad": sum(bad for _, bad in slices.counts),
        "cut": slices.cut,
    }


def _query(asked: dict[str, str]) -> str:
    return urlencode({name: value for name, value in asked.items() if value})
