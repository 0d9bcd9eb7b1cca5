"""Handlers of the walk for statements that are neither queries nor DML but need a closer look."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql.expressions import ROLE_SETTINGS
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, Setting
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.statements import STATEMENTS
from wicketgate_gateway.wire.postgres.sql.walk import (
    Scope,
    Walk,
    constant_text,
    handles,
    relation_of,
    strings,
)

_RELATIONS = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_INDEX, pb.OBJECT_FOREIGN_TABLE}
)
# Their names are those of their relation, then their own.
_ON_RELATIONS = frozenset(
    {
        pb.OBJECT_COLUMN,
        pb.OBJECT_TRIGGER,
        pb.OBJECT_RULE,
        pb.OBJECT_POLICY,
        pb.OBJECT_TABCONSTRAINT,
        pb.OBJECT_ATTRIBUTE,
    }
)
_ALTER_CLASSES = (
    ("Owner", C.ADMIN),
    ("RowSecurity", C.GRANT),
    ("Trig", C.PROCEDURAL),
    ("Rule", C.PROCEDURAL),
    ("TableSpace", C.ADMIN),
)
_RUNS_TYPES = ("AddColumn", "AlterColumnType", "SetExpression", "Constraint", "AttachPartition")
"""Actions that compute something for each row, or now."""
_TWO_PHASE = frozenset({pb.TRANS_STMT_PREPARE, pb.TRANS_STMT_COMMIT_PREPARED, pb.TRANS_STMT_ROLLBACK_PREPARED})


@handles(pb.VariableSetStmt)
def variable_set(walk: Walk, statement: pb.VariableSetStmt, scope: Scope, target: bool) -> None:
    """SET, RESET, SET ROLE, SET TRANSACTION."""
    walk.literals = True
    name = statement.name.lower()
    if statement.kind == pb.VAR_SET_MULTI:
        _set_multi(walk, statement, scope)
        return
    walk.classes.add(C.SESSION)
    if statement.kind == pb.VAR_RESET_ALL:
        walk.settings.append(Setting("all", None, True))
        return
    if name in ROLE_SETTINGS:
        walk.classes.add(C.ROLE)
    if statement.kind == pb.VAR_SET_VALUE:
        values = [constant_text(arg) for arg in statement.args]
        constant = all(value is not None for value in values)
        text = ", ".join(value for value in values if value is not None) if constant else None
        walk.settings.append(Setting(name, text, constant, statement.is_local))
    else:
        walk.settings.append(Setting(name, None, statement.kind != pb.VAR_SET_CURRENT, statement.is_local))
    walk.push_all(statement.args, scope)


def _set_multi(walk: Walk, statement: pb.VariableSetStmt, scope: Scope) -> None:
    session = statement.name != "TRANSACTION" and statement.name != "TRANSACTION SNAPSHOT"
    walk.classes.add(C.SESSION if session else C.TRANSACTION)
    for node in statement.args:
        if node.WhichOneof("node") != "def_elem":
            continue
        prefix = "default_" if session else ""
        value = constant_text(node.def_elem.arg)
        walk.settings.append(Setting(prefix + node.def_elem.defname, value, value is not None, not session))
    walk.push_all(statement.args, scope)


@handles(pb.TransactionStmt)
def transaction(walk: Walk, statement: pb.TransactionStmt, scope: Scope, target: bool) -> None:
    """BEGIN, COMMIT, SAVEPOINT …; two-phase commits outlive the session, so they are an administrator's."""
    walk.classes.add(C.TRANSACTION)
    if statement.kind in _TWO_PHASE:
        walk.classes.add(C.ADMIN)
        walk.literals = True


@handles(pb.DiscardStmt)
def discard(walk: Walk, statement: pb.DiscardStmt, scope: Scope, target: bool) -> None:
    """DISCARD; ALL includes RESET ALL."""
    walk.classes.add(C.SESSION)
    if statement.target == pb.DISCARD_ALL:
        walk.settings.append(Setting("all", None, True))


@handles(pb.VariableShowStmt, pb.FetchStmt, pb.ClosePortalStmt)
def show(walk: Walk, statement: Any, scope: Scope, target: bool) -> None:
    """Reads without an expression."""
    walk.classes.add(C.READ)


@handles(pb.TruncateStmt)
def truncate(walk: Walk, statement: pb.TruncateStmt, scope: Scope, target: bool) -> None:
    """TRUNCATE; its text has no constant."""
    walk.classes.add(C.WRITE)
    walk.push_all(statement.relations, scope, True)


@handles(pb.CreateStmt)
def create_table(walk: Walk, statement: pb.CreateStmt, scope: Scope, target: bool) -> None:
    """CREATE TABLE; parents in INHERITS and PARTITION OF are read, and changed by getting a child."""
    walk.classes.add(C.DDL)
    walk.literals = True
    walk.push_all(statement.inh_relations, scope, False)
    if statement.HasField("partbound"):
        walk.push_all(statement.inh_relations, scope, True)
        walk.runs_types = True  # the bounds are computed now
    walk.push_children(statement, scope, True, frozenset({"inh_relations"}))


@handles(pb.TableLikeClause)
def table_like(walk: Walk, node: pb.TableLikeClause, scope: Scope, target: bool) -> None:
    """`LIKE t` in CREATE TABLE."""
    walk.relation(node.relation, False)


