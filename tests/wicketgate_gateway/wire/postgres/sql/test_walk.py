"""The walk's helpers, and its bound."""

from __future__ import annotations

import pytest
from postgast import parse
from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql import expressions, queries, utility, walk
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, RelationName, SqlTooLargeError
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

HANDLER_MODULES = (expressions, queries, utility)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a'", "a"),
        ("'a'::text", "a"),
        ("12", "12"),
        ("-12", "-12"),
        ("1.5", "1.5"),
        ("true", "on"),
        ("false", "off"),
        ("B'01'", "b01"),
        ("NULL", None),
        ("$1", None),
        ("'a' || 'b'", None),
        ("''", ""),
        ("0", "0"),
    ],
)
def test_constant_text(text: str, expected: str | None) -> None:
    target = parse(f"SELECT {text}").stmts[0].stmt.select_stmt.target_list[0]
    assert walk.constant_text(target.res_target.val) == expected


def test_relation_of_takes_up_to_three_parts() -> None:
    assert walk.relation_of([]) is None
    assert walk.relation_of(["t"]) == RelationName(None, "t")
    assert walk.relation_of(["db", "s", "t"]) == RelationName("s", "t", "db")


def test_calls_bring_classes() -> None:
    walked = walk.Walk()
    walked.call(FunctionName(None, "lower"))
    assert (walked.classes, walked.literals) == (set(), False)
    walked.call(FunctionName("x", "dblink"))
    assert (walked.classes, walked.literals) == ({C.EXTERNAL}, True)


def test_the_walk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_NODES", 10)
    with pytest.raises(SqlTooLargeError, match="10 nodes"):
        walk.Walk().run(parse("SELECT a, b, c, d, e, f, g, h, i, j, k").stmts[0].stmt)


def test_every_listed_node_has_a_handler() -> None:
    assert HANDLER_MODULES
    for name in walk.PARTS | set(walk.STATEMENTS):
        assert getattr(pb, name) in walk.HANDLERS
