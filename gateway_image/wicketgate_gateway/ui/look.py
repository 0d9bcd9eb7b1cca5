"""The list of sessions in the browser, and ending one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AUDITOR_ROLE
from wicketgate_gateway.ui.desk import Page, Visit

LISTED = 100


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


def _query(asked: dict[str, str]) -> str:
    return urlencode({name: value for name, value in asked.items() if value})
