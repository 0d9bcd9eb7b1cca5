"""The mask plan: which columns of an answer are masked, and which statements masks forbid.

How this works: two independent words on each result column, and it is masked if either says so. PostgreSQL tells in
RowDescription which table's column a result column is, through aliases, subqueries, CTEs and joins; those are looked up
in the catalogue. And the statement's tree is traced (`lineage`): which columns go into each result column, through
expressions, too. What is computed from a masked column is masked so that no part of it shows; what cannot be traced is
masked by the strictest method, or refused if a policy says so.

What would tell a masked value without showing it is refused (`masked-side-channel`): conditions, sorting, grouping,
aggregates, casts and other things that fail on some values, as far as the mask's `uses` do not let it. What would carry
a masked value to a place without a mask is refused, too (`masked-flow`): writing it elsewhere, COPY to a file, DDL that
renames its source, functions with side effects. COPY TO STDOUT is an answer: see `copies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.copies import CopyRefusedError, copy_in, copy_out
from wicketgate_gateway.masking.copy_in import CopyIn
from wicketgate_gateway.masking.copy_out import CopyOut
from wicketgate_gateway.masking.flows import FOLLOWED, Flows
from wicketgate_gateway.masking.lineage.model import Lineage, Use
from wicketgate_gateway.masking.masks import MaskedCatalogue, Masks, strictest
from wicketgate_gateway.policy.names import FIRST_USER_OID, CatalogueIndex
from wicketgate_gateway.policy.operation import SessionFacts, Statement
from wicketgate_gateway.wire.postgres.sql.model import Facts, SqlError, StatementKind
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.parser import parse


class Field(Protocol):
    """One column of a RowDescription."""

    @property
    def name(self) -> str: ...
    @property
    def table_oid(self) -> int: ...
    @property
    def column_number(self) -> int: ...


class Refusal(NamedTuple):
    """Why masks forbid an operation: a code, what is wrong, what to do instead."""

    code: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Traced:
    """The columns of one statement's answer: for each its mask, and whether it stands for any number of columns."""

    columns: tuple[tuple[MaskMethod | None, bool], ...]
    exact: bool
    """Whether their number does not hang on how many columns a relation has."""

    def fitted(self, count: int) -> list[MaskMethod | None] | None:
        """The masks of an answer of so many columns; None if the statement cannot have it."""
        spread = [i for i, (_, repeated) in enumerate(self.columns) if repeated]
        if not spread:
            return [method for method, _ in self.columns] if len(self.columns) == count else None
        first, last = spread[0], spread[-1]
        before, after = self.columns[:first], self.columns[last + 1 :]
        between = count - len(before) - len(after)
        if between < 0:
            return None
        method = strictest(method for method, _ in self.columns[first : last + 1])
        return [*(m for m, _ in before), *[method] * between, *(m for m, _ in after)]


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """How the answer to one operation is masked. `columns` is asked once for each RowDescription."""

    masks: Masks
    index: CatalogueIndex | None
    masked: MaskedCatalogue | None
    untraced: bool
    """Whether any computed column may hold a masked value."""
    system: bool
    """Whether the answer may hold column statistics, which show sample values of masked columns."""
    hides_errors: bool
    """Whether errors and notices may repeat a masked value: their texts are then replaced (SQLSTATE stays)."""
    traced: tuple[Traced, ...] = ()
    """The answers that were traced."""
    others: bool = False
    """Whether there may be answers beside these, into which nothing masked flows."""
    hidden: frozenset[int] = frozenset()
    """Numbers of the parameters that meet masked columns, and so are recorded hashed."""
    hides_literals: bool = False
    """Whether literals meet masked columns, and so are not recorded."""
    copy: CopyOut | None = None
    """How the data of the text's only statement, a COPY TO STDOUT, is masked."""
    copying_in: CopyIn | None = None
    """What of the data of COPY FROM STDIN is not recorded."""

    @property
    def masks_answer(self) -> bool:
        """Whether a masked column flows into an answer, as far as that is known before it comes. A column that is
        masked for its label alone does not count.
        """
        known = self.index is not None and not self.untraced and not self.system
        return not known or any(method is not None for traced in self.traced for method, _ in traced.columns)

    def columns(self, fields: Sequence[Field]) -> list[MaskMethod | None]:
        """The mask of each result column; None where its value goes through as it is."""
        if self.copy is not None:  # what it sends has no description
            copied = self.copy.fitted(len(fields))
            return [self.masks.strictest] * len(fields) if copied is None else [column.method for column in copied]
        told = self._told(fields)
        return [
            strictest((self.masks.of_label(f.name), self._by_source(f.table_oid, f.column_number), method))
            for f, method in zip(fields, told, strict=True)
        ]

    def _told(self, fields: Sequence[Field]) -> list[MaskMethod | None]:
        count = len(fields)
        found = [(traced, traced.fitted(count)) for traced in self.traced]
        fitting = [methods for _, methods in found if methods is not None]
        sure = bool(fitting) or self.others or not found
        if not sure or any(methods is None and not traced.exact for traced, methods in found):
            # A relation has other columns than the catalogue says: what is computed may be anything.
            strict = self.masks.strictest
            fitting.append([strict if field.table_oid == 0 else None for field in fields])
        return [strictest(methods) for methods in zip(*fitting, strict=True)] if fitting else [None] * count

    def _by_source(self, oid: int, number: int) -> MaskMethod | None:
        strict = self.masks.strictest
        if oid == 0:
            return strict if self.untraced else None
        if self.index is None:
            return strict if oid >= FIRST_USER_OID or self.system else None
        relation = self.index.relations.get(oid)
        if relation is None:  # created since the catalogue was read, or temporary, or the server's own
            return strict if oid >= FIRST_USER_OID or self.system else None
        masked = self.masked.by_oid.get(oid) if self.masked else None
        if number < 0:  # ctid, xmin, tableoid
            return masked.whole if masked else None
        if all(column.number != number for column in relation.columns):
            return strict
        return None if masked is None else masked.numbers.get(number)


