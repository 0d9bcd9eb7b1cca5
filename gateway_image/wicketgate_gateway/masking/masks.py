"""The masks of a target, compiled: which columns of which relations come back masked, and how.

How this works: a catalogue's relations are matched once. From the columns that a mask names, it spreads: a view (or
materialised view) that refers to a masked column has all of its columns masked, since its catalogue entry does not say
which of them shows it; partitions and inheriting tables share the masks of their parent's columns, both ways, by name;
generated columns have the masks of what they are computed from. `names` masks are masks of every column so called,
beside being masks of labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wicketgate_gateway.contract.catalogue import Relation
from wicketgate_gateway.contract.policy import Mask, MaskMethod
from wicketgate_gateway.policy.names import FIRST_USER_OID, CatalogueIndex, Name, Pattern, compile_part

STRICTNESS: Mapping[MaskMethod, int] = {
    MaskMethod.PARTIAL: 1,
    MaskMethod.HASH: 2,
    MaskMethod.REDACT: 3,
    MaskMethod.NULL: 4,
}
"""Where several masks meet, the one that tells least wins."""
_STATISTIC_OIDS = frozenset({2619, 3429})  # pg_statistic, pg_statistic_ext_data (fixed in PostgreSQL's headers)


def strictest(methods: Iterable[MaskMethod | None]) -> MaskMethod | None:
    """The method that tells least; None if there is none."""
    found = [method for method in methods if method is not None]
    return max(found, key=STRICTNESS.__getitem__) if found else None


@dataclass(frozen=True, slots=True)
class MaskedRelation:
    """One relation with masked columns, by attribute number and by name; `whole` masks each, also unknown ones."""

    numbers: Mapping[int, MaskMethod]
    names: Mapping[str, MaskMethod]
    whole: MaskMethod | None = None


@dataclass(frozen=True, slots=True)
class MaskedCatalogue:
    """What the masks come to in one version of a catalogue."""

    by_oid: Mapping[int, MaskedRelation]
    by_name: Mapping[Name, MaskedRelation]


class Masks:
    """All masks of a target's policies for one bot; `None` stands for no masks at all."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        self._columns: list[tuple[Pattern, MaskMethod]] = []
        self._names: list[tuple[re.Pattern[str], MaskMethod]] = []
        for mask in masks:
            self._columns += [(Pattern(text), mask.method) for text in mask.columns or ()]
            self._names += [(compile_part(text, ignore_case=True), mask.method) for text in mask.names or ()]
        methods = [method for _, method in self._columns] + [method for _, method in self._names]
        self.strictest: MaskMethod = strictest(methods) or MaskMethod.NULL
        """The method for whatever cannot be traced."""
        self._known: dict[CatalogueIndex, MaskedCatalogue] = {}

    def of_label(self, label: str) -> MaskMethod | None:
        """The method for a result column of this name."""
        return strictest(method for pattern, method in self._names if pattern.match(label))

    def of_column(self, relation: Name, column: str) -> MaskMethod | None:
        """The method for a source column, going by its name alone."""
        by_pattern = (m for p, m in self._columns if p.matches(relation.schema, relation.name, column))
        return strictest((*by_pattern, self.of_label(column)))

    def in_catalogue(self, index: CatalogueIndex) -> MaskedCatalogue:
        """The masked relations of this catalogue; worked out once."""
        found = self._known.get(index)
        if found is None:
            if len(self._known) >= 4:
                self._known.clear()
            found = self._known[index] = self._resolve(index)
        return found

    def _resolve(self, index: CatalogueIndex) -> MaskedCatalogue:
        numbers: dict[int, dict[int, MaskMethod]] = {}
        whole: dict[int, MaskMethod] = {}
        for oid, relation in index.relations.items():
            name = Name(relation.schema, relation.name)
            own = {c.number: m for c in relation.columns if (m := self.of_column(name, c.name)) is not None}
            if own:
                numbers[oid] = own
        changed = True
        while changed:  # each round only makes masks more or stricter, so it ends
            changed = False
            for oid, relation in index.relations.items():
                method = self._through(relation, index, numbers, whole)
                if method is not None and strictest((method, whole.get(oid))) is not whole.get(oid):
                    whole[oid], changed = method, True
            changed = self._inherit(index, numbers, whole) or changed
            for oid, column, source in index.generated:
                own = numbers.get(oid, {})
                method = strictest((own.get(source), own.get(column)))
                if method is not None and method is not own.get(column):
                    own[column], changed = method, True
        by_oid = {
            oid: _masked(relation, numbers.get(oid, {}), whole.get(oid))
            for oid, relation in index.relations.items()
            if oid in numbers or oid in whole
        }
        names = {Name(index.relations[oid].schema, index.relations[oid].name): m for oid, m in by_oid.items()}
        return MaskedCatalogue(by_oid, names)

    def _through(
        self,
        relation: Relation,
        index: CatalogueIndex,
        numbers: Mapping[int, Mapping[int, MaskMethod]],
        whole: Mapping[int, MaskMethod],
    ) -> MaskMethod | None:
        methods: list[MaskMethod | None] = []
        for oid, number in relation.sources:
            if oid == relation.oid:
                continue
            if oid not in index.relations:
                if oid >= FIRST_USER_OID or oid in _STATISTIC_OIDS:
                    methods.append(self.strictest)
            else:
                methods.append(whole.get(oid))
                own = numbers.get(oid, {})
                methods += [own.get(number)] if number else own.values()
        return strictest(methods)

    def _inherit(
        self, index: CatalogueIndex, numbers: dict[int, dict[int, MaskMethod]], whole: dict[int, MaskMethod]
    ) -> bool:
        changed = False
        for pair in index.inherits:
            ends = [index.relations[oid] for oid in pair if oid in index.relations]
            if len(ends) != 2:
                continue
            for here, there in (ends, reversed(ends)):
                theirs = numbers.get(there.oid, {})
                by_name = {c.name: theirs[c.number] for c in there.columns if c.number in theirs}
                mine = numbers.setdefault(here.oid, {})
                for column in here.columns:
                    method = strictest((by_name.get(column.name), mine.get(column.number)))
                    if method is not None and method is not mine.get(column.number):
                        mine[column.number], changed = method, True
                if not mine:
                    del numbers[here.oid]
                method = strictest((whole.get(there.oid), whole.get(here.oid)))
                if method is not None and method is not whole.get(here.oid):
                    whole[here.oid], changed = method, True
        return changed


def _masked(relation: Relation, numbers: Mapping[int, MaskMethod], whole: MaskMethod | None) -> MaskedRelation:
    if whole is not None:
        numbers = {c.number: strictest((whole, numbers.get(c.number))) or whole for c in relation.columns}
    names = {c.name: numbers[c.number] for c in relation.columns if c.number in numbers}
    return MaskedRelation(numbers, names, whole)
