import pytest

from wicketgate_gateway.masking.lineage import functions
from wicketgate_gateway.wire.postgres.sql.builtins import FUNCTIONS


def test_the_lists_name_functions_that_there_are():
    assert functions.TOTAL - {"coalesce"} <= FUNCTIONS
    assert functions.FIRST_ONLY <= FUNCTIONS
    assert functions.COUNTING <= functions.TOTAL
    assert {"max", "string_agg", "row_number", "lag"} <= functions.AGGREGATES <= FUNCTIONS
    assert not functions.AGGREGATES & functions.TOTAL - functions.COUNTING


@pytest.mark.parametrize(
    ("schema", "name", "unseen"),
    [
        (None, "lower", False),
        ("pg_catalog", "lower", False),
        (None, "pg_sleep", False),
        (None, "nextval", False),
        (None, "set_config", False),
        (None, "f", True),
        ("public", "f", True),
        ("public", "lower", True),
        (None, "query_to_xml", True),
        (None, "lo_get", True),
        (None, "pg_read_file", True),
        (None, "of_an_extension", True),
    ],
)
def test_whose_sources_are_not_seen(traces, schema: str | None, name: str, unseen: bool):
    assert bool(functions.unseen(schema, name, ("public",), traces.index)) is unseen


def test_a_function_of_the_same_name_in_the_path_may_be_meant(make_traces):
    index = make_traces(functions=(("public", "lower"),)).index
    assert functions.unseen(None, "lower", ("public",), index)
    assert not functions.unseen("pg_catalog", "lower", ("public",), index)
