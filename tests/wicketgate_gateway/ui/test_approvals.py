"""How a held operation reads: laid out where it is JSON, else the very text; brief where it is one of many."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wicketgate_gateway.ui import approvals


@pytest.mark.parametrize(
    ("protocol", "statement", "language"),
    [
        ("postgres", '{"a": 1}', "postgres"),
        ("http", '{"method":"DELETE","path":"/x"}', "json"),
        ("ssh", "rm -rf /tmp/x", "ssh"),
    ],
)
def test_json_is_laid_out_and_stays_the_same(desk: Any, protocol: str, statement: str, language: str) -> None:
    held = desk.hold(statement, protocol=protocol)
    shown, found = approvals._pretty(held)
    assert found == language
    if language == "json":
        assert json.loads(shown) == json.loads(statement)
        assert "\n" in shown
    else:
        assert shown == statement


def test_a_row_is_short_and_visible(desk: Any) -> None:
    held = desk.hold("DELETE FROM orders\nWHERE id = 1 -- \u202e" + "x" * 500)
    brief = approvals._brief(held)
    statement = str(brief["statement"])
    assert statement.startswith("DELETE FROM orders WHERE id = 1 -- ⟦U+202E⟧")
    assert len(statement) < 330
    assert (brief["handle"], brief["quorum"]) == (held.handle, held.quorum)


def test_what_was_answered_before_is_shown(desk: Any, tab: Any) -> None:
    first = desk.hold("DELETE FROM orders WHERE id = 71")
    page = tab("Dana")
    page.post(f"/ui/approvals/{first.handle}/deny", {"comment": "not now"})
    second = desk.hold("DELETE FROM orders WHERE id = 72")
    text = page.get(f"/ui/approvals/{second.handle}").text
    assert "id = 71" in text
    assert "not now" in page.get(f"/ui/approvals/{first.handle}/standing").text
    assert first.handle in page.get("/ui/approvals?view=answered").text
    assert first.handle not in page.get("/ui/approvals?view=waiting").text
    assert second.handle in page.get("/ui/approvals?view=nonsense").text
