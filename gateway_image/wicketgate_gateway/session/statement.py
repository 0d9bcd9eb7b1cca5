"""A statement of a session: its text, the decision on it, and what follows from its facts.

It is what hangs on the names and messages that `wire.postgres.responses` tracks. The decision is made anew (in place)
whenever policy or catalogue changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.engine import Decision
from wicketgate_gateway.session.secrets import may_carry_passwords, without_literals, without_passwords
from wicketgate_gateway.wire.postgres.expected import Change
from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementClass, StatementKind

_CHANGES = {
    StatementKind.PREPARE: Change.PREPARE,
    StatementKind.DEALLOCATE: Change.DEALLOCATE,
    StatementKind.DECLARE_CURSOR: Change.DECLARE,
    StatementKind.CLOSE_CURSOR: Change.CLOSE,
}


class Traits:
    """What follows from a decision alone: worked out once for all texts that share it (`traits_of`)."""

    __slots__ = (
        "carries_passwords",
        "changes",
        "copies_in",
        "copies_out",
        "defines",
        "executes",
        "hidden",
        "hides_errors",
        "hides_literals",
        "kinds",
        "masks_answer",
        "plain",
        "plan",
        "relations",
        "sets",
        "written",
    )

    def __init__(self, decision: Decision) -> None:
        self.kinds = list(decision.kinds)
        self.relations = list(decision.relations)
        plan = decision.verdict.masks
        self.plan: MaskPlan | None = plan if isinstance(plan, MaskPlan) else None
        self.hides_errors = self.plan is not None and self.plan.hides_errors
        self.hides_literals = self.plan is not None and self.plan.hides_literals
        """Whether literals may be values of masked columns: then they are not recorded."""
        self.written: frozenset[str] | None = None
        """Names of the tables that it writes; None where nothing is masked."""
        if self.plan is not None:
            self.written = frozenset(name.name for facts in decision.statements for name in facts.writes)
        self.masks_answer = self.plan is not None and self.plan.masks_answer
        """Whether a masked column flows into its answer."""
        self.hidden: frozenset[int] = self.plan.hidden if self.plan is not None else frozenset()
        """Numbers of the parameters that are recorded hashed."""
        self.carries_passwords = may_carry_passwords(decision.statements)
        self.changes: Sequence[tuple[Change, str]] = ()
        self.copies_in = False
        self.copies_out = False
        self.defines = False
        """Whether it changes what the catalogue says."""
        self.executes = False
        """Whether SQL's EXECUTE is among it."""
        self.sets = False
        """Whether it may change a setting of the session, or who it acts as."""
        for facts in decision.statements:
            kind = facts.kind
            if StatementClass.DDL in facts.classes:
                self.defines = True
            if facts.settings or kind is StatementKind.EXECUTE or StatementClass.ROLE in facts.classes:
                self.sets = True
            if kind is StatementKind.COPY_IN:
                self.copies_in = True
            elif kind is StatementKind.COPY_OUT:
                self.copies_out = self.plan is None or not self.plan.untraced
            elif kind is StatementKind.EXECUTE:
                self.executes = True
            elif kind in _CHANGES:
                self.changes = changes_of(decision.statements)
        self.plain = (
            decision.cacheable
            and decision.verdict.effect is Effect.ALLOW
            and len(decision.statements) == 1
            and not any(facts.literals_matter for facts in decision.statements)
            and not (self.carries_passwords or self.changes or self.copies_in or self.copies_out)
            and not (self.defines or self.executes or self.sets or self.hidden or self.hides_literals)
        )
        """Whether all texts that differ in literals alone are allowed, and change nothing in what the session means."""


def traits_of(decision: Decision) -> Traits:
    """What follows from the decision."""
    notes = decision.notes
    if not notes:
        notes.append(Traits(decision))
    return notes[0]


