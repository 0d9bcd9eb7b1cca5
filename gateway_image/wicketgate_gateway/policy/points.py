"""The decision on operations of every protocol but SQL: one list of points in, one verdict out.

How this works: an operation is understood (elsewhere) as *points*, each one thing that it does: a request, a command, a
file that is read. A rule's compiled terms say whether they cover a point (`allow`, `hold`) or meet it (`deny`, `hold`).
It is denied if a `deny` meets any point, and unless every point is covered; it is held if a `hold` meets any point, or
covers one that no `allow` does. Conditions are evaluated once per operation and rule, and an error denies. The words
are those of SQL's verdicts (`verdicts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy import verdicts
from wicketgate_gateway.policy.compile import CompiledRule, merged
from wicketgate_gateway.policy.conditions import Outcome, activation
from wicketgate_gateway.policy.decision import Record


class Point(Protocol):
    """One thing that an operation does."""

    @property
    def kind(self) -> str:
        """What kind of thing, one word: `GET`, `exec`, `delete`; what events call the operation's kinds."""
        ...

    def __str__(self) -> str:
        """For people and models: `GET /orders/{id}`, without quotes around it."""
        ...


class Conditions:
    """Evaluates the conditions of rules against one operation, each at most once.

    `values` gives the variables of conditions, but for the time; it is called if a condition is to be evaluated.
    """

    __slots__ = ("_activations", "_known", "_made", "_values", "closed", "now")

    def __init__(self, values: Callable[[], Mapping[str, Any]], now: float) -> None:
        self.now = now
        self.closed = False
        """Whether a rule that would have covered something did not because of the time."""
        self._values = values
        self._made: Mapping[str, Any] | None = None
        self._activations: dict[str, Any] = {}
        self._known: dict[int, Outcome] = {}

    def covers(self, rule: CompiledRule) -> Outcome:
        """Whether an `allow` or `hold` covers something now, as far as time and condition go."""
        if not rule.gives(self.now):
            self.closed = True
            return Outcome.FALSE
        return self.test(rule)

    def test(self, rule: CompiledRule) -> Outcome:
        """Whether the rule applies now, as far as its own time and condition go."""
        if not rule.in_force(self.now):
            return Outcome.FALSE
        condition = rule.condition
        if condition is None:
            return Outcome.TRUE
        found = self._known.get(id(rule))
        if found is None:
            found = self._known[id(rule)] = condition.test(self._activation(condition.protocol))
        return found

    def _activation(self, protocol: str) -> Any:
        found = self._activations.get(protocol)
        if found is None:
            if self._made is None:
                self._made = self._values()
            found = self._activations[protocol] = activation(self._made, self.now, protocol)
        return found


class PointRules:
    """The rules of a target's policies that speak not of SQL. `said` names the policies."""

    def __init__(self, rules: Sequence[CompiledRule], said: str, record: Record) -> None:
        self._giving = tuple(rule for rule in rules if rule.effect is not Effect.DENY)
        self._hold = tuple(rule for rule in rules if rule.effect is Effect.HOLD)
        self._deny = tuple(rule for rule in rules if rule.effect is Effect.DENY)
        self._said = said
        self._record = record

    def decide(self, points: Sequence[Point], tester: Conditions) -> Verdict:
        """The verdict on an operation."""
        record = self._record
        if not points:
            return verdicts.denied(
                "builtin:unsupported", "not-understood", "what this does is not understood", self._remedy(), record
            )
        for rule in self._deny:
            met = next((point for point in points if _terms(rule).meets(point)), None)
            outcome = Outcome.FALSE if met is None else tester.test(rule)
            if outcome is Outcome.ERROR:
                return verdicts.condition_error(rule, record)
            if outcome is Outcome.TRUE:
                return verdicts.denied_by(rule, f"`{met}`", self._remedy(), record)
        holding: dict[CompiledRule, Point] = {}
        first = ""
        uncovered: Point | None = None
        for point in points:
            label, failed = self._covered(point, tester, holding)
            if failed is not None:
                return verdicts.condition_error(failed, record)
            if not label and uncovered is None:
                uncovered = point
            first = first or label
        if uncovered is not None:
            what = f"`{uncovered}`"
            return verdicts.not_allowed(self._said, what, self._remedy(), record, closed=tester.closed)
        for rule in self._hold:
            met = next((point for point in points if _terms(rule).meets(point)), None)
            outcome = Outcome.FALSE if met is None else tester.test(rule)
            if outcome is Outcome.ERROR:
                return verdicts.condition_error(rule, record)
            if outcome is Outcome.TRUE and met is not None:
                holding.setdefault(rule, met)
        if not holding:
            return Verdict(Effect.ALLOW, first, record=record.level.value)
        rules = sorted(holding, key=lambda rule: (rule.policy, rule.number))
        terms = merged([rule.terms for rule in rules if rule.terms is not None])
        return verdicts.held(rules, terms, f"`{holding[rules[0]]}`", record)

    def _covered(
        self, point: Point, tester: Conditions, holding: dict[CompiledRule, Point]
    ) -> tuple[str, CompiledRule | None]:
        """The label of what covers the point, or the rule whose condition failed. Every condition that could matter is
        evaluated, so that the order of rules decides nothing."""
        allowed = ""
        holds: list[CompiledRule] = []
        for rule in self._giving:
            if not _terms(rule).covers(point):
                continue
            outcome = tester.covers(rule)
            if outcome is Outcome.ERROR:
                return "", rule
            if outcome is not Outcome.TRUE:
                continue
            if rule.effect is Effect.HOLD:
                holds.append(rule)
            else:
                allowed = allowed or rule.label
        if not allowed:
            for rule in holds:
                holding.setdefault(rule, point)
        return allowed or (holds[0].label if holds else ""), None

    def _remedy(self) -> str:
        return verdicts.remedy(self._giving)


def _terms(rule: CompiledRule) -> Any:
    assert rule.points is not None
    return rule.points
