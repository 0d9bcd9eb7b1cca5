"""What names in policies and in statements mean: wildcard patterns, and the resolution of a statement's names.

How this works: PostgreSQL looks an unqualified relation up in the session's temporary schema, then in `pg_catalog`,
then along `search_path`, which the gateway pins. We do the same without the temporary schema: what a session puts there
came from statements that were decided themselves, so taking a temporary relation for a permanent one allows no more.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wicketgate_gateway.contract.catalogue import Catalogue, Relation
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, RelationName

SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema"})
FIRST_USER_OID = 16384
"""`FirstNormalObjectId` of PostgreSQL's access/transam.h: whatever has a smaller OID came with the server."""


class Name(NamedTuple):
    """A resolved relation or function."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def compile_part(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """One part of a dotted pattern: `*` is any text, `?` one character, everything else itself."""
    translated = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.compile(f"(?s:{translated})\\Z", re.IGNORECASE if ignore_case else 0)


class Pattern:
    """A dotted pattern such as `public.*` or `public.customers.email`; case counts, as in PostgreSQL's folded names."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = tuple(compile_part(part) for part in text.split("."))

    def __len__(self) -> int:
        return len(self._parts)

    def matches(self, *names: str) -> bool:
        """Whether each part matches the name in its place; False where the numbers differ."""
        return len(names) == len(self._parts) and all(p.match(n) for p, n in zip(self._parts, names, strict=True))

    def begins(self, *names: str) -> bool:
        """Whether the first parts match; False where there are more names than parts."""
        return len(names) <= len(self._parts) and all(p.match(n) for p, n in zip(self._parts, names, strict=False))


class CatalogueIndex:
    """A catalogue, ready for look-ups. `index_of` makes one for each catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.version = catalogue.version
        self.relations: Mapping[int, Relation] = {r.oid: r for r in catalogue.relations}
        self.by_name: Mapping[Name, Relation] = {Name(r.schema, r.name): r for r in catalogue.relations}
        self.system = frozenset(catalogue.system)
        self.column_names: Mapping[Name, frozenset[str]] = {
            Name(r.schema, r.name): frozenset(c.name for c in r.columns) for r in catalogue.relations
        }
        functions: dict[str, set[str]] = {}
        for schema, name in catalogue.functions:
            functions.setdefault(name, set()).add(schema)
        self.functions: Mapping[str, frozenset[str]] = {n: frozenset(s) for n, s in functions.items()}
        self.generated: tuple[tuple[int, int, int], ...] = tuple((o, c, s) for o, c, s in catalogue.generated)
        self.inherits: tuple[tuple[int, int], ...] = tuple((c, p) for c, p in catalogue.inherits)
        kin: dict[Name, set[Name]] = {}
        for pair in catalogue.inherits:
            ends = [self.relations[oid] for oid in pair if oid in self.relations]
            if len(ends) == 2:
                child, parent = (Name(r.schema, r.name) for r in ends)
                kin.setdefault(child, set()).add(parent)
                kin.setdefault(parent, set()).add(child)
        self._kin = {name: frozenset(others) for name, others in kin.items()}
        self._bases: dict[Name, frozenset[tuple[Name, str | None]]] = {}
        self.worked_out: dict[object, object] = {}
        """What others worked out from this catalogue, kept as long as it is."""

    def kin(self, name: Name) -> frozenset[Name]:
        """The partitions (or inheriting tables) of a table and those that it is one of; one step up and down."""
        return self._kin.get(name, frozenset())

    def bases(self, name: Name) -> frozenset[tuple[Name, str | None]]:
        """What a view's rows come from, through other views too: (relation, column), column None for the whole row."""
        found = self._bases.get(name)
        if found is None:
            found = self._bases[name] = frozenset(self._walk(name))
        return found

    def _walk(self, name: Name) -> Iterable[tuple[Name, str | None]]:
        start = self.by_name.get(name)
        pending = list(start.sources) if start else []
        seen: set[tuple[int, int]] = set()
        while pending:
            source = pending.pop()
            if source in seen:
                continue
            seen.add(source)
            oid, number = source
            relation = self.relations.get(oid)
            if relation is None:
                continue
            column = next((c.name for c in relation.columns if c.number == number), None) if number else None
            yield Name(relation.schema, relation.name), column
            pending.extend(relation.sources)


_INDEXES = 64
_indexes: OrderedDict[int, tuple[Catalogue, CatalogueIndex]] = OrderedDict()


def index_of(catalogue: Catalogue) -> CatalogueIndex:
    """The index of this very object, made once. Not by its `version`: that is the agent's word."""
    key = id(catalogue)
    found = _indexes.get(key)
    if found is None:
        found = _indexes[key] = (catalogue, CatalogueIndex(catalogue))  # holding it keeps its id its own
        if len(_indexes) > _INDEXES:
            _indexes.popitem(last=False)
    else:
        _indexes.move_to_end(key)
    return found[1]


def search_path(text: str) -> tuple[str, ...] | None:
    """The schemas of a `search_path` setting, without a leading `pg_catalog` (which is searched first anyway).

    None for what we do not take: quoted names beyond plain ones, `$user`, `pg_temp`, `pg_catalog` in a later place.
    """
    schemas: list[str] = []
    for i, part in enumerate(text.split(",") if text.strip() else []):
        name = part.strip().strip('"')
        if name == "" or name == "pg_catalog":
            if i > 0:
                return None
        elif not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or name.startswith("pg_"):
            return None
        else:
            schemas.append(name)
    return tuple(schemas)


def resolve_relation(name: RelationName, path: tuple[str, ...], index: CatalogueIndex | None) -> Name | None:
    """The relation that a name means, or None if that cannot be told."""
    if name.catalog is not None:
        return None
    if name.schema is not None:
        return Name(name.schema, name.name)
    if name.name in index.system if index else name.name.startswith("pg_"):
        return Name("pg_catalog", name.name)
    if index is not None:
        for schema in path:
            found = Name(schema, name.name)
            if found in index.by_name:
                return found
        if name.name.startswith("pg_"):  # a system relation that the catalogue left out, or a new one of the path
            return None
    return Name(path[0], name.name) if len(path) == 1 else None


def resolve_function(
    name: FunctionName, path: tuple[str, ...], index: CatalogueIndex | None, plain: frozenset[str]
) -> frozenset[Name]:
    """Every function that a call may mean: PostgreSQL chooses among `pg_catalog` and the path by argument types."""
    if name.schema is not None:
        return frozenset({Name(name.schema, name.name)})
    found: set[Name] = set()
    if name.name in plain:
        found.add(Name("pg_catalog", name.name))
    known = index.functions.get(name.name, frozenset()) if index else frozenset()
    found.update(Name(schema, name.name) for schema in path if schema in known)
    if not found:
        found.update(Name(schema, name.name) for schema in path or ("pg_catalog",))
    return frozenset(found)