class Statement:
    """One text of one session. `epoch` numbers the policy and catalogue that it was decided under."""

    __slots__ = (
        "_shown",
        "changes",
        "copies_in",
        "decision",
        "detecting",
        "epoch",
        "masked",
        "plan",
        "text",
        "traits",
        "types",
        "verdict",
    )

    def __init__(self, text: str, decision: Decision, epoch: int, detecting: Detecting | None = None) -> None:
        self.text = text
        self.detecting = detecting
        """What looks at its answer's values, and at its text before it is recorded."""
        self.types = b""
        """The parameters' types as Parse declared them: a count and OIDs, as sent."""
        self._shown: str | None = None
        self.take(decision, epoch, detecting)

    def take(self, decision: Decision, epoch: int, detecting: Detecting | None = None) -> None:
        """A new decision on the same text, and what looks at its values by then."""
        if detecting is not self.detecting:
            self.detecting = detecting
            self._shown = None
        self.decision = decision
        self.verdict = decision.verdict
        self.epoch = epoch
        self.traits = traits = traits_of(decision)
        self.plan = traits.plan
        self.masked = traits.plan is not None or self.detecting is not None
        """Whether its answer's columns must be looked at."""
        self.changes = traits.changes
        self.copies_in = traits.copies_in

    @property
    def copies_out(self) -> bool:
        """Whether the server may send COPY data; what of it is masked, the plan says."""
        return self.traits.copies_out

    @property
    def defines(self) -> bool:
        """Whether it changes what the catalogue says."""
        return self.traits.defines

    @property
    def hides_errors(self) -> bool:
        """Whether errors may show a masked value."""
        return self.traits.hides_errors

    @property
    def written(self) -> frozenset[str] | None:
        """Names of the tables that it writes; None where nothing is masked."""
        return self.traits.written

    @property
    def facts(self) -> tuple[Facts, ...]:
        """The statements' facts."""
        return self.decision.statements

    @property
    def shown(self) -> str:
        """The text as it may be recorded: without passwords, values of masked columns, and what detectors find."""
        shown = self._shown
        if shown is None:
            shown = self._without_passwords()
            if self.traits.hides_literals:
                shown = without_literals(shown)
            if self.detecting is not None:
                shown = self.detecting.shown(shown)
            self._shown = shown
        return shown

    def _without_passwords(self) -> str:
        shown = self.text
        if self.traits.carries_passwords or not self.decision.statements:
            understood = self.decision.statements or self.decision.verdict.rule != "builtin:syntax"
            shown = without_passwords(shown, self.decision.statements if understood else None)
        return shown

    def askable(self, parameters: Sequence[bytes | None]) -> str:
        """The text as people may be asked about it; other than `text` if it or a parameter holds a password or a key.

        Other finds of detectors are shown: who approves must see what it is about.
        """
        detecting = self.detecting
        if detecting is None:
            return self._without_passwords()
        values = [self.text.encode(errors="replace"), *(value for value in parameters if value is not None)]
        if any(detecting.holds_secret(value) for value in values):
            return ""
        return self._without_passwords()


def changes_of(statements: Sequence[Facts]) -> list[tuple[Change, str]]:
    """What each statement changes in the meaning of names."""
    return [
        (_CHANGES.get(facts.kind, Change.NONE), facts.prepared_name or facts.cursor_name or "") for facts in statements
    ]


def runs_copy_in(statement: Statement, prepared: Callable[[str], list[Facts]]) -> bool:
    """Whether it is SQL's EXECUTE of a COPY that Parse prepared; `prepared` looks a name up."""
    return any(
        facts.kind is StatementKind.COPY_IN
        for outer in statement.facts
        if outer.kind is StatementKind.EXECUTE and outer.prepared_name
        for facts in prepared(outer.prepared_name)
    )


class NamedFacts(dict[str, list[Facts]]):
    """A view of names for decisions: looks a name up when it is asked for, holds nothing."""

    __slots__ = ("_look_up",)

    def __init__(self, look_up: Callable[[str], list[Facts]]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, name: str) -> list[Facts]:
        return self._look_up(name)

    def get(self, name: str, default: object = None) -> list[Facts]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The facts of all that the name may mean; empty if nothing."""
        return self._look_up(name)
