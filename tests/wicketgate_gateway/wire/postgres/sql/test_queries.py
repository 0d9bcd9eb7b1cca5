"""Relations of queries and DML against a real server: we must name what it locks when it analyses a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from wicketgate_gateway.wire.postgres.sql.facts import SqlTooLargeError, analyze

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wicketgate.testing.postgres import PostgresServer

SETUP = """
CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE u (id int, a int, b int, c text);
CREATE TABLE secret (id int, a int, b int, c text);
CREATE TABLE "T" (id int, a int);
CREATE SCHEMA s; CREATE TABLE s.t (id int, a int);
"""
LOCKS = """
SELECT CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END, array_agg(l.mode)
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND n.nspname IN ('public', 's') GROUP BY 1
"""
STATEMENTS = [
    "SELECT a FROM t",
    'SELECT * FROM "T", s.t x',
    "SELECT (SELECT max(a) FROM secret) FROM t",
    "SELECT a FROM t WHERE b IN (SELECT b FROM u WHERE EXISTS (SELECT FROM secret WHERE secret.a = t.a))",
    "SELECT t.a FROM t, LATERAL (SELECT b FROM u WHERE u.id = t.id) v",
    "WITH t AS (SELECT 1 AS a) SELECT * FROM t",
    "WITH t AS (SELECT * FROM t) SELECT * FROM t",
    "WITH t AS (SELECT 1 AS a) SELECT * FROM s.t AS x, t",
    "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) SELECT * FROM t",
    "WITH RECURSIVE u AS (SELECT a FROM secret), v AS (SELECT * FROM u) SELECT * FROM v",
    "WITH secret AS (SELECT 1), v AS (SELECT * FROM (WITH u AS (SELECT 2) TABLE u) w, secret) SELECT * FROM v, u",
    "WITH v AS (SELECT * FROM secret), secret AS (SELECT 1 AS a) SELECT v.a FROM v, secret",
    "(WITH secret AS (SELECT 1 AS a) TABLE secret) UNION SELECT a FROM secret",
    "SELECT * FROM (WITH secret AS (SELECT 1) TABLE secret) x, secret",
    "WITH x AS (SELECT 1) SELECT * FROM (SELECT * FROM (WITH x AS (SELECT * FROM x) TABLE x) q) r",
    "WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x",
    "WITH x AS (INSERT INTO t (id) SELECT id FROM u RETURNING a), y AS (UPDATE secret SET a = 1 FROM x) SELECT 1",
    "INSERT INTO t (id) VALUES ((SELECT max(id) FROM secret))",
    "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = (SELECT max(a) FROM secret)",
    "WITH t AS (SELECT 1 AS id) INSERT INTO t (id) SELECT id FROM t",
    "INSERT INTO t (id) WITH u AS (SELECT 1 AS id) SELECT u.id FROM u, secret",
    "UPDATE t SET a = u.a FROM u WHERE u.id = t.id",
    "UPDATE t SET (a, b) = (SELECT a, b FROM secret WHERE secret.id = t.id)",
    "DELETE FROM t USING u WHERE t.id = u.id AND u.a > (SELECT min(a) FROM secret)",
    "WITH t AS (SELECT 1) DELETE FROM t",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = (SELECT max(a) FROM secret)",
    "WITH u AS (SELECT 1 AS id) MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    "SELECT a FROM t TABLESAMPLE system (10) UNION ALL SELECT a FROM u ORDER BY 1",
    "SELECT CASE WHEN EXISTS (SELECT FROM secret) THEN 1 END, ARRAY(SELECT b FROM u)",
    "SELECT sum(a) FILTER (WHERE b > (SELECT max(b) FROM secret)) OVER (ORDER BY (SELECT 1 FROM u)) FROM t",
    "SELECT j.id FROM t JOIN (u LEFT JOIN secret USING (id)) AS j USING (id)",
    "SELECT * FROM ROWS FROM (generate_series(1, (SELECT 2 FROM secret))) x",
    "SELECT a FROM t LIMIT (SELECT 1 FROM secret)",
    "TABLE secret",
    "VALUES ((SELECT a FROM secret))",
]


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    """A database of its own with the tables that the statements name."""
    name = "sql_facts"
    postgres.create_database(name)
    with psycopg.connect(postgres.admin_dsn, dbname=name) as connection:
        connection.execute(SETUP)
        connection.commit()
        yield connection


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_server_locks_what_we_name(sql: str, connection: psycopg.Connection) -> None:
    (facts,) = analyze(sql).statements
    with connection.transaction(force_rollback=True):
        connection.execute(f"PREPARE p AS {sql}")  # parse analysis takes the locks
        connection.execute("DEALLOCATE p")
        locks = dict(connection.execute(LOCKS).fetchall())
    written = {name for name, modes in locks.items() if "RowExclusiveLock" in modes}
    read = {name for name, modes in locks.items() if "AccessShareLock" in modes}
    assert {str(name) for name in facts.relations} == set(locks)
    assert {str(name) for name in facts.writes} == written
    assert read <= {str(name) for name in facts.reads}


def test_the_number_of_visible_ctes_is_bounded() -> None:
    many = ", ".join(f"a{n} AS (SELECT 1)" for n in range(201))
    with pytest.raises(SqlTooLargeError, match="200 common table"):
        analyze(f"WITH {many} SELECT 1")
