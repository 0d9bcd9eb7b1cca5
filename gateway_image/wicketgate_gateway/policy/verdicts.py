"""The words of verdicts, the same for every protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wicketgate_gateway.contract.verdict import Effect, HoldTerms, Verdict
from wicketgate_gateway.policy.compile import CompiledRule, approved_by, summary
from wicketgate_gateway.policy.decision import Record


def denied(rule: str, code: str, reason: str, remedy: str, record: Record) -> Verdict:
    """A denial."""
    return Verdict(Effect.DENY, rule, reason, remedy, code, record=record.level.value)


def denied_by(rule: CompiledRule, what: str, remedy: str, record: Record) -> Verdict:
    """Denied by a `deny` that meets `what`."""
    because = f": {rule.because}" if rule.because else ""
    return denied(rule.label, "denied-by-rule", f"rule `{rule.label}` denies {what}{because}", remedy, record)


def not_allowed(policies: str, what: str, remedy: str, record: Record, *, closed: bool) -> Verdict:
    """Denied, since nothing allows `what`; `closed` says that something would at another time."""
    when = " at this time" if closed else ""
    return denied("default", "not-allowed", f"no rule of {policies} allows {what}{when}", remedy, record)


def condition_error(rule: CompiledRule, record: Record) -> Verdict:
    """Denied, since it cannot be told whether the rule applies."""
    reason = f"the condition of rule `{rule.label}` could not be evaluated"
    return denied(rule.label, "condition-error", reason, "ask the owner of the policy to repair it", record)


def held(rules: Sequence[CompiledRule], terms: HoldTerms, what: str, record: Record, masks: Any = None) -> Verdict:
    """Held by all of the rules, of which the first meets `what`; `terms` are their terms merged."""
    if not terms.approver_groups:
        return denied(
            terms.rule,
            "hold-unanswerable",
            f"`{terms.rule}` hold this, and no group may approve for all of them",
            "do what each of them holds in an operation of its own, or name one group in all of these rules",
            record,
        )
    rule = rules[0]
    because = f": {rule.because}" if rule.because else ""
    return Verdict(
        Effect.HOLD,
        terms.rule,
        f"rule `{rule.label}` holds {what} for approval{because}",
        f"it goes on when {approved_by(terms)}",
        "approval-needed",
        masks,
        record.level.value,
        terms,
    )


def remedy(rules: Iterable[CompiledRule]) -> str:
    """What may be done instead."""
    allowed = summary(rules)
    return f"allowed here: {allowed}" if allowed else "nothing is allowed here"
