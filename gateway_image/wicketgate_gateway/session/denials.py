"""Denials in the words of PostgreSQL's clients: an error that leaves the session usable and says what to do."""

from __future__ import annotations

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres.expected import Denial

INSUFFICIENT_PRIVILEGE = "42501"
_SQLSTATES = {
    "sql-syntax": "42601",
    "sql-too-large": "54000",
    "unknown-prepared": "26000",
    "unknown-statement": "26000",
    "unknown-portal": "34000",
    "too-many": "54000",
    "recording-failed": "58030",
    "hold-pending": "WG001",
    "hold-denied": "WG002",
    "hold-expired": "WG003",
    "hold-void": "WG004",
    "bot-gone": "WG004",
    "policy-changed": "WG004",
    "hold-reason-missing": "WG005",
    "hold-reason-too-long": "WG005",
    "hold-not-showable": "WG006",
    "hold-not-canonical": "WG006",
    "hold-unanswerable": "WG006",
    "hold-owner-unknown": "WG006",
    "too-many-holds": "WG006",
    "approvals-unavailable": "WG007",
    "approval-damaged": "WG007",
    "internal-error": "WG007",
    "killed": "WG008",
    "hold-cancelled": "57014",
    "hold-aborted": "25P02",
}
"""Class `WG` is ours: WG001 waits for approval, WG002 denied by a person, WG003 lapsed, WG004 void, WG005 needs a
reason, WG006 cannot be held, WG007 the store of approvals is away, WG008 cut off."""
HELD_NOTICE = "01WG1"
"""SQLSTATE of the NOTICE that tells a client that it waits."""
STILL_NOTICE = "01WG2"
"""SQLSTATE of those that tell it, now and then, that it still does."""


def sqlstate_of(verdict: Verdict) -> str:
    """The SQLSTATE that says why; what a policy denies is `insufficient_privilege`."""
    return _SQLSTATES.get(verdict.code, INSUFFICIENT_PRIVILEGE)


def denial(verdict: Verdict, seq: int, session: str) -> Denial:
    """What the client reads in place of the server's answer."""
    sqlstate = sqlstate_of(verdict)
    message = f"denied by policy: {verdict.reason}" if sqlstate == INSUFFICIENT_PRIVILEGE else verdict.reason
    detail = f"{verdict.rule}; operation {seq} of session {session}"
    return Denial(errors.error("ERROR", sqlstate, message, detail=detail, hint=verdict.remedy))


def denied(code: str, reason: str, remedy: str = "") -> Verdict:
    """A denial for a reason of the protocol's."""
    return Verdict(Effect.DENY, "builtin:protocol", reason, remedy, code)


def too_many(what: str) -> Verdict:
    """A denial because the session holds too much."""
    return denied("too-many", f"the session has too many {what}", "close some, or connect again")
