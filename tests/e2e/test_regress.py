"""`python -m fuzz regress`, on a file of our own: with no mask in the way, answers are a server's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.regress import Statement, compare, normal, sides, statements

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCRIPT = (Path(__file__).parent / "regress.sql").read_text()


def test_answers_are_the_same_in_text_and_binary(tmp_path: Path) -> None:
    with sides(tmp_path, binary=False) as (direct, through):
        outcome = compare([("regress.sql", SCRIPT)], direct, through)
        assert outcome.differences == []
        assert outcome.counts["same"] + outcome.counts["same but for what varies"] >= 50
        assert (outcome.counts["denied"], outcome.counts["syntax errors"]) == (1, 1)
        assert list(outcome.denied) == ["denied by policy: the setting `…` is pinned for every session"]
        for side in (direct, through):
            side.binary = True
        outcome = compare([("regress.sql", SCRIPT)], direct, through)
        assert outcome.differences == []
        assert outcome.counts["same"] + outcome.counts["same but for what varies"] >= 50
        # It can fail, too: what is done on one side alone is a difference.
        direct.open()
        direct.run(Statement("CREATE TABLE only_here()"))
        direct.close()
        outcome = compare([("x.sql", "SELECT 1; SELECT * FROM only_here;")], direct, through)
        assert outcome.counts["same"] == 1
        assert len(outcome.differences) == 1


def test_scripts_are_taken_apart_as_psql_does() -> None:
    script = (
        "-- first; comment\nSELECT 1; SELECT ';' /* a /* nested; */ one; */ , E'\\';', $x$ ; $x$;\n\\d t\n"
        "SELECT 2 \\gset\nSELECT (1;2);\nSELECT 3 \\; SELECT 4;\n"
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT 2; END;\n"
        "copy t from stdin;\n1;\t2\n\\.\nSELECT 5"
    )
    found = list(statements(script))
    assert [statement.text.partition("\n")[2] or statement.text for statement in found] == [
        "SELECT 1",
        "SELECT ';' /* a /* nested; */ one; */ , E'\\';', $x$ ; $x$",
        "SELECT 2",
        "SELECT (1;2)",
        "SELECT 3 ; SELECT 4",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "copy t from stdin",
        "SELECT 5",
    ]
    assert found[6].data == b"1;\t2\n"


def test_what_varies_by_nature_is_left_out() -> None:
    assert normal(["oid 16384, 2026-11-25 03:04:05.678+00, pg_temp_3"]) == ["oid #, @, ~"]
    assert normal(["1234 apples"]) == ["1234 apples"]
