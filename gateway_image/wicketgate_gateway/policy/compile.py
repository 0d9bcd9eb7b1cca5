"""Policies, compiled: patterns ready to match, conditions ready to evaluate, every mistake named with its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import Problem
from wicketgate_gateway.contract.policy import Policy, Rule, StatementClass
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.conditions import Condition, ConditionError, compile_condition
from wicketgate_gateway.policy.names import Name, Pattern
from wicketgate_gateway.policy.operation import (
    EXPLICIT,
    FREE_OF_RELATIONS,
    Aspect,
    Statement,
)

Patterns = tuple[Pattern, ...]


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

    @property
    def label(self) -> str:
        """`policy#3`, as verdicts name it."""
        return f"{self.policy}#{self.number}"

    # --- allow -------------------------------------------------------------------------------------------------------

    def covers(self, aspect: Aspect) -> bool:
        """Whether this allow rule covers the aspect (where `concerns` holds for the statement)."""
        cls, relation = aspect.cls, aspect.relation
        if self.columns is not None:
            return False
        if self.classes is None:
            if cls in EXPLICIT or relation is None:
                return False
        elif cls not in self.classes:
            return False
        if relation is not None:
            return self._any_relation or (self.relations is not None and _any(self.relations, *relation))
        return self.relations is None or cls in FREE_OF_RELATIONS

    @property
    def _any_relation(self) -> bool:
        # A rule that lists functions and no relations is about those functions: it opens no table.
        return self.relations is None and self.functions is None

    def covers_function(self, function: Name, statement: Statement, path: Sequence[str]) -> bool:
        """Whether this allow rule lets the statement call the function: all of its other terms must fit, too."""
        if self.functions is None or not any(_is_function(p, function, path) for p in self.functions):
            return False
        if self.classes is not None and not statement.classes <= self.classes:
            return False
        touched = (a.relation for a in statement.aspects if a.required and a.relation is not None)
        return self.relations is None or all(_any(self.relations, *relation) for relation in touched)

    def concerns(self, statement: Statement, path: Sequence[str]) -> bool:
        """Whether this allow rule is about the statement: one with `functions` is if one of them is called."""
        return self.functions is None or any(
            _is_function(p, function, path) for p in self.functions for function in statement.functions
        )

    # --- deny --------------------------------------------------------------------------------------------------------

    def meets(self, statement: Statement) -> Aspect | Name | None:
        """What of the statement this deny rule meets, None if nothing: all given terms must match."""
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


def compile_rule(policy: str, number: int, rule: Rule) -> CompiledRule:
    """Compile one rule; raises ConditionError for its `when`."""
    sql, match = rule.match.sql, rule.match
    return CompiledRule(
        policy,
        number,
        Effect.ALLOW if rule.allow is not None else Effect.DENY,
        None if sql.statements is None else frozenset(sql.statements),
        _patterns(sql.relations),
        _patterns(sql.columns),
        _patterns(sql.functions),
        None if match.when is None else compile_condition(match.when),
        match.because,
    )


def _patterns(texts: Iterable[str] | None) -> Patterns | None:
    return None if texts is None else tuple(Pattern(text) for text in texts)


def compile_policy(
    policy: Policy, document: yaml.Document | None = None, at: yaml.Path = ()
) -> tuple[list[CompiledRule], list[Problem]]:
    """The rules of a policy, and what is wrong with it beyond its shape; `at` is the policy's place in `document`."""
    rules: list[CompiledRule] = []
    problems: list[Problem] = []
    for i, rule in enumerate(policy.rules):
        effect = "allow" if rule.allow is not None else "deny"
        try:
            rules.append(compile_rule(policy.policy, i + 1, rule))
        except ConditionError as error:
            term = ("rules", i, effect, "when")
            where = document.where((*at, *term)) if document else None
            problems.append(Problem(error.message, error.remedy, where, ".".join(str(step) for step in term)))
    return rules, problems


def summary(rules: Iterable[CompiledRule], limit: int = 300) -> str:
    """What the allow rules let through, for people and models: `read` on `public.*`; … (shortened to `limit`)."""
    parts: list[str] = []
    for rule in rules:
        if rule.effect is not Effect.ALLOW:
            continue
        classes = ", ".join(f"`{c}`" for c in sorted(rule.classes or ())) or "everything"
        if rule.functions is not None:
            parts.append("calling " + ", ".join(f"`{p.text}`" for p in rule.functions))
        elif rule.relations is not None:
            parts.append(f"{classes} on " + ", ".join(f"`{p.text}`" for p in rule.relations))
        else:
            parts.append(classes)
        if rule.condition is not None:
            parts[-1] += f" when {rule.condition.source}"
    text = "; ".join(dict.fromkeys(parts))
    return text if len(text) <= limit else text[: limit - 1] + "…"
