import pytest

from wicketgate_gateway.contract.catalogue import Column, Relation
from wicketgate_gateway.masking.lineage.views import view_columns

SOURCES = [(20000, 1), (20000, 3)]


def view(definition: str, sources: list[tuple[int, int]] | None = None) -> Relation:
    columns = [Column(1, "a", 25), Column(2, "b", 25)]
    return Relation(30000, "public", "v", "v", columns, SOURCES if sources is None else sources, definition)


def test_a_definition_tells_each_column(make_traces):
    relation = view("SELECT t.id, lower(t.email) FROM public.t")
    traces = make_traces(relation)
    found = view_columns(relation, traces.index)
    assert found is not None
    assert [traces.shown(value) for value in found] == ["copy t.id", "expression t.email"]
    assert view_columns(relation, traces.index) is found


@pytest.mark.parametrize(
    "relation",
    [
        view(""),
        view("SELECT t.id, t.email FROM public.t", [(20000, 1)]),  # not as PostgreSQL has it on record
        view("SELECT t.id FROM public.t"),
        view("SELECT t.id, t.email FROM t"),  # not qualified
        view("SELECT t.id, public.f() FROM public.t"),
        view("SELECT * FROM pg_class"),
        view("SELECT"),
        view("no SQL"),
        view("SELECT 1, 2; SELECT 1, 2"),
    ],
)
def test_else_the_view_is_taken_as_a_whole(make_traces, relation: Relation):
    assert view_columns(relation, make_traces(relation).index) is None
