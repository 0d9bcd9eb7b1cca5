"""Detectors through a running gateway: secrets in any column, type and format reach neither bot nor record."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.slow
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
CARD = "4111111111111111"
MAIL = "zoe@example.com"
ORDER = "ORD-12345678"
TOKEN = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
SCHEMA = f"""
CREATE TABLE leaks(
  id int, t text, v varchar, j json, b jsonb, a text[], x bytea, n bigint, m numeric, plain text
);
INSERT INTO leaks VALUES (1, 'key {KEY} there', '{MAIL}', '{{"card": {CARD}}}', '{{"k": "{KEY}"}}', ARRAY['a',
  '{MAIL}'], '\\x00'::bytea || '{KEY}'::bytea, {CARD}, {CARD}.50, 'nothing');
INSERT INTO leaks(id, t, plain) SELECT i, 'harmless', 'row ' || i FROM generate_series(2, 2000) i;
INSERT INTO leaks(id, t) VALUES (3000, '{ORDER}'), (3001, '{TOKEN}');
GRANT ALL ON leaks TO PUBLIC;
"""
POLICY: dict[str, Any] = {
    "policy": "detects",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.leaks"]}}},
    ],
    "mask": [
        {"detect": ["api-key", "jwt", "private-key", "order"], "with": "redact"},
        {"detect": ["card"], "with": "partial"},
        {"detect": ["email"], "with": "format"},
    ],
    "detectors": {"order": {"pattern": "ORD-[0-9]{8}"}},
}
SECRETS = (KEY, CARD, MAIL, ORDER, TOKEN, KEY.encode().hex())


@pytest.fixture(scope="module")
def own(make_gateway: Any, cloud: Any) -> Any:
    cloud.postgres.sql("DROP TABLE IF EXISTS leaks;" + SCHEMA, "e2e")
    return make_gateway(policies=[POLICY])


def nowhere(own: Any, session: str, *allowed: str) -> None:
    """No secret in the journal or the recording of the session."""
    told = b"".join(repr(event).encode() for event in own.events()) + own.recorded(session)
    for secret in SECRETS:
        if secret not in allowed:
            assert secret.encode() not in told, secret


def last(own: Any) -> str:
    return own.operations()[-1].session


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_every_type_in_both_formats(own: Any, binary: bool, prepare: bool) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        cursor = db.cursor(binary=binary)
        cursor.execute("SELECT t, v, j, b, a, x, n, m, plain FROM leaks WHERE id = %s", [1], prepare=prepare)
        row = cursor.fetchone()
    assert row is not None
    text, mail, doc, docb, array, data, number, numeric, plain = row
    assert text == "key ••• there"
    assert (mail != MAIL, mail.count("@"), len(mail)) == (True, 1, len(MAIL))
    assert doc == {"card": "*" * 12 + "1111"}
    assert docb == {"k": "•••"}
    assert array[0] == "a"
    assert array[1] == mail
    assert data == b"\0" + "•••".encode()
    assert number == 1111
    assert int(numeric) == 1111
    assert plain == "nothing"
    nowhere(own, last(own))


def test_own_patterns_tokens_and_bulk(own: Any) -> None:
    result = own.psql("SELECT id, t, plain FROM leaks ORDER BY id")
    lines = result.stdout.splitlines()
    assert len(lines) == 2002
    assert lines[0] == "1|key ••• there|nothing"
    assert lines[1:2000] == [f"{i}|harmless|row {i}" for i in range(2, 2001)]
    assert lines[2000:] == ["3000|•••|", "3001|•••|"]
    nowhere(own, last(own))


@pytest.mark.parametrize("how", ["", " WITH (FORMAT csv)", " WITH (FORMAT binary)"])
def test_copy_out(own: Any, how: str) -> None:
    query = "COPY leaks(id, t, v, plain) TO STDOUT" + how
    with psycopg.connect(own.dsn(), autocommit=True) as db, db.cursor().copy(query) as copy:
        data = b"".join(bytes(piece) for piece in copy)
    assert data.count(b"harmless") == 1999
    for secret in SECRETS:
        assert secret.encode() not in data, secret
    assert ("•••".encode() in data) == ("binary" not in how)
    nowhere(own, last(own))


def test_errors_and_notices(own: Any) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        with pytest.raises(psycopg.DataError) as raised:
            db.execute("SELECT t::int FROM leaks WHERE id = 1")
        assert "key ••• there" in str(raised.value)
        assert KEY not in str(raised.value)
    nowhere(own, last(own))


def test_what_a_bot_sends_arrives_as_it_is_and_is_recorded_masked(own: Any, cloud: Any) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        db.execute(f"INSERT INTO leaks(id, t) VALUES (5000, '{KEY}')")
        db.execute("INSERT INTO leaks(id, t) VALUES (5001, %s)", [KEY])
        db.execute("INSERT INTO leaks(id, t) VALUES (5002, %s)", [KEY], prepare=True)
        with db.cursor().copy("COPY leaks(id, t) FROM STDIN") as copy:
            copy.write(f"5003\t{KEY[:9]}")
            copy.write(f"{KEY[9:]}\n")
    stored = cloud.postgres.sql(
        "SELECT count(*) FROM leaks WHERE id BETWEEN 5000 AND 5003 AND t = '" + KEY + "'", "e2e"
    )
    assert "4" in str(stored)
    session = last(own)
    nowhere(own, session)
    statements = [operation.statement for operation in own.operations(session)]
    assert statements[0] == "INSERT INTO leaks(id, t) VALUES (5000, '•••')"
    assert own.operations(session)[1].parameters == ["•••".encode()]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT t || '' FROM leaks WHERE id = 1",
        "SELECT json_agg(l) FROM leaks l WHERE id = 1",
        "SELECT l FROM leaks l WHERE id = 1",
        "SELECT row_to_json(l)::text FROM leaks l WHERE id = 1",
        "SELECT array_agg(t) FROM leaks WHERE id = 1",
        "SELECT encode(x, 'escape') FROM leaks WHERE id = 1",
        "SELECT x FROM leaks WHERE id = 1",
        "SELECT ARRAY[x] FROM leaks WHERE id = 1",
        "SELECT ROW(x, t) FROM leaks WHERE id = 1",
        "SELECT n::text, m::text, n::numeric FROM leaks WHERE id = 1",
        "SELECT ARRAY[n] FROM leaks WHERE id = 1",
        "SELECT string_agg(t, ',') FROM leaks WHERE id IN (1, 3000, 3001)",
        "SELECT replace(t, ' ', E'\\n') FROM leaks WHERE id = 1",
        "SELECT overlay(t PLACING E'\\u200b' FROM 7 FOR 0) FROM leaks WHERE id = 1",
        "SELECT regexp_replace(t, '(.)', E'\\\\1\\x1b[0m', 'g') FROM leaks WHERE id = 1",
        "SELECT to_json(t) #>> '{}' FROM leaks WHERE id = 1",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM leaks WHERE id = 1; FETCH ALL FROM c; COMMIT",
        "BEGIN; DECLARE c BINARY CURSOR FOR SELECT t, a, n, m FROM leaks WHERE id = 1; FETCH ALL FROM c; COMMIT",
        "INSERT INTO leaks SELECT 6000, t FROM leaks WHERE id = 1 RETURNING t",
        "UPDATE leaks SET plain = t WHERE id = 1 RETURNING plain",
        "UPDATE leaks SET plain = 'nothing' WHERE id = 1 RETURNING *",
    ],
)
def test_by_whatever_query(own: Any, query: str) -> None:
    result = own.psql(query)
    shown = result.stdout + result.stderr
    for secret in SECRETS:
        assert secret not in shown, (secret, shown)
    nowhere(own, last(own))


def test_json_can_still_be_read(own: Any) -> None:
    result = own.psql("SELECT row_to_json(l) FROM leaks l WHERE id = 1")
    assert json.loads(result.stdout)["j"] == {"card": "*" * 12 + "1111"}
    assert json.loads(result.stdout)["n"] == "*" * 12 + "1111"