@handles(pb.Constraint)
def constraint(walk: Walk, node: pb.Constraint, scope: Scope, target: bool) -> None:
    """A constraint; a foreign key reads the table it refers to."""
    if node.HasField("pktable"):
        walk.relation(node.pktable, False)
    for names in (node.keys, node.fk_attrs, node.pk_attrs):
        walk.columns.update(strings(names))
    walk.push_children(node, scope, False, frozenset({"pktable"}))


@handles(pb.AlterTableCmd)
def alter_table_cmd(walk: Walk, node: pb.AlterTableCmd, scope: Scope, target: bool) -> None:
    """One action of ALTER TABLE; some change who may do what, or which code runs."""
    if node.name:
        walk.columns.add(node.name)
    subtype = pb.AlterTableType.Name(node.subtype)
    walk.classes.update(cls for part, cls in _ALTER_CLASSES if part in subtype)
    walk.runs_types = walk.runs_types or any(part in subtype for part in _RUNS_TYPES)
    walk.push_children(node, scope, target)


@handles(pb.IndexStmt, pb.AlterDomainStmt)
def over_rows(walk: Walk, statement: Any, scope: Scope, target: bool) -> None:
    """CREATE INDEX computes its expressions for each row; ALTER DOMAIN checks what there is."""
    walk.classes |= STATEMENTS[statement.DESCRIPTOR.name].classes
    walk.literals = True
    walk.runs_types = True
    walk.push_children(statement, scope, STATEMENTS[statement.DESCRIPTOR.name].writes)


@handles(pb.DropStmt)
def drop(walk: Walk, statement: pb.DropStmt, scope: Scope, target: bool) -> None:
    """DROP of anything that is no role, database or the like."""
    walk.classes.add(C.DDL)
    walk.literals = True
    for node in statement.objects:
        _object(walk, statement.remove_type, node, scope)


@handles(pb.CommentStmt, pb.SecLabelStmt)
def comment(walk: Walk, statement: Any, scope: Scope, target: bool) -> None:
    """COMMENT ON, SECURITY LABEL ON."""
    walk.classes |= STATEMENTS[statement.DESCRIPTOR.name].classes
    walk.literals = True
    _object(walk, statement.objtype, statement.object, scope)


@handles(pb.RenameStmt)
def rename(walk: Walk, statement: pb.RenameStmt, scope: Scope, target: bool) -> None:
    """ALTER … RENAME."""
    walk.classes.add(C.DDL)
    walk.literals = True
    if statement.rename_type in _ON_RELATIONS:
        walk.columns |= {statement.subname, statement.newname}
    if statement.HasField("object"):
        _object(walk, statement.rename_type, statement.object, scope)
    if statement.HasField("relation"):
        walk.relation(statement.relation, True)


@handles(pb.AlterOwnerStmt, pb.AlterObjectSchemaStmt, pb.AlterObjectDependsStmt, pb.AlterExtensionContentsStmt)
def alter_object(walk: Walk, statement: Any, scope: Scope, target: bool) -> None:
    """ALTER … OWNER TO, SET SCHEMA, DEPENDS ON EXTENSION; ALTER EXTENSION … ADD."""
    walk.classes |= STATEMENTS[statement.DESCRIPTOR.name].classes
    walk.literals = True
    kind = statement.objtype if statement.DESCRIPTOR.name == "AlterExtensionContentsStmt" else statement.object_type
    _object(walk, kind, statement.object, scope)
    if statement.DESCRIPTOR.name != "AlterExtensionContentsStmt" and statement.HasField("relation"):
        walk.relation(statement.relation, True)


def _object(walk: Walk, kind: int, node: pb.Node, scope: Scope) -> None:
    if node.WhichOneof("node") != "list":
        walk.push(node, scope, True)
        return
    parts = strings(node.list.items)
    if kind in _ON_RELATIONS:
        walk.columns.update(parts[-1:])
        parts = parts[:-1]
    elif kind not in _RELATIONS:
        return
    relation = relation_of(parts)
    if relation is not None:
        walk.writes.add(relation)


@handles(pb.ObjectWithArgs)
def object_with_args(walk: Walk, node: pb.ObjectWithArgs, scope: Scope, target: bool) -> None:
    """A function that DDL or GRANT names."""
    parts = strings(node.objname)
    if parts:
        walk.functions.add(FunctionName(parts[-2] if len(parts) > 1 else None, parts[-1]))


@handles(pb.CreateTrigStmt, pb.CreateEventTrigStmt)
def trigger(walk: Walk, statement: Any, scope: Scope, target: bool) -> None:
    """CREATE TRIGGER: names the function that will run."""
    row = STATEMENTS[statement.DESCRIPTOR.name]
    walk.classes |= row.classes
    walk.literals = True
    parts = strings(statement.funcname)
    walk.call(FunctionName(parts[-2] if len(parts) > 1 else None, parts[-1]))
    walk.push_children(statement, scope, row.writes)


@handles(pb.StatsElem)
def stats_elem(walk: Walk, node: pb.StatsElem, scope: Scope, target: bool) -> None:
    """A column of CREATE STATISTICS."""
    if node.name:
        walk.columns.add(node.name)
    walk.push_children(node, scope, False)


@handles(pb.VacuumRelation)
def vacuum_relation(walk: Walk, node: pb.VacuumRelation, scope: Scope, target: bool) -> None:
    """A table of VACUUM or ANALYZE."""
    walk.columns.update(strings(node.va_cols))
    walk.push_children(node, scope, True)
