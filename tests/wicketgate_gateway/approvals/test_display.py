"""Nothing that is shown hides or poses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.approvals.display import document, parameter, visible, warnings
from wicketgate_gateway.approvals.model import Choice, Parameter


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE FROM a\n\tWHERE b", "DELETE FROM a\n\tWHERE b"),
        ("a\rb", "a⟦U+000D⟧b"),
        ("\x1b[2K\x1b[1A", "⟦U+001B⟧[2K⟦U+001B⟧[1A"),
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u200bb", "a⟦U+200B⟧b"),
        ("a\u2028b", "a⟦U+2028⟧b"),
        ("a\u00a0b", "a⟦U+00A0⟧b"),
        ("a\x9bb", "a⟦U+009B⟧b"),
        ("a\u3164b", "a⟦U+3164⟧b"),
        ("a" + "\u0334" * 2, "a⟦U+0334⟧⟦U+0334⟧"),
        ("⟦U+202E⟧", "⟦U+27E6⟧U+202E⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("grün 文", "grün 文"),
    ],
)
def test_what_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(), st.text())
def test_different_texts_look_different(one: str, other: str) -> None:
    assert (visible(one) == visible(other)) is (one == other)


@given(st.text())
def test_only_lines_and_tabs_move_the_cursor(text: str) -> None:
    assert all(letter in "\n\t" or letter.isprintable() for letter in visible(text))


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        (Parameter("25", 0, None), "NULL"),
        (Parameter("25", 0, b"NULL"), "'NULL'"),
        (Parameter("25", 0, b"it's"), "'it''s'"),
        (Parameter("25", 0, b""), "''"),
        (Parameter("25", 0, b"\xff"), "\\xff"),
        (Parameter("25", 0, b"\\xff"), "'\\xff'"),
        (Parameter("23", 1, b"\x00\x00\x00\x07"), "\\x00000007"),
    ],
)
def test_parameters(given_: Parameter, shown: str) -> None:
    assert parameter(given_) == shown


def test_warnings() -> None:
    assert warnings("DELETE FROM orders") == []
    assert "⟦" in warnings("a\u202e")[0]
    assert "CYRILLIC SMALL LETTER O" in warnings("DELETE FROM оrders")[0]


@pytest.mark.anyio
async def test_a_document_holds_all_of_it(sqlite_world: Any) -> None:
    request = await sqlite_world.ask(statement="DELETE FROM orders -- " + "x" * 60_000, blast={"rows": 3})
    request = await sqlite_world.answer(request, Choice.APPROVE)
    shown = json.loads(json.dumps(document(request)))
    assert shown["statement"] == request.statement
    assert shown["parameters"] == [{"type": "23", "format": 0, "value": "'7'"}]
    assert shown["votes"][0]["approver"] == sqlite_world.ann
    missing = set(request.__dataclass_fields__ if hasattr(request, "__dataclass_fields__") else ()) - set(shown)
    assert missing == set()
