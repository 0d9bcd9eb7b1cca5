"""Errors as `application/problem+json` (RFC 9457): what our errors are in HTTP, and never what was sent.

`code` and `remedy` are ours; `title` is the status's own phrase. A refusal of a token says so in WWW-Authenticate
(RFC 6750, and RFC 9470 where the sign-in is too old).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity.errors import Refused

MEDIA_TYPE = "application/problem+json"
_STATUS = {
    "approval-damaged": 500,
    "approvals-unavailable": 503,
    "already-voted": 409,
    "approver-is-owner": 403,
    "approver-is-requester": 403,
    "approver-not-a-person": 403,
    "approver-not-allowed": 403,
    "bot-gone": 409,
    "bot-unknown": 404,
    "comment-missing": 422,
    "comment-too-long": 422,
    "grant-unsupported": 400,
    "graph-unavailable": 503,
    "group-ambiguous": 409,
    "group-unknown": 404,
    "hold-closed": 409,
    "hold-expired": 410,
    "hold-unknown": 404,
    "keys-unavailable": 503,
    "kill-invalid": 422,
    "kill-unknown": 404,
    "not-found": 404,
    "operation-unknown": 404,
    "person-disabled": 403,
    "policy-apply-invalid": 422,
    "policy-apply-off": 409,
    "policy-changed": 409,
    "policy-not-writable": 409,
    "policy-tests-fail": 409,
    "policy-unknown": 404,
    "request-invalid": 422,
    "role-missing": 403,
    "saml-certificates-unavailable": 503,
    "seal-mismatch": 409,
    "session-ambiguous": 409,
    "verify-busy": 409,
    "session-id-invalid": 404,
    "session-unknown": 404,
    "sessions-unavailable": 503,
    "sign-in-failed": 401,
    "target-unknown": 404,
    "token-not-ours": 409,
    "too-many-requests": 429,
    "too-many-sign-ins": 503,
    "too-many-streams": 429,
}
log = structlog.get_logger("wicketgate.api")


def problem(
    status: int, code: str, detail: str, remedy: str = "", *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An answer that says what was wrong and what to do next."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "remedy": remedy,
        **more,
    }
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def status_of(error: WicketgateError) -> int:
    """The HTTP status of one of our errors."""
    return _STATUS.get(error.code, 401 if isinstance(error, Refused) else 500)


def of_error(error: WicketgateError) -> JSONResponse:
    """Our error in HTTP."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if error.code in ("sign-in-too-old", "sign-in-unknown"):
        headers["WWW-Authenticate"] = 'Bearer error="insufficient_user_authentication"'
    elif status == 401:
        given = "" if error.code == "token-missing" else ' error="invalid_token"'
        headers["WWW-Authenticate"] = f"Bearer{given}"
    elif status in (429, 503):
        headers["Retry-After"] = "2"
    if status == 500:
        log.error("a request failed", code=error.code, reason=str(error))
    return problem(status, error.code, error.message, error.remedy, headers=headers)


async def on_error(_: Request, error: Exception) -> Response:
    """A WicketgateError that an endpoint raised."""
    assert isinstance(error, WicketgateError)
    return of_error(error)


async def on_invalid(_: Request, error: Exception) -> Response:
    """A request that is not of the form that OpenAPI says: where, and why, without the values."""
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"at": ".".join(str(step) for step in item["loc"])[:200], "why": str(item["msg"])[:200]}
        for item in error.errors()[:20]
    ]
    remedy = "see /openapi.json"
    return problem(422, "request-invalid", "the request is not of the form that it must have", remedy, errors=wrong)


async def on_http(_: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    code, detail = {
        400: ("request-invalid", "the body cannot be read"),
        404: ("not-found", "there is nothing here"),
        405: ("method-not-allowed", "this is not asked for in that way"),
    }.get(error.status_code, ("refused", "the request is refused"))
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, code, detail, "see /openapi.json", headers=headers)


async def on_defect(_: Request, error: Exception) -> Response:
    """A defect of ours: told in the log alone."""
    log.error("a defect", kind=type(error).__name__, exc_info=error)
    return problem(500, "defect", "the gateway made a mistake", "tell its operator the time")
