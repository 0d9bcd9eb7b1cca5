import pytest

from wicketgate_gateway.masking.lineage.model import UntraceableError

STAR = {"id": "copy t.id", "name": "copy t.name", "email": "copy t.email"}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT * FROM t", STAR),
        ("TABLE t", STAR),
        ("SELECT s.* FROM (SELECT * FROM t) s", STAR),
        ("WITH x AS (TABLE t) SELECT * FROM x", STAR),
        ("WITH x (a, b, c) AS (TABLE t) SELECT c FROM x", {"c": "copy t.email"}),
        ("WITH t AS (SELECT email AS name FROM t) SELECT name FROM t", {"name": "copy t.email"}),
        ("WITH RECURSIVE x (a, b, c) AS (SELECT id, name, email FROM t UNION ALL SELECT b, c, a FROM x) TABLE x",
         dict.fromkeys("abc", "copy t.email t.id t.name")),
        ("WITH RECURSIVE x (a) AS (VALUES (1) UNION ALL SELECT a + 1 FROM x) SELECT a FROM x", {"a": "constant"}),
        ("SELECT name FROM t UNION ALL SELECT note FROM u", {"name": "copy t.name u.note"}),
        ("SELECT a FROM (VALUES (1, (SELECT email FROM t)), (2, 'x')) v (b, a)", {"a": "expression t.email"}),
        ("SELECT l.* FROM u, LATERAL (SELECT email FROM t WHERE t.id = u.t_id) l", {"email": "copy t.email"}),
        ("SELECT * FROM t JOIN u USING (id)",
         {"id": "copy t.id u.id", "name": "copy t.name", "email": "copy t.email", "t_id": "copy u.t_id",
          "note": "copy u.note"}),
        ("SELECT j.c FROM (t JOIN u USING (id)) j (a, b, c)", {"c": "copy t.email"}),
        ("SELECT g FROM generate_series(1, 3) g", {"g": "constant"}),
        ("SELECT value FROM t, jsonb_each_text(to_jsonb(t))", {"value": "expression t.email t.id t.name"}),
        ("SELECT * FROM f() x", {"x": "unknown", "**": "unknown"}),
        ("SELECT * FROM pg_class", {"**": "constant"}),
        ("SELECT (t).* FROM t", {"**": "whole row t.email t.id t.name"}),
        ("SELECT id FROM t TABLESAMPLE system (1)", {"id": "copy t.id"}),
        ("SELECT e FROM t, XMLTABLE('/x' PASSING name COLUMNS e text PATH '.')", {"e": "unknown"}),
        ("SELECT x.e FROM t, XMLTABLE('/x' PASSING name COLUMNS e text PATH '.') x", {"e": "expression t.name"}),
    ],
)  # fmt: skip
def test_columns(traces, text: str, columns: dict[str, str]):
    assert traces.columns(text) == columns


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("SELECT id FROM t ORDER BY email", {"t.email: sorted by"}),
        ("SELECT id, email FROM t ORDER BY 2", {"t.email: sorted by"}),
        ("SELECT email AS id FROM t ORDER BY id", {"t.email: sorted by", "t.id: sorted by"}),
        ("SELECT email FROM t GROUP BY 1", {"t.email: grouped or made distinct by"}),
        ("SELECT 1 FROM t GROUP BY GROUPING SETS ((email), (id, name))",
         {f"t.{c}: grouped or made distinct by" for c in ("email", "id", "name")}),
        ("SELECT DISTINCT name FROM t", {"t.name: grouped or made distinct by"}),
        ("SELECT DISTINCT ON (email) id FROM t", {"t.email: grouped or made distinct by"}),
        ("SELECT email FROM t UNION SELECT note FROM u",
         {"t.email: grouped or made distinct by", "u.note: grouped or made distinct by"}),
        ("SELECT 1 FROM t JOIN u USING (id)", {"t.id: compared", "u.id: compared"}),
        ("SELECT count(*) FROM t NATURAL JOIN u", {"t.id: compared", "u.id: compared"}),
        ("SELECT 1 FROM t JOIN u ON email > note", {f"{c}: {u}" for c in ("t.email", "u.note")
                                                    for u in ("a condition", "computed with")}),
        ("SELECT 1 FROM u LIMIT (SELECT email FROM t)", {"t.email: a condition"}),
        ("SELECT count(*) FROM t, unnest(ARRAY[email])", {"t.email: computed with"}),
        ("SELECT rank() OVER w FROM t WINDOW w AS (ORDER BY email)", {"t.email: sorted by"}),
        ("SELECT 1 FROM (SELECT email e FROM t) s WHERE e = 'x'", {"t.email: compared"}),
        ("SELECT e FROM (SELECT email e FROM t) s", set()),
    ],
)  # fmt: skip
def test_uses(traces, text: str, uses: set[str]):
    assert traces.uses(text) == uses


def test_sides_of_different_widths_are_not_followed(traces):
    with pytest.raises(UntraceableError):
        traces("SELECT 1 UNION SELECT 1, 2")


@pytest.mark.parametrize(
    ("expression", "label"),
    [
        ("t.email", "email"),
        ("lower(email)", "lower"),
        ("email::text", "email"),
        ("1::int4", "int4"),
        ("coalesce(email)", "coalesce"),
        ("CASE WHEN true THEN 1 END", "case"),
        ("(SELECT id FROM u)", "id"),
        ("EXISTS (SELECT 1)", "exists"),
        ("ARRAY[1]", "array"),
        ("(t).email", "email"),
        ("1 + 1", "?column?"),
    ],
)
def test_labels_are_postgresqls(traces, expression: str, label: str):
    assert list(traces.columns(f"SELECT {expression} FROM t")) == [label]
