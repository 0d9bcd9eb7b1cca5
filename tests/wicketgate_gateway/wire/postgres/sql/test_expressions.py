"""Identifiers in strings, as PostgreSQL's `regclass` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from wicketgate_gateway.wire.postgres.sql.expressions import split_identifier
from wicketgate_gateway.wire.postgres.sql.facts import analyze

if TYPE_CHECKING:
    from wicketgate.testing.postgres import PostgresServer

GOOD = ["a", "A", "s.a", ' s . "A" ', '"a.b"', '"a""b".c', 'd."S".t', '""""', "a_1.b$2"]
BAD = ["", " ", ".", "a.", ".a", '"a', '""', "a b", 'a"b"', "a..b", "a.b.c.d"]


@pytest.mark.parametrize("text", GOOD)
def test_parts_are_those_of_the_server(text: str, postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.admin_dsn) as connection:
        row = connection.execute("SELECT parse_ident(%s)", [text]).fetchone()
    assert row is not None
    assert split_identifier(text) == row[0]


@pytest.mark.parametrize("text", BAD)
def test_malformed_ones_have_no_parts(text: str) -> None:
    assert split_identifier(text) == []


def test_long_ones_are_not_looked_at() -> None:
    assert split_identifier("a." * 200 + "a") == []


def test_a_sequence_that_cannot_be_named_is_dynamic() -> None:
    for argument in ("'a b'", "$1", "lower('A')", "NULL"):
        (facts,) = analyze(f"SELECT nextval({argument})").statements
        assert "dynamic" in facts.classes
        assert facts.writes == frozenset()
