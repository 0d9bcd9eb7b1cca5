"""How far a held statement reaches: what is measured, what never is, and how it reads.

How this works: the agent asks the planner for its estimate, and counts by a run that it rolls back where the policy
says so. Only plain statements are measured, and a run must leave nothing behind: functions with effects outside of the
transaction, other kinds of statements, and anything that is not understood whole are only said to be unmeasured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wicketgate_gateway.tunnel.messages import Estimated
from wicketgate_gateway.wire.postgres.sql.builtins import is_plain
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.model import Facts, SqlError, StatementClass, StatementKind

_KINDS = frozenset(
    {StatementKind.SELECT, StatementKind.INSERT, StatementKind.UPDATE, StatementKind.DELETE, StatementKind.MERGE}
)
_CLASSES = frozenset({StatementClass.READ, StatementClass.WRITE, StatementClass.LOCK})
_AROUND = frozenset({StatementKind.TRANSACTION, StatementKind.SET, StatementKind.SHOW})
_MAX_NOTE = 300


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure."""

    statement: str
    count: bool
    note: str = ""
    """Why there will be no count, if the policy asks for one."""


Estimator = Callable[[str, Wanted, Sequence[int], Sequence[bytes | None], Sequence[int]], Awaitable[Estimated]]
"""`estimate(target, wanted, types, parameters, formats)`. Raises nothing: failures are in the answer."""


def wanted(text: str, *, count: bool) -> Wanted | str:
    """What of a text is measured, or why nothing is."""
    try:
        # Anew: a decision's facts may be those of another text that differs in its literals.
        statements = analyze(text).statements
    except SqlError:
        return "it was not understood"
    plain = [facts for facts in statements if facts.kind not in _AROUND]
    if len(plain) != 1:
        return f"the text has {len(statements)} statements" if statements else "it was not understood"
    facts = plain[0]
    if facts.kind not in _KINDS:
        return f"`{facts.kind.value}` has no row count"
    one = text if len(statements) == 1 else text.encode()[facts.start : facts.end].decode()
    why = _why_not_run(facts) if count else ""
    return Wanted(one, count and not why, f"not run: {why}" if why else "")


def _why_not_run(facts: Facts) -> str:
    called = [str(f) for f in facts.functions if not is_plain(f.schema, f.name)]
    called += [str(f) for f in (*facts.dangerous_functions, *facts.unknown_functions)]
    if called:
        return f"it calls `{min(called)}`, whose effects may not be rolled back"
    if facts.operators:
        return f"it uses the operator `{min(str(o) for o in facts.operators)}`"
    if not facts.classes <= _CLASSES or facts.settings:
        return "it does more than read and write"
    return ""


def blast(found: Estimated) -> Mapping[str, Any]:
    """What approvers see."""
    shown: dict[str, Any] = {}
    if found.rows is not None:
        shown["estimated_rows"] = found.rows
    if found.counted is not None:
        shown["counted_rows"] = found.counted
    if found.plan:
        shown["plan"] = found.plan[:_MAX_NOTE]
    if found.note:
        shown["note"] = found.note[:_MAX_NOTE]
    return shown


def unmeasured(why: str) -> Mapping[str, Any]:
    """What approvers see where nothing was measured."""
    return {"note": f"not measured: {why}"[:_MAX_NOTE]}


def in_words(shown: Mapping[str, Any]) -> str:
    """For a NOTICE."""
    words: list[str] = []
    if shown.get("counted_rows") is not None:
        words.append(f"{_rows(shown['counted_rows'])} (counted by a run that was rolled back)")
    if shown.get("estimated_rows") is not None:
        words.append(f"{_rows(shown['estimated_rows'])} (the planner's estimate)")
    if shown.get("note"):
        words.append(str(shown["note"]))
    return ", ".join(words) or "unknown"


def _rows(count: object) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
