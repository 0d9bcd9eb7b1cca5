"""A catalogue, and lineage written shortly."""

from collections.abc import Callable
from typing import Any

import pytest

from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.masking.lineage.model import Lineage, Value
from wicketgate_gateway.masking.lineage.trace import trace
from wicketgate_gateway.policy.names import CatalogueIndex, index_of
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS
from wicketgate_gateway.wire.postgres.sql.facts import analyze

TABLES = {"t": "id name email", "u": "id t_id note"}


class Traces:
    """Lineage over `t(id, name, email)` and `u(id, t_id, note)`, with origins as `t.email`."""

    def __init__(self, *more: Relation, functions: tuple[tuple[str, str], ...] = (("public", "f"),)) -> None:
        relations = [
            Relation(20000 + i, "public", name, "r", [Column(n, c, 25) for n, c in enumerate(columns.split(), 1)])
            for i, (name, columns) in enumerate(TABLES.items())
        ]
        catalogue = Catalogue("1", "18", [*relations, *more], sorted(CATALOG_RELATIONS), list(functions))
        self.index: CatalogueIndex = index_of(catalogue)

    def __call__(self, text: str) -> Lineage:
        return trace(analyze(text).statements[0], self.index, ("public",))

    def name(self, origin: Any) -> str:
        if isinstance(origin, str):
            return origin
        relation = self.index.relations[origin[0]]
        return f"{relation.name}." + next((c.name for c in relation.columns if c.number == origin[1]), str(origin[1]))

    def shown(self, value: Value) -> str:
        """`copy t.email`, or `unknown`."""
        return "unknown" if value.untraced else " ".join([value.how.value, *sorted(map(self.name, value.origins))])

    def columns(self, text: str) -> dict[str, str]:
        """Columns of the answer; `*` after a name stands for any number."""
        return {c.name + ("*" if c.repeated else ""): self.shown(c.value) for c in self(text).columns}

    def uses(self, text: str) -> set[str]:
        """`t.email: sorted by`."""
        return {f"{self.name(origin)}: {use.value}" for origin, use in self(text).uses}

    def writes(self, text: str) -> list[str]:
        """`u.note <- copy t.email`."""
        return [f"{w.place} <- {self.shown(w.value)}" for w in self(text).writes]

    def meets(self, text: str) -> set[tuple[str, int]]:
        """Which parameters meet which columns; 0 is literals."""
        return {(self.name(origin), number) for origin, number in self(text).meets}


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def make_traces() -> Callable[..., Traces]:
    return Traces
