"""`analyze`: what the statements of a text do. This module is the package's public face.

    >>> facts = analyze("WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone").statements[0]
    >>> facts.kind.value, sorted(facts.classes), sorted(map(str, facts.writes))
    ('select', [<StatementClass.READ: 'read'>, <StatementClass.WRITE: 'write'>], ['orders'])

Classes, relations, functions and columns come from the whole tree, so it does not matter where a statement hides its
deeds. EXPLAIN without ANALYZE executes nothing: there the inner statement's targets count as read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from postgast import pg_query_pb2 as pb

# The imports register the handlers.
from wicketgate_gateway.wire.postgres.sql import builtins, queries, utility
from wicketgate_gateway.wire.postgres.sql.expressions import ROLE_SETTINGS
from wicketgate_gateway.wire.postgres.sql.model import (
    Facts,
    FunctionName,
    RelationName,
    Setting,
    SqlError,
    SqlSyntaxError,
    SqlTooLargeError,
    StatementClass,
    StatementKind,
    StatementList,
)
from wicketgate_gateway.wire.postgres.sql.parser import encode, parse
from wicketgate_gateway.wire.postgres.sql.statements import LITERAL_FREE_KINDS, STATEMENTS
from wicketgate_gateway.wire.postgres.sql.walk import NO_CTES, Walk

__all__ = [
    "Facts",
    "FunctionName",
    "RelationName",
    "Setting",
    "SqlError",
    "SqlSyntaxError",
    "SqlTooLargeError",
    "StatementClass",
    "StatementKind",
    "StatementList",
    "analyze",
    "leading_comment",
]
_HANDLERS_LOADED = (queries, utility)
_BLANK = b" \t\r\n\f\v"
_C, _K = StatementClass, StatementKind


def analyze(sql: str) -> StatementList:
    """The facts of each statement in `sql`, in order.

    Raises `SqlSyntaxError` for what PostgreSQL's grammar refuses, `SqlTooLargeError` for what is too long, too deep
    or has too many statements, and their base `SqlError` for NUL bytes and invalid Unicode.
    """
    data = encode(sql)
    statements: list[Facts] = []
    for raw in parse(sql).stmts:
        start = raw.stmt_location
        end = start + raw.stmt_len if raw.stmt_len else len(data)
        while start < end and data[start] in _BLANK:
            start += 1
        while end > start and data[end - 1] in _BLANK:
            end -= 1
        text = sql if len(data) == end - start else data[start:end].decode()
        facts = _facts(raw.stmt, start, end, text)
        statements.append(_pg_dumps_own(facts) if data[start:end] == _PG_DUMPS_OWN else facts)
    return StatementList(tuple(statements))


_PG_DUMPS_OWN = (
    b"SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings "
    b"WHERE name = 'restrict_nonsystem_relation_kind'"
)
"""How pg_dump (from 12.20, 15.8, 17 on) gives up reading through views: where the setting exists, by one statement. Its
name is computed, but the condition leaves one name alone. (A temporary `pg_settings` with a type and an operator of its
own could cheat; who may make those may as well make a function that sets a role.)"""


def _pg_dumps_own(facts: Facts) -> Facts:
    setting = Setting("restrict_nonsystem_relation_kind", "view, foreign-table", True)
    return replace(facts, settings=(setting,), classes=facts.classes - {_C.ROLE})


def _facts(node: pb.Node, start: int, end: int, text: str = "", depth: int = 0) -> Facts:
    which = node.WhichOneof("node")
    if which is None:
        return Facts(_K.OTHER, frozenset({_C.OTHER}), start, end)
    message: Any = getattr(node, which)
    name: str = message.DESCRIPTOR.name
    walk = Walk()
    inner: Facts | None = None
    prepared = cursor = None
    row = STATEMENTS.get(name)
    kind = _K.OTHER if row is None else row.kind
    literal_free = kind in LITERAL_FREE_KINDS
    match name:
        case "ExplainStmt":
            inner = _facts(message.query, start, end, text, depth + 1)
            executes = any(option.def_elem.defname == "analyze" for option in message.options)
            _absorb(walk, inner if executes else _planned(inner))
            prepared = inner.prepared_name
            literal_free = True
        case "PrepareStmt":
            prepared = message.name
            inner = _facts(message.query, start, end, text, depth + 1)
            _absorb(walk, inner)
        case "DeclareCursorStmt":
            cursor = message.portalname
            inner = _facts(message.query, start, end, text, depth + 1)
            _absorb(walk, inner)
            literal_free = True
        case "CreateTableAsStmt":
            inner = _facts(message.query, start, end, text, depth + 1)
            _absorb(walk, inner)
            prepared = inner.prepared_name
            walk.classes |= STATEMENTS[name].classes
            walk.push_children(message.into, NO_CTES, True)
            walk.run(pb.Node())  # an empty root: only what was pushed
        case "CopyStmt":
            if message.HasField("query"):
                inner = _facts(message.query, start, end, text, depth + 1)
            kind = _copy_kind(message)
            # The tree does not tell `COPY t TO ''` from `COPY t TO STDOUT`, and the former's key is that of any file.
            literal_free = False
            walk.run(message)
        case "DeallocateStmt":
            prepared = message.name or "all"
            walk.run(message)
        case "ExecuteStmt":
            prepared = message.name
            walk.run(message)
        case "FetchStmt" | "ClosePortalStmt":
            cursor = message.portalname or "all"
            walk.run(message)
        case "VariableSetStmt":
            walk.run(message)
            if any(setting.name in ROLE_SETTINGS for setting in walk.settings):
                kind = _K.ROLE
        case _:
            walk.run(message)
    if row is None:
        walk.classes.add(_C.OTHER)
    return replace(_freeze(walk, kind, start, end, inner, prepared, cursor, literal_free), text=text, depth=depth)


def _copy_kind(message: pb.CopyStmt) -> StatementKind:
    if message.is_program:
        return _K.COPY_PROGRAM
    if message.filename:
        return _K.COPY_FILE
    return _K.COPY_IN if message.is_from else _K.COPY_OUT


def _planned(inner: Facts) -> Facts:
    """An inner statement that is planned, not executed: it writes and locks nothing, yet shows what it would read."""
    quiet = inner.classes - {_C.WRITE, _C.LOCK, _C.DDL} | {_C.READ}
    return Facts(
        kind=inner.kind,
        classes=quiet,
        reads=inner.relations,
        functions=inner.functions,
        operators=inner.operators,
        attribute_functions=inner.attribute_functions,
        columns=inner.columns,
        taken=inner.taken,
        star=inner.star,
        renames=inner.renames,
        whole_row_candidates=inner.whole_row_candidates,
        regclass_cast=inner.regclass_cast,
        types=inner.types,
        runs_types=inner.runs_types,
        settings=inner.settings,
        literals_matter=inner.literals_matter,
        parameters=inner.parameters,
    )


def _absorb(walk: Walk, facts: Facts) -> None:
    walk.classes |= facts.classes
    walk.reads |= facts.reads
    walk.writes |= facts.writes
    walk.functions |= facts.functions
    walk.operators |= facts.operators
    walk.attribute_functions |= facts.attribute_functions
    walk.columns |= facts.taken
    walk.targets |= facts.columns
    walk.assigned |= facts.assigned
    walk.single_names |= facts.whole_row_candidates
    walk.aliases |= facts.whole_row_candidates
    walk.types |= facts.types
    walk.runs_types |= facts.runs_types
    walk.settings.extend(facts.settings)
    walk.star |= facts.star
    walk.renames |= facts.renames
    walk.regclass |= facts.regclass_cast
    walk.literals |= facts.literals_matter
    walk.parameters = max(walk.parameters, facts.parameters)


def _freeze(
    walk: Walk,
    kind: StatementKind,
    start: int,
    end: int,
    inner: Facts | None,
    prepared: str | None,
    cursor: str | None,
    literal_free: bool,
) -> Facts:
    dangerous = {
        name
        for name in walk.functions
        if builtins.danger_of(name.name) is not None and not builtins.is_sequence_function(name.name)
    }
    unknown = {
        name
        for name in walk.functions - dangerous
        if not builtins.is_plain(name.schema, name.name) and not builtins.is_sequence_function(name.name)
    }
    return Facts(
        kind=kind,
        classes=frozenset(walk.classes),
        start=start,
        end=end,
        reads=frozenset(walk.reads),
        writes=frozenset(walk.writes),
        functions=frozenset(walk.functions),
        dangerous_functions=frozenset(dangerous),
        unknown_functions=frozenset(unknown),
        operators=frozenset(walk.operators),
        attribute_functions=frozenset(walk.attribute_functions),
        columns=frozenset(walk.columns | walk.targets),
        taken=frozenset(walk.columns),
        assigned=frozenset(walk.assigned),
        star=walk.star,
        renames=walk.renames,
        whole_row_candidates=frozenset(walk.single_names & walk.aliases),
        regclass_cast=walk.regclass,
        types=frozenset(walk.types),
        runs_types=walk.runs_types,
        settings=tuple(walk.settings),
        prepared_name=prepared,
        cursor_name=cursor,
        inner=inner,
        literals_matter=walk.literals or not literal_free,
        parameters=walk.parameters,
    )


def leading_comment(sql: str) -> str:
    """The comments before the first statement, as written, without the blanks around them; `""` if there are none.

    Clients put trace contexts there. Block comments nest, as PostgreSQL's do.
    """
    position, end = 0, 0
    while position < len(sql):
        if sql[position] in " \t\r\n\f\v":
            position += 1
        elif sql.startswith("--", position):
            stop = next((i for i in range(position, len(sql)) if sql[i] in "\r\n"), len(sql))
            position = end = stop
        elif sql.startswith("/*", position):
            stop = _block_comment_end(sql, position)
            if stop is None:
                break
            position = end = stop
        else:
            break
    return sql[:end].strip(" \t\r\n\f\v")


def _block_comment_end(sql: str, position: int) -> int | None:
    depth = 0
    while position < len(sql):
        if sql.startswith("/*", position):
            depth, position = depth + 1, position + 2
        elif sql.startswith("*/", position):
            depth, position = depth - 1, position + 2
            if not depth:
                return position
        else:
            position += 1
    return None
