import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT email FROM t", "copy t.email"),
        ("SELECT x.email FROM public.t x", "copy t.email"),
        ("SELECT public.t.email FROM t", "copy t.email"),
        ("SELECT c FROM t AS x (a, b, c)", "copy t.email"),
        ("SELECT a FROM t AS x (a)", "copy t.id"),
        ("SELECT email FROM t AS x (a)", "copy t.email"),
        ("SELECT t FROM t", "whole row t.email t.id t.name"),
        ("SELECT (SELECT email) FROM t", "expression t.email"),  # correlated
        ("SELECT (SELECT email FROM u) FROM t", "expression t.email"),
        ("SELECT (SELECT note FROM u) FROM t", "expression u.note"),
        ("SELECT id FROM t, u", "copy t.id u.id"),  # ambiguous: PostgreSQL refuses it
        ("SELECT ctid FROM t", "copy t.-1"),
        ("SELECT relname FROM pg_class", "constant"),
        ("SELECT c.oid FROM pg_class c, t", "constant"),
        ("SELECT relname FROM pg_class, t", "unknown"),
        ("SELECT n FROM gone", "unknown"),
        ("SELECT t.gone FROM t", "expression t.email t.id t.name"),  # a function of the server's, or an error
        ("SELECT t.f FROM t", "unknown"),
        ("SELECT gone FROM t", "unknown"),
        ("SELECT z.x FROM t", "unknown"),
        ("SELECT d.public.t.email FROM t", "unknown"),
        ("SELECT null_frac FROM pg_stats", "constant"),
        ("SELECT most_common_vals FROM pg_stats", "unknown"),
        ("SELECT chunk_data FROM pg_toast.pg_toast_1", "unknown"),
        ("SELECT email FROM other.t", "unknown"),
    ],
)
def test_what_a_name_means(traces, text: str, expected: str):
    assert list(traces.columns(text).values()) == [expected]


def test_an_alias_that_names_too_many_columns_is_not_followed(traces):
    from wicketgate_gateway.masking.lineage.model import UntraceableError

    with pytest.raises(UntraceableError):
        traces("SELECT * FROM (SELECT 1) x (a, b)")
