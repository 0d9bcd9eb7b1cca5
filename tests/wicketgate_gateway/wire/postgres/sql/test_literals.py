"""Keys without literals: what is replaced, what gives up, and that equal keys mean equal facts."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres.sql.facts import Facts, SqlError, analyze
from wicketgate_gateway.wire.postgres.sql.literals import strip_literals, strip_literals_twin
from wicketgate_gateway.wire.postgres.sql.parser import native


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT 'it''s', 12, 1.5 FROM \"T 1\"", 'SELECT \x01, \x02, \x03 FROM "T 1"'),
        ("a1 = $12 AND b<-3", "a1 = $12 AND b<-\x02"),
        ("x IN (123456789, 1234567890)", "x IN (\x02, \x03)"),
        ("''", "\x01"),
        ("'é --'", "\x01"),
        ('"é"', '"é"'),
        ("'a'\n'b'::text", "\x01\n\x01::text"),
        ("a['x'].b", "a[\x01].b"),
        ("interval '1' day", "interval \x01 day"),
    ],
)
def test_plain_literals_are_replaced(sql: str, key: str) -> None:
    assert strip_literals_twin(sql.encode()) == key.encode()
    assert strip_literals(sql.encode()) == key.encode()


@pytest.mark.parametrize(
    "sql",
    [
        *("E'a'", "e'a'", "U&'a'", 'u&"a"', "B'1'", "X'1'", "N'a'", "a'b'", "'a'b", "'a'\"b\"", "'\\'", "'a"),
        *('"a', '"a"b', "$$a$$", "$a$b$a$", "$1a", "a$b", "$", "a--b", "a/*b*/", "1e5", "1E+5", "0x1f", "1_000"),
        *("1.", ".5", "1.2.3", "1a", "é", "a\u00a0b", "'a'é", "\x01", "\x7f", "a\fb", "a\vb", "`", "\\"),
        *('"a\x01"', "'a\0'"),
    ],
)  # fmt: skip
def test_anything_odd_gives_up(sql: str) -> None:
    assert strip_literals_twin(sql.encode()) is None
    assert strip_literals(sql.encode()) is None


def test_invalid_utf8_gives_up() -> None:
    for sql in (b"'\xff'", b'"\xc3"', b"'a\xc3'"):
        assert strip_literals_twin(sql) is None
        assert strip_literals(sql) is None


_PIECES = r"""' '' " "" a A _ E U& N $ $1 $$ 0 12 1.5 . - -- / /* */ \ ; ( ) , :: é e5 [ ] * & ` 1234567890"""
PIECES = st.sampled_from([*_PIECES.split(), " ", "\x01", "\x7f", "\t", "\n", "\r"])


@pytest.mark.build
@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=12).map("".join).map(str.encode), st.binary(max_size=40)))
def test_the_native_twin_agrees(sql: bytes) -> None:
    module = native()
    assert module is not None
    assert module.strip_literals(sql) == strip_literals_twin(sql)


# Statements with holes for literals. Two fillings of one template are two texts that may have the same key.
TEMPLATES = [
    "SELECT {}, a FROM t WHERE b = {} AND c IN ({}, {})",
    "SELECT lower({}) || upper({}) FROM t ORDER BY {} LIMIT {}",
    "INSERT INTO t (a, b) VALUES ({}, {}), ({}, DEFAULT) RETURNING a",
    "UPDATE s.t SET a = {}, b = b + {} WHERE c BETWEEN {} AND {}",
    "DELETE FROM t USING u WHERE t.a = {} AND u.b LIKE {}",
    "WITH x AS (SELECT {} AS a) SELECT * FROM x WHERE a > {}",
    "MERGE INTO t USING u ON t.a = {} WHEN MATCHED THEN UPDATE SET b = {}",
    "SELECT set_config({}, {}, {})",
    "SELECT nextval({}), {}::regclass, {}::text",
    "SELECT query_to_xml({}, true, true, {})",
    "SELECT my_function({}), pg_read_file({})",
    "SET work_mem = {}",
    "SET ROLE {}",
    "SET SESSION AUTHORIZATION {}",
    "COPY t TO {}",
    "COPY t FROM PROGRAM {}",
    "COPY t TO STDOUT (FORMAT {}, DELIMITER {})",
    "DO {}",
    "NOTIFY c, {}",
    "EXPLAIN (ANALYZE {}) DELETE FROM t WHERE a = {}",
    "EXPLAIN (COSTS {}, FORMAT {}) SELECT a FROM t WHERE a = {}",
    "PREPARE p AS SELECT {} FROM t",
    "EXECUTE p ({}, {})",
    "DECLARE c CURSOR FOR SELECT a FROM t WHERE a = {}",
    "FETCH {} FROM c",
    "CALL p({})",
    "COMMENT ON TABLE t IS {}",
    "PREPARE TRANSACTION {}",
    "COMMIT PREPARED {}",
    "CREATE TABLE n (a int DEFAULT {}, b varchar({}))",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS {}",
    "ALTER SYSTEM SET x = {}",
    "LOAD {}",
    "SELECT extract({} FROM a), substring(b FROM {} FOR {}) FROM t",
    "SELECT a FROM t TABLESAMPLE bernoulli ({}) REPEATABLE ({})",
    "SELECT * FROM json_to_record({}) AS x (a int, b varchar({}))",
    "SELECT interval {} day, date {}, xmlparse(document {})",
    "SELECT a FROM t; DELETE FROM u WHERE b = {}; SELECT {}",
]
# Of each kind, literals that have the same placeholder.
KINDS = [
    ["'a'", "''", "'role'", "'secret'", "'s.secret'", "'it''s'", "'on'", "'off'", "'SELECT'", "'csv'", "','"],
    ["0", "1", "2", "10", "123456789"],
    ["1234567890", "99999999999999", "1.5", "0.1"],
]
PAIRS = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.sampled_from(kind), st.sampled_from(kind)))


def without_places(facts: Facts) -> Facts:
    """Facts but for the byte offsets, which a literal's length moves."""
    inner = None if facts.inner is None else without_places(facts.inner)
    return dataclasses.replace(facts, start=0, end=0, inner=inner)


@settings(max_examples=1500, deadline=None)
@given(st.data(), st.sampled_from(TEMPLATES))
def test_equal_keys_mean_equal_facts_unless_literals_matter(data: st.DataObject, template: str) -> None:
    pairs = [data.draw(PAIRS) for _ in range(template.count("{}"))]
    texts = [template.format(*(pair[side] for pair in pairs)) for side in (0, 1)]
    keys = [strip_literals_twin(text.encode()) for text in texts]
    assert keys[0] is not None
    assert keys[0] == keys[1]
    try:
        first, second = (analyze(text).statements for text in texts)
    except SqlError:
        return
    assert [f.literals_matter for f in first] == [f.literals_matter for f in second]
    if not any(f.literals_matter for f in first):
        assert [without_places(f) for f in first] == [without_places(f) for f in second]


def test_the_property_bites() -> None:
    """Where literals matter, equal keys do come with different facts."""
    first, second = "SELECT set_config('role', 'a', true)", "SELECT set_config('x.y', 'a', true)"
    assert strip_literals_twin(first.encode()) == strip_literals_twin(second.encode())
    facts = [analyze(sql).statements[0] for sql in (first, second)]
    assert facts[0].classes != facts[1].classes
    assert all(f.literals_matter for f in facts)
