"""Handlers of the walk for expressions: columns, calls, operators, casts, FROM items."""

from __future__ import annotations

from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, Setting
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.walk import (
    Scope,
    Walk,
    constant_text,
    handles,
    relation_of,
    strings,
)

ROLE_SETTINGS = frozenset({"role", "session_authorization"})
_MAX_IDENTIFIER = 400  # three quoted names of 63 bytes, and some blanks
_LOOKUPS = frozenset({"to_regclass", "to_regproc", "to_regprocedure", "to_regtype", "to_regrole", "to_regnamespace"})
_VALUE_FUNCTIONS = {
    pb.SVFOP_CURRENT_ROLE: "current_role",
    pb.SVFOP_CURRENT_USER: "current_user",
    pb.SVFOP_USER: "user",
    pb.SVFOP_SESSION_USER: "session_user",
    pb.SVFOP_CURRENT_CATALOG: "current_catalog",
    pb.SVFOP_CURRENT_SCHEMA: "current_schema",
}


@handles(pb.ColumnRef)
def column_ref(walk: Walk, ref: pb.ColumnRef, scope: Scope, target: bool) -> None:
    """`a`, `t.a`, `t.*`; one name may be a whole row, and `t.f` may be the call `f(t)`."""
    last = ref.fields[-1]
    if last.WhichOneof("node") == "a_star":
        walk.star = True
        return
    name = last.string.sval
    walk.columns.add(name)
    if len(ref.fields) == 1:
        walk.single_names.add(name)
    elif name in builtins.FUNCTIONS:
        walk.attribute_functions.add(name)


@handles(pb.A_Indirection)
def indirection(walk: Walk, node: pb.A_Indirection, scope: Scope, target: bool) -> None:
    """`(x).name` is a field of a composite value or the call `name(x)`: `('/etc/passwd'::text).pg_read_file` works."""
    walk.push(node.arg, scope)
    for item in node.indirection:
        match item.WhichOneof("node"):
            case "string":
                walk.columns.add(item.string.sval)
                walk.call(FunctionName(None, item.string.sval))
            case "a_star":
                walk.star = True
            case _:
                walk.push(item, scope)


@handles(pb.ParamRef)
def param_ref(walk: Walk, ref: pb.ParamRef, scope: Scope, target: bool) -> None:
    """`$n`."""
    walk.parameters = max(walk.parameters, ref.number)


@handles(pb.FuncCall)
def func_call(walk: Walk, call: pb.FuncCall, scope: Scope, target: bool) -> None:
    """A function, aggregate or procedure; SQL syntax too, since `EXTRACT (…)` is `pg_catalog.extract`."""
    parts = strings(call.funcname)
    name = FunctionName(parts[-2] if len(parts) > 1 else None, parts[-1])
    walk.call(name)
    if name.name == "set_config":
        _set_config(walk, call)
    elif builtins.is_sequence_function(name.name):
        _sequence(walk, call)
    elif name.name in _LOOKUPS:
        walk.regclass = walk.literals = True
    walk.push_children(call, scope, False, _FUNCNAME)


_FUNCNAME = frozenset({"funcname"})


def _set_config(walk: Walk, call: pb.FuncCall) -> None:
    positional = all(arg.WhichOneof("node") != "named_arg_expr" for arg in call.args)
    name = constant_text(call.args[0]) if positional and len(call.args) == 3 and not call.func_variadic else None
    if name is None:
        walk.settings.append(Setting(None, None, False))
        walk.classes.add(C.ROLE)
        return
    value, local = constant_text(call.args[1]), constant_text(call.args[2])
    walk.settings.append(Setting(name.lower(), value, value is not None, local == "on"))
    if name.lower() in ROLE_SETTINGS:
        walk.classes.add(C.ROLE)


def _sequence(walk: Walk, call: pb.FuncCall) -> None:
    text = constant_text(call.args[0]) if call.args else None
    relation = None if text is None else relation_of(split_identifier(text))
    if relation is None:
        walk.classes.add(C.DYNAMIC)
    else:
        walk.writes.add(relation)


def split_identifier(text: str) -> list[str]:
    """The parts of a dotted identifier in a string, as the input function of `regclass` reads it; [] if malformed."""
    if len(text) > _MAX_IDENTIFIER:
        return []
    parts: list[str] = []
    rest = text.strip()
    while True:
        if rest.startswith('"'):
            end, part = 1, ""
            while True:
                close = rest.find('"', end)
                if close < 0:
                    return []
                part += rest[end:close]
                end = close + 1
                if not rest.startswith('"', end):
                    break
                part += '"'
                end += 1
            rest = rest[end:].lstrip()
        else:
            end = next((i for i, c in enumerate(rest) if c in '."' or c.isspace()), len(rest))
            part, rest = rest[:end].lower(), rest[end:].lstrip()
        if not part:
            return []
        parts.append(part)
        if not rest:
            return parts if len(parts) <= 3 else []
        if not rest.startswith("."):
            return []
        rest = rest[1:].lstrip()