Group = Sequence[Statement]
"""One statement, and after it those that it runs by name (EXECUTE, FETCH)."""


def plan_for(masks: Masks, groups: Sequence[Group], session: SessionFacts) -> MaskPlan:
    """The plan for the answer to these statements; where there are several, it fits each of them."""
    flows = Flows(masks, session)
    untraced = system = hides = others = literals = False
    copied: CopyOut | None = None
    copying: CopyIn | None = None
    traced: list[Traced] = []
    hidden: frozenset[int] = frozenset()
    for group in groups:
        named = len(group) > 1
        for number, statement in enumerate(group):
            facts = statement.facts
            flow = flows.may_flow(statement)
            lineage = flows.lineage(statement)
            if facts.kind is StatementKind.COPY_IN:
                alone = not named and len(groups) == 1
                copying = copying or copy_in(facts, flows, alone=alone)
            elif facts.kind is StatementKind.COPY_OUT and not named:
                try:
                    copied = copy_out(statement, flows, alone=len(groups) == 1)
                except CopyRefusedError:
                    untraced = True  # it is denied; should it have been allowed before, its data is not passed on now
            if named and number == 0:
                others = others or facts.kind not in _BY_NAME
            elif isinstance(lineage, Lineage):
                columns = tuple((flows.method(c.value), c.repeated) for c in lineage.columns)
                traced.append(Traced(columns, exact=not facts.star))
            elif _opaque(group) or flow:
                # A plan shows no values but those of functions that the planner evaluates.
                untraced = untraced or facts.kind is not StatementKind.EXPLAIN or bool(statement.functions)
            else:
                others = True
            met = flows.hidden(lineage) if isinstance(lineage, Lineage) else _any(facts, flow=flow)
            hidden |= met
            literals = literals or 0 in met or (named and number > 0 and bool(met))
            system |= flows.statistics(facts)
            hides |= flow or _opaque(group) or flows.disturbs(facts)
    return MaskPlan(
        masks, flows.index, flows.masked, untraced, system, hides, tuple(traced), others, hidden - {0}, literals,
        copied, copying,
    )  # fmt: skip


_BY_NAME = frozenset({StatementKind.FETCH, StatementKind.EXECUTE})


def _any(facts: Facts, *, flow: bool) -> frozenset[int]:
    # Not traced: any parameter and literal may meet a masked column.
    return frozenset(range(facts.parameters + 1)) if flow and facts.kind in FOLLOWED else frozenset()


def refusal(masks: Masks, groups: Sequence[Group], session: SessionFacts, *, alone: bool = True) -> Refusal | None:
    """Why masks forbid these statements, and what to do instead; None if they do not.

    `alone`: nothing else is in their text.
    """
    flows = Flows(masks, session)
    alone = alone and len(groups) == 1
    return next((said for group in groups if (said := _refusal(group, flows, alone=alone)) is not None), None)


