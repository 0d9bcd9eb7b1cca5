"""The attack table: texts that hide what they do, with the facts that give them away."""

# ruff: noqa: E501 - one row a line is what makes the table readable

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.wire.postgres.sql.facts import (
    Facts,
    RelationName,
    Setting,
    SqlError,
    SqlSyntaxError,
    SqlTooLargeError,
    analyze,
    leading_comment,
)
from wicketgate_gateway.wire.postgres.sql.model import StatementClass, StatementKind

# (text, kind, classes, expected facts; names as they print)
Row = tuple[str, str, str, dict[str, Any]]

TABLE: list[Row] = [
    # Plain statements
    ("SELECT a, b FROM s.t", "select", "read", {"reads": "s.t", "writes": "", "columns": "a b", "literals_matter": False}),
    ("TABLE x", "select", "read", {"reads": "x", "star": True}),
    ("VALUES (1), (2)", "select", "read", {"reads": "", "literals_matter": False}),
    ("SELECT * FROM ONLY t", "select", "read", {"reads": "t", "star": True}),
    ("SELECT 1 FROM db.s.t", "select", "read", {"reads": "db.s.t"}),
    ("SELECT a FROM t, LATERAL (SELECT b FROM u WHERE u.id = t.id) v", "select", "read", {"reads": "t u"}),
    ("SELECT (SELECT max(x) FROM secret) FROM t", "select", "read", {"reads": "t secret", "functions": "max"}),
    ("SELECT 1 WHERE EXISTS (SELECT FROM secret)", "select", "read", {"reads": "secret"}),
    ("SELECT a FROM t UNION ALL (SELECT b FROM secret ORDER BY 1)", "select", "read", {"reads": "t secret"}),
    ("SELECT a FROM t ORDER BY (SELECT b FROM secret)", "select", "read", {"reads": "t secret"}),
    ("SELECT count(*) FILTER (WHERE a > (SELECT b FROM secret)) FROM t", "select", "read", {"reads": "t secret"}),
    ("SELECT sum(a) OVER (PARTITION BY (SELECT b FROM secret)) FROM t", "select", "read", {"reads": "t secret"}),
    ("SELECT CASE WHEN EXISTS (SELECT FROM secret) THEN 1 END", "select", "read", {"reads": "secret"}),
    ("SELECT ARRAY(SELECT b FROM secret), ARRAY[(SELECT 1 FROM u)]", "select", "read", {"reads": "secret u"}),
    ("SELECT a[(SELECT 1 FROM secret)] FROM t", "select", "read", {"reads": "t secret"}),
    ("SELECT a FROM t LIMIT (SELECT b FROM secret)", "select", "read", {"reads": "t secret"}),
    ("SELECT * FROM t TABLESAMPLE system ((SELECT 1 FROM secret))", "select", "read", {"reads": "t secret"}),
    ("SELECT * FROM t JOIN u USING (hidden)", "select", "read", {"reads": "t u", "columns": "hidden"}),
    ("VALUES ((SELECT a FROM secret))", "select", "read", {"reads": "secret"}),
    ("SELECT * FROM ROWS FROM (generate_series(1, (SELECT 2 FROM secret))) x", "select", "read", {"reads": "secret"}),
    ("SELECT x FROM XMLTABLE('/a' PASSING (SELECT d FROM secret) COLUMNS x text)", "select", "read", {"reads": "secret"}),
    ("SELECT j FROM JSON_TABLE((SELECT d FROM secret), '$' COLUMNS (j int PATH '$'))", "select", "read", {"reads": "secret"}),
    # Writes within reads
    ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "select", "read write", {"reads": "t", "writes": "t"}),
    ("WITH x AS (SELECT 1), y AS (UPDATE t SET a = 1) SELECT FROM x", "select", "read write", {"reads": "", "writes": "t"}),
    ("WITH x AS (WITH y AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM y) TABLE x", "select", "read write", {"writes": "t"}),
    ("SELECT 1 UNION (WITH x AS (DELETE FROM t RETURNING 1) TABLE x)", "select", "read write", {"writes": "t"}),
    ("SELECT * INTO copied FROM t", "select", "read write ddl", {"reads": "t", "writes": "copied"}),
    ("SELECT a INTO TEMP copied FROM t", "select", "read write ddl", {"writes": "copied"}),
    ("SELECT a FROM t FOR UPDATE", "select", "read lock", {"reads": "t", "writes": ""}),
    ("SELECT a FROM t x FOR SHARE OF x SKIP LOCKED", "select", "read lock", {"reads": "t"}),
    ("SELECT 1 FROM (SELECT a FROM t FOR NO KEY UPDATE) s", "select", "read lock", {"reads": "t"}),
    ("INSERT INTO t DEFAULT VALUES", "insert", "write", {"writes": "t", "reads": ""}),
    ("INSERT INTO t VALUES (1)", "insert", "write", {"writes": "t", "reads": "", "star": True}),
    ("INSERT INTO t (a) VALUES ((SELECT b FROM secret))", "insert", "read write", {"reads": "secret", "columns": "a b"}),
    ("INSERT INTO t (a) SELECT b FROM secret RETURNING c", "insert", "read write", {"reads": "secret t", "columns": "a b c"}),
    ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = (SELECT c FROM secret)", "insert", "read write", {"reads": "secret", "columns": "a b c"}),
    ("UPDATE t SET a = 1 FROM u WHERE u.id = t.id", "update", "write", {"writes": "t", "reads": "u", "columns": "a id"}),
    ("UPDATE t SET (a, b) = (SELECT c, d FROM secret)", "update", "read write", {"reads": "secret", "columns": "a b c d"}),
    ("DELETE FROM t USING u WHERE t.id = u.id", "delete", "write", {"writes": "t", "reads": "u"}),
    ("DELETE FROM t WHERE CURRENT OF c", "delete", "write", {"writes": "t"}),
    ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (a) VALUES (u.b)", "merge", "read write", {"writes": "t", "reads": "u", "columns": "id a b"}),
    ("WITH m AS (MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = 1 RETURNING t.*) TABLE m", "select", "read write", {"writes": "t", "reads": "u t"}),
    ("TRUNCATE t, s.u CASCADE", "truncate", "write", {"writes": "t s.u"}),
    # CTE names and tables of the same name
    ("WITH t AS (SELECT 1) SELECT * FROM t", "select", "read", {"reads": ""}),
    ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "select", "read", {"reads": "t"}),
    ("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t", "select", "read", {"reads": ""}),
    ("WITH t AS (SELECT 1) SELECT * FROM public.t", "select", "read", {"reads": "public.t"}),
    ("SELECT * FROM (WITH secret AS (SELECT 1) TABLE secret) x, secret", "select", "read", {"reads": "secret"}),
    ("(WITH secret AS (SELECT 1) TABLE secret) UNION TABLE secret", "select", "read", {"reads": "secret"}),
    ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "select", "read", {"reads": "b"}),
    ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", "select", "read", {"reads": ""}),
    ("WITH t AS (SELECT 1) DELETE FROM t", "delete", "read write", {"writes": "t", "reads": ""}),
    ("WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t", "insert", "read write", {"writes": "t", "reads": ""}),
    ('WITH "T" AS (SELECT 1) SELECT * FROM t', "select", "read", {"reads": "t"}),
    ("WITH x AS (SELECT 1) SELECT (SELECT 1 FROM x), (SELECT 1 FROM y)", "select", "read", {"reads": "y"}),
    # Quoting
    ('SELECT * FROM "Users"', "select", "read", {"reads": "Users"}),
    ("SELECT * FROM USERS", "select", "read", {"reads": "users"}),
    ('SELECT U&"\\0061" FROM U&"s!0065cret" UESCAPE \'!\'', "select", "read", {"reads": "secret", "columns": "a"}),
    ('SELECT "pg_catalog"."pg_read_file"(\'x\')', "select", "read file", {"dangerous_functions": "pg_catalog.pg_read_file"}),
    ("SELECT PG_READ_FILE('x')", "select", "read file", {"dangerous_functions": "pg_read_file"}),
    ("/* SELECT /* nested */ 1; */ DELETE FROM t -- WHERE false", "delete", "write", {"writes": "t"}),
    ("SELECT $$; DELETE FROM t; $$, $x$ -- $x$ FROM u", "select", "read", {"reads": "u", "writes": ""}),
    ("SELECT '--' || ';' FROM u -- ; DROP TABLE t", "select", "read", {"reads": "u"}),
    ("SELECT E'\\'; DELETE FROM t; --' FROM u", "select", "read", {"reads": "u"}),
    # Statements within statements
    ("EXPLAIN DELETE FROM t", "explain", "read", {"reads": "t", "writes": ""}),
    ("EXPLAIN ANALYZE DELETE FROM t", "explain", "write", {"writes": "t", "literals_matter": False}),
    ("EXPLAIN (ANALYZE) DELETE FROM t", "explain", "write", {"writes": "t"}),
    ("EXPLAIN (COSTS off, ANALYZE 'on', BUFFERS) WITH x AS (DELETE FROM t RETURNING 1) TABLE x", "explain", "read write", {"writes": "t"}),
    ("EXPLAIN (ANALYZE false) DELETE FROM t", "explain", "write", {"writes": "t"}),
    ("EXPLAIN (ANALYZE) EXECUTE p(1)", "explain", "prepared", {"prepared_name": "p"}),
    ("EXPLAIN SELECT pg_read_file('x')", "explain", "read file", {"dangerous_functions": "pg_read_file"}),
    ("EXPLAIN ANALYZE CREATE TABLE n AS SELECT * FROM t", "explain", "read write ddl", {"writes": "n", "reads": "t"}),
    ("PREPARE p AS DELETE FROM t", "prepare", "write", {"writes": "t", "prepared_name": "p"}),
    ("PREPARE p (int) AS SELECT a FROM t WHERE a = $1", "prepare", "read", {"reads": "t", "parameters": 1}),
    ("EXECUTE p (pg_read_file('x'))", "execute", "prepared file", {"prepared_name": "p"}),
    ("DEALLOCATE ALL", "deallocate", "session", {"prepared_name": "all"}),
    ("DECLARE c CURSOR FOR SELECT a FROM t", "declare_cursor", "read", {"reads": "t", "cursor_name": "c"}),
    ("DECLARE c BINARY CURSOR WITH HOLD FOR SELECT a FROM t FOR UPDATE", "declare_cursor", "read lock", {"reads": "t"}),
    ("FETCH ALL FROM c", "fetch", "read", {"cursor_name": "c"}),
    ("CLOSE ALL", "close_cursor", "read", {"cursor_name": "all"}),
    ("CREATE TABLE n AS EXECUTE p(1)", "ddl", "ddl write prepared", {"writes": "n", "prepared_name": "p"}),
    ("CREATE TABLE n AS SELECT * FROM t", "ddl", "ddl write read", {"writes": "n", "reads": "t"}),
    ("CREATE MATERIALIZED VIEW n AS SELECT * FROM t", "ddl", "ddl write read", {"writes": "n", "reads": "t"}),
    ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "copy_out", "read write", {"writes": "t", "reads": "t"}),
    ("COPY (SELECT * FROM t) TO STDOUT", "copy_out", "read", {"reads": "t"}),
    ("COPY t TO STDOUT", "copy_out", "read", {"reads": "t", "star": True, "writes": ""}),
    ("COPY t TO ''", "copy_out", "read", {"literals_matter": True}),
    ("COPY t (a, b) FROM STDIN", "copy_in", "write", {"writes": "t", "reads": "", "columns": "a b", "star": False}),
    ("COPY t TO '/tmp/x'", "copy_file", "read file admin", {"reads": "t", "literals_matter": True}),
    ("COPY t FROM '/etc/passwd'", "copy_file", "write file admin", {"writes": "t"}),
    ("COPY t FROM PROGRAM 'id'", "copy_program", "write program admin", {"writes": "t", "literals_matter": True}),
    ("COPY (SELECT 1) TO PROGRAM 'sh'", "copy_program", "read program admin", {}),
    # Code
    ("DO $$ BEGIN DELETE FROM t; END $$", "do", "procedural", {"literals_matter": True}),
    ("DO LANGUAGE plpgsql 'BEGIN END'", "do", "procedural", {"literals_matter": True}),
    ("CALL pay(1)", "call", "procedural function", {"functions": "pay", "unknown_functions": "pay"}),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t'", "ddl", "ddl procedural", {}),
    ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT 1; END", "ddl", "ddl procedural write read", {"writes": "t"}),
    ("CREATE RULE r AS ON SELECT TO t DO INSTEAD DELETE FROM u", "ddl", "ddl procedural write", {"writes": "t u"}),
    ("CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()", "ddl", "ddl procedural function", {"writes": "t", "functions": "f"}),
    ("CREATE EXTENSION dblink", "ddl", "ddl admin procedural", {}),
    ("LOAD 'evil'", "load", "admin file procedural", {}),
    # Objects
    ("CREATE TABLE n (a int DEFAULT nextval('q'), b int REFERENCES other (x), LIKE tmpl) INHERITS (parent)", "ddl", "ddl write", {"reads": "other tmpl parent", "writes": "n q"}),
    ("CREATE VIEW v AS SELECT * FROM t", "ddl", "ddl read", {"writes": "v", "reads": "t"}),
    ("CREATE INDEX i ON t (lower(a))", "ddl", "ddl", {"writes": "t", "functions": "lower"}),
    ("CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT b FROM u", "ddl", "ddl read", {"writes": "t v", "reads": "u"}),
    ("ALTER TABLE t RENAME TO u", "ddl", "ddl", {"writes": "t"}),
    ("ALTER TABLE t RENAME COLUMN email TO x", "ddl", "ddl", {"writes": "t", "columns": "email x"}),
    ("ALTER VIEW s.v RENAME TO w", "ddl", "ddl", {"writes": "s.v"}),
    ("ALTER TABLE t ADD COLUMN c int DEFAULT (pg_read_file('x')::int)", "ddl", "ddl file", {"writes": "t"}),
    ("ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1)", "ddl", "ddl", {"writes": "t p"}),
    ("ALTER TABLE t OWNER TO x", "ddl", "ddl admin", {"writes": "t"}),
    ("ALTER TABLE t DISABLE ROW LEVEL SECURITY", "ddl", "ddl grant", {"writes": "t"}),
    ("ALTER TABLE t DISABLE TRIGGER ALL", "ddl", "ddl procedural", {"writes": "t"}),
    ("ALTER FUNCTION f() OWNER TO x", "ddl", "ddl admin", {"functions": "f"}),
    ("DROP TABLE a.b, c", "ddl", "ddl", {"writes": "a.b c"}),
    ("DROP TRIGGER g ON s.t", "ddl", "ddl", {"writes": "s.t"}),
    ("COMMENT ON COLUMN s.t.c IS 'x'", "comment", "ddl", {"writes": "s.t", "columns": "c"}),
    ("SECURITY LABEL ON TABLE t IS 'x'", "security_label", "ddl admin", {"writes": "t"}),
    ("GRANT SELECT ON t TO bot", "grant", "grant", {"writes": "t"}),
    ("GRANT admin TO bot", "grant", "grant role", {}),
    ("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO bot", "grant", "grant", {}),
    ("CREATE POLICY p ON t USING (EXISTS (SELECT FROM secret))", "ddl", "ddl grant read", {"writes": "t", "reads": "secret"}),
    ("REFRESH MATERIALIZED VIEW m", "refresh", "write", {"writes": "m"}),
    ("IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y", "import_foreign", "ddl external", {}),
    ("CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'x')", "ddl", "ddl admin external", {}),
    ("CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p", "ddl", "ddl admin external", {}),
    ("VACUUM ANALYZE t", "vacuum", "admin", {"writes": "t"}),
    ("CHECKPOINT", "checkpoint", "admin", {}),
    ("LOCK TABLE t", "lock", "lock", {"writes": "t"}),
    ("ALTER SYSTEM SET archive_command = 'sh'", "admin", "admin file session", {"settings": [Setting("archive_command", "sh", True)]}),
    # The session
    ("SET ROLE admin", "role", "session role", {"settings": [Setting("role", "admin", True)]}),
    ("SET LOCAL ROLE NONE", "role", "session role", {"settings": [Setting("role", "none", True, True)]}),
    ("RESET ROLE", "role", "session role", {"settings": [Setting("role", None, True)]}),
    ('SET "ROLE" TO admin', "role", "session role", {}),
    ("SET SESSION AUTHORIZATION admin", "role", "session role", {}),
    ("SET Standard_Conforming_Strings = off", "set", "session", {"settings": [Setting("standard_conforming_strings", "off", True)]}),
    ("SET NAMES 'LATIN1'", "set", "session", {"settings": [Setting("client_encoding", "LATIN1", True)]}),
    ("SET search_path = evil, pg_catalog", "set", "session", {"settings": [Setting("search_path", "evil, pg_catalog", True)]}),
    ("RESET ALL", "set", "session", {"settings": [Setting("all", None, True)]}),
    ("DISCARD ALL", "discard", "session", {"settings": [Setting("all", None, True)]}),
    ("DISCARD PLANS", "discard", "session", {"settings": []}),
    ("SET TRANSACTION READ WRITE", "set", "transaction", {"settings": [Setting("transaction_read_only", "0", True, True)]}),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "set", "session", {}),
    ("SELECT set_config('ROLE', 'admin', false)", "select", "read session role", {"settings": [Setting("role", "admin", True)], "literals_matter": True}),
    ("SELECT pg_catalog.set_config($1, 'x', true)", "select", "read session role", {"settings": [Setting(None, None, False)]}),
    ("SELECT set_config('a' || 'b', 'x', true)", "select", "read session role", {}),
    ("SELECT set_config(new_value => 'x', setting_name => 'role', is_local => false)", "select", "read session role", {}),
    ("UPDATE pg_settings SET setting = 'off'", "update", "write session role", {"writes": "pg_settings", "settings": [Setting(None, None, False)], "literals_matter": True}),
    ("SELECT setting FROM pg_settings", "select", "read", {"settings": []}),
    ("SHOW ALL", "show", "read", {}),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE", "transaction", "transaction", {"literals_matter": False}),
    ("ROLLBACK TO SAVEPOINT a", "transaction", "transaction", {}),
    ("PREPARE TRANSACTION 'x'", "transaction", "transaction admin", {"literals_matter": True}),
    ("LISTEN c", "listen", "notify", {}),
    ("UNLISTEN c", "unlisten", "notify", {}),
    # What is assigned only is not taken
    ("UPDATE users SET email = 'x' WHERE id = 1", "update", "write", {"columns": "email id", "taken": "id"}),
    ("UPDATE users SET note = email", "update", "write", {"columns": "email note", "taken": "email"}),
    ("UPDATE users SET email = lower(email)", "update", "write", {"taken": "email"}),
    ("UPDATE users SET a[email] = 1", "update", "write", {"taken": "email"}),
    ("UPDATE users SET (a, b) = (SELECT email, 1 FROM users)", "update", "read write", {"taken": "email"}),
    ("INSERT INTO users (id, email) VALUES (1, 'x')", "insert", "write", {"columns": "id email", "taken": ""}),
    ("INSERT INTO log (note) SELECT email FROM users", "insert", "read write", {"taken": "email"}),
    ("INSERT INTO users (id) VALUES (1) RETURNING email", "insert", "read write", {"taken": "email"}),
    ("INSERT INTO users (id) VALUES (1) ON CONFLICT (email) DO NOTHING", "insert", "write", {"taken": "email"}),
    (
        "INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "insert", "write", {"taken": "id email"},
    ),
    ("WITH x AS (UPDATE users SET email = 'x') SELECT 1", "select", "read write", {"columns": "email", "taken": ""}),
    ("NOTIFY c, 'x'", "notify", "notify", {}),
    ("CREATE ROLE r SUPERUSER", "role", "role admin", {}),
    ("ALTER ROLE r SET search_path = x", "role", "role admin session", {}),
    ("REASSIGN OWNED BY a TO b", "admin", "admin ddl role", {}),
    # Functions
    ("SELECT query_to_xml('SELECT * FROM secret', true, true, '')", "select", "read dynamic", {"dangerous_functions": "query_to_xml", "literals_matter": True}),
    ("SELECT table_to_xml('secret', true, true, '')", "select", "read dynamic", {"literals_matter": True}),
    ("SELECT * FROM ts_stat('SELECT v FROM secret')", "select", "read dynamic", {}),
    ("SELECT lo_export(1, '/tmp/x'), lo_import('/etc/passwd')", "select", "read file", {"dangerous_functions": "lo_export lo_import"}),
    ("SELECT lo_get(1)", "select", "read large_object", {}),
    ("SELECT * FROM pg_ls_dir('.')", "select", "read file", {}),
    ("SELECT * FROM dblink('host=x', 'SELECT 1') AS t (a int)", "select", "read external", {"dangerous_functions": "dblink"}),
    ("SELECT ext.dblink_exec('x')", "select", "read external", {"dangerous_functions": "ext.dblink_exec"}),
    ("SELECT pg_sleep(1000)", "select", "read resource", {}),
    ("SELECT pg_advisory_lock(1)", "select", "read resource", {}),
    ("SELECT pg_terminate_backend(1)", "select", "read admin", {}),
    ("SELECT pg_notify('c', 'x')", "select", "read notify", {}),
    ("SELECT pg_stat_reset()", "select", "read admin", {}),
    ("SELECT nextval('s.q')", "select", "read write", {"writes": "s.q", "dangerous_functions": "", "literals_matter": True}),
    ("SELECT setval('\"Q\"'::regclass, 1)", "select", "read write", {"writes": "Q", "regclass_cast": True}),
    ("SELECT nextval(a) FROM t", "select", "read write dynamic", {}),
    ("SELECT 'secret'::regclass::oid", "select", "read", {"regclass_cast": True, "literals_matter": True}),
    ("SELECT regclass 'secret'", "select", "read", {"regclass_cast": True, "literals_matter": True}),
    ("SELECT CAST(a AS pg_catalog.regproc) FROM t", "select", "read", {"regclass_cast": True}),
    ("SELECT my_report()", "select", "read function", {"unknown_functions": "my_report", "literals_matter": True}),
    ("SELECT public.lower('x')", "select", "read function", {"unknown_functions": "public.lower"}),
    ("SELECT lower('x'), pg_catalog.upper('y')", "select", "read", {"unknown_functions": "", "literals_matter": False}),
    ("SELECT 1 OPERATOR(public.+) 2", "select", "read function", {"operators": "public.+", "literals_matter": True}),
    ("SELECT 1 OPERATOR(pg_catalog.+) 2", "select", "read", {"operators": "pg_catalog.+"}),
    ("SELECT a <%> b FROM t", "select", "read function", {"operators": "<%>"}),
    ("SELECT a OPERATOR(evil.=) ANY (SELECT 1)", "select", "read function", {"operators": "evil.="}),
    ("SELECT a FROM t ORDER BY a USING OPERATOR(evil.<)", "select", "read function", {"operators": "evil.<"}),
    ("SELECT ('/etc/passwd'::text).pg_read_file", "select", "read file", {"dangerous_functions": "pg_read_file"}),
    ("SELECT ($1).my_function", "select", "read function", {"unknown_functions": "my_function"}),
    ("SELECT u.row_to_json FROM u", "select", "read", {"attribute_functions": "row_to_json"}),
    ("SELECT extract(year FROM d), substring(a FROM 1) FROM t", "select", "read", {"functions": "pg_catalog.extract pg_catalog.substring", "literals_matter": False}),
    ("SELECT current_user, session_user", "select", "read", {"functions": "pg_catalog.current_user pg_catalog.session_user"}),
    ("SELECT a FROM t GROUP BY a HAVING bool_or(pg_read_file(b) IS NULL)", "select", "read file", {}),
    ("SELECT * FROM t TABLESAMPLE evil (1)", "select", "read function", {"unknown_functions": "evil"}),
    # Whole rows, renames
    ("SELECT u FROM users u", "select", "read", {"whole_row_candidates": "u"}),
    ("SELECT row_to_json(users) FROM users", "select", "read", {"whole_row_candidates": "users"}),
    ("SELECT (u).email FROM users u", "select", "read function", {"whole_row_candidates": "u", "columns": "u email"}),
    ("SELECT (u).* FROM users u", "select", "read", {"star": True, "whole_row_candidates": "u"}),
    ("SELECT a FROM users AS u (x, a)", "select", "read", {"renames": True, "star": True}),
    ("SELECT a FROM (users CROSS JOIN t) AS j (x, a)", "select", "read", {"renames": True, "star": True}),
    ("SELECT s FROM (SELECT * FROM users) s", "select", "read", {"whole_row_candidates": "s", "star": True}),
    ("DELETE FROM users RETURNING old", "delete", "read write", {"whole_row_candidates": "old"}),
    ("SELECT id AS email FROM users", "select", "read", {"columns": "id"}),
]  # fmt: skip


