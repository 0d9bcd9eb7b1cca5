"""What an operation is to the rules: its *aspects*.

How this works: `facts` of the analysis say what a statement does, in the words of PostgreSQL. Here the names are
resolved, the kinds are mapped to the classes of the policy language, and the result is a list of aspects: a (class,
relation) pair for each relation, (class, None) for a class without one, and one for each function that is no plain
built-in. An aspect that is not `required` is met by `deny` rules alone: what the statement touches indirectly (the
tables below a view, partitions), and classes that a function or the built-in part accounts for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.policy import StatementClass
from wicketgate_gateway.policy import plumbing
from wicketgate_gateway.policy.names import (
    SYSTEM_SCHEMAS,
    CatalogueIndex,
    Name,
    index_of,
    resolve_function,
    resolve_relation,
    search_path,
)
from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.model import Facts, FunctionName, RelationName, StatementKind
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

EXPLICIT = frozenset({StatementClass.GRANT, StatementClass.PROCEDURAL, StatementClass.FILE})
"""Classes that a rule covers only if it names them."""
FREE_OF_RELATIONS = frozenset({StatementClass.READ, StatementClass.SESSION, StatementClass.MESSAGING})
"""Classes that a rule with `relations` covers also where a statement has none (`SELECT 1`)."""
STATISTICS = frozenset({"pg_statistic", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data"})
"""System relations that show values of other relations' columns."""

_SIMPLE: Mapping[C, StatementClass] = {
    C.READ: StatementClass.READ,
    C.WRITE: StatementClass.WRITE,
    C.DDL: StatementClass.DDL,
    C.GRANT: StatementClass.GRANT,
    C.ROLE: StatementClass.GRANT,
    C.SESSION: StatementClass.SESSION,
    C.PROCEDURAL: StatementClass.PROCEDURAL,
    C.DYNAMIC: StatementClass.PROCEDURAL,
    C.FILE: StatementClass.FILE,
    C.PROGRAM: StatementClass.FILE,
    C.EXTERNAL: StatementClass.FILE,
    C.LARGE_OBJECT: StatementClass.FILE,
    C.NOTIFY: StatementClass.MESSAGING,
    C.RESOURCE: StatementClass.MAINTENANCE,
}
_NO_CLASS = frozenset({C.TRANSACTION, C.PREPARED, C.FUNCTION, C.OTHER})
_SERVER_KINDS = frozenset({StatementKind.COPY_FILE, StatementKind.COPY_PROGRAM, StatementKind.LOAD})
_MAINTENANCE_KINDS = frozenset({StatementKind.VACUUM, StatementKind.CHECKPOINT})
_READING_KINDS = frozenset({StatementKind.SHOW, StatementKind.FETCH, StatementKind.CLOSE_CURSOR})


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a decision needs to know of the session. `prepared` and `cursors` hold, for each name, the facts of *every*
    statement that was ever prepared or declared under it in this session (by SQL or by Parse and Bind): a name that
    was used twice may mean either. Cursors without an entry come from functions alone.
    """

    search_path: str = "public"
    catalogue: Catalogue | None = None
    prepared: Mapping[str, Collection[Facts]] = field(default_factory=dict[str, Collection[Facts]])
    cursors: Mapping[str, Collection[Facts]] = field(default_factory=dict[str, Collection[Facts]])

    @property
    def index(self) -> CatalogueIndex | None:
        """The catalogue, indexed."""
        return None if self.catalogue is None else index_of(self.catalogue)

    @property
    def path(self) -> tuple[str, ...]:
        """The schemas of the pinned search path; empty if we do not understand it, and then no bare name resolves."""
        return search_path(self.search_path) or ()


@dataclass(frozen=True, slots=True)
class Aspect:
    """One (class, relation) pair, or (class, None)."""

    cls: StatementClass
    relation: Name | None
    required: bool = True
    columns: frozenset[str] | None = None
    """What UPDATE sets, if nothing else changes the relation; None: whole rows, or not a `write`."""

    def __str__(self) -> str:
        return f"`{self.cls}`" + (f" on `{self.relation}`" if self.relation else "")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as rules see it."""

    facts: Facts
    aspects: tuple[Aspect, ...]
    functions: frozenset[Name]
    """Those that an allow rule must list."""
    called: frozenset[Name]
    """All that it calls, or may call; for deny rules."""
    mentioned: frozenset[tuple[Name, str | None]]
    """(relation, column) pairs that it may touch, column None for any; for deny rules."""
    unresolved: tuple[str, ...] = ()
    """Relations that no one can tell the meaning of."""

    @property
    def classes(self) -> frozenset[StatementClass]:
        """The classes that rules must cover."""
        return frozenset(aspect.cls for aspect in self.aspects if aspect.required)