def _refusal(group: Group, flows: Flows, *, alone: bool) -> Refusal | None:
    every = [statement.facts for statement in group]
    if any(C.PROCEDURAL in facts.classes and facts.kind is not StatementKind.CALL for facts in every):
        return Refusal(
            "masked-flow",
            "code that no rule can see into may read masked columns",
            "write the statements out instead of DO, CREATE FUNCTION, triggers or rules",
        )
    if any(_sorts_rows(facts) and _changes_names(facts, flows) for facts in every):
        return Refusal(
            "masked-side-channel",
            "rows that CLUSTER sorts by an index could tell the order of masked values",
            "use VACUUM, or ask a person who administers the database",
        )
    if any(C.DDL in facts.classes and _changes_names(facts, flows) for facts in every):
        return Refusal(
            "masked-flow",
            "a change to the definition of a relation with masked columns, or of a schema, could unmask them",
            "ask a person who administers the database",
        )
    for statement in group:
        said = _told(statement, flows)
        if said is not None:
            return said
    if every[0].kind is StatementKind.COPY_OUT:
        try:
            copy_out(group[0], flows, alone=alone)
        except CopyRefusedError as refused:
            return Refusal("masked-flow", refused.reason, refused.remedy)
    return _carries(group, every, flows)


_SETVAL = frozenset({"setval"})
"""It keeps a number where everybody reads it, though moving a sequence is no danger otherwise."""
_CARRIED = (
    "name all columns (INSERT INTO has a list, too); leave out masked ones, `*`, whole rows and your own functions"
)


def _carries(group: Group, every: list[Facts], flows: Flows) -> Refusal | None:
    copies = every[0].kind in (StatementKind.COPY_FILE, StatementKind.COPY_PROGRAM)
    writes = any(facts.writes or facts.classes & {C.WRITE, C.DDL} for facts in every)
    effects = any(facts.dangerous_functions or _SETVAL & {name.name for name in facts.functions} for facts in every)
    if not (copies or writes or effects):
        return None
    taken: list[str | None] = []
    for statement in group:
        # What runs by name may have its rows taken elsewhere by what runs it.
        lineage = None if effects or len(group) > 1 else flows.lineage(statement)
        if isinstance(lineage, Lineage):
            taken.append(flows.carried(lineage))
            continue
        taken.append(flows.flow(statement.facts, targets=writes))
        if copies or writes:
            taken += [f"what {name} returns" for name in sorted(statement.functions)]
    if (copies or writes) and _opaque(group):
        taken.append("a cursor's rows")
    name = next((found for found in taken if found is not None), None)
    if name is None:
        return None
    if copies:
        reason = f"COPY would send masked columns ({name}) as they are"
        return Refusal("masked-flow", reason, "use SELECT, whose answer comes back masked")
    return Refusal("masked-flow", f"this may carry masked columns ({name}) to where they are not masked", _CARRIED)


_REMEDIES = {
    Use.COMPARE: "find the rows by columns without a mask; a policy may let the column be compared (`uses: compare`)",
    Use.CONDITION: "find the rows by columns without a mask",
    Use.SORT: "sort by columns without a mask",
    Use.GROUP: "group by columns without a mask; use UNION ALL instead of UNION",
    Use.AGGREGATE: "aggregate columns without a mask, or use count(*)",
    Use.COMPUTE: "select the column as it is: it comes back masked",
}


def _told(statement: Statement, flows: Flows) -> Refusal | None:
    lineage = flows.lineage(statement)
    if lineage is None:
        return None
    if isinstance(lineage, str):
        if statement.facts.kind is StatementKind.DDL:
            return None  # `_carries` has its say
        taken = flows.flow(statement.facts, targets=True) or "what functions return"
        return Refusal(
            "masked-side-channel",
            f"what becomes of masked columns ({taken}) cannot be told: {lineage}",
            "write it more plainly, and leave masked columns out",
        )
    found = flows.forbidden(lineage)
    if found:
        name, use = found[0]
        what = f"`{name}`" if "`" not in name else f"something that may be masked ({name})"
        return Refusal(
            "masked-side-channel", f"{what} is masked, and {use.value} here: that could tell its values", _REMEDIES[use]
        )
    if flows.masks.denies_untraceable:
        for column in lineage.columns:
            if column.value.untraced:
                return Refusal(
                    "masked-untraceable",
                    f"where the column `{column.name}` comes from cannot be told: {column.value.untraced}",
                    "select columns of tables, and leave out your own functions",
                )
    return None


def _sorts_rows(facts: Facts) -> bool:
    if facts.kind is not StatementKind.VACUUM:
        return False
    try:
        statements = parse(facts.text).stmts
    except SqlError:
        return True
    return any(statement.stmt.WhichOneof("node") != "vacuum_stmt" for statement in statements)


def _opaque(group: Group) -> bool:
    return len(group) == 1 and group[0].facts.kind in _BY_NAME


def _changes_names(facts: Facts, flows: Flows) -> bool:
    if facts.kind is StatementKind.COMMENT:
        return False
    return not facts.writes or not all(flows.certainly_unmasked(name) for name in flows.names(facts.writes))
