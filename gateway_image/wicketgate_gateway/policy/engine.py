"""The decision: one operation in, one verdict out.

How this works: each statement of the operation becomes aspects (`operation.py`). The built-in part comes first
(`plumbing.py`), then `deny` rules, then every aspect must be covered by some `allow` or `hold` rule, then the masks
have their say (`masking/plan.py`). The first statement that is denied decides. If none is, and a `hold` rule meets
anything (or covers what no `allow` does), the whole operation is held, under the strictest terms of all such rules.
Everything here is pure; `decide_text` adds the parser and a cache of verdicts, which lives and dies with its
`TargetPolicy`, so a new bundle starts with none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from wicketgate_gateway.contract.policy import Detector, Mask
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.masks import Masks
from wicketgate_gateway.masking.plan import MaskPlan, plan_for, refusal
from wicketgate_gateway.policy import plumbing, verdicts
from wicketgate_gateway.policy.api_operations import Operations
from wicketgate_gateway.policy.compile import CompiledRule, merged
from wicketgate_gateway.policy.conditions import Outcome
from wicketgate_gateway.policy.decision import Decision, Record, Subject, VerdictCache
from wicketgate_gateway.policy.indexed import RuleIndex
from wicketgate_gateway.policy.names import Name
from wicketgate_gateway.policy.operation import Aspect, SessionFacts, Statement, changes_system, statement_of
from wicketgate_gateway.policy.points import Conditions, Point, PointRules
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.literals import strip_literals
from wicketgate_gateway.wire.postgres.sql.model import Facts, SqlError, StatementKind
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

__all__ = ["Decision", "Record", "Subject", "TargetPolicy", "VerdictCache", "decide_text"]

SHORT_TEXT = 256
"""To strip the literals of a shorter text costs no more than to remember it as it is."""
CACHED_TEXT = 4096
"""Longer texts are decided anew each time: they are rare, and would fill the memory."""
_BY_NAME = frozenset({StatementKind.EXECUTE, StatementKind.FETCH})


class TargetPolicy:
    """All policies that apply to one bot at one target. Immutable but for its caches; for one thread."""

    def __init__(
        self,
        policies: Sequence[str],
        rules: Iterable[CompiledRule],
        masks: Masks | None,
        record: Record,
        subject: Subject,
        digest: str,
        *,
        cache: VerdictCache | None = None,
        clock: Callable[[], float] = time.time,
        data_masks: Iterable[Mask] = (),
        detectors: Iterable[tuple[Sequence[Mask], Mapping[str, Detector]]] = (),
        operations: Operations | None = None,
    ) -> None:
        """`cache` is one that bots share whose policies, masks and target are the same; it is not taken where a
        condition asks who the bot is."""
        self.policies = tuple(sorted(policies))
        self.masks = masks
        self.record = record
        self.subject = subject
        self.digest = digest
        self.clock = clock
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.policy, rule.number)))
        sql = [rule for rule in self.rules if rule.points is None]
        self._allow = tuple(rule for rule in sql if rule.effect is not Effect.DENY)
        self._hold = tuple(rule for rule in sql if rule.effect is Effect.HOLD)
        self._deny = tuple(rule for rule in sql if rule.effect is Effect.DENY)
        self._allow_index, self._hold_index, self._deny_index = map(RuleIndex, (self._allow, self._hold, self._deny))
        self.data_masks = tuple(data_masks)
        """What is masked in answers other than SQL's rows."""
        self.detectors = tuple(detectors)
        """For each policy with `detect`: those masks, and its own detectors."""
        self.operations = operations
        """The operations of the target's OpenAPI document; None without one."""
        conditions = [rule.condition for rule in self.rules if rule.condition is not None]
        self.reads_text = any(condition.reads_text for condition in conditions)
        """Whether a verdict may hang on the literals of a text."""
        self.reads_time = any(condition.reads_time for condition in conditions)
        """Whether a verdict may hang on the time: then none is cached."""
        self._windowed = tuple(rule for rule in self.rules if rule.during or rule.policy_during)
        self.timed = self.reads_time or bool(self._windowed)
        """Whether a verdict may change with the time: see `stamp`."""
        shared = cache is not None and not any(condition.reads_bot for condition in conditions)
        self.cache = cache if cache is not None and shared else VerdictCache()
        self._covering: dict[Aspect, tuple[CompiledRule, ...]] = {}
        self._said = " and ".join(f"`{name}`" for name in self.policies)
        self._points = PointRules([rule for rule in self.rules if rule.points is not None], self._said, self.record)

    def stamp(self, now: float | None = None) -> object:
        """A verdict holds as long as this is equal: which time windows are open. Equal to nothing if conditions ask for
        the time."""
        if self.reads_time:
            return object()
        return self._open(self.clock() if now is None else now) if self.timed else ()

    def _open(self, now: float) -> tuple[int, ...]:
        return tuple(rule.in_force(now) + 2 * rule.gives(now) for rule in self._windowed)

    # --- the decision ------------------------------------------------------------------------------------------------

    def decide(
        self, statements: Sequence[Facts], text: str, session: SessionFacts, now: float | None = None
    ) -> Verdict:
        """The verdict on an operation, the statements of `text`, at `now`; one that is allowed or held carries the mask
        plan of its answer; so does one that is denied, since it is recorded, too."""
        verdict = self._decide(statements, text, session, now)
        if self.masks is None or verdict.effect is not Effect.DENY or not statements:
            return verdict
        return replace(verdict, masks=self.mask_plan(statements, session))

    def _decide(
        self, statements: Sequence[Facts], text: str, session: SessionFacts, now: float | None = None
    ) -> Verdict:
        if not statements:
            return self._verdict("builtin:empty")
        operation: list[list[Statement]] = []
        for number, facts in enumerate(statements, 1):
            group, refused = self.with_named(facts, session)
            if refused is not None:
                return self._placed(refused, facts, number, len(statements))
            operation.append([statement_of(f, session) for f in group])
        every = [s for group in operation for s in group]
        tester = Conditions(lambda: self._values(every, text), self.clock() if now is None else now)
        rule = ""
        holding: dict[CompiledRule, Aspect | Name] = {}
        for number, group in enumerate(operation, 1):
            for statement in group:
                verdict = self._decide_one(statement, session, tester, holding)
                if not verdict.allowed:
                    return self._placed(verdict, statements[number - 1], number, len(statements))
                if not rule or rule.startswith("builtin:"):
                    rule = verdict.rule
        plan: MaskPlan | None = None
        if self.masks is not None:
            for number, group in enumerate(operation, 1):
                said = refusal(self.masks, [group], session, alone=len(operation) == 1)
                if said is not None:
                    verdict = self._denied(f"builtin:{said.code}", *said)
                    return self._placed(verdict, statements[number - 1], number, len(statements))
            plan = plan_for(self.masks, operation, session)
        return self._held(holding, statements, plan) if holding else self._verdict(rule, plan)

    def mask_plan(self, statements: Sequence[Facts], session: SessionFacts) -> MaskPlan | None:
        """How the answer to these statements is masked; None if the target has no masks."""
        if self.masks is None:
            return None
        groups = [[statement_of(f, session) for f in self.with_named(facts, session)[0]] for facts in statements]
        return plan_for(self.masks, groups, session)

    def with_rules(self, rules: Iterable[CompiledRule]) -> TargetPolicy:
        """The same with other rules: what would be, if."""
        return TargetPolicy(
            self.policies,
            rules,
            self.masks,
            self.record,
            self.subject,
            self.digest,
            clock=self.clock,
            data_masks=self.data_masks,
            detectors=self.detectors,
        )

    def decide_points(
        self, points: Sequence[Point], values: Mapping[str, Any], text: str, now: float | None = None
    ) -> Verdict:
        """The verdict on an operation of another protocol than SQL: all that it does, as points.

        `values` are the protocol's own variables of conditions (`op.method`, …), `text` is the operation as people read
        it. An operation without points is denied: it was not understood.
        """
        moment = self.clock() if now is None else now
        tester = Conditions(lambda: {**self._everywhere(text, [p.kind for p in points]), **values}, moment)
        return self._points.decide(points, tester)

    def _values(self, statements: list[Statement], text: str) -> dict[str, Any]:
        relations = {str(a.relation) for s in statements for a in s.aspects if a.relation is not None}
        return {
            **self._everywhere(text, [s.facts.kind.value for s in statements]),
            "op.classes": sorted({a.cls.value for s in statements for a in s.aspects}),
            "op.relations": sorted(relations),
            "op.functions": sorted({str(name) for s in statements for name in s.called}),
            "op.columns": sorted({name for s in statements for name in s.facts.columns}),
        }

    def _everywhere(self, text: str, kinds: list[str]) -> dict[str, Any]:
        subject = self.subject
        return {
            "op.statement": text,
            "op.kinds": kinds,
            "bot.name": subject.bot,
            "bot.groups": list(subject.groups),
            "target.name": subject.target,
            "target.labels": dict(subject.labels),
        }

    def with_named(self, facts: Facts, session: SessionFacts) -> tuple[list[Facts], Verdict | None]:
        """The statement and all that it may run by name, as which it is decided; or the denial of an unknown name."""
        group = [facts]
        part: Facts | None = facts
        while part is not None:
            if C.PREPARED in part.classes and part.kind is StatementKind.EXECUTE:
                found = session.prepared.get(part.prepared_name or "")
                if not found:
                    return group, self._denied(
                        "builtin:prepared",
                        "unknown-prepared",
                        f"no statement was prepared as `{part.prepared_name}` in this session",
                        "PREPARE it in this session first",
                    )
                group.extend(found)
            elif part.kind is StatementKind.FETCH:
                group.extend(session.cursors.get(part.cursor_name or "", ()))
            part = part.inner
        return group, None

    def _decide_one(
        self,
        statement: Statement,
        session: SessionFacts,
        tester: Conditions,
        holding: dict[CompiledRule, Aspect | Name],
    ) -> Verdict:
        facts, path = statement.facts, session.path
        if facts.kind is StatementKind.OTHER or C.OTHER in facts.classes:
            return self._denied(
                "builtin:unsupported", "unsupported-statement", "this statement is of a kind that is not understood",
                "use plain SELECT, INSERT, UPDATE, DELETE",
            )  # fmt: skip
        if any(plumbing.is_pinned(setting, path) for setting in facts.settings) or changes_system(statement):
            names = ", ".join(f"`{s.name or 'a computed name'}`" for s in facts.settings if plumbing.is_pinned(s, path))
            what = f"the setting {names}" if names else "a system relation"
            return self._denied("builtin:pinned", "pinned", f"{what} is pinned for every session", "leave it as it is")
        if statement.unresolved:
            return self._unresolved(statement)
        refused = self._denied_by_rule(statement, tester)
        if refused is not None:
            return refused
        verdict = self._allowed_by_rules(statement, path, tester, holding)
        return self._met_by_holds(statement, tester, holding) or verdict if verdict.allowed else verdict

    def _unresolved(self, statement: Statement) -> Verdict:
        name = statement.unresolved[0]
        if name.count(".") >= 2:
            return self._denied(
                "builtin:names", "cross-database", f"`{name}` names a database", "write `schema.relation`"
            )
        return self._denied(
            "builtin:names", "unresolved-name", f"what `{name}` means cannot be told", "write it as `schema.relation`"
        )

    def _denied_by_rule(self, statement: Statement, tester: Conditions) -> Verdict | None:
        for rule in self._deny_index.about(_touched(statement)):
            met = rule.meets(statement)
            if met is None:
                continue
            outcome = tester.test(rule)
            if outcome is Outcome.ERROR:
                return self._condition_error(rule)
            if outcome is Outcome.TRUE:
                return verdicts.denied_by(rule, _met(met), self._remedy(), self.record)
        return None

    def _met_by_holds(
        self, statement: Statement, tester: Conditions, holding: dict[CompiledRule, Aspect | Name]
    ) -> Verdict | None:
        for rule in self._hold_index.about(_touched(statement)):
            met = rule.meets(statement)
            outcome = Outcome.FALSE if met is None else tester.test(rule)
            if outcome is Outcome.ERROR:
                return self._condition_error(rule)
            if outcome is Outcome.TRUE and met is not None:
                holding.setdefault(rule, met)
        return None

    def _held(
        self, holding: dict[CompiledRule, Aspect | Name], statements: Sequence[Facts], plan: MaskPlan | None
    ) -> Verdict:
        rules = sorted(holding, key=lambda rule: (rule.policy, rule.number))
        terms = merged([rule.terms for rule in rules if rule.terms is not None])
        for facts in statements:
            remedy = _hidden(facts)
            if remedy:
                return self._denied(
                    terms.rule,
                    "hold-not-showable",
                    f"`{terms.rule}` holds this for approval, and `{facts.kind.value}` does not show what it does",
                    remedy,
                )
        return verdicts.held(rules, terms, _met(holding[rules[0]]), self.record, plan)

    def _allowed_by_rules(
        self,
        statement: Statement,
        path: tuple[str, ...],
        tester: Conditions,
        holding: dict[CompiledRule, Aspect | Name],
    ) -> Verdict:
        first: str = ""
        uncovered: Aspect | Name | None = None
        for aspect in statement.aspects:
            if not aspect.required:
                continue
            label, refused = self._first_true(
                (rule for rule in self._covers(aspect) if rule.concerns(statement, path)), tester, aspect, holding
            )
            if refused is not None:
                return refused
            if label is None:
                uncovered = uncovered or aspect
            first = first or label or ""
        for function in sorted(statement.functions):
            label, refused = self._first_true(
                (rule for rule in self._allow if rule.covers_function(function, statement, path)),
                tester,
                function,
                holding,
            )
            if refused is not None:
                return refused
            if label is None:
                uncovered = uncovered or function
            first = first or label or ""
        if uncovered is not None:
            what = str(uncovered) if isinstance(uncovered, Aspect) else f"calling `{uncovered}`"
            return verdicts.not_allowed(self._said, what, self._remedy(), self.record, closed=tester.closed)
        if first:
            return self._verdict(first)
        kind = statement.facts.kind
        if kind in plumbing.PLUMBING:
            return self._verdict(f"builtin:{plumbing.PLUMBING[kind]}")
        if kind in (StatementKind.SET, StatementKind.LISTEN):
            return self._verdict("builtin:session")
        if kind is StatementKind.EXECUTE:
            return self._verdict("builtin:prepared")
        return self._denied(
            "builtin:unsupported", "unsupported-statement", "what this statement does is not understood",
            "use plain SELECT, INSERT, UPDATE, DELETE",
        )  # fmt: skip

    def _first_true(
        self,
        rules: Iterable[CompiledRule],
        tester: Conditions,
        what: Aspect | Name,
        holding: dict[CompiledRule, Aspect | Name],
    ) -> tuple[str | None, Verdict | None]:
        # Every condition that could matter is evaluated, so that the order of rules decides nothing. What no `allow`
        # covers but a `hold` does is held, also where that rule does not meet it (`SELECT 1` has no relation).
        allowed: str | None = None
        holds: list[CompiledRule] = []
        for rule in rules:
            outcome = tester.covers(rule)
            if outcome is Outcome.ERROR:
                return None, self._condition_error(rule)
            if outcome is not Outcome.TRUE:
                continue
            if rule.effect is Effect.HOLD:
                holds.append(rule)
            else:
                allowed = allowed or rule.label
        if allowed is None:
            for rule in holds:
                holding.setdefault(rule, what)
        return allowed or (holds[0].label if holds else None), None

    def _covers(self, aspect: Aspect) -> tuple[CompiledRule, ...]:
        found = self._covering.get(aspect)
        if found is None:
            if len(self._covering) >= 8192:
                self._covering.clear()
            found = self._covering[aspect] = tuple(
                rule for rule in self._allow_index.about((aspect.relation,)) if rule.covers(aspect)
            )
        return found

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def _verdict(self, rule: str, plan: MaskPlan | None = None) -> Verdict:
        return Verdict(Effect.ALLOW, rule, masks=plan, record=self.record.level.value)

    def _denied(self, rule: str, code: str, reason: str, remedy: str = "") -> Verdict:
        return Verdict(Effect.DENY, rule, reason, remedy, code, record=self.record.level.value)

    def _condition_error(self, rule: CompiledRule) -> Verdict:
        return verdicts.condition_error(rule, self.record)

    def _remedy(self) -> str:
        return verdicts.remedy(self._allow)

    def _placed(self, verdict: Verdict, facts: Facts, number: int, count: int) -> Verdict:
        if count == 1:
            return verdict
        return replace(verdict, reason=f"statement {number} of {count} (`{facts.kind.value}`): {verdict.reason}")