@handles(pb.SQLValueFunction)
def value_function(walk: Walk, node: pb.SQLValueFunction, scope: Scope, target: bool) -> None:
    """`CURRENT_USER` and its like; those that tell the time are no functions to a policy."""
    name = _VALUE_FUNCTIONS.get(node.op)
    if name is not None:
        walk.functions.add(FunctionName("pg_catalog", name))


@handles(pb.TypeName)
def type_name(walk: Walk, node: pb.TypeName, scope: Scope, target: bool) -> None:
    """A type; the `reg…` ones look objects up by name."""
    parts = strings(node.names)
    if parts:
        schema = parts[-2] if len(parts) > 1 else None
        if schema is None:
            walk.types.add(parts[-1])
        elif schema != "pg_catalog":
            walk.types.add(f"{schema}.{parts[-1]}")
        if parts[-1] in builtins.REG_TYPES:
            walk.regclass = walk.literals = True
    walk.push_all(node.typmods, scope)


@handles(pb.A_Expr)
def a_expr(walk: Walk, node: pb.A_Expr, scope: Scope, target: bool) -> None:
    """An operator."""
    walk.operator(node.name)
    if node.HasField("lexpr"):
        walk.push(node.lexpr, scope)
    if node.HasField("rexpr"):
        walk.push(node.rexpr, scope)


@handles(pb.SubLink)
def sub_link(walk: Walk, node: pb.SubLink, scope: Scope, target: bool) -> None:
    """`EXISTS (…)`, `x = ANY (SELECT …)`, a scalar subquery."""
    walk.operator(node.oper_name)
    walk.push_children(node, scope, False)


@handles(pb.SortBy)
def sort_by(walk: Walk, node: pb.SortBy, scope: Scope, target: bool) -> None:
    """`ORDER BY x USING OPERATOR (…)`."""
    walk.operator(node.use_op)
    walk.literals = walk.literals or node.node.WhichOneof("node") == "a_const"  # `ORDER BY 2` means a column
    walk.push(node.node, scope)


@handles(pb.RangeVar)
def range_var(walk: Walk, var: pb.RangeVar, scope: Scope, target: bool) -> None:
    """A relation, unless its bare name is a CTE's; a target never is."""
    if not target and not var.schemaname and var.relname in scope:
        walk.aliases.add(var.relname)
        if var.HasField("alias"):
            walk.aliases.add(var.alias.aliasname)
        return
    walk.relation(var, target)


@handles(pb.Alias)
def alias(walk: Walk, node: pb.Alias, scope: Scope, target: bool) -> None:
    """The name of a subquery, function or join in FROM."""
    walk.aliases.add(node.aliasname)


@handles(pb.JoinExpr)
def join_expr(walk: Walk, node: pb.JoinExpr, scope: Scope, target: bool) -> None:
    """A join; a list of names after its alias renames the columns of all relations in it. A natural one compares
    columns that it does not mention."""
    walk.columns.update(strings(node.using_clause))
    walk.star = walk.star or node.is_natural
    if node.HasField("alias") and node.alias.colnames:
        walk.renames = walk.star = True
    walk.push_children(node, scope, target)


@handles(pb.RangeTableSample)
def table_sample(walk: Walk, node: pb.RangeTableSample, scope: Scope, target: bool) -> None:
    """`TABLESAMPLE method (…)`."""
    parts = strings(node.method)
    walk.call(FunctionName(parts[-2] if len(parts) > 1 else None, parts[-1]))
    walk.push_children(node, scope, target)


@handles(pb.LockingClause)
def locking(walk: Walk, node: pb.LockingClause, scope: Scope, target: bool) -> None:
    """`FOR UPDATE OF alias`: the names are aliases, so they are not looked at."""
    walk.classes.add(C.LOCK)


@handles(pb.ResTarget)
def res_target(walk: Walk, node: pb.ResTarget, scope: Scope, target: bool) -> None:
    """A column of INSERT, UPDATE or MERGE. (Output columns, where the name is a label, don't come here.)"""
    if node.name:
        walk.targets.add(node.name)
    for item in node.indirection:
        if item.WhichOneof("node") == "a_indices":
            walk.push(item, scope)
    if node.HasField("val"):
        walk.push(node.val, scope)


@handles(pb.IndexElem)
def index_elem(walk: Walk, node: pb.IndexElem, scope: Scope, target: bool) -> None:
    """A column or expression of an index or ON CONFLICT target."""
    if node.name:
        walk.columns.add(node.name)
    walk.push_children(node, scope, False)


@handles(pb.ColumnDef)
def column_def(walk: Walk, node: pb.ColumnDef, scope: Scope, target: bool) -> None:
    """A column that DDL defines."""
    walk.columns.add(node.colname)
    walk.push_children(node, scope, target)
