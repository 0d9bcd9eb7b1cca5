"""Bounds, the two parsers' agreement, and what must never crash."""

from __future__ import annotations

import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wicketgate_gateway.wire.postgres.sql import parser
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.model import SqlError, SqlSyntaxError, SqlTooLargeError

ATTACKS: list[str] = [row[0] for row in runpy.run_path(str(Path(__file__).with_name("test_facts.py")))["TABLE"]]
# Nested in all the ways the grammar has; `{}` is doubled for each level.
NESTS = [
    "SELECT " + "1+" * 40_000 + "1",
    "SELECT " + "(" * 40_000 + "1" + ")" * 40_000,
    "SELECT " + "f(" * 20_000 + "1" + ")" * 20_000,
    "SELECT " + "NOT " * 100_000 + "true",
    "SELECT " + "- " * 100_000 + "a",
    "SELECT 1" + " UNION SELECT 1" * 20_000,
    "SELECT 1 FROM " + "(SELECT 1 FROM " * 5_000 + "t" + ") x" * 5_000,
    "SELECT " + "ARRAY[" * 20_000 + "]" * 20_000,
    "SELECT " + "CASE WHEN " * 20_000 + "1",
    "SELECT a" + "::int" * 40_000,
    "SELECT a" + "[1]" * 40_000,
    "SELECT a" + " COLLATE x" * 20_000,
    "SELECT 1 FROM t" + " JOIN t ON true" * 20_000,
    "WITH " + "x AS (WITH " * 20_000,
    "EXPLAIN " * 50_000 + "SELECT 1",
    "SELECT '" + "'' " * 100_000,
    "/*" * 200_000,
    "$a$" * 100_000,
    "SELECT " + '"' * 100_001,
    "CREATE SCHEMA " * 20_000,
    "SELECT " + "+-" * 200_000 + "1",
    "SELECT 1 " + "/*+" * 200_000,
    "WITH a AS (SELECT 1)" + ", a AS (SELECT 1)" * 50_000 + " SELECT 1",
    "SELECT nextval('" + "a." * 400_000 + "a')",
    "SELECT 1 WHERE a" + " OR a" * 100_000,
    "SELECT 'a'" + " " * 900_000 + "'b'",
    "SELECT 'a'\n'a'" + "\n'a'" * 200_000,
    "SELECT " + "$a$ $b$" * 100_000,
    "SELECT " + "a." * 400_000 + "a",
    "SELECT " + ",".join(["a"] * 400_000),
    ";" * 1_000_000,
    "SELECT;" * 100_000,
    "\n" * 1_000_000 + "SELECT",
    "SELECT " + "x" * 1_000_000,
    "SELECT 1 -- " + "=" * 1_000_000,
]


def test_encode_refuses_what_no_parser_should_see(backend: str) -> None:
    assert parser.encode("SELECT 'é'") == b"SELECT '\xc3\xa9'"
    for text, code in (("a\0b", "sql-nul"), ("\udc80", "sql-encoding")):
        with pytest.raises(SqlError) as raised:
            parser.encode(text)
        assert raised.value.code == code
    with pytest.raises(SqlTooLargeError):
        parser.encode("é" * (parser.limit() // 2 + 1))


def test_limits_by_parser(backend: str) -> None:
    assert parser.limit() == (8 << 10 if backend == "twin" else 1 << 20)
    fits = "SELECT '" + "x" * (parser.limit() - 9) + "'"
    assert len(parser.parse(fits).stmts) == 1
    with pytest.raises(SqlTooLargeError):
        parser.parse(fits + " ")


def test_syntax_error_tells_where(backend: str) -> None:
    with pytest.raises(SqlSyntaxError) as raised:
        parser.parse("SELECT FROM WHERE")
    assert raised.value.position == 13
    assert "syntax error" in str(raised.value)


def test_the_twin_parses_in_the_main_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "_native", None)
    seen: list[str] = []

    def work() -> None:
        try:
            parser.parse("SELECT 1")
        except SqlError as error:
            seen.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["sql-no-native"]


def test_deep_texts_that_the_twin_takes_do_not_crash() -> None:
    """In a process of its own, since a crash would be the test run's."""
    script = """
import sys
from wicketgate_gateway.wire.postgres.sql import parser
from wicketgate_gateway.wire.postgres.sql.facts import SqlError, analyze
parser._native = None
for head, unit, tail in (("SELECT ", "1+", "1"), ("SELECT ", "(", "1"), ("SELECT ", "NOT ", "1"),
                         ("SELECT ", "f(", "1"), ("SELECT a", "[1]", ""), ("SELECT ", "- ", "a"),
                         ("SELECT 1", " UNION SELECT 1", "")):
    count = (8192 - len(head) - len(tail)) // len(unit)
    for n in (count, count // 2 - 1):
        text = head + unit * n + tail + ")" * (n if unit.endswith("(") and n < count else 0)
        try:
            analyze(text)
        except SqlError:
            pass
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.build
@pytest.mark.parametrize("sql", NESTS, ids=[text[:30].strip() for text in NESTS])
@pytest.mark.parametrize("stack", [0, 512 << 10], ids=["default stack", "512 KiB stack"])
def test_deep_texts_give_facts_or_an_error(sql: str, stack: int) -> None:
    assert parser.native() is not None
    outcome: list[str] = []
    started = time.monotonic()

    def work() -> None:
        try:
            analyze(sql)
            outcome.append("facts")
        except SqlError as error:
            outcome.append(error.code)

    before = threading.stack_size(stack)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert outcome in (["facts"], ["sql-syntax"], ["sql-too-large"])
    assert time.monotonic() - started < 10  # about one second at worst; quadratic would be minutes


@pytest.mark.build
def test_both_parsers_give_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The crate's schema has a few fields more (places of arguments); all that postgast's schema knows must agree."""
    assert parser.native() is not None
    for sql in ATTACKS:
        native = parser.parse(sql)
        with monkeypatch.context() as patch:
            patch.setattr(parser, "_native", None)
            twin = parser.parse(sql)
        native.DiscardUnknownFields()
        assert native.version // 10_000 == twin.version // 10_000
        native.version = twin.version
        assert native == twin, sql