def _met(met: Aspect | Name) -> str:
    return str(met) if isinstance(met, Aspect) else f"`{met}`"


_HIDDEN: Mapping[StatementKind, str] = {
    StatementKind.EXECUTE: "send the statement itself, not its name",
    StatementKind.PREPARE: "send the statement itself, or prepare it by the protocol (Parse)",
    StatementKind.DECLARE_CURSOR: "send the query itself",
    StatementKind.FETCH: "send the query itself",
    StatementKind.COPY_IN: "use INSERT, which shows its rows",
}
"""What an approver could not see the meaning of, and what to send instead."""


def _hidden(facts: Facts) -> str:
    part: Facts | None = facts
    while part is not None:
        if part.kind in _HIDDEN:
            return _HIDDEN[part.kind]
        if C.PREPARED in part.classes:
            return _HIDDEN[StatementKind.EXECUTE]
        part = part.inner
    return ""


def decide_text(policy: TargetPolicy, text: str, session: SessionFacts, now: float | None = None) -> Decision:
    """Parse and decide one operation, or find it in the policy's cache.

    What cannot be parsed is denied with the parser's own code. The cache is keyed by all of the session that a verdict
    can depend on, and by the text: without its literals where none of them can change what the statements do and no
    condition looks at them. What runs a statement by name and what asks for the time is never cached; time windows are
    part of the key. `now` is in seconds since 1970; left out, the policy's clock says it.
    """
    if now is None and policy.timed:
        now = policy.clock()  # once, so that what is kept is kept under the windows that it was decided under
    if len(text) > CACHED_TEXT or policy.reads_time:
        return _decide(policy, text, session, now)
    cache, path, index = policy.cache, session.search_path, session.index
    times = policy.stamp(now)
    exact: object = (text, path, index, times)
    found = cache.recent(exact)
    if found is not None:
        return found
    stripped = None if policy.reads_text else _stripped(text)
    key: object = exact if stripped is None else (stripped, path, index, times)
    # A text whose literals matter is kept under its own key.
    found = cache.find(key, exact, remember=len(text) > SHORT_TEXT)
    if found is None and key is not exact:
        found = cache.find(exact, exact)
    if found is not None:
        return found
    decision = _decide(policy, text, session, now)
    if decision.cacheable:
        if any(facts.literals_matter for facts in decision.statements):
            key = exact
        cache.put(key, exact, decision)
    return decision


