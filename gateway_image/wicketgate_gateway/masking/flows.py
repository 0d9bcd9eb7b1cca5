"""What a statement may do with masked columns, in the light of one session.

How this works: the statement's facts say first, and fast, whether a masked column can be in play at all. Only if one
can, the statement is traced (`lineage`): which masked columns its answer shows, what they are used for, where they are
written. What cannot be traced counts as everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.policy import MaskMethod, MaskUses
from wicketgate_gateway.masking.lineage.model import UNTRACED, How, Lineage, Origin, UntraceableError, Use, Value
from wicketgate_gateway.masking.lineage.trace import trace
from wicketgate_gateway.masking.masks import Cover, MaskedRelation, Masks, both, of_computed
from wicketgate_gateway.policy.names import CatalogueIndex, Name, resolve_relation
from wicketgate_gateway.policy.operation import (
    SessionFacts,
    Statement,
    is_system,
    related,
    shows_statistics,
    shows_texts,
    takes_whole_rows,
)
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS
from wicketgate_gateway.wire.postgres.sql.model import Facts, RelationName, StatementKind

FOLLOWED = frozenset(
    {
        StatementKind.SELECT,
        StatementKind.INSERT,
        StatementKind.UPDATE,
        StatementKind.DELETE,
        StatementKind.MERGE,
        StatementKind.EXPLAIN,
        StatementKind.PREPARE,
        StatementKind.DECLARE_CURSOR,
        StatementKind.COPY_OUT,
        StatementKind.DDL,
    }
)
"""Kinds of statements that are traced, if they are of a form that can be."""
_ORDER = tuple(Use)
_TRACES = 512
_LONGEST_KEPT = 4096


@cache
def _nothing_known() -> CatalogueIndex:
    return CatalogueIndex(Catalogue("none", "", [], sorted(CATALOG_RELATIONS)))


class Flows:
    """The masks in the light of one session."""

    def __init__(self, masks: Masks, session: SessionFacts) -> None:
        self.masks = masks
        self.index = session.index
        self.path = session.path
        self.masked = masks.in_catalogue(self.index) if self.index else None

    # --- by the facts -------------------------------------------------------------------------------------------------

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
            return {} if shows_statistics(name) or shows_texts(name) else None
        if self.index is None or self.masked is None or name not in self.index.by_name:
            return {}
        found: MaskedRelation | None = self.masked.by_name.get(name)
        if found is None:
            return None
        return {} if found.whole else found.names

    def statistics(self, facts: Facts) -> bool:
        """Whether the statement reads column statistics."""
        return any(name is not None and shows_statistics(name) for name in self.names(facts.relations))

    def touches(self, facts: Facts) -> bool:
        """Whether it has to do with a relation that has masked columns."""
        return any(self.masked_in(name) is not None for name in self.names(facts.relations))

    def disturbs(self, facts: Facts) -> bool:
        """Whether the server's errors may tell masked values though the statement takes none up: it writes rows that
        have some (also below a view, of a partition or a child), or reads a view that has them in its conditions."""
        written = set(self.names(facts.writes))
        for name in self.names(facts.relations):
            if name is None or self.index is None:
                return True
            if any(self._holds(base, column) for base, column in self.index.bases(name)):
                return True
            if name in written and any(self.masked_in(each) is not None for each in (name, *related(name, self.index))):
                return True
        return False

    def _holds(self, name: Name, column: str | None) -> bool:
        columns = self.masked_in(name)
        return columns is not None and (not columns or column is None or column in columns)

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

    # --- by the tree --------------------------------------------------------------------------------------------------

    def lineage(self, statement: Statement, *, always: bool = False) -> Lineage | str | None:
        """The statement's lineage; None if nothing masked is in play; a text if it cannot be traced: why."""
        facts = statement.facts
        written = bool(facts.writes) and self.touches(facts)
        if facts.kind not in FOLLOWED or not (always or written or self.may_flow(statement)):
            return None
        index = self.index or _nothing_known()
        key = (facts.text, facts.depth, facts.kind, self.path)
        found = index.worked_out.get(key)
        if found is None:
            try:
                found = trace(facts, index, self.path)
            except UntraceableError as error:
                found = str(error)
            if len(facts.text) <= _LONGEST_KEPT:
                if len(index.worked_out) > _TRACES + len(index.relations):
                    index.worked_out.clear()
                index.worked_out[key] = found
        assert isinstance(found, Lineage | str)
        return found

    def cover(self, origin: Origin) -> Cover | None:
        """How a column is masked."""
        oid, number = origin
        if self.masked is None:
            return Cover(self.masks.strictest, self.masks.least.uses)
        relation = self.masked.by_oid.get(oid)
        return None if relation is None else relation.cover(number)

    def method(self, value: Value) -> MaskMethod | None:
        """How a value of an answer is masked; None if it comes as it is."""
        if value.untraced:
            return self.masks.strictest
        cover = both(self.cover(origin) for origin in value.origins)
        if cover is None:
            return None
        return cover.method if value.how is How.COPY else of_computed(cover.method)

    def forbidden(self, lineage: Lineage) -> list[tuple[str, Use]]:
        """What the statement does with masked columns that their masks do not let it."""
        found: list[tuple[str, Use]] = []
        for origin, use in sorted(lineage.uses, key=lambda pair: (_ORDER.index(pair[1]), str(pair[0]))):
            if isinstance(origin, str):
                if self.masks.least.uses is not MaskUses.ANY:
                    found.append((origin, use))
                continue
            cover = self.cover(origin)
            if cover is None or cover.uses is MaskUses.ANY:
                continue
            if cover.uses is MaskUses.COMPARE and use is Use.COMPARE:
                continue
            found.append((self.shown(origin), use))
        return found

    def carried(self, lineage: Lineage) -> str | None:
        """A masked value that the statement would write to another place; None if there is none."""
        for write in lineage.writes:
            value = write.value
            if value.untraced:
                return value.untraced
            for origin in sorted(value.origins):
                if self.cover(origin) is None:
                    continue
                if value.how is How.COPY and value.origins == frozenset({write.target or (0, 0)}):
                    continue  # `ON CONFLICT … SET email = excluded.email`
                return self.shown(origin)
        return None

    def hidden(self, lineage: Lineage) -> frozenset[int]:
        """Numbers of the parameters that meet masked columns; 0 stands for literals."""
        return frozenset(n for origin, n in lineage.meets if origin == UNTRACED or self.cover(origin) is not None)

    def shown(self, origin: Origin) -> str:
        """A column's name, for people."""
        relation = self.index.relations.get(origin[0]) if self.index else None
        if relation is None:
            return "an unknown relation"
        name = next((c.name for c in relation.columns if c.number == origin[1]), None)
        return f"{relation.schema}.{relation.name}" + (f".{name}" if name else "")
