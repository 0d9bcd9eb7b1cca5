"""The value of an expression: the union of all that goes into it, and what it does with it on the way.

How this works: `Expressions.value` knows each kind of node that an expression can have; an unknown one raises
UntraceableError. What could tell something of a value without showing it (a condition, a function that may fail) is
noted as a use. The depth of recursion is bounded, and so is the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from wicketgate_gateway.masking.lineage import functions
from wicketgate_gateway.masking.lineage.model import (
    CONSTANT,
    UNTRACED,
    Column,
    How,
    Lineage,
    Origin,
    UntraceableError,
    Use,
    Value,
    union,
    unknown,
)
from wicketgate_gateway.masking.lineage.scope import Scope
from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.walk import strings

MAX_DEPTH = 100
MAX_NODES = 30_000
_EQUALITY = frozenset({"=", "<>", "!="})
_EQUAL_KINDS = frozenset({pb.AEXPR_OP, pb.AEXPR_OP_ANY, pb.AEXPR_OP_ALL, pb.AEXPR_IN, pb.AEXPR_DISTINCT,
                          pb.AEXPR_NOT_DISTINCT})  # fmt: skip
_CONSTRUCTORS = frozenset({"json_object_constructor", "json_array_constructor", "json_scalar_expr"})
_AGGREGATES = frozenset({"json_object_agg", "json_array_agg"})
_GENERIC_NAMES = (
    "xml_expr xml_serialize json_func_expr json_parse_expr json_serialize_expr json_is_predicate json_value_expr "
    "json_array_query_constructor json_argument min_max_expr range_table_func_col json_table_column "
    "json_table_path_spec json_behavior"
)
_GENERIC = frozenset(_GENERIC_NAMES.split())
_QUERIES = frozenset({"select_stmt"})


class Expressions:
    """Values of expressions within one statement; `Queries` adds the queries."""

    def __init__(self) -> None:
        self.found = Lineage()
        self._depth = 0
        self._nodes = 0

    # --- what is noted ------------------------------------------------------------------------------------------------

    def use(self, value: Value, use: Use) -> None:
        """Note that this value is used so."""
        for origin in value.origins:
            self.found.uses.add((origin, use))
        if value.untraced:
            self.found.uses.add((value.untraced, use))
        # What a function was given is no value of its own; what its result is compared with may be one.
        compared = bool(value.untraced) and use in (Use.COMPARE, Use.CONDITION)
        self.meet((*value.origins, UNTRACED) if compared else value.origins, value)

    def meet(self, origins: Iterable[Origin], value: Value) -> None:
        """Note that the parameters and literals of `value` meet columns."""
        numbers = (*value.parameters, 0) if value.literal else tuple(value.parameters)
        self.found.meets.update((origin, number) for origin in origins for number in numbers)

    # --- conditions ---------------------------------------------------------------------------------------------------

    def condition(self, node: Any, scope: Scope) -> Value:
        """A condition: notes what it compares, and gives what it is made of."""
        pending, found = [node], list[Value]()
        while pending:
            part = pending.pop()
            kind = part.WhichOneof("node")
            if kind is None:
                continue
            if kind == "bool_expr":
                pending.extend(part.bool_expr.args)
                continue
            value, equal = self._leaf(part, kind, scope)
            self.use(value, Use.COMPARE if equal else Use.CONDITION)
            found.append(value)
        return union(*found)

    def _leaf(self, node: Any, kind: str, scope: Scope) -> tuple[Value, bool]:
        if kind == "null_test":
            value = self.value(node.null_test.arg, scope)
            return value, value.how is How.COPY
        if kind == "a_expr":
            expr = node.a_expr
            if expr.kind in _EQUAL_KINDS and strings(expr.name)[-1:] and strings(expr.name)[-1] in _EQUALITY:
                sides = [self.value(side, scope) for side in (expr.lexpr, expr.rexpr)]
                plain = all((not s.origins and not s.untraced) or s.how is How.COPY for s in sides)
                return union(*sides), plain and len(strings(expr.name)) == 1
        if kind == "sub_link":
            link = node.sub_link
            if link.sub_link_type == pb.ANY_SUBLINK and not strings(link.oper_name):
                sides = [self.value(link.testexpr, scope), self.rows(link.subselect, scope)]
                return union(*sides), all((not s.origins and not s.untraced) or s.how is How.COPY for s in sides)
        return self.value(node, scope), False

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, node: Any, scope: Scope) -> Value:
        """What an expression is made of."""
        kind = node.WhichOneof("node")
        if kind is None:
            return CONSTANT
        self._enter()
        try:
            if kind in _QUERIES:
                return self.rows(node, scope)
            handler = _HANDLERS.get(kind)
            if handler is not None:
                return handler(self, getattr(node, kind), scope)
            return self._several(kind, getattr(node, kind), scope)
        finally:
            self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            self._depth -= 1
            raise UntraceableError("the statement is too deep or too long to be followed")

    def _several(self, kind: str, part: Any, scope: Scope) -> Value:
        if kind not in _CONSTRUCTORS and kind not in _AGGREGATES and kind not in _GENERIC:
            raise UntraceableError(f"`{kind}` is not followed")
        value = self.everything(part, scope)
        if kind in _AGGREGATES:
            self.use(value, Use.AGGREGATE)
            return value.computed(How.AGGREGATE)
        if kind in _CONSTRUCTORS:
            return value.computed()
        self.use(value, Use.COMPUTE)
        return value.computed()

    def everything(self, part: Message, scope: Scope) -> Value:
        """The union of all expressions below a node, whatever they do in it."""
        found: list[Value] = []
        pending: list[Any] = [part]
        while pending:
            message = pending.pop()
            for field, content in message.ListFields():
                if field.message_type is None:
                    continue
                items: Any = content if not isinstance(content, Message) else (content,)
                for item in items:
                    if type(item) is pb.Node:
                        found.append(self.value(item, scope))
                    elif type(item) is pb.TypeName:
                        found.append(self._type(item))
                    elif type(item) is pb.SelectStmt:
                        found.append(self.rows(pb.Node(select_stmt=item), scope))
                    elif type(item) is pb.WindowDef:
                        self._window(item, scope)
                    else:
                        self._nodes += 1
                        pending.append(item)
        return union(*found)

    def rows(self, node: Any, scope: Scope) -> Value:
        """All that a subquery gives, as one value."""
        columns = self.query(node, scope)
        copies = len(columns) == 1 and not columns[0].repeated
        return columns[0].value if copies else union(*(column.value for column in columns))

    def query(self, node: Any, scope: Scope) -> list[Column]:
        """The columns of a query; see `Queries`."""
        raise NotImplementedError

    def _type(self, name: Any) -> Value:
        parts = strings(name.names)
        if not parts:
            return CONSTANT
        last, schema = parts[-1], parts[-2] if len(parts) > 1 else None
        plain = builtins.is_plain_type(last if schema in (None, "pg_catalog") else f"{schema}.{last}")
        return CONSTANT if plain else unknown(f"what a cast to `{'.'.join(parts)}` runs cannot be told")

    def _column(self, ref: Any, scope: Scope) -> Value:
        last = ref.fields[-1]
        names = strings(ref.fields)
        if last.WhichOneof("node") == "a_star":
            return self._star_value(names, scope)
        if len(names) == 1:
            return scope.column(names[0])
        if len(names) > 3:
            return unknown("a name with a database in it")
        schema = names[-3] if len(names) == 3 else None
        item = scope.item(schema, names[-2])
        if item is None:
            # `column.field` needs parentheses, so this is an error of PostgreSQL's.
            return unknown(f"`{'.'.join(names)}` names nothing in FROM")
        found = item.column(names[-1])
        return found if found is not None else self._attribute(names[-1], item.row(), scope)

    def _star_value(self, names: list[str], scope: Scope) -> Value:
        item = scope.item(names[-2] if len(names) > 1 else None, names[-1]) if names else None
        if names and item is None:
            return unknown(f"`{'.'.join(names)}.*` names nothing in FROM")
        columns = item.star() if item is not None else scope.star
        return union(*(column.value for column in columns), how=How.WHOLE_ROW)

    def _attribute(self, name: str, value: Value, scope: Scope) -> Value:
        """`x.name` where x has no such column: a field of a composite value, or the call name(x)."""
        # Without a catalogue, nobody knows which functions there are.
        known = scope.index.functions.get(name) or not scope.index.relations
        if known or (name in builtins.FUNCTIONS and functions.unseen(None, name, scope.path, scope.index)):
            self.use(value, Use.COMPUTE)
            return union(value, unknown(f"`{name}` may be a function of the database's own"))
        if name in builtins.FUNCTIONS and not functions.is_total(name):
            self.use(value, Use.COMPUTE)
        return value.computed()

    def _cast(self, cast: Any, scope: Scope) -> Value:
        value = self.value(cast.arg, scope)
        kind = self._type(cast.type_name)
        name = strings(cast.type_name.names)[-1:]
        # To an array, too, a text may not be castable.
        safe = bool(name) and name[0] in functions.TEXT_TYPES and not cast.type_name.array_bounds
        if not safe or kind.untraced:
            self.use(value, Use.COMPUTE)
        return union(value, kind) if value.origins or value.untraced or kind.untraced else value

    def _call(self, call: Any, scope: Scope) -> Value:
        parts = strings(call.funcname)
        name, schema = parts[-1], parts[-2] if len(parts) > 1 else None
        values = [self.value(arg, scope) for arg in call.args]
        for sort in call.agg_order:
            value = self.value(sort.sort_by.node, scope)
            self.use(value, Use.SORT)
            values.append(value)
        if call.HasField("agg_filter"):
            values.append(self.condition(call.agg_filter, scope))
        if call.HasField("over"):
            values.append(self._window(call.over, scope))
        value = union(*values)
        reason = functions.unseen(schema, name, scope.path, scope.index)
        if call.agg_distinct:
            self.use(value, Use.GROUP)
        many = call.HasField("over") or bool(call.agg_order) or call.agg_within_group or name in functions.AGGREGATES
        total = functions.is_total(name) and not reason and (not many or name in functions.COUNTING)
        if name in functions.FIRST_ONLY and not reason and not many:
            total = not any(v.origins or v.untraced for v in values[1:])
        if not total or call.HasField("over"):
            self.use(value, Use.AGGREGATE if many and not reason else Use.COMPUTE)
        value = value.computed(How.AGGREGATE if many else How.EXPRESSION)
        return union(value, unknown(reason), how=value.how) if reason else value

    def _window(self, window: Any, scope: Scope) -> Value:
        values: list[Value] = []
        for node in window.partition_clause:
            values.append(self.value(node, scope))
            self.use(values[-1], Use.GROUP)
        for node in window.order_clause:
            values.append(self.value(node.sort_by.node, scope))
            self.use(values[-1], Use.SORT)
        for node in (window.start_offset, window.end_offset):
            values.append(self.value(node, scope))
            self.use(values[-1], Use.CONDITION)
        return union(*values)

    def _operator(self, expr: Any, scope: Scope) -> Value:
        name = strings(expr.name)
        sides = [self.value(side, scope) for side in (expr.lexpr, expr.rexpr)]
        value = union(*sides)
        own = len(name) > 1 and name[-2] != "pg_catalog"
        reason = ""
        if own or (name and name[-1] not in builtins.OPERATORS and expr.kind == pb.AEXPR_OP):
            reason = f"what the operator `{'.'.join(name)}` runs cannot be told"
        if expr.kind == pb.AEXPR_OP and name == ["||"]:
            pass  # what is put beside a value is no guess at it
        elif expr.kind in _EQUAL_KINDS and name[-1:] and name[-1] in _EQUALITY and not reason:
            plain = all((not s.origins and not s.untraced) or s.how is How.COPY for s in sides)
            self.use(value, Use.COMPARE if plain else Use.CONDITION)
        else:
            self.use(value, Use.COMPUTE)
        return union(value, unknown(reason)) if reason else value

    def _boolean(self, expr: Any, scope: Scope) -> Value:
        return self.condition(pb.Node(bool_expr=expr), scope)

    def _null_test(self, test: Any, scope: Scope) -> Value:
        return self.condition(pb.Node(null_test=test), scope)

    def _boolean_test(self, test: Any, scope: Scope) -> Value:
        return self.condition(test.arg, scope)

    def _case(self, case: Any, scope: Scope) -> Value:
        conditions: list[Value] = []
        results = [self.value(case.defresult, scope)]
        if case.HasField("arg"):
            conditions.append(self.value(case.arg, scope))
        for node in case.args:
            when = node.case_when
            conditions.append(
                self.value(when.expr, scope) if case.HasField("arg") else self.condition(when.expr, scope)
            )
            results.append(self.value(when.result, scope))
        told = union(*conditions)
        if told.origins or told.untraced:
            self.use(told, Use.CONDITION)
        return union(*results, told)

    def _link(self, link: Any, scope: Scope) -> Value:
        kind = link.sub_link_type
        if kind == pb.EXISTS_SUBLINK:
            self.query(link.subselect, scope)
            return Value(how=How.EXISTENCE)
        rows = self.rows(link.subselect, scope)
        if kind == pb.EXPR_SUBLINK:
            return rows.computed()
        if kind == pb.ARRAY_SUBLINK:
            return rows.computed(How.AGGREGATE)
        name = strings(link.oper_name)
        value = union(self.value(link.testexpr, scope), rows)
        own = len(name) > 1 or (name and name[-1] not in builtins.OPERATORS)
        self.use(value, Use.CONDITION)
        return union(value, unknown("what an operator runs cannot be told")) if own else value

    def _indirection(self, node: Any, scope: Scope) -> Value:
        value = self.value(node.arg, scope)
        item = None
        arg = node.arg
        if arg.WhichOneof("node") == "column_ref" and len(arg.column_ref.fields) == 1:
            name = strings(arg.column_ref.fields)
            found = scope.item(None, name[0]) if name else None
            if found is not None and not any(i.column(name[0]) is not None for i in scope.all_items()):
                item = found
        for step in node.indirection:
            kind = step.WhichOneof("node")
            if kind == "string":
                field = step.string.sval
                picked = item.column(field) if item is not None else None
                value = picked if picked is not None else self._attribute(field, value, scope)
            elif kind == "a_indices":
                index = union(self.value(step.a_indices.lidx, scope), self.value(step.a_indices.uidx, scope))
                if value.origins or index.origins or index.untraced:
                    self.use(union(value, index), Use.COMPUTE)
                value = union(value, index)
            elif kind != "a_star":
                raise UntraceableError(f"`{kind}` is not followed")
            item = None
        return value

    def _key_value(self, pair: Any, scope: Scope) -> Value:
        key = self.value(pair.key, scope)
        if key.origins or key.untraced:  # a key that is NULL is an error
            self.use(key, Use.COMPUTE)
        return union(key, self.everything(pair.value, scope))

    def _list(self, items: Iterable[Any], scope: Scope) -> Value:
        return union(*(self.value(item, scope) for item in items))


def _union_of(name: str) -> Callable[[Expressions, Any, Scope], Value]:
    return lambda self, part, scope: self._list(getattr(part, name), scope)  # pyright: ignore[reportPrivateUsage]


def _constant(_self: Expressions, _part: Any, _scope: Scope) -> Value:
    return CONSTANT


def _first(name: str) -> Callable[[Expressions, Any, Scope], Value]:
    return lambda self, part, scope: self.value(getattr(part, name), scope)


_LITERAL = Value(literal=True)

_HANDLERS: dict[str, Callable[[Any, Any, Scope], Value]] = {
    "column_ref": Expressions._column,
    "a_const": lambda _self, _part, _scope: _LITERAL,
    "param_ref": lambda _self, part, _scope: Value(parameters=frozenset({part.number})),
    "type_cast": Expressions._cast,
    "func_call": Expressions._call,
    "a_expr": Expressions._operator,
    "bool_expr": Expressions._boolean,
    "null_test": Expressions._null_test,
    "boolean_test": Expressions._boolean_test,
    "case_expr": Expressions._case,
    "json_key_value": Expressions._key_value,
    "coalesce_expr": _union_of("args"),
    "sub_link": Expressions._link,
    "row_expr": _union_of("args"),
    "a_array_expr": _union_of("elements"),
    "list": _union_of("items"),
    "a_indirection": Expressions._indirection,
    "collate_clause": lambda self, part, scope: self.value(part.arg, scope).computed(),
    "named_arg_expr": _first("arg"),
    "multi_assign_ref": _first("source"),
    "res_target": _first("val"),
    "sqlvalue_function": _constant,
    "set_to_default": _constant,
    "grouping_func": _constant,
    "merge_support_func": _constant,
    "current_of_expr": _constant,
    "string": _constant,
    "integer": _constant,
    "a_star": _constant,
}
