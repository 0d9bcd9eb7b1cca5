"""Filters from the address, what a row of the audit says, the timeline, and the chain."""

from __future__ import annotations

import json
import time
from typing import Any

from wicketgate_gateway.audit.events import HoldVoted, Operation
from wicketgate_gateway.audit.query import AuditRow, Slices
from wicketgate_gateway.ui import audit


def row(at: int, verdict: str = "allow", statement: str = "SELECT 1") -> AuditRow:
    event = Operation(time=at, session="s", seq=1, statement=statement, effect=verdict, rule="p#1")
    return AuditRow(1, at, "operation", "s", "bot", "db", verdict, event)


def test_filters_come_from_the_address() -> None:
    now = time.time_ns()
    found = audit._filter(
        {"bot": "b", "verdict": "deny", "since": "1h", "q": "x", "before": "123", "session": "ABC"}, 7
    )
    assert (found.bot, found.verdict, found.text, found.until, found.session, found.limit) == (
        "b", "deny", "x", 123, "abc", 7,
    )  # fmt: skip
    assert found.since is not None
    assert abs(now - found.since - 3600 * 10**9) < 10**9
    odd = audit._filter({"verdict": "'; DROP", "since": "never", "before": "-1"}, 7)
    assert (odd.verdict, odd.until) == ("", None)
    assert audit._filter({"since": "all"}, 7).since is None


def test_a_row_shows_what_hides() -> None:
    shown = audit._event(row(5, "deny", "SELECT '\u202e'"))
    assert shown["statement"] == "SELECT '⟦U+202E⟧'"
    assert (shown["rule"], shown["verdict"], shown["time"]) == ("p#1", "deny", 5)


def test_an_event_without_a_statement_says_what_it_is_about() -> None:
    event = HoldVoted(
        time=1, handle="hold-1", digest="d", seal="s", bot="b", target="t", approver="a", name="Dana<b>\u202e",
        choice="approve", comment="fine",
    )  # fmt: skip
    shown = audit._event(AuditRow(1, 1, "hold-voted", "s", "b", "t", "", event))
    assert (shown["about"], shown["handle"]) == ("hold-1 Dana<b>⟦U+202E⟧ approve fine", "hold-1")


def test_bars_stand_where_the_events_are() -> None:
    shown = audit.bars(Slices(100, 10, [(1, 0), (2, 1), (0, 0), (1, 0)], cut=False))
    assert shown["bars"] == [
        {"x": 0, "all": 0.5, "bad": 0},
        {"x": 1, "all": 1.0, "bad": 0.5},
        {"x": 3, "all": 0.5, "bad": 0},
    ]
    assert (shown["begin"], shown["end"], shown["count"], shown["bad"]) == (100, 140, 4, 1)


def test_a_search_stands_in_the_address_and_is_exported(record: Any, tab: Any) -> None:
    session = record("postgres", [], ["SELECT 1", "SELECT denied"], bot="auditee")
    page = tab("Ada")
    answer = page.get(f"/ui/audit?verdict=deny&session={session}&since=all")
    assert answer.status_code == 200
    assert 'value="deny" selected' in answer.text
    assert "SELECT denied" in answer.text
    assert "SELECT 1" not in answer.text
    assert "1 events over time, 1 of them denied" in answer.text
    exported = page.get(f"/ui/audit/export?verdict=deny&session={session}")
    assert [json.loads(line)["statement"] for line in exported.text.splitlines()] == ["SELECT denied"]
    assert "Nothing matches" in page.get(f"/ui/audit?session={session}&q=nowhere").text
    assert session in page.get("/ui/audit?event=session-started&bot=auditee").text
    assert page.get("/ui/audit?event=%27%3B&before=9&rule=%00").status_code == 200


def test_the_chain_is_verified_from_the_page(record: Any, tab: Any) -> None:
    record("postgres", [], ["SELECT 1"])
    page = tab("Ada")
    assert tab("Dana").post("/ui/audit/verify").status_code == 403
    assert page.get("/ui/audit/verify").status_code == 404
    assert page.post("/ui/audit/verify").status_code == 303
    assert "Verified" in page.get("/ui/audit").text