def names(facts: Facts, field: str) -> set[str]:
    """A field of names as printed."""
    return {str(name) for name in getattr(facts, field)}


def only(sql: str) -> Facts:
    """The facts of a text of one statement."""
    (facts,) = analyze(sql).statements
    return facts


@pytest.mark.parametrize(("sql", "kind", "classes", "expected"), TABLE, ids=[row[0][:60] for row in TABLE])
def test_attack_table(backend: str, sql: str, kind: str, classes: str, expected: dict[str, Any]) -> None:
    facts = only(sql)
    assert facts.kind == kind
    assert {c.value for c in facts.classes} == set(classes.split())
    for field, value in expected.items():
        if isinstance(value, str) and not field.endswith("_name"):
            assert names(facts, field) == set(value.split()), field
        elif isinstance(value, list):
            assert list(facts.settings) == value
        else:
            assert getattr(facts, field) == value, field


def test_the_table_is_large_enough_and_covers_all_kinds() -> None:
    assert len({row[0] for row in TABLE}) == len(TABLE) >= 60
    assert {row[1] for row in TABLE} == {kind.value for kind in StatementKind} - {"other"}


def test_several_statements_are_told_apart(backend: str) -> None:
    sql = " SELECT 'é'; /* x */ DELETE FROM t ;; -- end\n"
    first, second = analyze(sql).statements
    data = sql.encode()
    assert data[first.start : first.end].decode() == "SELECT 'é'"
    assert data[second.start : second.end].decode() == "DELETE FROM t"
    assert (first.kind, second.kind) == ("select", "delete")
    assert analyze(" -- nothing\n;").statements == ()


