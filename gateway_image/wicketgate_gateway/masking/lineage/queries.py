"""The columns of a query: SELECT, VALUES, set operations, WITH, and what stands in FROM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from postgast import pg_query_pb2 as pb

from wicketgate_gateway.masking.lineage import functions
from wicketgate_gateway.masking.lineage.expressions import Expressions
from wicketgate_gateway.masking.lineage.model import (
    CONSTANT,
    Column,
    How,
    UntraceableError,
    Use,
    Value,
    either,
    union,
    unknown,
)
from wicketgate_gateway.masking.lineage.scope import Cte, Item, Scope, renamed
from wicketgate_gateway.wire.postgres.sql.walk import relation_name, strings

MAX_ROUNDS = 64
_WRITING = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})


class Queries(Expressions):
    """See `Expressions`; `Statements` adds what writes."""

    def query(self, node: Any, scope: Scope) -> list[Column]:
        """The columns of a query or a statement with RETURNING; `scope` is what stands around it."""
        self._enter()
        try:
            kind = node.WhichOneof("node")
            if kind == "select_stmt":
                return self.select(node.select_stmt, scope)
            if kind in _WRITING:
                return self.writing(kind, getattr(node, kind), scope)
            raise UntraceableError(f"`{kind}` is not followed")
        finally:
            self._depth -= 1

    def writing(self, kind: str, statement: Any, scope: Scope) -> list[Column]:
        """The columns that a statement that writes returns; see `Statements`."""
        raise NotImplementedError

    # --- SELECT -------------------------------------------------------------------------------------------------------

    def select(self, statement: Any, around: Scope) -> list[Column]:
        """The columns of a SELECT, VALUES or set operation."""
        scope = around.inner()
        self.with_clause(statement, scope)
        if statement.op != pb.SETOP_NONE:
            columns = self._set_operation(statement, scope)
        elif statement.values_lists:
            rows = [[self.value(item, scope) for item in row.list.items] for row in statement.values_lists]
            columns = [
                Column(f"column{i}", either(*(v for v in values if v is not None)))
                for i, values in enumerate(zip_longest(*rows), 1)
            ]
        else:
            columns = self._plain(statement, scope)
        for sort in statement.sort_clause:
            self._ordered(sort.sort_by.node, columns, scope, Use.SORT)
        for node in (statement.limit_offset, statement.limit_count):
            self.use(self.value(node, scope), Use.CONDITION)
        return columns

    def _plain(self, statement: Any, scope: Scope) -> list[Column]:
        for node in statement.from_clause:
            scope.star += self.source(node, scope)
        if statement.HasField("where_clause"):
            self.condition(statement.where_clause, scope)
        columns = self.outputs(statement.target_list, scope)
        for node in statement.group_clause:
            self._grouped(node, columns, scope)
        if statement.HasField("having_clause"):
            self.condition(statement.having_clause, scope)
        for node in statement.window_clause:
            self._window(node.window_def, scope)
        for node in statement.distinct_clause:
            if node.WhichOneof("node") is None:
                for column in columns:
                    self.use(column.value, Use.GROUP)
            else:
                self._ordered(node, columns, scope, Use.GROUP)
        return columns

    def outputs(self, targets: Any, scope: Scope) -> list[Column]:
        """The columns of an output list."""
        found: list[Column] = []
        for node in targets:
            target = node.res_target
            kind = target.val.WhichOneof("node")
            star = self._star(target.val, kind, scope)
            if star is not None:
                found += star
            else:
                value = self.value(target.val, scope)
                found.append(Column(target.name or label(target.val), value))
        return found

    def _star(self, node: Any, kind: str | None, scope: Scope) -> list[Column] | None:
        if kind == "column_ref" and node.column_ref.fields[-1].WhichOneof("node") == "a_star":
            names = strings(node.column_ref.fields)
            if not names:
                return list(scope.star)
            item = scope.item(names[-2] if len(names) > 1 else None, names[-1])
            return item.star() if item is not None else [Column("*", unknown("`*` of nothing in FROM"), repeated=True)]
        if kind == "a_indirection" and node.a_indirection.indirection[-1].WhichOneof("node") == "a_star":
            return [Column("*", self.value(node, scope), repeated=True)]
        return None

    def _set_operation(self, statement: Any, scope: Scope) -> list[Column]:
        left = self.query(pb.Node(select_stmt=statement.larg), scope)
        right = self.query(pb.Node(select_stmt=statement.rarg), scope)
        columns = self.both(left, right)
        if not (statement.op == pb.SETOP_UNION and statement.all):
            for column in columns:
                self.use(column.value, Use.GROUP)
        return columns

    @staticmethod
    def both(left: Sequence[Column], right: Sequence[Column]) -> list[Column]:
        """The columns of rows that come from either of two queries."""
        if any(column.repeated for column in (*left, *right)):
            return [Column("*", either(*(c.value for c in (*left, *right))), repeated=True)]
        if len(left) != len(right):
            raise UntraceableError("the sides of a set operation have different numbers of columns")
        return [Column(a.name, either(a.value, b.value)) for a, b in zip(left, right, strict=True)]

    def _ordered(self, node: Any, columns: Sequence[Column], scope: Scope, use: Use) -> None:
        value = self._named(node, columns)
        if value is None:
            value = self.value(node, scope)
        elif node.WhichOneof("node") == "column_ref":
            self._input(node, scope, use)
        self.use(value, use)

    def _input(self, node: Any, scope: Scope, use: Use) -> None:
        # A label may hide a column of the same name; both count.
        name = strings(node.column_ref.fields)[0]
        for item in scope.items:
            value = item.column(name)
            if value is not None and item.certain(name):
                self.use(value, use)

    def _named(self, node: Any, columns: Sequence[Column]) -> Value | None:
        """The output column that a bare name or a number of ORDER BY, GROUP BY or DISTINCT ON means."""
        kind = node.WhichOneof("node")
        repeated = any(column.repeated for column in columns)
        if kind == "a_const" and node.a_const.WhichOneof("val") == "ival":
            number = node.a_const.ival.ival
            if repeated or not 1 <= number <= len(columns):
                return union(*(column.value for column in columns))
            return columns[number - 1].value
        if kind == "column_ref" and len(node.column_ref.fields) == 1:
            name = strings(node.column_ref.fields)
            found = [c.value for c in columns if c.repeated or (name and c.name == name[0])]
            if found and any(c.name == name[0] for c in columns if not c.repeated):
                return union(*found)
        return None

    def _grouped(self, node: Any, columns: Sequence[Column], scope: Scope) -> None:
        if node.WhichOneof("node") == "grouping_set":
            for part in node.grouping_set.content:
                self._grouped(part, columns, scope)
            return
        if node.WhichOneof("node") in ("row_expr", "list"):
            args = node.row_expr.args if node.WhichOneof("node") == "row_expr" else node.list.items
            for part in args:
                self._grouped(part, columns, scope)
            return
        value = self._named(node, columns)
        if value is not None:
            self.use(value, Use.GROUP)
            if node.WhichOneof("node") == "column_ref":
                self._input(node, scope, Use.GROUP)
            return
        self.use(self.value(node, scope), Use.GROUP)

    # --- WITH ---------------------------------------------------------------------------------------------------------

    def with_clause(self, statement: Any, scope: Scope) -> None:
        """Add the common table expressions of a statement to its scope."""
        if not statement.HasField("with_clause"):
            return
        ctes = [node.common_table_expr for node in statement.with_clause.ctes]
        if statement.with_clause.recursive:
            self._recursive(ctes, scope)
            return
        for cte in ctes:
            columns = self.query(cte.ctequery, scope)
            scope.ctes[cte.ctename] = Cte(self._cte_columns(cte, columns))

    def _recursive(self, ctes: list[Any], scope: Scope) -> None:
        # One may refer to itself and to those after it: what is known of each grows until nothing changes.
        for cte in ctes:
            scope.ctes[cte.ctename] = Cte(self._starting(cte))
        for _ in range(MAX_ROUNDS):
            changed = False
            for cte in ctes:
                known = scope.ctes[cte.ctename]
                columns = self._cte_columns(cte, self.query(cte.ctequery, scope))
                merged = columns if not known.columns else self.both(known.columns, columns)
                if [(c.name, c.value) for c in merged] != [(c.name, c.value) for c in known.columns]:
                    known.columns, changed = merged, True
            if not changed:
                return
        raise UntraceableError("a recursive query is too entangled to be followed")

    def _starting(self, cte: Any) -> list[Column]:
        """How many columns a recursive one has, before it is known what is in them."""
        names = strings(cte.aliascolnames)
        extra = [Column(name, CONSTANT) for name in self._extra(cte)]
        query = cte.ctequery.select_stmt if cte.ctequery.WhichOneof("node") == "select_stmt" else None
        while query is not None and query.op != pb.SETOP_NONE:
            query = query.larg
        if query is None:
            return []
        if query.values_lists:
            found = [Column(f"column{i}", CONSTANT) for i, _ in enumerate(query.values_lists[0].list.items, 1)]
        else:
            found = [Column(node.res_target.name or label(node.res_target.val), CONSTANT) for node in query.target_list]
            if any(column.name == "*" for column in found):
                return []
        if len(names) > len(found):
            return []
        return [*renamed(found, names), *extra]

    def _extra(self, cte: Any) -> list[str]:
        extra = [cte.search_clause.search_seq_column] if cte.HasField("search_clause") else []
        if cte.HasField("cycle_clause"):
            extra += [cte.cycle_clause.cycle_mark_column, cte.cycle_clause.cycle_path_column]
        return extra

    def _cte_columns(self, cte: Any, columns: list[Column]) -> list[Column]:
        found = renamed(columns, strings(cte.aliascolnames))
        every = union(*(column.value for column in found))
        extra = self._extra(cte)
        if cte.HasField("search_clause"):
            for name in strings(cte.search_clause.search_col_list):
                self.use(union(*(c.value for c in found if c.repeated or c.name == name)), Use.SORT)
        if cte.HasField("cycle_clause"):
            for name in strings(cte.cycle_clause.cycle_col_list):
                self.use(union(*(c.value for c in found if c.repeated or c.name == name)), Use.GROUP)
        return [*found, *(Column(name, every) for name in extra)]

    # --- FROM ---------------------------------------------------------------------------------------------------------

    def source(self, node: Any, scope: Scope) -> list[Column]:
        """Add what one entry of FROM brings to the scope; returns the columns that `*` takes of it."""
        self._enter()
        try:
            match node.WhichOneof("node"):
                case "range_var":
                    return self.add(scope, self._relation(node.range_var, scope))
                case "range_subselect":
                    return self.add(scope, self._subselect(node.range_subselect, scope))
                case "range_function":
                    return self.add(scope, self._function(node.range_function, scope))
                case "join_expr":
                    return self._join(node.join_expr, scope)
                case "range_table_sample":
                    for arg in (*node.range_table_sample.args, node.range_table_sample.repeatable):
                        self.use(self.value(arg, scope), Use.CONDITION)
                    return self.source(node.range_table_sample.relation, scope)
                case "range_table_func":
                    return self.add(scope, self._table(node.range_table_func, scope))
                case "json_table":
                    return self.add(scope, self._table(node.json_table, scope))
                case kind:
                    raise UntraceableError(f"`{kind}` is not followed")
        finally:
            self._depth -= 1

    def add(self, scope: Scope, item: Item) -> list[Column]:
        """Add an item to the scope."""
        scope.items.append(item)
        return item.star()

    def _relation(self, var: Any, scope: Scope) -> Item:
        alias = var.alias.aliasname if var.HasField("alias") else ""
        names = strings(var.alias.colnames) if var.HasField("alias") else []
        cte = None if var.schemaname else scope.cte(var.relname)
        known = Item(alias or var.relname, cte.columns) if cte is not None else None
        return self._renamed(known or scope.relation(relation_name(var), alias), names)

    @staticmethod
    def _renamed(item: Item, names: Sequence[str]) -> Item:
        if names:
            item.columns = renamed(item.star(), names)
            if any(column.repeated for column in item.columns):
                item.rest = union(*(c.value for c in item.columns))
                item.columns = [c for c in item.columns if not c.repeated]
            item.known = frozenset()
        return item

    def _subselect(self, part: Any, scope: Scope) -> Item:
        around = scope if part.lateral else self._beside(scope)
        columns = self.query(part.subquery, around)
        names = strings(part.alias.colnames) if part.HasField("alias") else []
        item = Item(part.alias.aliasname if part.HasField("alias") else "", [c for c in columns if not c.repeated])
        if any(column.repeated for column in columns):
            # Where the repeated ones stand among the others is not known, so each may be any.
            item = Item(item.alias, columns)
        return self._renamed(item, names)

    @staticmethod
    def _beside(scope: Scope) -> Scope:
        # A subquery that is not LATERAL sees the common table expressions of its level, not its siblings in FROM.
        return Scope(scope.index, scope.path, scope.parent, ctes=scope.ctes)

    def _function(self, part: Any, scope: Scope) -> Item:
        values: list[Value] = []
        names: list[str] = []
        known = True
        for entry in part.functions:
            call = entry.list.items[0]
            value = self.value(call, scope)
            self.use(replace(value, untraced=""), Use.COMPUTE)  # how many rows it gives may hang on its arguments
            values.append(value)
            kind = call.WhichOneof("node")
            name = strings(call.func_call.funcname)[-1] if kind == "func_call" else label(call)
            outputs = functions.OUTPUTS.get(name)
            known = known and not value.untraced and len(part.functions) == 1
            names += outputs or ()
            if len(entry.list.items) > 1 and entry.list.items[1].WhichOneof("node") == "list":
                for definition in entry.list.items[1].list.items:
                    names.append(definition.column_def.colname)
        for definition in part.coldeflist:
            names.append(definition.column_def.colname)
            values.append(self._type(definition.column_def.type_name))
        value = union(*values)
        alias = part.alias.aliasname if part.HasField("alias") else ""
        renames = strings(part.alias.colnames) if part.HasField("alias") else []
        first = part.functions[0].list.items[0]
        own = strings(first.func_call.funcname)[-1] if first.WhichOneof("node") == "func_call" else label(first)
        # A function of one column has a column called as its alias, or itself.
        columns = [Column(name, value) for name in (renames or names or [alias or own])]
        if part.ordinality:
            columns.append(Column("ordinality", CONSTANT))
        return Item(alias or own, columns, rest=value)

    def _table(self, part: Any, scope: Scope) -> Item:
        value = self.everything(part, scope)
        if value.origins or value.untraced:
            self.use(value, Use.COMPUTE)
        alias = part.alias.aliasname if part.HasField("alias") else ""
        names = strings(part.alias.colnames) if part.HasField("alias") else []
        listed = [Column(name, value) for name in names]
        return Item(alias, listed, rest=value)

    def _join(self, join: Any, scope: Scope) -> list[Column]:
        start = len(scope.items)
        left = self.source(join.larg, scope)
        middle = len(scope.items)
        right = self.source(join.rarg, scope)
        using = strings(join.using_clause)
        if join.is_natural:
            if any(column.repeated for column in (*left, *right)):
                for column in (*left, *right):
                    self.use(column.value, Use.COMPARE)
            names = {column.name for column in right}
            using = [column.name for column in left if column.name in names and not column.repeated]
        merged: list[Column] = []
        for name in using:
            sides = [
                [value for item in items if (value := item.column(name)) is not None]
                for items in (scope.items[start:middle], scope.items[middle:])
            ]
            value = union(*sides[0], *sides[1])
            plain = all(v.how is How.COPY for side in sides for v in side if v.origins or v.untraced)
            self.use(value, Use.COMPARE if plain else Use.CONDITION)
            merged.append(Column(name, either(*sides[0], *sides[1])))
        columns = [*merged, *(c for c in (*left, *right) if c.repeated or c.name not in using)]
        if join.HasField("quals"):
            self.condition(join.quals, scope)
        if join.HasField("join_using_alias"):
            scope.items.append(Item(join.join_using_alias.aliasname, merged, schema="\0"))
        if join.HasField("alias"):
            item = self._renamed(Item(join.alias.aliasname, columns), strings(join.alias.colnames))
            del scope.items[start:]
            scope.items.append(item)
            return item.star()
        return columns


def label(node: Any) -> str:
    """What PostgreSQL calls an output column without a label (FigureColname)."""
    while True:
        kind = node.WhichOneof("node")
        part: Any = getattr(node, kind) if kind else None
        if kind == "column_ref":
            return strings(part.fields)[-1] if part.fields[-1].WhichOneof("node") == "string" else "*"
        if kind == "a_indirection":
            names = strings(part.indirection)
            if names:
                return names[-1]
            if part.indirection[-1].WhichOneof("node") == "a_star":
                return "*"
            node = part.arg
        elif kind == "func_call":
            return strings(part.funcname)[-1]
        elif kind == "type_cast":
            inner = label(part.arg)
            return inner if inner != "?column?" else strings(part.type_name.names)[-1]
        elif kind == "collate_clause":
            node = part.arg
        elif kind == "sub_link" and part.sub_link_type == pb.EXPR_SUBLINK:
            targets = part.subselect.select_stmt.target_list
            if not targets:
                return "?column?"
            target = targets[0].res_target
            return target.name or label(target.val)
        else:
            if kind == "sub_link":
                return {pb.EXISTS_SUBLINK: "exists", pb.ARRAY_SUBLINK: "array"}.get(part.sub_link_type, "?column?")
            return _LABELS.get(kind or "", "?column?")


_LABELS = {
    "case_expr": "case",
    "coalesce_expr": "coalesce",
    "a_array_expr": "array",
    "row_expr": "row",
    "min_max_expr": "greatest",
    "grouping_func": "grouping",
    "xml_expr": "xmlelement",
    "json_object_constructor": "json_object",
    "json_array_constructor": "json_array",
    "sqlvalue_function": "current",
    "merge_support_func": "merge_action",
}
