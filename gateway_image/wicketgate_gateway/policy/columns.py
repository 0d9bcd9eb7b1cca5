"""What the columns of an answer are, told without a server: for tests of policies and for `policy explain-mask`.

PostgreSQL says in RowDescription which table's column a result column is. Here that is what lineage says: a plain copy
of one column is that column, everything else is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.flows import Flows
from wicketgate_gateway.masking.lineage.model import How, UntraceableError, Value
from wicketgate_gateway.masking.lineage.trace import trace
from wicketgate_gateway.masking.masks import Masks
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.facts import analyze


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of an answer; 0 and 0 for a computed one."""

    name: str
    table_oid: int = 0
    column_number: int = 0
    value: Value = field(default=Value(), compare=False)
    """Where it comes from."""


def result_columns(text: str, session: SessionFacts) -> list[ResultColumn] | None:
    """The columns that the text's only statement answers with; None if that cannot be told. Raises SqlError."""
    statements = analyze(text).statements
    index = session.index
    if len(statements) != 1 or index is None:
        return None
    try:
        columns = trace(statements[0], index, session.path).columns
    except UntraceableError:
        return None
    if any(column.repeated for column in columns):
        return None
    return [_result(column.name, column.value) for column in columns]


def _result(name: str, value: Value) -> ResultColumn:
    if value.how is How.COPY and not value.untraced and len(value.origins) == 1:
        ((oid, number),) = value.origins
        return ResultColumn(name, oid, number, value)
    return ResultColumn(name, value=value)


@dataclass(frozen=True, slots=True)
class MaskedColumn:
    """A column of an answer, and what masks make of it."""

    name: str
    how: str
    """How it comes from its sources, as lineage says it, or `unknown`."""
    sources: tuple[str, ...]
    """The columns that go into it, as `schema.relation.column`."""
    method: MaskMethod | None
    """How it comes out; None: as it is."""
    why: str
    """Why it is masked; empty if it is not."""


def masked_columns(
    columns: list[ResultColumn], plan: MaskPlan | None, masks: Masks | None, session: SessionFacts
) -> list[MaskedColumn]:
    """What masks make of each column; without masks, where they come from."""
    methods = [None] * len(columns) if plan is None else plan.columns(columns)
    flows = Flows(masks or Masks([]), session)
    return [_masked(column, method, flows) for column, method in zip(columns, methods, strict=True)]


def _masked(column: ResultColumn, method: MaskMethod | None, flows: Flows) -> MaskedColumn:
    value = column.value
    sources = tuple(flows.shown(origin) for origin in sorted(value.origins))
    how = "unknown" if value.untraced else value.how.value
    if method is None:
        return MaskedColumn(column.name, how, sources, None, "")
    if value.untraced:
        why = value.untraced
    else:
        masked = [flows.shown(origin) for origin in sorted(value.origins) if flows.cover(origin) is not None]
        why = " and ".join(f"`{name}` is masked" for name in masked)
        if not masked:
            why = (
                f"columns called `{column.name}` are masked" if flows.masks.of_label(column.name) else "it is computed"
            )
        elif value.how is not How.COPY:
            why += ", and what is computed from it shows no part of it"
    return MaskedColumn(column.name, how, sources, method, why)
