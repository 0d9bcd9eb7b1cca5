"""Held operations in the browser: what waits, one request whole, and the answer."""

from __future__ import annotations

import time

from starlette.responses import RedirectResponse, Response

from wicketgate_gateway.api import models
from wicketgate_gateway.api.access import Caller
from wicketgate_gateway.approvals import display
from wicketgate_gateway.approvals.model import Choice, Request, State
from wicketgate_gateway.approvals.service import groups_to_check
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE
from wicketgate_gateway.session.estimates import in_words
from wicketgate_gateway.ui import operation
from wicketgate_gateway.ui.desk import Page, Visit

MAX_LISTED = 200
HISTORY = 10
_ALL = (State.APPROVED, State.DENIED, State.EXPIRED, State.USED, State.VOID)
_VIEWS = {"waiting": (State.PENDING,), "approved": (State.APPROVED,), "answered": _ALL}


async def listed(visit: Visit) -> Page:
    """`/ui/approvals`: what waits, or what was answered."""
    return Page("approvals.html", {**await _rows(visit), "title": "Approvals"})


async def rows(visit: Visit) -> Page:
    """The list's rows alone, asked for again and again."""
    return Page("approvals-rows.html", await _rows(visit))


async def _rows(visit: Visit) -> dict[str, object]:
    visit.require(APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE)
    view = visit.query.get("view", "waiting")
    view = view if view in _VIEWS else "waiting"
    found = await visit.desk.parts.approvals.store.list(_VIEWS[view])
    caller = await _looked(visit, found)
    seen = [request for request in found if caller.sees(request)][-MAX_LISTED:]
    return {"view": view, "requests": [_brief(request) for request in reversed(seen)]}


async def shown(visit: Visit) -> Page:
    """`/ui/approvals/{handle}`: all of one request."""
    request = await _seen(visit)
    return Page("approval.html", await _whole(visit, request))


async def standing(visit: Visit) -> Page:
    """Where one request stands, asked for again and again while it is open."""
    request = await _seen(visit)
    return Page("approval-standing.html", await _whole(visit, request, history=False))


async def approve(visit: Visit) -> Response:
    """Approve exactly what was looked at."""
    return await _decide(visit, Choice.APPROVE)


async def deny(visit: Visit) -> Response:
    """Deny, or take back an approval that was not used yet."""
    return await _decide(visit, Choice.DENY)


async def _decide(visit: Visit, choice: Choice) -> Response:
    visit.require(APPROVER_ROLE)
    form = await visit.form()
    request = await visit.desk.parts.approvals.store.get(visit.request.path_params["handle"])
    groups = groups_to_check(request)
    caller = await visit.acting(groups)
    comment = form.get("comment", "").strip()
    if choice is Choice.DENY and not comment:
        raise WicketgateError("a denial needs a reason", code="comment-missing", remedy="say why; the bot reads it")
    if choice is Choice.APPROVE and not form.get("seal"):
        raise WicketgateError("what was looked at is not said", code="seal-mismatch", remedy="open the request again")
    await visit.desk.parts.approvals.decide(
        request.handle,
        caller.person.principal,
        choice,
        checked=groups,
        comment=comment,
        seal=form.get("seal", ""),
    )
    return RedirectResponse(f"/ui/approvals/{request.handle}", 303)


async def _seen(visit: Visit) -> Request:
    visit.require(APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE)
    request = await visit.desk.parts.approvals.store.get(visit.request.path_params["handle"])
    (await _looked(visit, [request])).require_sight(request)
    return request


async def _looked(visit: Visit, requests: list[Request]) -> Caller:
    if visit.caller.sees_all:
        return visit.caller
    return await visit.look_up(frozenset(group for each in requests for group in each.approver_groups))


def _brief(request: Request) -> dict[str, object]:
    return {
        "handle": request.handle,
        "state": request.state,
        "bot": request.bot,
        "target": request.target,
        "protocol": request.protocol,
        "statement": display.visible(operation.headline(request)[:300]),
        "reason": display.visible(request.reason[:200]),
        "blast": in_words(request.blast) if request.blast is not None else "",
        "created": request.created,
        "expires": request.expires,
        "rule": request.rule,
        "answers": len(request.votes),
        "quorum": request.quorum,
    }


async def _whole(visit: Visit, request: Request, *, history: bool = True) -> dict[str, object]:
    whole = models.approval(request, visit.desk.parts.config)
    owner = visit.caller.person.principal.object_id
    return {
        "title": request.handle,
        "request": request,
        "headline": display.visible(operation.headline(request)[:200]),
        "blocks": operation.blocks(request),
        "parameters": operation.bound(request),
        "blast": in_words(request.blast) if request.blast is not None else "",
        "plan": _plan(request),
        "approvers": whole.approvers,
        "warnings": whole.warnings,
        "left": max(0, request.expires - time.time_ns()) / 1e9,
        "answered": any(vote.approver == owner for vote in request.votes),
        "history": await _history(visit, request) if history else [],
    }


def _plan(request: Request) -> list[dict[str, str]]:
    """What was found out about its reach, line by line; a diff's lines say what they are."""
    lines = str((request.blast or {}).get("plan", "") or "").splitlines()
    diff = lines[:1] == ["--- as it is"]
    kinds = {"+": "add", "-": "del", "@": "ctx"}
    return [{"text": display.visible(line), "kind": kinds.get(line[:1], "") if diff else ""} for line in lines]


async def _history(visit: Visit, request: Request) -> list[dict[str, object]]:
    """What became of the same rule's questions for the same bot."""
    found = await visit.desk.parts.approvals.store.list(_ALL, bot_id=request.bot_id, target=request.target)
    same = [each for each in found if each.rule == request.rule and each.handle != request.handle]
    caller = await _looked(visit, same)
    return [_brief(each) for each in reversed([each for each in same if caller.sees(each)][-HISTORY:])]
