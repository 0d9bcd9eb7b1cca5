"""Stock psql through the gateway: what a bot sees when it uses the client that it always used."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Any

import pytest

from wicketgate_gateway.recording.blocks import CLIENT, SERVER

pytestmark = pytest.mark.slow
LOCALE = {"PATH": "/usr/bin:/bin"}


def last_session(gateway: Any) -> str:
    return gateway.operations()[-1].session


def test_masked_and_plain_columns(gateway: Any) -> None:
    result = gateway.psql("SELECT id, name, email, card, balance, note FROM customers ORDER BY id")
    assert result.stdout.splitlines() == [
        '1|Ann|a***@example.com|•••||{"k": 1}',
        "2|Bob|b***@example.org|•••||",
        "3|Cid||||",
    ]
    session = last_session(gateway)
    (operation,) = gateway.operations(session)
    assert operation.effect == "allow"
    assert operation.masked
    assert operation.bot == "code-review"
    assert operation.relations == ["public.customers"]
    recorded = gateway.recorded(session)
    assert b"SELECT id, name, email" in recorded
    assert b"a***@example.com" in recorded
    assert b"ann@example.com" not in recorded
    assert b"4111" not in recorded


@pytest.mark.parametrize(
    "query",
    [
        "SELECT email AS x FROM customers",
        "SELECT lower(email) FROM customers",
        "SELECT (SELECT email FROM customers LIMIT 1)",
        "SELECT c FROM customers c",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT c.* FROM (SELECT email e FROM customers) c",
        "SELECT email FROM mails",
        "WITH x AS (SELECT email FROM customers) SELECT * FROM x",
        "SELECT email FROM customers UNION SELECT 'x'",
        "SELECT string_agg(email, ',') FROM customers",
        "SELECT 1 / length(email), email || '' FROM customers",
        "TABLE customers",
        "BEGIN; DECLARE c CURSOR FOR SELECT email FROM customers; FETCH ALL FROM c; COMMIT",
        "PREPARE p AS SELECT email FROM customers",
        "SELECT array_agg(email) FROM customers",
        "SELECT email::int FROM customers",
        "SELECT xmlelement(name x, email) FROM customers",
        "SELECT * FROM customers WHERE id = 1 AND 1/(id - 1) = 0",
        "SELECT regexp_replace(email, '@.*', '') FROM customers",
        "SELECT max(email), min(card), sum(balance) FROM customers",
        "COPY customers TO STDOUT",
        "COPY (SELECT email FROM customers) TO STDOUT",
        "UPDATE orders SET item = (SELECT email FROM customers LIMIT 1) RETURNING item",
        "INSERT INTO uploads SELECT id, email FROM customers RETURNING value",
    ],
)
def test_no_way_of_asking_shows_a_masked_value(gateway: Any, query: str) -> None:
    result = gateway.psql(*query.split("; "))
    for value in ("ann", "bob", "4111", "5500", "12.5"):
        assert not re.search(rf"\b{value}", result.stdout), query
        assert not re.search(rf"\b{value}", result.stderr), query
    assert result.stdout or result.returncode or query.startswith("PREPARE")


def test_a_denial_says_why_and_what_to_do_and_the_session_goes_on(gateway: Any) -> None:
    result = gateway.psql("SELECT 1", "SELECT * FROM secrets", "SELECT 2")
    assert result.stdout.split() == ["1", "2"]
    assert "ERROR:  42501: denied by policy: rule `e2e#4` denies `read` on `public.secrets`" in result.stderr
    assert "secrets are for people" in result.stderr
    assert "HINT:" in result.stderr
    session = last_session(gateway)
    operations = gateway.operations(session)
    assert [o.effect for o in operations] == ["allow", "deny", "allow"]
    assert operations[1].rule == "e2e#4"
    assert re.search(rf"operation 2 of session {session}", result.stderr)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; DELETE FROM customers",
        "EXPLAIN ANALYZE DELETE FROM customers",
        "WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x",
        "DO $$ BEGIN DELETE FROM customers; END $$",
        "COPY customers TO PROGRAM 'cat'",
        "COPY customers TO '/tmp/x'",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'SQL_ASCII'",
        "SET search_path = pg_temp, public",
        "SELECT set_config('search_path', 'x', false)",
        "/* SELECT 1; */ DELETE FROM customers",
        "SELECT $$a$$; DELETE FROM customers -- $$",
        "CREATE TABLE x AS SELECT * FROM customers",
        "SELECT pg_read_file('/etc/passwd')",
        "GRANT ALL ON customers TO public",
        "DROP TABLE customers",
        "PREPARE d AS DELETE FROM customers",
        "EXECUTE d",
    ],
)
def test_denied_and_nothing_of_it_reaches_the_server(gateway: Any, text: str) -> None:
    before = gateway.cloud.postgres.sql("SELECT count(*) FROM customers", "e2e")
    result = gateway.psql(text)
    assert result.returncode != 0
    assert "denied by policy" in result.stderr or (text == "EXECUTE d" and "26000" in result.stderr)
    operation = gateway.operations()[-1]
    assert operation.effect == "deny"
    assert operation.statement == text
    assert gateway.cloud.postgres.sql("SELECT count(*) FROM customers", "e2e") == before
    # The server's own log shows what it got: not this.
    assert "wicketgate_denied" not in result.stderr


def test_a_transaction_with_a_denied_statement_is_rolled_back_as_by_any_error(gateway: Any) -> None:
    result = gateway.psql(
        "BEGIN", "INSERT INTO uploads VALUES (7, 'lost')", "SELECT * FROM secrets", "SELECT 1", "COMMIT",
        "SELECT count(*) FROM uploads WHERE id = 7",
    )  # fmt: skip
    assert "25P02" in result.stderr
    assert result.stdout.split()[-1] == "0"


def test_errors_and_notices_of_the_server(gateway: Any) -> None:
    result = gateway.psql("SELECT * FROM nowhere_at_all", "SELECT 1/0", "BEGIN", "BEGIN", "SELEC 1")
    assert "22012: division by zero" in result.stderr
    assert "WARNING:  25001: there is already a transaction in progress" in result.stderr
    assert '42P01: relation "nowhere_at_all" does not exist' in result.stderr
    assert "42601" in result.stderr


def test_copy_both_ways(gateway: Any) -> None:
    rows = "".join(f"{i}\tvalue {i}\n" for i in range(300_100, 301_100))
    result = gateway.psql("COPY uploads FROM STDIN", stdin=rows)
    assert result.returncode == 0, result.stderr
    out = gateway.psql("COPY (SELECT * FROM uploads WHERE id BETWEEN 300100 AND 301099 ORDER BY id) TO STDOUT")
    assert out.stdout == rows
    session = last_session(gateway)
    assert b"value 301099" in gateway.recorded(session, SERVER)


def test_a_copy_that_fails_leaves_the_session_usable(gateway: Any) -> None:
    rows = "x\tnot a number\n" + "".join(f"{i}\tv\n" for i in range(50_000))
    result = subprocess.run(
        ["psql", "-XAtq", "-f", "-", gateway.dsn(password=False)],
        input=f"COPY uploads FROM STDIN;\n{rows}\\.\nSELECT 'still here';\n",
        capture_output=True, text=True, timeout=60, env={**LOCALE, "PGPASSWORD": gateway.cloud.bot_token()},
    )  # fmt: skip
    assert "invalid input syntax" in result.stderr
    assert "still here" in result.stdout


def test_several_copies_in_one_text(gateway: Any) -> None:
    result = subprocess.run(
        ["psql", "-XAtq", "-f", "-", gateway.dsn(password=False)],
        input="COPY uploads FROM STDIN\\; COPY uploads FROM STDIN\\; SELECT 'done';\n8001\ta\n\\.\n8002\tb\n\\.\n",
        capture_output=True, text=True, timeout=60, env={**LOCALE, "PGPASSWORD": gateway.cloud.bot_token()},
    )  # fmt: skip
    assert result.stdout.strip() == "done", result.stderr
    assert gateway.psql("SELECT count(*) FROM uploads WHERE id IN (8001, 8002)").stdout.strip() == "2"


def test_describe_commands_work(gateway: Any) -> None:
    result = gateway.psql("\\dt", "\\d orders", "\\df speak", "\\conninfo")
    assert result.returncode == 0, result.stderr
    assert "customers" in result.stdout
    assert "orders_id_seq" in result.stdout


def test_cancel(gateway: Any) -> None:
    process = subprocess.Popen(
        ["psql", "-XAtq", gateway.dsn(password=False), "-c", "SELECT pg_sleep(60)", "-c", "SELECT 'after'"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**LOCALE, "PGPASSWORD": gateway.cloud.bot_token()},
    )  # fmt: skip
    gateway.wait(lambda: any(o.statement == "SELECT pg_sleep(60)" for o in gateway.operations()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "canceling statement due to user request" in err
    session = next(o.session for o in reversed(gateway.operations()) if o.statement == "SELECT pg_sleep(60)")

    def finished() -> list[Any]:
        return [e for e in gateway.events() if e.session == session and type(e).__name__ == "OperationFinished"]

    gateway.wait(finished)  # an end is noted a little later than the client hears of it
    assert finished()[0].outcome == "cancelled"
    assert out.strip() in ("after", "")


def test_passwords_of_roles_are_on_no_record(gateway: Any) -> None:
    gateway.psql("ALTER ROLE bob PASSWORD 'hunter2'")
    operation = gateway.operations()[-1]
    assert operation.statement == "ALTER ROLE bob PASSWORD '***'"
    recorded = gateway.recorded(operation.session, CLIENT)
    assert b"hunter2" not in recorded
    assert b"ALTER ROLE bob PASSWORD '***'" in recorded


def test_the_token_is_on_no_record(gateway: Any) -> None:
    gateway.psql("SELECT 1")
    session = last_session(gateway)
    token = gateway.cloud.bot_token().encode()
    gateway.recorded(session)
    for path in gateway.folder.rglob("*"):
        if path.is_file():
            assert token[:60] not in path.read_bytes(), path
            assert token[-60:] not in path.read_bytes(), path


def test_a_million_rows_do_not_grow_the_gateway(gateway: Any) -> None:
    pid = gateway.processes["gateway"].pid

    def memory() -> int:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    gateway.psql("SELECT count(*) FROM generate_series(1, 1000)")
    before = memory()
    result = subprocess.run(
        ["psql", "-XAtq", "-v", "FETCH_COUNT=0", gateway.dsn(password=False),
         "-c", "SELECT g, repeat('x', 50) FROM generate_series(1, 1000000) g"],
        stdout=subprocess.PIPE, text=True, timeout=100,
        env={**LOCALE, "PGPASSWORD": gateway.cloud.bot_token()},
    )  # fmt: skip
    assert result.stdout.count("\n") == 1_000_000
    assert memory() - before < 64 * 1024  # KiB
