"""Names in a query: what stands in FROM, and what a column reference means there.

How this works: a `Scope` is one query level with its FROM items and the common table expressions that it sees, and
knows the level around it. A name is looked up from the inside out, as PostgreSQL does (parse_relation.c). Where
PostgreSQL would find a name ambiguous and refuse, the union of what it may mean is given. An item whose columns are
not known (a system relation, a function) is *open*: it may have a column of any name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wicketgate_gateway.masking.lineage.model import (
    CONSTANT,
    Column,
    How,
    UntraceableError,
    Value,
    either,
    union,
    unknown,
)
from wicketgate_gateway.policy.names import CatalogueIndex, Name, resolve_relation
from wicketgate_gateway.policy.operation import is_system, shows_statistics, shows_texts

if TYPE_CHECKING:
    from wicketgate_gateway.wire.postgres.sql.model import RelationName

SYSTEM_COLUMNS = frozenset({"ctid", "oid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
_SAFE = (
    "schemaname tablename attname inherited null_frac starelid staattnum stainherit stanullfrac "
    "statistics_schemaname statistics_name statistics_owner stxoid stxdinherit"
)
STATISTICS_SAFE = frozenset(_SAFE.split())
"""Columns of the statistics that tell nothing of other relations' values but which are NULL."""
_ACTIVITY = (
    "datid datname pid leader_pid usesysid usename application_name client_addr client_hostname client_port "
    "backend_start xact_start query_start state_change wait_event_type wait_event state backend_xid backend_xmin "
    "query_id backend_type"
)
ACTIVITY_SAFE = frozenset(_ACTIVITY.split())
"""Columns of pg_stat_activity without what other sessions' statements say."""


@dataclass(slots=True)
class Item:
    """One thing in FROM."""

    alias: str
    columns: Sequence[Column]
    schema: str | None = None
    """The schema by which its columns may be called, if it is a relation without an alias."""
    rest: Value | None = None
    """The value of columns that are not listed; None if all are."""
    oid: int = 0
    """The relation's OID, if it is one that the catalogue knows."""
    known: frozenset[str] = frozenset()
    """Names among the unlisted columns that hold nothing that can be masked."""

    def column(self, name: str) -> Value | None:
        """The value of a column, None if the item has none of this name."""
        found = [column.value for column in self.columns if column.name == name and not column.repeated]
        repeated = [column.value for column in self.columns if column.repeated]
        if found:
            return either(*found, *repeated)
        if repeated:
            return either(*repeated, *([self.rest] if self.rest is not None else []))
        if name in self.known:
            return CONSTANT
        if self.rest is not None:
            return self.rest
        if self.oid and name in SYSTEM_COLUMNS:
            return Value(frozenset({(self.oid, -1)}), How.COPY)
        return None

    def certain(self, name: str) -> bool:
        """Whether it surely has a column of this name."""
        return any(column.name == name and not column.repeated for column in self.columns)

    def row(self) -> Value:
        """The value of a whole row."""
        values = [column.value for column in self.columns] + ([self.rest] if self.rest is not None else [])
        return union(*values, how=How.WHOLE_ROW)

    def star(self) -> list[Column]:
        """The columns that `*` stands for."""
        found = list(self.columns)
        if self.rest is not None:
            found.append(Column("*", self.rest, repeated=True))
        return found


@dataclass(slots=True)
class Cte:
    """A common table expression; `columns` is what is known of it so far."""

    columns: Sequence[Column]


@dataclass(slots=True)
class Scope:
    """One query level."""

    index: CatalogueIndex
    path: tuple[str, ...]
    parent: Scope | None = None
    items: list[Item] = field(default_factory=list[Item])
    ctes: dict[str, Cte] = field(default_factory=dict[str, Cte])
    star: list[Column] = field(default_factory=list[Column])
    """What a bare `*` stands for."""

    def inner(self) -> Scope:
        """A level within this one."""
        return Scope(self.index, self.path, self)

    def cte(self, name: str) -> Cte | None:
        """The common table expression of this name, if one is visible."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.ctes:
                return scope.ctes[name]
            scope = scope.parent
        return None

    def relation(self, name: RelationName, alias: str) -> Item:
        """A relation of the database as an item."""
        resolved = resolve_relation(name, self.path, self.index)
        schema = None if alias else (resolved.schema if resolved else name.schema)
        return relation_item(resolved, self.index, alias or name.name, schema, str(name))

    def item(self, schema: str | None, alias: str) -> Item | None:
        """The item of this name."""
        scope: Scope | None = self
        while scope is not None:
            found = [i for i in scope.items if i.alias == alias and (schema is None or i.schema == schema)]
            if len(found) > 1:
                return Item(alias, [], rest=union(*(i.row() for i in found)))
            if found:
                return found[0]
            scope = scope.parent
        return None

    def column(self, name: str) -> Value:
        """What a bare name means: a column, or the whole row of an item of that name."""
        found: list[Value] = []
        scope: Scope | None = self
        while scope is not None:
            values = [value for i in scope.items if (value := i.column(name)) is not None]
            found += values
            if values and any(i.certain(name) for i in scope.items):
                return either(*found)
            scope = scope.parent
        item = self.item(None, name)
        if item is not None:
            found.append(item.row())
        if not found:
            return unknown(f"`{name}` is no column that is known")
        sure = item is not None or name in SYSTEM_COLUMNS or any(i.certain(name) for i in self.all_items())
        if not sure and self.has_relations():
            # It may be a column that was added since the catalogue was read.
            found.append(unknown(f"`{name}` may be a column of several relations: write `alias.{name}`"))
        return either(*found)

    def all_items(self) -> list[Item]:
        """The items of this level and those around it."""
        found: list[Item] = []
        scope: Scope | None = self
        while scope is not None:
            found += scope.items
            scope = scope.parent
        return found

    def has_relations(self) -> bool:
        """Whether a relation of the database's own is in sight."""
        return any(i.oid for i in self.all_items())


def relation_item(name: Name | None, index: CatalogueIndex, alias: str, schema: str | None, written: str) -> Item:
    """The item for a resolved relation."""
    if name is None:
        return Item(alias, [], schema, unknown(f"what `{written}` means cannot be told"))
    relation = index.by_name.get(name)
    if relation is not None:
        columns = [Column(c.name, Value(frozenset({(relation.oid, c.number)}), How.COPY)) for c in relation.columns]
        return Item(alias, columns, schema, oid=relation.oid)
    if shows_statistics(name):
        return Item(alias, [], schema, unknown(f"`{name}` shows values of other relations"), known=STATISTICS_SAFE)
    if shows_texts(name):
        return Item(alias, [], schema, unknown(f"`{name}` shows other sessions' statements"), known=ACTIVITY_SAFE)
    if is_system(name) and name.schema != "pg_toast":
        return Item(alias, [], schema, CONSTANT)
    return Item(alias, [], schema, unknown(f"`{name}` is not in the catalogue"))


def renamed(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns under the names of an alias's list; the rest keep theirs."""
    if any(column.repeated for column in columns):
        value = either(*(column.value for column in columns))
        return [*(Column(name, value) for name in names), Column("*", value, repeated=True)] if names else list(columns)
    if len(names) > len(columns):
        raise UntraceableError("an alias names more columns than there are")
    return [Column(name, column.value) for name, column in zip(names, columns, strict=False)] + list(
        columns[len(names) :]
    )
