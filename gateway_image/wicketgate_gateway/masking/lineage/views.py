"""What a view's columns come from, by its definition.

How this works: the definition (`pg_get_viewdef`, all names qualified) is traced like any query. Its word counts only if
PostgreSQL's own record of dependencies (pg_depend) has every column that was found; else the view is taken as a whole.
"""

from __future__ import annotations

from wicketgate_gateway.contract.catalogue import Relation
from wicketgate_gateway.masking.lineage.model import UntraceableError, Value
from wicketgate_gateway.masking.lineage.trace import trace_node
from wicketgate_gateway.policy.names import CatalogueIndex
from wicketgate_gateway.wire.postgres.sql.model import SqlError
from wicketgate_gateway.wire.postgres.sql.parser import parse


def view_columns(relation: Relation, index: CatalogueIndex) -> tuple[Value, ...] | None:
    """For each of the view's columns where it comes from; None if that cannot be told. Worked out once."""
    key = ("view", relation.oid)
    if key not in index.worked_out:
        index.worked_out[key] = _traced(relation, index)
    found = index.worked_out[key]
    return found if isinstance(found, tuple) else None  # pyright: ignore[reportUnknownVariableType]


def _traced(relation: Relation, index: CatalogueIndex) -> tuple[Value, ...] | None:
    if not relation.definition:
        return None
    try:
        statements = parse(relation.definition).stmts
        if len(statements) != 1:
            return None
        columns = trace_node(statements[0].stmt, index, ()).columns
    except (SqlError, UntraceableError):
        return None
    recorded = frozenset(relation.sources)
    for column in columns:
        if column.repeated or column.value.untraced:
            return None
        for oid, number in column.value.origins:
            if number > 0 and (oid, number) not in recorded and (oid, 0) not in recorded:
                return None
    return tuple(column.value for column in columns) if len(columns) == len(relation.columns) else None
