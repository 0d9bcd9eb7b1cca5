"""What INSERT, UPDATE, DELETE and MERGE write and return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postgast import pg_query_pb2 as pb

from wicketgate_gateway.masking.lineage.model import Column, Origin, Use, Value, Write, union, unknown
from wicketgate_gateway.masking.lineage.queries import Queries
from wicketgate_gateway.masking.lineage.scope import Item, Scope
from wicketgate_gateway.wire.postgres.sql.walk import relation_name, strings


class Statements(Queries):
    """Lineage of one statement. See `Queries` and `Expressions`."""

    def writing(self, kind: str, statement: Any, scope: Scope) -> list[Column]:
        """Note what the statement writes, and give the columns that it returns."""
        inner = scope.inner()
        self.with_clause(statement, inner)
        relation = statement.relation
        alias = relation.alias.aliasname if relation.HasField("alias") else ""
        target = inner.relation(relation_name(relation), alias)
        if kind == "insert_stmt":
            self._insert(statement, inner, target)
        elif kind == "update_stmt":
            inner.items.append(target)
            inner.star += target.star()
            self._from(statement.from_clause, inner)
            self._where(statement, inner)
            self._assign(statement.target_list, inner, target)
        elif kind == "delete_stmt":
            inner.items.append(target)
            inner.star += target.star()
            self._from(statement.using_clause, inner)
            self._where(statement, inner)
        else:
            self._merge(statement, inner, target)
        if not statement.HasField("returning_clause"):
            return []
        names = ["old", "new", *(option.returning_option.value for option in statement.returning_clause.options)]
        rows = [Item(name, target.columns, rest=target.rest, oid=target.oid) for name in names]
        # `old.x` and `new.x` are called by their alias alone: a bare name is the target's.
        shadow = Scope(inner.index, inner.path, scope, rows, dict(inner.ctes))
        returning = Scope(inner.index, inner.path, shadow, inner.items, dict(inner.ctes), inner.star)
        return self.outputs(statement.returning_clause.exprs, returning)

    def _from(self, nodes: Any, scope: Scope) -> None:
        for node in nodes:
            scope.star += self.source(node, scope)

    def _where(self, statement: Any, scope: Scope) -> None:
        if statement.HasField("where_clause"):
            self.condition(statement.where_clause, scope)

    def write(self, target: Item, name: str | None, value: Value) -> None:
        """Note that a value goes into a column of the target."""
        found = target.column(name) if name is not None else None
        origins = found.origins if found is not None else frozenset[Origin]()
        place = f"{target.alias}.{name}" if name is not None else target.alias
        self.found.writes.append(Write(place, value, next(iter(origins), None)))
        self.meet(origins, value)

    def _assign(self, targets: Any, scope: Scope, target: Item) -> None:
        for node in targets:
            part = node.res_target
            value = self.value(part.val, scope)
            for step in part.indirection:
                if step.WhichOneof("node") == "a_indices":
                    indices = step.a_indices
                    value = union(value, self.value(indices.lidx, scope), self.value(indices.uidx, scope))
            self.write(target, part.name or None, value)

    def _insert(self, statement: Any, scope: Scope, target: Item) -> None:
        names = [node.res_target.name for node in statement.cols]
        if statement.HasField("select_stmt"):
            columns = self.query(statement.select_stmt, scope)
            self._insert_columns(names, columns, target)
        scope.items.append(target)
        scope.star += target.star()
        if not statement.HasField("on_conflict_clause"):
            return
        clause = statement.on_conflict_clause
        bare = Scope(scope.index, scope.path, scope.parent, [target], dict(scope.ctes))
        if clause.HasField("infer"):
            for node in clause.infer.index_elems:
                element = node.index_elem
                value = target.column(element.name) if element.name else self.value(element.expr, bare)
                self.use(value or unknown(f"`{element.name}` is no column that is known"), Use.COMPARE)
            if clause.infer.HasField("where_clause"):
                self.condition(clause.infer.where_clause, bare)
        excluded = Item("excluded", target.columns, rest=target.rest)
        both = Scope(scope.index, scope.path, Scope(scope.index, scope.path, scope.parent, [excluded]), [target],
                     dict(scope.ctes))  # fmt: skip
        self._assign(clause.target_list, both, target)
        if clause.HasField("where_clause"):
            self.condition(clause.where_clause, both)

    def _insert_columns(self, names: Sequence[str], columns: Sequence[Column], target: Item) -> None:
        if any(column.repeated for column in columns):
            value = union(*(column.value for column in columns))
            self.write(target, None, value)
            return
        if not names:
            names = [column.name for column in target.columns]
        for i, column in enumerate(columns):
            self.write(target, names[i] if i < len(names) else None, column.value)

    def _merge(self, statement: Any, scope: Scope, target: Item) -> None:
        scope.star += self.source(statement.source_relation, scope)
        scope.items.append(target)
        scope.star += target.star()
        self.condition(statement.join_condition, scope)
        for node in statement.merge_when_clauses:
            clause = node.merge_when_clause
            if clause.HasField("condition"):
                self.condition(clause.condition, scope)
            if clause.command_type == pb.CMD_UPDATE:
                self._assign(clause.target_list, scope, target)
            elif clause.command_type == pb.CMD_INSERT:
                names = [part.res_target.name for part in clause.target_list]
                columns = [Column("", self.value(value, scope)) for value in clause.values]
                self._insert_columns(names, columns, target)

    def copy(self, statement: Any, scope: Scope) -> list[Column]:
        """The columns of COPY … TO; what it sends to a file or a program is no answer."""
        if statement.HasField("query"):
            columns: Sequence[Column] = self.query(statement.query, scope)
        else:
            target = scope.relation(relation_name(statement.relation), "")
            names = strings(statement.attlist)
            columns = self._copied(target, scope) if not names else [
                Column(name, target.column(name) or unknown(f"`{name}` is no column that is known")) for name in names
            ]  # fmt: skip
            if statement.HasField("where_clause"):
                scope.items.append(target)
                self.condition(statement.where_clause, scope)
        if not statement.filename and not statement.is_program:
            return list(columns)
        self.out("COPY", columns)
        return []

    @staticmethod
    def _copied(target: Item, scope: Scope) -> list[Column]:
        # Without a list, COPY leaves generated columns out.
        generated = {frozenset({(oid, number)}) for oid, number, _ in scope.index.generated if oid == target.oid}
        return [column for column in target.star() if column.value.origins not in generated]

    def out(self, place: str, columns: Sequence[Column]) -> None:
        """Note that these columns go to a place that is no answer."""
        for column in columns:
            self.found.writes.append(Write(place, column.value))
