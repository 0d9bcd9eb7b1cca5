from dataclasses import replace

import pytest

from wicketgate_gateway.masking.lineage.model import UntraceableError
from wicketgate_gateway.masking.lineage.trace import trace
from wicketgate_gateway.wire.postgres.sql.facts import analyze


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("EXPLAIN SELECT email FROM t", {"QUERY PLAN": "constant"}),
        ("EXPLAIN SELECT f()", {"QUERY PLAN": "unknown"}),
        ("PREPARE p AS SELECT email FROM t", {}),
        ("DECLARE c CURSOR FOR SELECT email FROM t", {}),
        ("CREATE TABLE n AS SELECT email FROM t", {}),
    ],
)
def test_statements_around_a_query(traces, text: str, columns: dict[str, str]):
    assert traces.columns(text) == columns


def test_what_a_query_within_uses_counts(traces):
    for head in ("EXPLAIN", "PREPARE p AS", "DECLARE c CURSOR FOR", "CREATE TABLE n AS"):
        assert traces.uses(f"{head} SELECT 1 FROM t ORDER BY email") == {"t.email: sorted by"}


def test_the_statement_within_is_found_by_its_depth(traces):
    (facts,) = analyze("EXPLAIN ANALYZE SELECT email FROM t").statements
    assert facts.inner is not None
    assert [c.name for c in trace(facts.inner, traces.index, ("public",)).columns] == ["email"]


@pytest.mark.parametrize("text", ["EXECUTE p", "FETCH c", "SHOW x", "CREATE TABLE n AS EXECUTE p", "COPY t FROM STDIN"])
def test_what_is_not_followed(traces, text: str):
    with pytest.raises(UntraceableError):
        traces(text)


def test_without_the_statements_text_nothing_is_followed(traces):
    (facts,) = analyze("SELECT 1").statements
    for text in ("", "no SQL", "SELECT 1; SELECT 2"):
        with pytest.raises(UntraceableError):
            trace(replace(facts, text=text), traces.index, ("public",))
