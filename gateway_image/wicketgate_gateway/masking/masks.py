"""The masks of a target, compiled: which columns come back masked, how, and what they may be used for.

How this works: a catalogue's relations are matched once. From the columns that a mask names, it spreads: a view's (or
materialised view's) column has the masks of the columns that it comes from, by the view's definition; where that
cannot be followed, all columns of a view that refers to a masked column are masked. Partitions and inheriting tables
share the masks of their parent's columns, both ways, by name; generated columns have the masks of what they are
computed from. `names` masks are masks of every column so called, beside being masks of labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wicketgate_gateway.contract.catalogue import Relation
from wicketgate_gateway.contract.policy import Mask, MaskMethod, MaskUses
from wicketgate_gateway.masking.lineage.model import How, Value
from wicketgate_gateway.masking.lineage.views import view_columns
from wicketgate_gateway.policy.names import FIRST_USER_OID, CatalogueIndex, Name, Pattern, compile_part

STRICTNESS: Mapping[MaskMethod, int] = {
    MaskMethod.PARTIAL: 1,
    MaskMethod.FORMAT: 2,
    MaskMethod.HASH: 3,
    MaskMethod.REDACT: 4,
    MaskMethod.NULL: 5,
}
"""Where several masks meet, the one that tells least wins."""
_FREEDOM: Mapping[MaskUses, int] = {MaskUses.NONE: 0, MaskUses.COMPARE: 1, MaskUses.ANY: 2}
_STATISTIC_OIDS = frozenset({2619, 3429})  # pg_statistic, pg_statistic_ext_data (fixed in PostgreSQL's headers)


def strictest(methods: Iterable[MaskMethod | None]) -> MaskMethod | None:
    """The method that tells least; None if there is none."""
    found = [method for method in methods if method is not None]
    return max(found, key=STRICTNESS.__getitem__) if found else None


def of_computed(method: MaskMethod) -> MaskMethod:
    """The method for what is computed from a column with this one: parts and hashes of parts would tell the whole."""
    return strictest((method, MaskMethod.REDACT)) or method


class Cover(NamedTuple):
    """How a column is masked, and what it may be used for."""

    method: MaskMethod
    uses: MaskUses

    def computed(self) -> Cover:
        """The same for what is computed from it."""
        return Cover(of_computed(self.method), self.uses)


def both(covers: Iterable[Cover | None]) -> Cover | None:
    """The strictest of these in each respect; None if there is none."""
    found = [cover for cover in covers if cover is not None]
    if len(found) <= 1:
        return found[0] if found else None
    method = max((cover.method for cover in found), key=STRICTNESS.__getitem__)
    return Cover(method, min((cover.uses for cover in found), key=_FREEDOM.__getitem__))


@dataclass(frozen=True, slots=True)
class MaskedRelation:
    """One relation with masked columns, by attribute number and by name; `whole` masks each, also unknown ones."""

    numbers: Mapping[int, MaskMethod]
    names: Mapping[str, MaskMethod]
    whole: MaskMethod | None = None
    uses: Mapping[int, MaskUses] | None = None

    def cover(self, number: int) -> Cover | None:
        """How a column is masked, by its attribute number; 0 is any of them."""
        if number == 0:
            return both(self.cover(each) for each in self.numbers)
        method = self.numbers.get(number)
        if method is None and number > 0:
            method = self.whole
        return None if method is None else Cover(method, (self.uses or {}).get(number, MaskUses.NONE))


@dataclass(frozen=True, slots=True)
class MaskedCatalogue:
    """What the masks come to in one version of a catalogue."""

    by_oid: Mapping[int, MaskedRelation]
    by_name: Mapping[Name, MaskedRelation]


class Masks:
    """All masks of a target's policies for one bot; `None` stands for no masks at all."""

    def __init__(self, masks: Iterable[Mask], *, denies_untraceable: bool = False) -> None:
        """`denies_untraceable`: what cannot be followed to its sources is denied instead of masked."""
        self._columns: list[tuple[Pattern, Cover]] = []
        self._names: list[tuple[re.Pattern[str], Cover]] = []
        for mask in masks:
            cover = Cover(mask.method, mask.uses)
            self._columns += [(Pattern(text), cover) for text in mask.columns or ()]
            self._names += [(compile_part(text, ignore_case=True), cover) for text in mask.names or ()]
        covers = [cover for _, cover in self._columns] + [cover for _, cover in self._names]
        self.least = both(covers) or Cover(MaskMethod.NULL, MaskUses.NONE)
        self.strictest: MaskMethod = of_computed(self.least.method)
        """The method for whatever cannot be traced."""
        self.denies_untraceable = denies_untraceable
        self._known: dict[CatalogueIndex, MaskedCatalogue] = {}

    @property
    def has_labels(self) -> bool:
        """Whether result columns are masked by what they are called."""
        return bool(self._names)

    def of_label(self, label: str) -> MaskMethod | None:
        """The method for a result column of this name."""
        return strictest(cover.method for pattern, cover in self._names if pattern.match(label))

    def of_column(self, relation: Name, column: str) -> MaskMethod | None:
        """The method for a source column, going by its name alone."""
        cover = self.cover_of(relation, column)
        return None if cover is None else cover.method

    def cover_of(self, relation: Name, column: str) -> Cover | None:
        """How a source column is masked, going by its name alone."""
        by_pattern = (cover for p, cover in self._columns if p.matches(relation.schema, relation.name, column))
        by_name = (cover for pattern, cover in self._names if pattern.match(column))
        return both((*by_pattern, *by_name))

    def in_catalogue(self, index: CatalogueIndex) -> MaskedCatalogue:
        """The masked relations of this catalogue; worked out once."""
        found = self._known.get(index)
        if found is None:
            if len(self._known) >= 4:
                self._known.clear()
            found = self._known[index] = _Spread(self, index).result()
        return found


