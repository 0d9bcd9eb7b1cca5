"""What the columns of an answer are, told without a server: for tests of policies.

PostgreSQL says in RowDescription which table's column a result column is. Here that is worked out for plain statements:
columns of tables in FROM, in joins and in RETURNING. Everything else is computed, or cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wicketgate_gateway.policy.names import CatalogueIndex, Name, resolve_relation
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.parser import parse
from wicketgate_gateway.wire.postgres.sql.walk import relation_name, strings


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of an answer; 0 and 0 for a computed one."""

    name: str
    table_oid: int = 0
    column_number: int = 0


def result_columns(text: str, session: SessionFacts) -> list[ResultColumn] | None:
    """The columns that the text's only statement answers with; None if that cannot be told."""
    statements = parse(text).stmts
    index = session.index
    if len(statements) != 1 or index is None:
        return None
    kind = statements[0].stmt.WhichOneof("node")
    statement: Any = getattr(statements[0].stmt, kind) if kind else None
    if kind == "select_stmt":
        if statement.op != 1 or statement.HasField("with_clause") or statement.values_lists:  # 1: SETOP_NONE
            return None
        targets, sources = statement.target_list, list(statement.from_clause)
    elif kind in ("insert_stmt", "update_stmt", "delete_stmt") and not statement.HasField("with_clause"):
        targets, sources = statement.returning_clause.exprs, [statement.relation]
    else:
        return None
    tables = _tables(sources, session, index)
    return None if tables is None else _columns(targets, tables, index)


def _tables(sources: Iterable[Any], session: SessionFacts, index: CatalogueIndex) -> dict[str, Name] | None:
    found: dict[str, Name] = {}
    pending = list(sources)
    while pending:
        node = pending.pop(0)
        kind = node.WhichOneof("node") if node.DESCRIPTOR.name == "Node" else "range_var"
        part = getattr(node, kind) if node.DESCRIPTOR.name == "Node" else node
        if kind == "join_expr" and not part.is_natural and not part.using_clause and not part.HasField("alias"):
            pending[:0] = [part.larg, part.rarg]
            continue
        if kind != "range_var" or (part.HasField("alias") and part.alias.colnames):
            return None
        name = resolve_relation(relation_name(part), session.path, index)
        if name is None or name not in index.by_name:
            return None
        found[part.alias.aliasname if part.HasField("alias") else part.relname] = name
    return found


def _columns(targets: Iterable[Any], tables: dict[str, Name], index: CatalogueIndex) -> list[ResultColumn] | None:
    found: list[ResultColumn] = []
    for node in targets:
        target = node.res_target
        value = target.val
        if value.WhichOneof("node") != "column_ref":
            found.append(ResultColumn(target.name or _label(value)))
            continue
        fields = value.column_ref.fields
        *qualifier, last = fields
        names = strings(qualifier)
        of = [tables[names[-1]]] if names and names[-1] in tables else list(tables.values())
        if names and names[-1] not in tables:
            return None
        if last.WhichOneof("node") == "a_star":
            for table in of:
                relation = index.by_name[table]
                found += [ResultColumn(c.name, relation.oid, c.number) for c in relation.columns]
            continue
        column = last.string.sval
        matches = [(index.by_name[t].oid, c.number) for t in of for c in index.by_name[t].columns if c.name == column]
        if len(matches) != 1:  # ambiguous, a whole row, or no such column
            return None
        found.append(ResultColumn(target.name or column, *matches[0]))
    return found


def _label(value: Any) -> str:
    if value.WhichOneof("node") == "func_call":
        return strings(value.func_call.funcname)[-1]
    return "?column?"
