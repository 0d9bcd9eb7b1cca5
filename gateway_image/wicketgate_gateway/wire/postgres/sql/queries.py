"""Handlers of the walk for SELECT, INSERT, UPDATE, DELETE, MERGE, COPY and what they share: WITH and RETURNING."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql.model import SqlTooLargeError
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.walk import Scope, Walk, handles, relation_name, strings

_SELECT_SKIP = frozenset({"into_clause", "with_clause", "target_list"})
_DML_SKIP = frozenset({"relation", "with_clause", "returning_clause", "select_stmt"})


MAX_CTES = 200


def with_clause(walk: Walk, statement: Any, scope: Scope) -> Scope:
    """Pushes the CTEs' bodies with the names that each may see; returns the names that the statement itself sees.

    A body sees the CTEs before it; with RECURSIVE all of them, itself included. So in `WITH x AS (SELECT * FROM x)`
    the inner `x` is a table.
    """
    if not statement.HasField("with_clause"):
        return scope
    ctes = [node.common_table_expr for node in statement.with_clause.ctes]
    if len(scope) + len(ctes) > MAX_CTES:
        raise SqlTooLargeError(f"over {MAX_CTES} common table expressions are visible at once")
    if statement.with_clause.recursive:
        scope |= {cte.ctename for cte in ctes}
    for cte in ctes:
        walk.push(cte.ctequery, scope)
        if cte.HasField("cycle_clause"):
            walk.push_children(cte.cycle_clause, scope, False)
        scope |= {cte.ctename}
    return scope


def output(walk: Walk, targets: Any, scope: Scope) -> None:
    """Pushes the expressions of an output list, whose names are labels."""
    for node in targets:
        if node.WhichOneof("node") == "res_target":
            walk.push(node.res_target.val, scope)
        else:
            walk.push(node, scope)


@handles(pb.SelectStmt)
def select(walk: Walk, statement: pb.SelectStmt, scope: Scope, target: bool) -> None:
    """SELECT, VALUES, TABLE, a set operation, SELECT INTO."""
    walk.classes.add(C.READ)
    scope = with_clause(walk, statement, scope)
    if statement.HasField("into_clause"):
        walk.classes |= {C.WRITE, C.DDL}
        walk.push_children(statement.into_clause, scope, True)
    output(walk, statement.target_list, scope)
    # `GROUP BY 2` and `DISTINCT ON (2)` mean columns.
    ordinals = (*statement.group_clause, *statement.distinct_clause)
    walk.literals = walk.literals or any(node.WhichOneof("node") == "a_const" for node in ordinals)
    walk.push_children(statement, scope, False, _SELECT_SKIP)


def _dml(walk: Walk, statement: Any, scope: Scope) -> Scope:
    walk.classes.add(C.WRITE)
    scope = with_clause(walk, statement, scope)
    walk.relation(statement.relation, True)
    if statement.HasField("returning_clause"):
        walk.classes.add(C.READ)
        walk.relation(statement.relation, False)
        options = statement.returning_clause.options
        walk.aliases.update(option.returning_option.value for option in options)
        walk.aliases |= {"old", "new"}
        output(walk, statement.returning_clause.exprs, scope)
    walk.push_children(statement, scope, False, _DML_SKIP)
    return scope


@handles(pb.InsertStmt)
def insert(walk: Walk, statement: pb.InsertStmt, scope: Scope, target: bool) -> None:
    """INSERT; `VALUES` alone is no read."""
    walk.assigned.add((relation_name(statement.relation), None))
    scope = _dml(walk, statement, scope)
    if not statement.HasField("select_stmt"):
        return
    if not statement.cols:
        walk.star = True
    source = statement.select_stmt.select_stmt
    if source.values_lists and not source.HasField("with_clause"):
        walk.push_children(source, scope, False)
    else:
        walk.push(source, scope)


@handles(pb.UpdateStmt)
def update(walk: Walk, statement: pb.UpdateStmt, scope: Scope, target: bool) -> None:
    """UPDATE."""
    _assign(walk, statement, statement.target_list)
    _dml(walk, statement, scope)


@handles(pb.DeleteStmt)
def delete(walk: Walk, statement: pb.DeleteStmt, scope: Scope, target: bool) -> None:
    """DELETE."""
    walk.assigned.add((relation_name(statement.relation), None))
    _dml(walk, statement, scope)


def _assign(walk: Walk, statement: Any, targets: Any) -> None:
    relation = relation_name(statement.relation)
    for node in targets:
        walk.assigned.add((relation, node.res_target.name or None))


@handles(pb.MergeStmt)
def merge(walk: Walk, statement: pb.MergeStmt, scope: Scope, target: bool) -> None:
    """MERGE: reads its source, writes its target."""
    walk.classes.add(C.READ)
    _dml(walk, statement, scope)
    for node in statement.merge_when_clauses:
        clause = node.merge_when_clause
        if clause.command_type == pb.CMD_UPDATE:
            _assign(walk, statement, clause.target_list)
        elif clause.command_type != pb.CMD_NOTHING:
            walk.assigned.add((relation_name(statement.relation), None))
        if clause.command_type == pb.CMD_INSERT and not clause.target_list:
            walk.star = True


@handles(pb.CopyStmt)
def copy(walk: Walk, statement: pb.CopyStmt, scope: Scope, target: bool) -> None:
    """COPY of a relation. A query within it is walked apart, as the inner statement."""
    if statement.is_program:
        walk.classes |= {C.PROGRAM, C.ADMIN}
    elif statement.filename:
        walk.classes |= {C.FILE, C.ADMIN}
    walk.literals = walk.literals or statement.is_program or bool(statement.filename)
    walk.classes.add(C.WRITE if statement.is_from else C.READ)
    if statement.HasField("relation"):
        walk.relation(statement.relation, statement.is_from)
        walk.columns.update(strings(statement.attlist))
        walk.star = walk.star or not statement.attlist
    if statement.HasField("query"):
        walk.push(statement.query, scope)
    if statement.HasField("where_clause"):
        walk.push(statement.where_clause, scope)
