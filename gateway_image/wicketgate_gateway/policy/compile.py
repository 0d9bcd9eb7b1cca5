"""Policies, compiled: patterns ready to match, conditions ready to evaluate, every mistake named with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import Problem
from wicketgate_gateway.contract.policy import Hold, Match, Policy, Reason, Rule, StatementClass
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.contract.verdict import Effect, HoldTerms
from wicketgate_gateway.policy import http, kubernetes, ssh
from wicketgate_gateway.policy.conditions import Condition, ConditionError, compile_condition
from wicketgate_gateway.policy.names import Name, Pattern
from wicketgate_gateway.policy.operation import (
    EXPLICIT,
    FREE_OF_RELATIONS,
    Aspect,
    Statement,
)
from wicketgate_gateway.policy.windows import OpenTimes, any_open, compile_windows

Patterns = tuple[Pattern, ...]


class PointTerms(Protocol):
    """A rule's terms of a protocol other than SQL, compiled. They see any point, and say no to those of others."""

    def covers(self, point: Any) -> bool:
        """Whether an `allow` or `hold` with these terms covers the point: certainly, and all of it."""
        ...

    def meets(self, point: Any) -> bool:
        """Whether a `deny` or `hold` with these terms is about the point: it matches, or could."""
        ...

    def __str__(self) -> str:
        """For people and models: `GET` on `/orders/*`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """One rule of one policy; `None` for a term that is not given."""

    policy: str
    number: int
    effect: Effect
    classes: frozenset[StatementClass] | None
    relations: Patterns | None
    columns: Patterns | None
    functions: Patterns | None
    condition: Condition | None
    because: str | None
    terms: HoldTerms | None = None
    """What a held operation waits for; exactly for `hold`."""
    during: tuple[OpenTimes, ...] = ()
    policy_during: tuple[OpenTimes, ...] = ()
    """When the policy gives something; empty: always, as `during`."""
    points: PointTerms | None = None
    """The terms of a rule that speaks not of SQL; what concerns SQL is then empty, and means nothing."""

    @property
    def label(self) -> str:
        """`policy#3`, as verdicts name it."""
        return f"{self.policy}#{self.number}"

    def in_force(self, now: float) -> bool:
        """Whether the rule itself is in force at that time."""
        return any_open(self.during, now)

    def gives(self, now: float) -> bool:
        """Whether an `allow` or `hold` covers anything at that time; what it holds, it holds also if not."""
        return any_open(self.during, now) and any_open(self.policy_during, now)

    # --- allow, hold -------------------------------------------------------------------------------------------------

    def covers(self, aspect: Aspect) -> bool:
        """Whether this rule covers the aspect (where `concerns` holds for the statement)."""
        cls, relation = aspect.cls, aspect.relation
        if self.columns is not None:
            return self._sets_only_these(aspect)
        if self.classes is None:
            if cls in EXPLICIT or relation is None:
                return False
        elif cls not in self.classes:
            return False
        if relation is not None:
            return self._any_relation or (self.relations is not None and _any(self.relations, *relation))
        return self.relations is None or cls in FREE_OF_RELATIONS

    def _sets_only_these(self, aspect: Aspect) -> bool:
        if aspect.cls is not StatementClass.WRITE or aspect.relation is None or not aspect.columns:
            return False
        if self.classes is None or aspect.cls not in self.classes:
            return False
        return all(_any(self.columns or (), *aspect.relation, column) for column in aspect.columns)

    @property
    def _any_relation(self) -> bool:
        # A rule that lists functions and no relations is about those functions: it opens no table.
        return self.relations is None and self.functions is None

    def covers_function(self, function: Name, statement: Statement, path: Sequence[str]) -> bool:
        """Whether this rule lets the statement call the function: all of its other terms must fit, too."""
        if self.functions is None or not any(_is_function(p, function, path) for p in self.functions):
            return False
        if self.classes is not None and not statement.classes <= self.classes:
            return False
        touched = (a.relation for a in statement.aspects if a.required and a.relation is not None)
        return self.relations is None or all(_any(self.relations, *relation) for relation in touched)

    def concerns(self, statement: Statement, path: Sequence[str]) -> bool:
        """Whether this rule is about the statement: one with `functions` is if one of them is called."""
        return self.functions is None or any(
            _is_function(p, function, path) for p in self.functions for function in statement.functions
        )

    # --- deny, hold --------------------------------------------------------------------------------------------------

    def meets(self, statement: Statement) -> Aspect | Name | None:
        """What of the statement this rule meets, None if nothing: all given terms must match."""
        met: Aspect | Name | None = None
        if self.functions is not None:
            met = next((f for f in sorted(statement.called) for p in self.functions if _names(p, f)), None)
            if met is None:
                return None
        if self.columns is not None:
            found = next((r for r, c in sorted(statement.mentioned, key=str) if self._has_column(r, c)), None)
            if found is None:
                return None
            met = found
        if self.classes is None and self.relations is None:
            return met
        return next((aspect for aspect in statement.aspects if self._meets_aspect(aspect)), None)

    def _meets_aspect(self, aspect: Aspect) -> bool:
        if self.classes is not None and aspect.cls not in self.classes:
            return False
        return self.relations is None or (aspect.relation is not None and _any(self.relations, *aspect.relation))

    def _has_column(self, relation: Name, column: str | None) -> bool:
        assert self.columns is not None
        return any(p.matches(*relation, column) if column is not None else p.begins(*relation) for p in self.columns)


def _any(patterns: Patterns, *names: str) -> bool:
    return any(pattern.matches(*names) for pattern in patterns)


def _is_function(pattern: Pattern, function: Name, path: Sequence[str]) -> bool:
    # Without a schema a pattern means the functions that a bare name can mean.
    if len(pattern) == 1:
        return (function.schema == "pg_catalog" or function.schema in path) and pattern.matches(function.name)
    return pattern.matches(*function)


def _names(pattern: Pattern, function: Name) -> bool:
    return pattern.matches(function.name) if len(pattern) == 1 else pattern.matches(*function)


def compile_rule(
    policy: str, number: int, rule: Rule, approvers: Mapping[str, str], during: tuple[OpenTimes, ...] = ()
) -> CompiledRule:
    """Compile one rule; raises ConditionError for its `when`, KeyError for an approver group that is not known."""
    sql, match = rule.match.sql, rule.match
    return CompiledRule(
        policy,
        number,
        Effect(rule.effect),
        None if sql is None or sql.statements is None else frozenset(sql.statements),
        None if sql is None else _patterns(sql.relations),
        None if sql is None else _patterns(sql.columns),
        None if sql is None else _patterns(sql.functions),
        None if match.when is None else compile_condition(match.when, match.protocol),
        match.because,
        None if rule.hold is None else _terms(f"{policy}#{number}", rule.hold, approvers),
        compile_windows(match.during),
        during,
        None if sql is not None else _point_terms(match),
    )


def _point_terms(match: Match) -> PointTerms:
    if match.http is not None:
        return http.compile_terms(match.http)
    if match.kubernetes is not None:
        return kubernetes.compile_terms(match.kubernetes)
    assert match.ssh is not None
    return ssh.compile_terms(match.ssh)


def _terms(label: str, hold: Hold, approvers: Mapping[str, str]) -> HoldTerms:
    names = tuple(dict.fromkeys(hold.approvers.groups))
    return HoldTerms(
        label,
        tuple(approvers[name] for name in names),
        names,
        hold.approvers.quorum,
        seconds(hold.within),
        seconds(hold.use_within or hold.within),
        seconds(hold.wait),
        hold.reason is Reason.REQUIRED,
        None if hold.reuse is None else seconds(hold.reuse),
        hold.count is not None,
    )


def merged(terms: Sequence[HoldTerms]) -> HoldTerms:
    """The terms of several `hold` rules at once, each the strictest: only who may approve for every one of them may
    approve (`approver_groups` is empty if nobody may), and an approval serves several runs only if every one says so.
    """
    if len(terms) == 1:
        return terms[0]
    first = terms[0]
    groups = [
        (group, name)
        for group, name in zip(first.approver_groups, first.approver_names, strict=True)
        if all(group in other.approver_groups for other in terms)
    ]
    reuse = [other.reuse for other in terms if other.reuse is not None]
    return HoldTerms(
        "+".join(other.rule for other in terms),
        tuple(group for group, _ in groups),
        tuple(name for _, name in groups),
        max(other.quorum for other in terms),
        min(other.within for other in terms),
        min(other.use_within for other in terms),
        min(other.wait for other in terms),
        any(other.reason_required for other in terms),
        min(reuse) if len(reuse) == len(terms) else None,
        any(other.count for other in terms),
    )


def _patterns(texts: Iterable[str] | None) -> Patterns | None:
    return None if texts is None else tuple(Pattern(text) for text in texts)


def compile_policy(
    policy: Policy,
    document: yaml.Document | None = None,
    at: yaml.Path = (),
    approvers: Mapping[str, str] | None = None,
) -> tuple[list[CompiledRule], list[Problem]]:
    """The rules of a policy, and what is wrong with it beyond its shape; `at` is the policy's place in `document`.

    `approvers` has the object id of every approver group; without it (a policy file by itself) names stand for ids.
    """
    rules: list[CompiledRule] = []
    during = compile_windows(policy.during)
    problems: list[Problem] = []
    for i, rule in enumerate(policy.rules):
        known = {name: name for name in rule.hold.approvers.groups} if rule.hold and approvers is None else approvers
        try:
            rules.append(compile_rule(policy.policy, i + 1, rule, known or {}, during))
        except (ConditionError, KeyError) as error:
            if isinstance(error, ConditionError):
                term, message, remedy = "when", error.message, error.remedy
            else:
                term, message = "approvers", f"there are no approvers `{error.args[0]}`"
                remedy = "name a group under `approvers` in the stack file"
            path: yaml.Path = ("rules", i, rule.effect, term)
            where = document.where((*at, *path)) if document else None
            problems.append(Problem(message, remedy, where, ".".join(str(step) for step in path)))
    return rules, problems


def approved_by(terms: HoldTerms) -> str:
    """`someone of `dba` approved`, `2 of `dba`, `leads` approved`."""
    who = ", ".join(f"`{name}`" for name in terms.approver_names)
    return f"{'someone' if terms.quorum == 1 else terms.quorum} of {who} approved"


def summary(rules: Iterable[CompiledRule], limit: int = 300) -> str:
    """What the rules let through, for people and models: `read` on `public.*`; … (shortened to `limit`)."""
    parts: list[str] = []
    for rule in rules:
        if rule.effect is Effect.DENY:
            continue
        classes = ", ".join(f"`{c}`" for c in sorted(rule.classes or ())) or "everything"
        if rule.points is not None:
            parts.append(str(rule.points))
        elif rule.functions is not None:
            parts.append("calling " + ", ".join(f"`{p.text}`" for p in rule.functions))
        elif rule.relations is not None or rule.columns is not None:
            parts.append(f"{classes} on " + ", ".join(f"`{p.text}`" for p in rule.relations or rule.columns or ()))
        else:
            parts.append(classes)
        if rule.condition is not None:
            parts[-1] += f" when {rule.condition.source}"
        if rule.during or rule.policy_during:
            parts[-1] += f" at {' or '.join(w.text for w in rule.during or rule.policy_during)}"
        if rule.terms is not None:
            parts[-1] += f" once {approved_by(rule.terms)}"
    text = "; ".join(dict.fromkeys(parts))
    return text if len(text) <= limit else text[: limit - 1] + "…"