def statement_of(facts: Facts, session: SessionFacts) -> Statement:
    """The aspects of one statement."""
    index, path = session.index, session.path
    reads = {name: resolve_relation(name, path, index) for name in facts.reads}
    writes = {name: resolve_relation(name, path, index) for name in facts.writes}
    unresolved = tuple(sorted(str(name) for name, found in {**reads, **writes}.items() if found is None))
    read = {found for found in reads.values() if found}
    written = {found for found in writes.values() if found}
    functions, called = _functions(facts, read | written, path, index)
    return Statement(
        facts,
        tuple(_aspects(facts, read, written, index, _set_columns(facts, writes))),
        functions,
        called,
        frozenset(_mentioned(facts, read | written, index)),
        unresolved,
    )


def classes_of(facts: Facts) -> dict[StatementClass, bool]:
    """The statement's classes in the policy's words, and whether a rule must cover each."""
    waived = {builtins.danger_of(name.name) for name in facts.dangerous_functions} - {C.FILE, None}
    result: dict[StatementClass, bool] = {}
    for cls in facts.classes - _NO_CLASS:
        needed = cls not in waived
        if cls is C.READ and facts.kind in _READING_KINDS:
            continue
        if cls is C.SESSION and facts.kind in (StatementKind.DISCARD, StatementKind.DEALLOCATE):
            continue
        if cls is C.NOTIFY and facts.kind is StatementKind.UNLISTEN:
            needed = False
        if cls is C.SESSION and facts.kind is StatementKind.SET and plumbing.only_safe_settings(facts):
            needed = False
        mapped = _mapped(cls, facts.kind)
        result[mapped] = result.get(mapped, False) or needed
    return result


def _mapped(cls: C, kind: StatementKind) -> StatementClass:
    if cls is C.LOCK:
        return StatementClass.MAINTENANCE if kind is StatementKind.LOCK else StatementClass.WRITE
    if cls is C.ADMIN:
        if kind in _MAINTENANCE_KINDS:
            return StatementClass.MAINTENANCE
        return StatementClass.FILE if kind in _SERVER_KINDS else StatementClass.GRANT
    if cls is C.WRITE and kind is StatementKind.REFRESH:
        return StatementClass.DDL
    return _SIMPLE[cls]


_ON_WRITTEN = (
    StatementClass.WRITE,
    StatementClass.DDL,
    StatementClass.GRANT,
    StatementClass.MAINTENANCE,
)


def _aspects(
    facts: Facts,
    read: set[Name],
    written: set[Name],
    index: CatalogueIndex | None,
    columns: Mapping[Name, frozenset[str]],
) -> list[Aspect]:
    classes = classes_of(facts)
    pairs = {(StatementClass.READ, name) for name in read}
    if C.LOCK in facts.classes and facts.kind is not StatementKind.LOCK:
        pairs |= {(StatementClass.WRITE, name) for name in read}
    pairs |= {(cls, name) for cls in _ON_WRITTEN if cls in classes for name in written}
    aspects = [
        Aspect(cls, name, classes.get(cls, True), columns.get(name) if cls is StatementClass.WRITE else None)
        for cls, name in pairs
    ]
    used = {cls for cls, _ in pairs}
    aspects += [Aspect(cls, None, needed) for cls, needed in classes.items() if cls not in used]
    if index is not None:
        direct = set(pairs)
        indirect = {(cls, base) for cls, name in pairs for base in related(name, index)} - direct
        aspects += [Aspect(cls, base, required=False) for cls, base in indirect]
    return sorted(aspects, key=_order)


def _set_columns(facts: Facts, writes: Mapping[RelationName, Name | None]) -> dict[Name, frozenset[str]]:
    # A relation may be written under two names; each must be by UPDATE alone.
    found: dict[Name, set[str]] = {}
    whole: set[Name] = set()
    for written, name in writes.items():
        columns = {column for relation, column in facts.assigned if relation == written}
        if name is None:
            continue
        if not columns or None in columns:
            whole.add(name)
        found.setdefault(name, set()).update(column for column in columns if column is not None)
    return {name: frozenset(columns) for name, columns in found.items() if name not in whole}


def _order(aspect: Aspect) -> tuple[str, bool, str, bool]:
    return aspect.cls.value, aspect.relation is not None, str(aspect.relation), aspect.required


