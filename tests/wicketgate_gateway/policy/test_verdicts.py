"""The words of verdicts."""

from __future__ import annotations

from wicketgate_gateway.contract.policy import RecordLevel
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy import verdicts
from wicketgate_gateway.policy.decision import Record

RECORD = Record(RecordLevel.FULL, 1.0)


def test_not_allowed_says_what_and_by_whom() -> None:
    """And whether the time matters."""
    verdict = verdicts.not_allowed("`p`", "`GET /x`", "nothing is allowed here", RECORD, closed=True)
    assert verdict.effect is Effect.DENY
    assert verdict.reason == "no rule of `p` allows `GET /x` at this time"


def test_without_rules_nothing_is_allowed() -> None:
    """The remedy is never empty."""
    assert verdicts.remedy([]) == "nothing is allowed here"
