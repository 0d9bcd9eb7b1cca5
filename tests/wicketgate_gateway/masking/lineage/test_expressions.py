import pytest

from wicketgate_gateway.masking.lineage.expressions import MAX_DEPTH
from wicketgate_gateway.masking.lineage.model import UntraceableError


@pytest.mark.parametrize(
    ("expression", "value", "uses"),
    [
        ("lower(email)", "expression t.email", set()),
        ("email || name", "expression t.email t.name", set()),
        ("coalesce(email, 'x')", "expression t.email", set()),
        ("substr(email, 2, 3)", "expression t.email", set()),
        ("email::text", "expression t.email", set()),
        ('email COLLATE "C"', "expression t.email", set()),
        ("ROW(email, 1)", "expression t.email", set()),
        ("ARRAY[email]", "expression t.email", set()),
        ("json_build_object('a', email)", "expression t.email", set()),
        ("array_agg(email)", "aggregate t.email", set()),
        ("count(*)", "constant", set()),
        ("current_date", "constant", set()),
        ("EXISTS (SELECT email)", "existence", set()),
        ("ARRAY(SELECT email)", "aggregate t.email", set()),
        ("f(1)", "unknown", set()),
        ("f(email)", "unknown", {"t.email: computed with"}),
        ("lower(f(1))", "unknown", set()),
        ("email::int", "expression t.email", {"t.email: computed with"}),
        ("email::mine", "unknown", {"t.email: computed with"}),
        ("substr(name, length(email))", "expression t.email t.name",
         {"t.email: computed with", "t.name: computed with"}),
        ("email = 'x'", "expression t.email", {"t.email: compared"}),
        ("email LIKE 'x'", "expression t.email", {"t.email: computed with"}),
        ("nullif(email, 'x')", "expression t.email", {"t.email: computed with"}),
        ("greatest(email, 'x')", "expression t.email", {"t.email: computed with"}),
        ("max(email)", "aggregate t.email", {"t.email: aggregated"}),
        ("array_agg(id ORDER BY email)", "aggregate t.email t.id",
         {"t.email: sorted by"}),
        ("count(DISTINCT email)", "aggregate t.email", {"t.email: grouped or made distinct by"}),
        ("count(*) FILTER (WHERE email > 'x')", "aggregate t.email",
         {"t.email: computed with", "t.email: a condition"}),
        ("count(*) OVER (PARTITION BY email)", "aggregate t.email",
         {"t.email: grouped or made distinct by", "t.email: aggregated"}),
        ("CASE WHEN id = 1 THEN email END", "expression t.email t.id", {"t.id: compared", "t.id: a condition"}),
        ("CASE email WHEN 'x' THEN 1 END", "expression t.email", {"t.email: a condition"}),
        ("(t).email", "copy t.email", set()),
        ("(t).f", "unknown", {"t.email: computed with", "t.id: computed with", "t.name: computed with"}),
        ("(ARRAY[email])[1]", "expression t.email", {"t.email: computed with"}),
        ("email OPERATOR(public.+) 1", "unknown", {"t.email: computed with"}),
        ("JSON_OBJECT('a': email)", "expression t.email", set()),
        ("xmlforest(email)", "expression t.email", {"t.email: computed with"}),
    ],
)  # fmt: skip
def test_what_an_expression_is_made_of_and_does(traces, expression: str, value: str, uses: set[str]):
    text = f"SELECT {expression} AS x FROM t"
    assert traces.columns(text) == {"x": value}
    assert traces.uses(text) == uses


@pytest.mark.parametrize(
    ("condition", "uses"),
    [
        ("email = 'x'", {"t.email: compared"}),
        ("NOT (email = $1 OR email IN ('a', 'b')) AND email IS NOT NULL", {"t.email: compared"}),
        ("email = ANY ($1)", {"t.email: compared"}),
        ("email IS DISTINCT FROM name", {"t.email: compared", "t.name: compared"}),
        ("email IN (SELECT note FROM u)", {"t.email: compared", "u.note: compared"}),
        ("lower(email) = 'x'", {"t.email: a condition"}),
        ("email > 'x'", {"t.email: computed with", "t.email: a condition"}),
        ("(email = 'x') IS TRUE", {"t.email: compared", "t.email: a condition"}),
        (
            "f(id)",
            {"t.id: computed with", "t.id: a condition", "what the function `f` reads cannot be told: a condition"},
        ),
    ],
)
def test_conditions(traces, condition: str, uses: set[str]):
    assert traces.uses(f"SELECT 1 FROM t WHERE {condition}") == uses


def test_which_parameters_and_literals_meet_which_columns(traces):
    assert traces.meets("SELECT 1 FROM t WHERE email = $1 AND id = 3 AND name = $2") == {
        ("t.email", 1),
        ("t.id", 0),
        ("t.name", 2),
    }
    assert traces.meets("SELECT email || $2, ROW(email, 1) FROM t LIMIT $1") == set()
    assert traces.meets("SELECT nullif(email, $2) FROM t") == {("t.email", 2)}
    assert traces.meets("SELECT 1 FROM t WHERE email IN (SELECT $1)") == {("t.email", 1)}


def test_what_is_too_deep_or_unknown_is_not_followed(traces):
    with pytest.raises(UntraceableError, match="too deep"):
        traces(f"SELECT {'lower(' * MAX_DEPTH}email{')' * MAX_DEPTH} FROM t")
    with pytest.raises(UntraceableError, match="not followed"):
        traces("EXECUTE p")
