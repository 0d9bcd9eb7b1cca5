"""What masks make of a COPY: how what it sends comes out, and what of what it reads is recorded."""

from __future__ import annotations

from wicketgate_gateway.contract.catalogue import Relation
from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.copy_format import CopyFormat, copy_statement, format_of
from wicketgate_gateway.masking.copy_in import HIDE_ALL, CopyIn
from wicketgate_gateway.masking.copy_out import CopyColumn, CopyOut
from wicketgate_gateway.masking.flows import Flows
from wicketgate_gateway.masking.lineage.model import Column, How
from wicketgate_gateway.masking.masks import strictest
from wicketgate_gateway.policy.names import CatalogueIndex
from wicketgate_gateway.policy.operation import Statement
from wicketgate_gateway.wire.postgres.sql.model import Facts
from wicketgate_gateway.wire.postgres.sql.walk import strings

_NAMED = "name the columns that COPY sends, instead of `*` or none"
_PLAIN = "use FORMAT text or csv with plain options (DELIMITER, HEADER, QUOTE, ESCAPE, FORCE_QUOTE), or SELECT"


class CopyRefusedError(Exception):
    """Why a COPY cannot be masked: a reason and a remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def copy_out(statement: Statement, flows: Flows, *, alone: bool) -> CopyOut | None:
    """How what a COPY TO STDOUT sends is masked; None if nothing of it is. `alone`: nothing else is in its text.

    Raises CopyRefusedError if it must be masked and cannot be.
    """
    labels = flows.masks.has_labels
    lineage = flows.lineage(statement, always=labels)
    if lineage is None:
        return None
    if isinstance(lineage, str):
        raise CopyRefusedError(
            f"what COPY would send cannot be told: {lineage}", "write it more plainly, or use SELECT"
        )
    columns = [_column(column, flows) for column in lineage.columns]
    unnamed = any(column.repeated for column in columns)
    if unnamed and labels:
        raise CopyRefusedError("what the columns of this COPY are called cannot be told", _NAMED)
    if all(column.method is None for column in columns):
        return None
    if not alone:
        raise CopyRefusedError("a COPY with masked columns must be the only statement of its text", "send it alone")
    tree = copy_statement(statement.facts)
    kind = "its text is not at hand" if tree is None else format_of(tree)
    if isinstance(kind, str):
        raise CopyRefusedError(f"COPY with masked columns in a format that is not certain: {kind}", _PLAIN)
    if unnamed and (kind.header or kind.quoted):
        raise CopyRefusedError("HEADER and FORCE_QUOTE need columns whose names can be told", _NAMED)
    return CopyOut(kind, tuple(columns))


def _column(column: Column, flows: Flows) -> CopyColumn:
    method = strictest((flows.masks.of_label(column.name), flows.method(column.value)))
    oid = 0 if method is None or column.repeated else _type(column, flows.index)
    if method is not None and not oid:
        method = MaskMethod.NULL
    return CopyColumn(column.name, method, oid, column.repeated)


def _type(column: Column, index: CatalogueIndex | None) -> int:
    # A plain copy has its column's type; COPY does not say any other's.
    if index is None or column.value.how is not How.COPY or column.value.untraced:
        return 0
    found: set[int] = set()
    for oid, number in column.value.origins:
        relation = index.relations.get(oid)
        found |= {c.type_oid for c in relation.columns if c.number == number} if relation else {0}
    return found.pop() if len(found) == 1 else 0


def copy_in(facts: Facts, flows: Flows, *, alone: bool) -> CopyIn | None:
    """What of the data of a COPY FROM STDIN must not be recorded; None if all may be."""
    name, *others = flows.names(facts.writes) or [None]
    masked = flows.masked_in(name)
    if masked is None and not others:
        return None
    relation = flows.index.by_name.get(name) if flows.index is not None and name is not None else None
    tree = copy_statement(facts) if alone else None
    if tree is None or relation is None or not masked or others:
        return HIDE_ALL
    kind = format_of(tree)
    names = strings(tree.attlist) or stored(relation, flows.index)
    hidden = frozenset(i for i, column in enumerate(names) if column in masked)
    if isinstance(kind, CopyFormat):
        return CopyIn(kind, hidden) if hidden else None
    return HIDE_ALL


def stored(relation: Relation, index: CatalogueIndex | None) -> list[str]:
    """The columns that COPY means without a list: all but generated ones."""
    generated = {number for oid, number, _ in index.generated if oid == relation.oid} if index is not None else set()
    return [column.name for column in relation.columns if column.number not in generated]
