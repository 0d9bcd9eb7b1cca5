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
}


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