def related(name: Name, index: CatalogueIndex) -> frozenset[Name]:
    """Relations whose rows are also this one's: what a view reads, and partitions up and down."""
    found = {base for base, _ in index.bases(name)}
    pending = [name, *found]
    while pending:
        for other in index.kin(pending.pop()):
            if other not in found and other != name:
                found.add(other)
                pending.append(other)
    return frozenset(found)


def _functions(
    facts: Facts, touched: set[Name], path: tuple[str, ...], index: CatalogueIndex | None
) -> tuple[frozenset[Name], frozenset[Name]]:
    required: set[Name] = set()
    called: set[Name] = set()
    for name in facts.functions:
        meanings = resolve_function(name, path, index, builtins.FUNCTIONS)
        called |= meanings
        if name in facts.dangerous_functions:
            if not plumbing.is_safe_function(name, facts):
                required |= meanings
        elif name in facts.unknown_functions and not _is_column(name, touched, index):
            required |= meanings
        else:  # a plain built-in, which one of the same name in the path may shadow
            required |= {meaning for meaning in meanings if meaning.schema != "pg_catalog" and _exists(meaning, index)}
    for name in facts.operators:
        if name.schema in (None, "pg_catalog") and name.name in builtins.OPERATORS:
            continue
        meanings = resolve_function(name, path, index, frozenset())
        called |= meanings
        required |= meanings
    # A type of somebody's own runs functions: a domain's CHECK, a cast WITH FUNCTION. Where it is only named, in the
    # definition of a new table's column, nothing runs yet.
    if facts.runs_types or not (facts.kind is StatementKind.DDL and C.READ not in facts.classes):
        for name in facts.types:
            if not builtins.is_plain_type(name):
                schema, _, last = name.rpartition(".")
                meanings = {Name(schema, last)} if schema else {Name(s, last) for s in path or ("pg_catalog",)}
                called |= meanings
                required |= meanings
    called |= {Name("pg_catalog", name) for name in facts.attribute_functions}
    if index is not None:  # `t.f` calls f(t) where t has no column f
        for name in facts.columns & index.functions.keys():
            if touched and all(name in index.column_names.get(relation, ()) for relation in touched):
                continue
            meanings = {Name(schema, name) for schema in path if schema in index.functions[name]}
            called |= meanings
            required |= meanings
    return frozenset(required), frozenset(called)


def _exists(name: Name, index: CatalogueIndex | None) -> bool:
    return index is not None and name.schema in index.functions.get(name.name, ())


def _is_column(name: FunctionName, touched: set[Name], index: CatalogueIndex | None) -> bool:
    # `(c).email` looks like the call email(c); it is one only if such a function exists.
    return (
        index is not None
        and name.schema is None
        and name.name in {*()}.union(*(index.column_names.get(relation, ()) for relation in touched))
        and name.name not in index.functions
    )


def _mentioned(facts: Facts, touched: set[Name], index: CatalogueIndex | None) -> set[tuple[Name, str | None]]:
    result: set[tuple[Name, str | None]] = set()
    for name in touched:
        columns: set[str | None] = {None} if takes_whole_rows(facts, name, index) else set(facts.columns)
        result |= {(name, column) for column in columns}
        if index is not None:
            result |= index.bases(name)
            result |= {(other, column) for other in related(name, index) for column in columns}
    return result


def changes_system(statement: Statement) -> bool:
    """Whether the statement changes a system relation: `UPDATE pg_settings` is a SET in disguise."""
    return any(
        aspect.cls in _CHANGING and aspect.relation is not None and is_system(aspect.relation)
        for aspect in statement.aspects
        if aspect.required
    )


_CHANGING = frozenset({StatementClass.WRITE, StatementClass.DDL, StatementClass.GRANT})


def takes_whole_rows(facts: Facts, name: Name, index: CatalogueIndex | None) -> bool:
    """Whether the statement may use all columns of this relation without mentioning them."""
    if facts.star or facts.renames or facts.whole_row_candidates:
        return True
    # `c.name` is the call name(c) only where the relation has no column `name`.
    return bool(facts.attribute_functions - (index.column_names.get(name, frozenset()) if index else frozenset()))


def is_system(name: Name) -> bool:
    """Whether the relation came with the server."""
    return name.schema in SYSTEM_SCHEMAS or name.schema == "pg_toast"


def shows_texts(name: Name) -> bool:
    """Whether the relation is a system one that holds the texts of other sessions' statements."""
    return name == Name("pg_catalog", "pg_stat_activity")


def shows_statistics(name: Name) -> bool:
    """Whether the relation is a system one that holds sample values of other relations."""
    return name.schema == "pg_catalog" and name.name in STATISTICS
