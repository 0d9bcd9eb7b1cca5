"""COPY with masked columns: out of the database it comes masked, into it it arrives as sent and is recorded masked."""

from __future__ import annotations

import io
import ssl
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest

pytestmark = pytest.mark.slow
CLIENT = 1
DOTS = "•••"
SECRET = "very.secret@copied.example"
POLICY: dict[str, Any] = {
    "policy": "copies",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read", "write"], "relations": ["public.copied", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.copied_view"]}}},
    ],
    "mask": [
        {"columns": ["public.copied.email"], "with": "partial"},
        {"columns": ["public.copied.amount", "public.copied.tags"], "with": "redact"},
        {"columns": ["public.copied.born"], "with": "null"},
    ],
}
SCHEMA = f"""
CREATE TABLE copied(id int, twice int GENERATED ALWAYS AS (id * 2) STORED, email text, amount numeric, tags text[],
  born date, note text);
INSERT INTO copied(id, email, amount, tags, born, note) VALUES
  (1, '{SECRET}', 12.5, ARRAY['x{SECRET}', 'y'], '1999-01-02', E'a\\tb\\n"c"'), (2, NULL, NULL, NULL, NULL, NULL),
  (3, E'odd,"\\t\\n\\\\@copied.example', 7, '{{}}', '2000-01-01', '');
CREATE VIEW copied_view AS SELECT id, email AS mail FROM copied;
"""


@pytest.fixture(scope="module")
def own(make_gateway: Callable[..., Any], cloud: Any) -> Iterator[Any]:
    """A gateway whose masks are on a table of this module's own."""
    cloud.postgres.sql(f"SET ROLE e2e_owner; {SCHEMA}", "e2e")
    yield make_gateway(policies=[POLICY])
    cloud.postgres.sql("DROP TABLE copied CASCADE", "e2e")


def read(own: Any, query: str) -> bytes:
    """All that COPY sends."""
    with psycopg.connect(own.dsn(), autocommit=True) as db, db.cursor().copy(query.encode()) as copy:
        return b"".join(bytes(piece) for piece in copy)


def copied(messages: bytes) -> bytes:
    """The COPY data among the client's messages."""
    found, at = b"", 0
    while at < len(messages):
        (length,) = struct.unpack_from(">I", messages, at + 1)
        if messages[at : at + 1] == b"d":
            found += messages[at + 5 : at + 1 + length]
        at += 1 + length
    return found


def last(own: Any) -> str:
    """The session that came last."""
    return own.operations()[-1].session


def test_text(own: Any) -> None:
    assert read(own, "COPY copied TO STDOUT").decode() == (
        f'1\tv***@copied.example\t0\t{{{DOTS},{DOTS}}}\t\\N\ta\\tb\\n"c"\n2\t\\N\t\\N\t\\N\t\\N\t\\N\n'
        "3\to***@copied.example\t0\t{}\t\\N\t\n"
    )
    recorded = own.recorded(last(own))
    assert b"v***@copied.example" in recorded
    assert b"very.secret" not in recorded
    assert own.operations()[-1].masked


def test_csv_as_people_and_programs_write_it(own: Any) -> None:
    result = own.psql("\\copy (SELECT id, email, note FROM copied WHERE id < 3 ORDER BY id) TO STDOUT WITH CSV HEADER")
    assert result.stdout == 'id,email,note\n1,v***@copied.example,"a\tb\n""c"""\n2,,\n', result.stderr
    query = "COPY copied (email, id) TO STDOUT (FORMAT csv, DELIMITER '|', QUOTE '''', NULL '-', FORCE_QUOTE (email))"
    assert read(own, query) == b"'v***@copied.example'|1\n-|2\n'o***@copied.example'|3\n"


def test_binary_keeps_types(own: Any) -> None:
    query = (
        "COPY (SELECT id, email, amount, tags, born, upper(email), 9 FROM copied ORDER BY id) TO STDOUT (FORMAT binary)"
    )
    with psycopg.connect(own.dsn(), autocommit=True) as db, db.cursor().copy(query.encode()) as copy:
        copy.set_types(["int4", "text", "numeric", "text[]", "date", "text", "int4"])
        rows = list(copy.rows())
    assert rows == [
        (1, "v***@copied.example", Decimal(0), [DOTS, DOTS], None, None, 9),
        (2, None, None, None, None, None, 9),
        (3, "o***@copied.example", Decimal(0), [], None, None, 9),
    ]


