"""psycopg through the gateway: prepared statements, pipelines, binary results, COPY, server-side cursors."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import errors

pytestmark = pytest.mark.slow


@pytest.fixture
def db(gateway: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        yield connection


def test_parameters_are_on_record(gateway: Any, db: psycopg.Connection[Any]) -> None:
    assert db.execute("SELECT %s::text || %s", ["one", "two"]).fetchone() == ("onetwo",)
    operation = gateway.operations()[-1]
    assert operation.statement == "SELECT $1::text || $2"
    assert operation.parameters == [b"one", b"two"]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_masks_in_both_formats(db: psycopg.Connection[Any], binary: bool, prepare: bool) -> None:
    for _ in range(3):
        cursor = db.cursor(binary=binary)
        cursor.execute(
            "SELECT id, email, card, balance, note FROM customers WHERE id <= %s ORDER BY id", [2], prepare=prepare
        )
        assert cursor.fetchall() == [
            (1, "a***@example.com", "•••", None, {"k": 1}),
            (2, "b***@example.org", "•••", None, None),
        ]


def test_the_unnamed_statement_in_turn_masked_and_plain(db: psycopg.Connection[Any]) -> None:
    for _ in range(5):
        assert db.execute("SELECT email FROM customers WHERE id = %s", [1]).fetchone() == ("a***@example.com",)
        assert db.execute("SELECT name FROM customers WHERE id = %s", [1]).fetchone() == ("Ann",)


def test_denied_in_a_pipeline(db: psycopg.Connection[Any]) -> None:
    def work() -> None:
        with db.pipeline():
            first = db.execute("SELECT 1")
            db.execute("DELETE FROM customers WHERE id = %s", [1])
            db.execute("SELECT 2")
            first.fetchone()

    with pytest.raises(errors.InsufficientPrivilege, match="denied by policy"):
        work()
    assert db.execute("SELECT 3").fetchone() == (3,)


def test_a_long_pipeline(db: psycopg.Connection[Any]) -> None:
    with db.pipeline():
        cursors = [db.execute("SELECT id, email FROM customers WHERE id = %s", [i % 2 + 1]) for i in range(2000)]
        expected = [(1, "a***@example.com"), (2, "b***@example.org")]
        assert [c.fetchone() for c in cursors] == [expected[i % 2] for i in range(2000)]


def test_transactions_and_savepoints(db: psycopg.Connection[Any]) -> None:
    with db.transaction():
        db.execute("INSERT INTO uploads VALUES (555501, 'kept')")
        with contextlib.suppress(errors.InsufficientPrivilege), db.transaction():
            db.execute("INSERT INTO uploads VALUES (555502, 'lost')")
            db.execute("SELECT * FROM secrets")
            pytest.fail("it was not denied")
    assert db.execute("SELECT id FROM uploads WHERE id IN (555501, 555502)").fetchall() == [(555501,)]


def test_server_side_cursor(db: psycopg.Connection[Any]) -> None:
    with db.transaction(), db.cursor(name="many") as cursor:
        cursor.execute("SELECT g FROM generate_series(1, 1000) g")
        assert sum(row[0] for row in cursor) == 500_500


def test_masked_server_side_cursor(db: psycopg.Connection[Any]) -> None:
    with db.transaction(), db.cursor(name="mails", binary=True) as cursor:
        cursor.execute("SELECT email, balance FROM customers WHERE id = 1")
        assert cursor.fetchall() == [("a***@example.com", None)]


def test_copy_both_ways(db: psycopg.Connection[Any]) -> None:
    with db.cursor() as cursor:
        with cursor.copy("COPY uploads FROM STDIN") as copy:
            for i in range(20_000):
                copy.write_row((700_000 + i, "x" * 50))
        with cursor.copy("COPY (SELECT * FROM uploads WHERE id >= 700000) TO STDOUT (FORMAT binary)") as copy:
            size = sum(len(block) for block in copy)
    assert size > 20_000 * 50
    with pytest.raises(errors.InsufficientPrivilege), db.cursor() as cursor:
        cursor.execute("COPY customers FROM STDIN")
    with contextlib.suppress(KeyError), db.cursor() as cursor, cursor.copy("COPY uploads FROM STDIN") as copy:
        copy.write("555001\tx\n")
        raise KeyError("given up")
    assert db.execute("SELECT count(*) FROM uploads WHERE id = 555001").fetchone() == (0,)


def test_errors_do_not_tell_masked_values(db: psycopg.Connection[Any]) -> None:
    for query in (
        "SELECT email::int FROM customers WHERE id = %s",
        "SELECT email::regclass FROM customers WHERE id = %s",
        "SELECT name FROM customers WHERE id = %s AND email::int > 0",
    ):
        with pytest.raises(psycopg.Error) as caught:
            db.execute(query, [1]).fetchall()
        assert "ann@" not in str(caught.value) + str(caught.value.diag.message_detail)


def test_notices_of_masked_statements_are_hidden(gateway: Any, db: psycopg.Connection[Any]) -> None:
    heard: list[str] = []
    db.add_notice_handler(lambda d: heard.append(d.message_primary or ""))
    db.execute("BEGIN")
    db.execute("BEGIN")
    assert heard == ["there is already a transaction in progress"]
    # What a function does that no one looked into cannot be told: its notices are hidden as well.
    db.execute("SELECT speak(name) FROM customers")
    assert len(heard) > 1
    assert not any("Ann" in text for text in heard)
    with pytest.raises(errors.InsufficientPrivilege, match="masked, and computed with"):
        db.execute("SELECT speak(email) FROM customers")
    assert not any("ann@" in text for text in heard)


def test_cancel(db: psycopg.Connection[Any]) -> None:
    timer = threading.Timer(0.3, db.cancel_safe)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        db.execute("SELECT pg_sleep(60)")
    timer.join()
    assert db.execute("SELECT 1").fetchone() == (1,)


def test_numbers_come_through_as_they_are(db: psycopg.Connection[Any]) -> None:
    assert db.execute("SELECT 1.5::numeric, now() IS NOT NULL").fetchone() == (Decimal("1.5"), True)


def test_a_large_parameter_is_on_record_by_its_digest(gateway: Any, db: psycopg.Connection[Any]) -> None:
    assert db.execute("SELECT length(%s::text)", ["z" * 2_000_000]).fetchone() == (2_000_000,)
    (shown,) = gateway.operations()[-1].parameters
    assert shown.startswith(b"zzzz")
    assert b"2000000 bytes, sha256" in shown


def test_a_large_value_passes_and_a_masked_one_beside_it(db: psycopg.Connection[Any]) -> None:
    row = db.execute("SELECT repeat('y', 3000000), email FROM customers WHERE id = 1").fetchone()
    assert row is not None
    assert len(row[0] or "") in (0, 3_000_000, 36)
    assert row[1] == "a***@example.com"
    assert db.execute("SELECT repeat('y', 3000000)").fetchone() == ("y" * 3_000_000,)
