import pytest

_MERGE = """
MERGE INTO u USING t ON t.id = u.id WHEN MATCHED THEN UPDATE SET note = email
WHEN NOT MATCHED THEN INSERT (note) VALUES (name)
"""


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("INSERT INTO u (id, note) SELECT id, email FROM t", ["u.id <- copy t.id", "u.note <- copy t.email"]),
        ("INSERT INTO u SELECT id, 1, email FROM t",
         ["u.id <- copy t.id", "u.t_id <- constant", "u.note <- copy t.email"]),
        ("INSERT INTO u (note) VALUES ((SELECT email FROM t))", ["u.note <- expression t.email"]),
        ("INSERT INTO u SELECT * FROM pg_class", ["u <- constant"]),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = t.email",
         ["t.id <- constant", "t.email <- copy t.email", "t.name <- copy t.email"]),
        ("UPDATE u SET note = email FROM t", ["u.note <- copy t.email"]),
        ("UPDATE u SET (id, note) = (SELECT t.id, email FROM t)",
         ["u.id <- expression t.email t.id", "u.note <- expression t.email t.id"]),
        (_MERGE, ["u.note <- copy t.email", "u.note <- copy t.name"]),
        ("DELETE FROM u USING t WHERE t.id = u.id", []),
        ("WITH i AS (INSERT INTO u (note) SELECT email FROM t RETURNING note) SELECT note FROM i",
         ["u.note <- copy t.email"]),
        ("COPY t (email) TO '/x'", ["COPY <- copy t.email"]),
        ("COPY (SELECT lower(email) FROM t) TO PROGRAM 'x'", ["COPY <- expression t.email"]),
        ("COPY (SELECT lower(email) FROM t) TO STDOUT", []),
        ("CREATE TABLE n AS SELECT email FROM t", ["n <- copy t.email"]),
        ("SELECT email INTO n FROM t", ["n <- copy t.email"]),
    ],
)  # fmt: skip
def test_writes(traces, text: str, writes: list[str]):
    assert traces.writes(text) == writes


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("INSERT INTO t (id) VALUES (1) RETURNING email, lower(name) AS x", {"email": "copy t.email",
                                                                             "x": "expression t.name"}),
        ("UPDATE u SET note = 'x' FROM t RETURNING t.email, note", {"email": "copy t.email", "note": "copy u.note"}),
        ("UPDATE t SET name = 'x' RETURNING old.email AS o, new.name AS n", {"o": "copy t.email", "n": "copy t.name"}),
        ("DELETE FROM t RETURNING *", {"id": "copy t.id", "name": "copy t.name", "email": "copy t.email"}),
        ("DELETE FROM t x RETURNING x", {"x": "whole row t.email t.id t.name"}),
        ("MERGE INTO u USING t ON true WHEN MATCHED THEN DELETE RETURNING t.email, merge_action()",
         {"email": "copy t.email", "merge_action": "constant"}),
        ("DELETE FROM t", {}),
        ("COPY t (email, id) TO STDOUT", {"email": "copy t.email", "id": "copy t.id"}),
        ("COPY t TO STDOUT", {"id": "copy t.id", "name": "copy t.name", "email": "copy t.email"}),
        ("COPY (SELECT lower(email) AS x FROM t) TO STDOUT", {"x": "expression t.email"}),
        ("COPY t TO '/x'", {}),
    ],
)  # fmt: skip
def test_returning(traces, text: str, columns: dict[str, str]):
    assert traces.columns(text) == columns


def test_what_is_written_meets_its_column(traces):
    assert traces.meets("INSERT INTO t (id, email) VALUES (1, $1)") == {("t.id", 0), ("t.email", 1)}
    assert traces.meets("UPDATE t SET email = $2 WHERE id = $1") == {("t.email", 2), ("t.id", 1)}
    assert traces.meets("MERGE INTO t USING u ON true WHEN NOT MATCHED THEN INSERT (email) VALUES ($1)") == {
        ("t.email", 1)
    }


def test_conditions_count_as_in_queries(traces):
    assert traces.uses("UPDATE t SET name = 'x' WHERE email = 'y'") == {"t.email: compared"}
    assert traces.uses("INSERT INTO t (id) VALUES (1) ON CONFLICT (email) DO NOTHING") == {"t.email: compared"}
    assert "t.email: a condition" in traces.uses(
        "MERGE INTO u USING t ON true WHEN MATCHED AND email > 'x' THEN DELETE"
    )