class _Spread:
    """The masks of one catalogue's columns, as they spread."""

    def __init__(self, masks: Masks, index: CatalogueIndex) -> None:
        self._index = index
        self._strict = Cover(masks.strictest, masks.least.uses)
        self._numbers: dict[int, dict[int, Cover]] = {}
        self._whole: dict[int, Cover] = {}
        for oid, relation in index.relations.items():
            name = Name(relation.schema, relation.name)
            own = {c.number: m for c in relation.columns if (m := masks.cover_of(name, c.name)) is not None}
            if own:
                self._numbers[oid] = own

    def result(self) -> MaskedCatalogue:
        index = self._index
        changed = True
        while changed:  # each round only makes masks more or stricter, so it ends
            changed = False
            for relation in index.relations.values():
                if relation.sources:
                    changed = self._view(relation) or changed
            changed = self._inherit() or changed
            for oid, column, source in index.generated:
                cover = self._numbers.get(oid, {}).get(source)
                if cover is not None:
                    changed = self._cover(oid, column, cover.computed()) or changed
        by_oid = {
            oid: _masked(relation, self._numbers.get(oid, {}), self._whole.get(oid))
            for oid, relation in index.relations.items()
            if oid in self._numbers or oid in self._whole
        }
        names = {Name(index.relations[oid].schema, index.relations[oid].name): m for oid, m in by_oid.items()}
        return MaskedCatalogue(by_oid, names)

    def _cover(self, oid: int, number: int, cover: Cover) -> bool:
        """Cover a column at least so; True if that changed anything."""
        own = self._numbers.setdefault(oid, {})
        now = both((own.get(number), cover))
        if now is None or now == own.get(number):
            return False
        own[number] = now
        return True

    def _cover_whole(self, oid: int, cover: Cover) -> bool:
        now = both((self._whole.get(oid), cover))
        if now is None or now == self._whole.get(oid):
            return False
        self._whole[oid] = now
        return True

    def _view(self, relation: Relation) -> bool:
        columns = view_columns(relation, self._index)
        if columns is not None:
            changed = False
            for column, value in zip(relation.columns, columns, strict=True):
                cover = self._of_value(value)
                if cover is not None:
                    changed = self._cover(relation.oid, column.number, cover) or changed
            return changed
        cover = both(self._of_source(oid, number) for oid, number in relation.sources if oid != relation.oid)
        return cover is not None and self._cover_whole(relation.oid, cover.computed())

    def _of_value(self, value: Value) -> Cover | None:
        cover = both(self._of_source(oid, number) for oid, number in value.origins if number >= 0)
        return cover if cover is None or value.how is How.COPY else cover.computed()

    def _of_source(self, oid: int, number: int) -> Cover | None:
        if oid not in self._index.relations:
            return self._strict if oid >= FIRST_USER_OID or oid in _STATISTIC_OIDS else None
        own = self._numbers.get(oid, {})
        return both((self._whole.get(oid), *([own.get(number)] if number else own.values())))

    def _inherit(self) -> bool:
        changed = False
        for pair in self._index.inherits:
            ends = [self._index.relations[oid] for oid in pair if oid in self._index.relations]
            if len(ends) != 2:
                continue
            for here, there in (ends, reversed(ends)):
                theirs = self._numbers.get(there.oid, {})
                by_name = {c.name: theirs[c.number] for c in there.columns if c.number in theirs}
                for column in here.columns:
                    if column.name in by_name:
                        changed = self._cover(here.oid, column.number, by_name[column.name]) or changed
                whole = self._whole.get(there.oid)
                if whole is not None:
                    changed = self._cover_whole(here.oid, whole) or changed
        return changed


def _masked(relation: Relation, numbers: Mapping[int, Cover], whole: Cover | None) -> MaskedRelation:
    if whole is not None:
        numbers = {c.number: both((whole, numbers.get(c.number))) or whole for c in relation.columns}
    methods = {number: cover.method for number, cover in numbers.items()}
    names = {c.name: methods[c.number] for c in relation.columns if c.number in methods}
    uses = {number: cover.uses for number, cover in numbers.items()}
    return MaskedRelation(methods, names, None if whole is None else whole.method, uses)
