"""The mask plan: which columns of an answer are masked, and which statements masks forbid.

How this works: PostgreSQL tells in RowDescription which table's column a result column is, through aliases,
subqueries, CTEs and joins; those are looked up in the catalogue. For what is computed (table OID 0) the statement's
facts must prove that no masked value can be in it, else it is masked with the strictest method. What would carry a
masked value to a place without a mask is refused: writing it elsewhere, COPY, DDL that renames its source, functions
with side effects.

Not covered, because it shows no value: conditions. `WHERE email LIKE 'a%'` on a masked column lets a bot find out by
asking often; a policy that minds denies mentioning the column (`deny: {sql: {columns: [...]}}`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.masks import MaskedCatalogue, MaskedRelation, Masks, strictest
from wicketgate_gateway.policy.names import FIRST_USER_OID, CatalogueIndex, Name, resolve_relation
from wicketgate_gateway.policy.operation import SessionFacts, Statement, is_system, shows_statistics, takes_whole_rows
from wicketgate_gateway.wire.postgres.sql.model import Facts, RelationName, StatementKind
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C


class Field(Protocol):
    """One column of a RowDescription."""

    @property
    def name(self) -> str: ...
    @property
    def table_oid(self) -> int: ...
    @property
    def column_number(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """How the answer to one operation is masked. `columns` is asked once for each RowDescription."""

    masks: Masks
    index: CatalogueIndex | None
    masked: MaskedCatalogue | None
    untraced: bool
    """Whether a computed column may hold a masked value."""
    system: bool
    """Whether the answer may hold column statistics, which show sample values of masked columns."""
    hides_errors: bool
    """Whether errors and notices may repeat a masked value: their texts are then replaced (SQLSTATE stays)."""

    def columns(self, fields: Sequence[Field]) -> list[MaskMethod | None]:
        """The mask of each result column; None where its value goes through as it is."""
        return [strictest((self.masks.of_label(f.name), self._by_source(f.table_oid, f.column_number))) for f in fields]

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
    view = _View(masks, session)
    untraced = system = hides = False
    for group in groups:
        opaque = _opaque(group)
        for statement in group:
            facts = statement.facts
            flows = opaque or view.may_flow(statement)
            # A plan shows no values but those of functions that the planner evaluates.
            untraced |= flows and (facts.kind is not StatementKind.EXPLAIN or bool(statement.functions))
            system |= view.statistics(facts)
            hides |= flows or (bool(facts.writes) and view.touches(facts))
    return MaskPlan(masks, view.index, view.masked, untraced, system, hides)


def refusal(masks: Masks, groups: Sequence[Group], session: SessionFacts) -> tuple[str, str] | None:
    """Why masks forbid these statements, and what to do instead; None if they do not."""
    view = _View(masks, session)
    return next((said for group in groups if (said := _refusal(group, view)) is not None), None)


def _refusal(group: Group, view: _View) -> tuple[str, str] | None:
    every = [statement.facts for statement in group]
    if any(C.PROCEDURAL in facts.classes and facts.kind is not StatementKind.CALL for facts in every):
        return (
            "code that no rule can see into may read masked columns",
            "write the statements out instead of DO, CREATE FUNCTION, triggers or rules",
        )
    if any(C.DDL in facts.classes and _changes_names(facts, view) for facts in every):
        return (
            "a change to the definition of a relation with masked columns, or of a schema, could unmask them",
            "ask a person who administers the database",
        )
    copies = every[0].kind in (StatementKind.COPY_OUT, StatementKind.COPY_FILE, StatementKind.COPY_PROGRAM)
    writes = any(facts.writes or facts.classes & {C.WRITE, C.DDL} for facts in every)
    effects = any(facts.dangerous_functions for facts in every)
    if not (copies or writes or effects):
        return None
    taken = [view.flow(facts, targets=writes) for facts in every]
    if copies or writes:
        taken += [f"what {name} returns" for statement in group for name in sorted(statement.functions)]
        taken += ["a cursor's rows"] if _opaque(group) else []
    name = next((found for found in taken if found is not None), None)
    if name is None:
        return None
    if copies:
        return f"COPY would send masked columns ({name}) as they are", "use SELECT, whose answer comes back masked"
    return (
        f"this may carry masked columns ({name}) to where they are not masked",
        "name all columns (INSERT INTO has a list, too); leave out masked ones, `*`, whole rows and your own functions",
    )


def _opaque(group: Group) -> bool:
    return len(group) == 1 and group[0].facts.kind in (StatementKind.FETCH, StatementKind.EXECUTE)


def _changes_names(facts: Facts, view: _View) -> bool:
    if facts.kind is StatementKind.COMMENT:
        return False
    return not facts.writes or not all(view.certainly_unmasked(name) for name in view.names(facts.writes))


class _View:
    """The masks in the light of one session."""

    def __init__(self, masks: Masks, session: SessionFacts) -> None:
        self.masks = masks
        self.index = session.index
        self.path = session.path
        self.masked = masks.in_catalogue(self.index) if self.index else None

    def names(self, relations: Iterable[RelationName]) -> list[Name | None]:
        """The relations, resolved; None for those that cannot be."""
        return [resolve_relation(name, self.path, self.index) for name in relations]

    def certainly_unmasked(self, name: Name | None) -> bool:
        """Whether a written relation has no masks; one that the catalogue does not know is new, so it has none."""
        if name is None or self.index is None:
            return False
        return name not in self.index.by_name or self.masked_in(name) is None

    def masked_in(self, name: Name | None) -> Mapping[str, MaskMethod] | None:
        """The masked columns of a relation; None if it has none. Empty: it may have any."""
        if name is None:
            return {}
        if name.schema == "pg_toast":  # where long values are
            return {}
        if is_system(name):
            return {} if shows_statistics(name) else None
        if self.index is None or self.masked is None or name not in self.index.by_name:
            return {}
        found: MaskedRelation | None = self.masked.by_name.get(name)
        if found is None:
            return None
        return {} if found.whole else found.names

    def statistics(self, facts: Facts) -> bool:
        return any(name is not None and shows_statistics(name) for name in self.names(facts.relations))

    def touches(self, facts: Facts) -> bool:
        return any(self.masked_in(name) is not None for name in self.names(facts.relations))

    def may_flow(self, statement: Statement) -> bool:
        """Whether a computed column of the answer may hold a masked value."""
        if statement.functions:
            return True
        if self.index is None and statement.facts.columns:  # any `x.f` may be the call of an unknown function
            return True
        return self.flow(statement.facts, targets=True) is not None

    def flow(self, facts: Facts, *, targets: bool) -> str | None:
        """What of the masked columns the statement may take up: a name to show, or None."""
        found = self.names(facts.reads)
        if targets and facts.kind is not StatementKind.COPY_IN:
            found += [name for name in self.names(facts.writes) if not self.certainly_unmasked(name)]
        for name in found:
            columns = self.masked_in(name)
            if columns is None:
                continue
            shown = str(name) if name else "an unknown relation"
            if name is None or not columns or takes_whole_rows(facts, name, self.index):
                return shown
            mentioned = sorted(facts.taken & columns.keys())
            if mentioned:
                return f"{shown}.{mentioned[0]}"
        return None
