"""A statement of a session: its text, the decision on it, and what follows from its facts.

It is what hangs on the names and messages that `wire.postgres.responses` tracks. The decision is made anew (in place)
whenever policy or catalogue changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.engine import Decision
from wicketgate_gateway.session.secrets import without_passwords
from wicketgate_gateway.wire.postgres.expected import Change
from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementClass, StatementKind

_CHANGES = {
    StatementKind.PREPARE: Change.PREPARE,
    StatementKind.DEALLOCATE: Change.DEALLOCATE,
    StatementKind.DECLARE_CURSOR: Change.DECLARE,
    StatementKind.CLOSE_CURSOR: Change.CLOSE,
}


class Statement:
    """One text of one session. `epoch` numbers the policy and catalogue that it was decided under."""

    __slots__ = (
        "_shown",
        "changes",
        "copies_in",
        "copies_out",
        "decision",
        "defines",
        "epoch",
        "masker",
        "plan",
        "text",
    )

    def __init__(self, text: str, decision: Decision, epoch: int) -> None:
        self.text = text
        self._shown: str | None = None
        self.take(decision, epoch)

    def take(self, decision: Decision, epoch: int) -> None:
        """A new decision on the same text."""
        self.decision = decision
        self.epoch = epoch
        self.masker: object = None
        """The row masker made last, with the columns that it is for: the caller's."""
        plan = decision.verdict.masks
        self.plan: MaskPlan | None = plan if isinstance(plan, MaskPlan) else None
        self.changes: Sequence[tuple[Change, str]] = ()
        self.copies_in = False
        self.copies_out = False
        self.defines = False
        """Whether it changes what the catalogue says."""
        for facts in decision.statements:
            kind = facts.kind
            if StatementClass.DDL in facts.classes:
                self.defines = True
            if kind is StatementKind.COPY_IN:
                self.copies_in = True
            elif kind is StatementKind.COPY_OUT:
                self.copies_out = self.plan is None or not self.plan.untraced
            elif kind in _CHANGES:
                self.changes = changes_of(decision.statements)

    @property
    def masked(self) -> bool:
        """Whether its answer's columns must be looked at."""
        return self.plan is not None

    @property
    def hides_errors(self) -> bool:
        """Whether errors may show a masked value."""
        return self.plan is not None and self.plan.hides_errors

    @property
    def verdict(self) -> Verdict:
        """The decision's verdict."""
        return self.decision.verdict

    @property
    def facts(self) -> tuple[Facts, ...]:
        """The statements' facts."""
        return self.decision.statements

    @property
    def shown(self) -> str:
        """The text as it may be recorded: without passwords."""
        if self._shown is None:
            understood = self.decision.statements or self.decision.verdict.rule != "builtin:syntax"
            self._shown = without_passwords(self.text, self.decision.statements if understood else None)
        return self._shown


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
