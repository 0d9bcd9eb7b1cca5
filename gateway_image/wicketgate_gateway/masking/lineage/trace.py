"""`trace`: the lineage of one statement, from its text, the catalogue and the search path.

    SELECT c.name, lower(c.email) AS mail FROM customers c
      name  copy of customers.name
      mail  expression of customers.email

How this works: the statement's tree is walked once, each name resolved where it stands (`scope`), and each expression
becomes the set of columns that go into it. What has a form that is not followed raises UntraceableError; nothing is
guessed. PostgreSQL's own word on plain columns (RowDescription's table OID and attribute number) is a second one,
independent of this: see `masking.plan`.
"""

from __future__ import annotations

from typing import Any

from wicketgate_gateway.masking.lineage.model import Column, Lineage, UntraceableError, Value, unknown
from wicketgate_gateway.masking.lineage.scope import Scope
from wicketgate_gateway.masking.lineage.statements import Statements
from wicketgate_gateway.policy.names import CatalogueIndex
from wicketgate_gateway.wire.postgres.sql.model import Facts, SqlError
from wicketgate_gateway.wire.postgres.sql.parser import parse

_ROWS = frozenset({"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
_WITHIN = frozenset({"explain_stmt", "prepare_stmt", "declare_cursor_stmt", "create_table_as_stmt", "copy_stmt"})


def trace(facts: Facts, index: CatalogueIndex, path: tuple[str, ...]) -> Lineage:
    """The lineage of a statement. Raises UntraceableError for one that is not followed, such as EXECUTE."""
    try:
        statements = parse(facts.text).stmts
    except SqlError:
        raise UntraceableError("the statement's text is not at hand") from None
    if len(statements) != 1:
        raise UntraceableError("the statement's text is not at hand")
    node: Any = statements[0].stmt
    for _ in range(facts.depth):
        kind = node.WhichOneof("node")
        if kind not in _WITHIN:
            raise UntraceableError("the statement's text is not at hand")
        node = getattr(node, kind).query
    return trace_node(node, index, path, planned=bool(facts.unknown_functions | facts.dangerous_functions))


def trace_node(node: Any, index: CatalogueIndex, path: tuple[str, ...], *, planned: bool = True) -> Lineage:
    """The lineage of a statement's tree. Raises UntraceableError."""
    walk, scope = Statements(), Scope(index, path)
    try:
        walk.found.columns = tuple(_columns(walk, node, scope, planned=planned))
    except RecursionError:
        raise UntraceableError("the statement is too deep to be followed") from None
    return walk.found


def _columns(walk: Statements, node: Any, scope: Scope, *, planned: bool) -> list[Column]:
    kind = node.WhichOneof("node")
    if kind in _ROWS:
        columns = walk.query(node, scope)
        if kind == "select_stmt" and node.select_stmt.HasField("into_clause"):
            walk.out(node.select_stmt.into_clause.rel.relname, columns)
            return []
        return columns
    match kind:
        case "explain_stmt":
            # A plan shows no values but those of functions that the planner evaluates.
            _columns(walk, node.explain_stmt.query, scope, planned=planned)
            value = unknown("the plan may show what a function returned") if planned else Value()
            return [Column("QUERY PLAN", value)]
        case "prepare_stmt":
            _columns(walk, node.prepare_stmt.query, scope, planned=planned)
            return []
        case "declare_cursor_stmt":
            _columns(walk, node.declare_cursor_stmt.query, scope, planned=planned)
            return []
        case "create_table_as_stmt":
            inner = node.create_table_as_stmt.query
            if inner.WhichOneof("node") not in _ROWS:
                raise UntraceableError("CREATE TABLE AS EXECUTE is not followed")
            walk.out(node.create_table_as_stmt.into.rel.relname, walk.query(inner, scope))
            return []
        case "copy_stmt" if not node.copy_stmt.is_from:
            return walk.copy(node.copy_stmt, scope)
        case _:
            raise UntraceableError(f"`{kind}` is not followed")
