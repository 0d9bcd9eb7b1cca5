"""Statements that change who may do what, or which code runs, by their small print."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.postgres.sql.facts import Setting, analyze


@pytest.mark.parametrize(
    ("action", "extra"),
    [
        ("OWNER TO x", {"admin"}),
        ("ENABLE ROW LEVEL SECURITY", {"grant"}),
        ("NO FORCE ROW LEVEL SECURITY", {"grant"}),
        ("DISABLE TRIGGER g", {"procedural"}),
        ("ENABLE ALWAYS RULE r", {"procedural"}),
        ("SET TABLESPACE x", {"admin"}),
        ("DROP COLUMN c", set[str]()),
        ("ALTER COLUMN c TYPE int USING my_function(c)", {"function"}),
    ],
)
def test_alter_table(action: str, extra: set[str]) -> None:
    (facts,) = analyze(f"ALTER TABLE s.t {action}").statements
    assert {c.value for c in facts.classes} == {"ddl"} | extra
    assert {str(name) for name in facts.writes} == {"s.t"}


@pytest.mark.parametrize(
    ("sql", "setting"),
    [
        ("SET x.y = 1, 'b'", Setting("x.y", "1, b", True)),
        ("SET LOCAL work_mem TO DEFAULT", Setting("work_mem", None, True, True)),
        ("SET TIME ZONE 'UTC'", Setting("timezone", "UTC", True)),
        ("SET TIME ZONE INTERVAL '1' HOUR TO MINUTE", Setting("timezone", "1", True)),
        ("SET XML OPTION DOCUMENT", Setting("xmloption", "DOCUMENT", True)),
        ("RESET client_encoding", Setting("client_encoding", None, True)),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
         Setting("default_transaction_isolation", "serializable", True)),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Setting("transaction_isolation", "serializable", True, True)),
        ("ALTER DATABASE d SET search_path = x", Setting("search_path", "x", True)),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = x AS ''", Setting("search_path", "x", True)),
    ],
)  # fmt: skip
def test_settings(sql: str, setting: Setting) -> None:
    (facts,) = analyze(sql).statements
    assert facts.settings == (setting,)
    assert facts.literals_matter


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("DROP VIEW v", {"v"}),
        ("DROP SEQUENCE s.q", {"s.q"}),
        ("DROP INDEX i", {"i"}),
        ("DROP RULE r ON t", {"t"}),
        ("DROP POLICY p ON s.t", {"s.t"}),
        ("DROP FUNCTION f(int)", set[str]()),
        ("DROP SCHEMA s CASCADE", set[str]()),
        ("DROP TYPE x", set[str]()),
        ("ALTER TABLE t SET SCHEMA x", {"t"}),
        ("ALTER INDEX i RENAME TO j", {"i"}),
        ("ALTER TABLE t RENAME CONSTRAINT a TO b", {"t"}),
        ("COMMENT ON TRIGGER g ON t IS 'x'", {"t"}),
        ("COMMENT ON MATERIALIZED VIEW m IS 'x'", {"m"}),
        ("CREATE TABLE p PARTITION OF t FOR VALUES IN (1)", {"p", "t"}),
        ("CREATE STATISTICS x ON a, b FROM t", {"t"}),
        ("GRANT SELECT (a) ON t, s.u TO x", {"t", "s.u"}),
        ("REVOKE ALL ON t FROM x", {"t"}),
        ("ANALYZE t (a)", {"t"}),
        ("CLUSTER t USING i", {"t"}),
        ("REINDEX TABLE t", {"t"}),
        ("CREATE PUBLICATION p FOR TABLE t", {"t"}),
        ("ALTER EXTENSION e ADD TABLE t", {"t"}),
    ],
)
def test_objects_named_by_utilities_are_their_targets(sql: str, writes: set[str]) -> None:
    (facts,) = analyze(sql).statements
    assert {str(name) for name in facts.writes} == writes
    assert "read" not in facts.classes
    assert "other" not in facts.classes