def test_inner_statements_are_there(backend: str) -> None:
    facts = only("EXPLAIN ANALYZE DELETE FROM t")
    assert facts.inner is not None
    assert facts.inner.kind == "delete"
    facts = only("EXPLAIN DECLARE c CURSOR FOR SELECT a FROM t")
    assert facts.inner is not None
    assert facts.inner.inner is not None
    assert facts.inner.inner.reads == {RelationName(None, "t")}


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELEC 1", SqlSyntaxError),
        ("SELECT 1; DROP", SqlSyntaxError),
        ("SELECT '", SqlSyntaxError),
        ("SELECT 1\0; DROP TABLE t", SqlError),
        ("SELECT '\ud800'", SqlError),
        ("SELECT;" * 1001, SqlTooLargeError),
        ("SELECT '" + "x" * (1 << 20) + "'", SqlTooLargeError),
    ],
    ids=["word", "second", "open quote", "nul", "surrogate", "many", "long"],
)
def test_refusals(backend: str, sql: str, error: type[SqlError]) -> None:
    with pytest.raises(error):
        analyze(sql)


def test_syntax_errors_have_a_position_in_characters(backend: str) -> None:
    with pytest.raises(SqlSyntaxError) as raised:
        analyze("SELECT 'é' FROM WHERE")
    assert raised.value.position == 17


@pytest.mark.parametrize(
    ("sql", "comment"),
    [
        ("/* trace=1 */ SELECT 1", "/* trace=1 */"),
        (" -- a\n/* b /* c */ */\n SELECT 1 -- d", "-- a\n/* b /* c */ */"),
        ("SELECT 1 /* late */", ""),
        ("/* open SELECT 1", ""),
        ("", ""),
    ],
)
def test_leading_comment(sql: str, comment: str) -> None:
    assert leading_comment(sql) == comment


def test_pg_dump_may_give_up_reading_through_views() -> None:
    text = (
        "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings "
        "WHERE name = 'restrict_nonsystem_relation_kind'"
    )
    (facts,) = analyze(f" {text};").statements
    assert [s.name for s in facts.settings] == ["restrict_nonsystem_relation_kind"]
    assert StatementClass.ROLE not in facts.classes
    assert facts.literals_matter
    for other in (
        text.replace("restrict_nonsystem_relation_kind", "role"),
        text.replace("'view, foreign-table'", "'postgres'"),
        text + " OR true",
        text.replace("WHERE name =", "WHERE name <>"),
        f"SELECT 1 FROM ({text}) x",
    ):
        assert None in [s.name for s in analyze(other).statements[0].settings], other