def _stripped(text: str) -> bytes | None:
    try:
        return strip_literals(text.encode())
    except UnicodeEncodeError:
        return None


def _touched(statement: Statement) -> set[Name]:
    # A rule that names relations in full meets a statement by one of these, or not at all.
    return {aspect.relation for aspect in statement.aspects if aspect.relation is not None}


def _decide(policy: TargetPolicy, text: str, session: SessionFacts, now: float | None) -> Decision:
    try:
        statements = analyze(text).statements
    except SqlError as error:
        return Decision(
            Verdict(
                Effect.DENY,
                "builtin:syntax",
                error.message + (f" at character {error.position}" if error.position else ""),
                error.remedy or "send plain PostgreSQL statements",
                error.code,
                record=policy.record.level.value,
            )
        )
    verdict = policy.decide(statements, text, session, now)
    return Decision(
        verdict,
        statements,
        _relations(statements, session),
        cacheable=not any(_by_name(facts) for facts in statements),
    )


def _by_name(facts: Facts) -> bool:
    part: Facts | None = facts
    while part is not None:
        if part.kind in _BY_NAME or C.PREPARED in part.classes:
            return True
        part = part.inner
    return False


def _relations(statements: Sequence[Facts], session: SessionFacts) -> tuple[str, ...]:
    found = {a.relation for f in statements for a in statement_of(f, session).aspects if a.required and a.relation}
    return tuple(sorted(str(name) for name in found))
