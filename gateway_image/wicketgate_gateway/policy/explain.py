"""Why an operation is decided as it is, and what would change that. Every answer comes from the engine itself: a change
is named only after the operation was decided with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wicketgate_gateway.contract.policy import Rule, StatementClass
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.compile import CompiledRule, compile_rule
from wicketgate_gateway.policy.decision import Decision
from wicketgate_gateway.policy.engine import TargetPolicy, decide_text
from wicketgate_gateway.policy.operation import Aspect, SessionFacts, Statement, statement_of

_SOMETHING = "information_schema.*"
"""The relations of a rule that is to cover `SELECT 1`, which reads none."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and its reasons."""

    decision: Decision
    aspects: tuple[str, ...]
    """What the operation does, in the words of rules: `write` on `public.orders` (`status`)."""
    functions: tuple[str, ...]
    """Functions that an `allow` must list."""
    missing: tuple[str, ...]
    """Rules (lines of YAML) with which, all together, it would not be denied; none of them can be left out."""
    in_the_way: tuple[str, ...]
    """`deny` and `hold` rules without which, all together, it would be decided otherwise."""
    then: Verdict | None
    """What it would come to with that change; None if no change of rules was found."""


def explain(policy: TargetPolicy, text: str, session: SessionFacts, now: float | None = None) -> Explanation:
    """Decide a text and say why."""
    decision = decide_text(policy, text, session, now)
    statements = _statements(policy, decision, session)
    aspects = dict.fromkeys(_shown(a) for s in statements for a in s.aspects if a.required)
    functions = sorted({str(name) for s in statements for name in s.functions})
    missing: tuple[str, ...] = ()
    then: Verdict | None = None
    changed, removed = _without_stops(policy, text, session, now, decision.verdict)
    verdict = decide_text(changed, text, session, now).verdict if removed else decision.verdict
    if verdict.code == "not-allowed":
        missing, then = _missing(changed, statements, text, session, now)
    if removed and then is None:
        then = verdict
    return Explanation(decision, tuple(aspects), tuple(functions), missing, removed, then)


def _statements(policy: TargetPolicy, decision: Decision, session: SessionFacts) -> list[Statement]:
    return [statement_of(f, session) for facts in decision.statements for f in policy.with_named(facts, session)[0]]


def _shown(aspect: Aspect) -> str:
    columns = ", ".join(f"`{column}`" for column in sorted(aspect.columns or ()))
    return f"{aspect} ({columns})" if columns else str(aspect)


def _without_stops(
    policy: TargetPolicy, text: str, session: SessionFacts, now: float | None, verdict: Verdict
) -> tuple[TargetPolicy, tuple[str, ...]]:
    """The policy without the rules that stop the operation, and their labels."""
    rules = list(policy.rules)
    removed: list[str] = []
    while verdict.effect is not Effect.ALLOW:
        labels = set(verdict.rule.split("+"))
        stops = [r for r in rules if r.label in labels and r.effect is not Effect.ALLOW]
        if not stops or verdict.code == "condition-error":
            break
        rules = [rule for rule in rules if rule not in stops]
        removed += [rule.label for rule in stops]
        policy = policy.with_rules(rules)
        verdict = decide_text(policy, text, session, now).verdict
    return policy, tuple(removed)


def _missing(
    policy: TargetPolicy, statements: list[Statement], text: str, session: SessionFacts, now: float | None
) -> tuple[tuple[str, ...], Verdict | None]:
    proposed = {line: rule for line, rule in (_compiled(document) for document in _candidates(statements)) if rule}

    def verdict_with(lines: list[str]) -> Verdict:
        changed = policy.with_rules([*policy.rules, *(proposed[line] for line in lines)])
        return decide_text(changed, text, session, now).verdict

    kept = list(proposed)
    verdict = verdict_with(kept)
    if verdict.effect is Effect.DENY and verdict.code == "not-allowed":
        return (), None
    for line in list(kept):
        fewer = [other for other in kept if other != line]
        without = verdict_with(fewer)
        if (without.effect, without.code) == (verdict.effect, verdict.code):
            kept = fewer
    return tuple(kept), verdict_with(kept)


def _candidates(statements: list[Statement]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for statement in statements:
        for aspect in statement.aspects:
            if not aspect.required:
                continue
            sql: dict[str, Any] = {"statements": aspect.cls.value}
            if aspect.columns and aspect.relation:
                sql["columns"] = [f"{aspect.relation}.{column}" for column in sorted(aspect.columns)]
            elif aspect.relation:
                sql["relations"] = [str(aspect.relation)]
            elif aspect.cls is StatementClass.READ:
                sql["relations"] = [_SOMETHING]
            found.append(sql)
        found += [{"functions": [str(name)]} for name in sorted(statement.functions)]
    return found


def _compiled(sql: dict[str, Any]) -> tuple[str, CompiledRule | None]:
    line = "- allow: {sql: {" + ", ".join(f"{key}: {_flow(value)}" for key, value in sql.items()) + "}}"
    try:
        rule = Rule.model_validate({"allow": {"sql": sql}})
    except ValidationError:  # a name that no pattern can say
        return line, None
    return line, compile_rule("proposed", 1, rule, {})


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    text = str(value)
    return text if text.replace(".", "").replace("_", "").isalnum() else '"' + text.replace('"', '\\"') + '"'