@pytest.mark.anyio
async def test_asyncpg(own: Any) -> None:
    db = await asyncpg.connect(
        host="localhost", port=own.ports["postgres"], user="bot", database="orders-db", password=own.cloud.bot_token(),
        ssl=ssl.create_default_context(cafile=str(own.ca_file)), timeout=60,
    )  # fmt: skip
    try:
        out = io.BytesIO()
        assert await db.copy_from_table("copied", output=out, columns=["email", "id"], format="csv") == "COPY 3"
        assert out.getvalue() == b"v***@copied.example,1\n,2\no***@copied.example,3\n"
        out = io.BytesIO()
        assert await db.copy_from_query("SELECT mail FROM copied_view WHERE id = $1", 1, output=out) == "COPY 1"
        assert out.getvalue() == b"v***@copied.example\n"
        records = [(70, "seventy@copied.example", "n")]
        assert await db.copy_records_to_table("copied", records=records, columns=["id", "email", "note"]) == "COPY 1"
    finally:
        await db.close()
    assert own.cloud.postgres.sql("DELETE FROM copied WHERE id = 70 RETURNING email", "e2e")
    assert b"seventy@" not in own.recorded(last(own))


@pytest.mark.parametrize(
    ("query", "data", "shown"),
    [
        ("COPY copied FROM STDIN", b"51\tfifty@one.example\t5\t{a}\t\\N\tnote\n",
         b"51\t" + b"*" * 17 + b"\t*\t***\t**\tnote\n"),
        ("COPY copied (note, email, id) FROM STDIN (FORMAT csv)", b'n,"fifty@""one"".example",51\n',
         b"n," + b"*" * 23 + b",51\n"),
        ("COPY copied (id, email, note) FROM STDIN (DELIMITER '|', NULL '')", b"51|fifty@one\\|.example|note\n",
         b"51|" + b"*" * 19 + b"|note\n"),
        ("COPY copied (id, note) FROM STDIN", b"51\tfifty@one.example\n", b"51\tfifty@one.example\n"),
    ],
)  # fmt: skip
def test_what_is_read_is_recorded_masked(own: Any, query: str, data: bytes, shown: bytes) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db, db.cursor().copy(query.encode()) as copy:
        copy.write(data[:9])
        copy.write(data[9:])
    stored = own.cloud.postgres.sql("DELETE FROM copied WHERE id = 51 RETURNING email, note", "e2e")
    assert "fifty@" in str(stored)
    assert copied(own.recorded(last(own), CLIENT)) == shown


def test_binary_is_recorded_masked(own: Any) -> None:
    query = "COPY copied (id, email, note) FROM STDIN (FORMAT binary)"
    with psycopg.connect(own.dsn(), autocommit=True) as db, db.cursor().copy(query.encode()) as copy:
        copy.set_types(["int4", "text", "text"])
        copy.write_row((52, "fifty@two.example", "shown to all"))
    assert own.cloud.postgres.sql("DELETE FROM copied WHERE id = 52 RETURNING email", "e2e")
    recorded = own.recorded(last(own))
    assert b"fifty@two" not in recorded
    assert b"*****************" in recorded
    assert b"shown to all" in recorded


def test_data_behind_a_copy_that_failed_is_recorded_masked(own: Any) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        with pytest.raises(psycopg.Error), db.cursor().copy(b"COPY copied (id, email) FROM STDIN") as copy:
            copy.write(b"no number\tfifty@three.example\n" * 3)
        assert db.execute("SELECT 1").fetchone() == (1,)
    assert b"fifty@three" not in own.recorded(last(own), CLIENT)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("COPY copied TO STDOUT (NULL 'guess')", "cannot be told apart"),
        ("COPY copied TO STDOUT (ENCODING 'LATIN1')", "encoding"),
        ("COPY copied TO STDOUT; SELECT 1", "only statement"),
        ("COPY (SELECT id FROM copied ORDER BY email) TO STDOUT", "sorted by"),
    ],
)
def test_what_is_not_certain_is_refused_with_a_remedy(own: Any, query: str, why: str) -> None:
    result = own.psql(query)
    assert why in result.stderr
    assert "HINT:" in result.stderr
    assert not result.stdout.strip()
