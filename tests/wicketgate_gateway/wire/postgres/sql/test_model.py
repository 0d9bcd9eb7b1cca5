"""Names print as SQL writes them; a list's literals matter if one statement's do."""

from __future__ import annotations

from wicketgate_gateway.wire.postgres.sql.model import (
    Facts,
    FunctionName,
    RelationName,
    SqlError,
    SqlSyntaxError,
    SqlTooLargeError,
    StatementClass,
    StatementKind,
    StatementList,
)


def test_names_print_with_what_they_have() -> None:
    assert str(RelationName(None, "t")) == "t"
    assert str(RelationName("s", "t", "db")) == "db.s.t"
    assert str(FunctionName("s", "f")) == "s.f"


def test_facts_are_cautious_by_default() -> None:
    facts = Facts(StatementKind.OTHER, frozenset({StatementClass.OTHER}))
    assert facts.literals_matter
    assert facts.relations == frozenset()
    free = Facts(StatementKind.SELECT, frozenset(), literals_matter=False)
    assert not StatementList((free, free)).literals_matter
    assert StatementList((free, facts)).literals_matter


def test_errors_have_codes_and_a_common_base() -> None:
    codes = {cls("x").code for cls in (SqlError, SqlSyntaxError, SqlTooLargeError)}
    assert codes == {"sql-refused", "sql-syntax", "sql-too-large"}
    assert issubclass(SqlTooLargeError, SqlError)
    assert SqlSyntaxError("x", position=3).position == 3
