"""Filters from the address, and what a row of the audit says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import AuditRow
from wicketgate_gateway.store.place import open_store
from wicketgate_gateway.ui import look


def row(at: int, verdict: str = "allow", statement: str = "SELECT 1") -> AuditRow:
    event = Operation(time=at, session="s", seq=1, statement=statement, effect=verdict, rule="p#1")
    return AuditRow(1, at, "operation", "s", "bot", "db", verdict, event)


def test_filters_come_from_the_address() -> None:
    now = time.time_ns()
    found = look._filter({"bot": "b", "verdict": "deny", "since": "1h", "q": "x", "before": "123", "session": "ABC"}, 7)
    assert (found.bot, found.verdict, found.text, found.until, found.session, found.limit) == (
        "b", "deny", "x", 123, "abc", 7,
    )  # fmt: skip
    assert found.since is not None
    assert abs(now - found.since - 3600 * 10**9) < 10**9
    odd = look._filter({"verdict": "'; DROP", "since": "never", "before": "-1"}, 7)
    assert (odd.verdict, odd.until) == ("", None)
    assert look._filter({"since": "all"}, 7).since is None


def test_a_row_shows_what_hides() -> None:
    shown = look._event(row(5, "deny", "SELECT '\u202e'"))
    assert shown["statement"] == "SELECT '⟦U+202E⟧'"
    assert (shown["rule"], shown["verdict"], shown["time"]) == ("p#1", "deny", 5)


def test_bars_stand_where_the_events_are() -> None:
    bars = look._bars([row(0), row(10, "deny"), row(10), row(100)], count=10)
    assert [bar["all"] for bar in bars] == [0.5, 1.0, 0, 0, 0, 0, 0, 0, 0, 0.5]
    assert bars[1]["bad"] == 0.5
    assert look._bars([row(1)]) == []
    assert look._bars([row(1), row(1)]) == []


def test_a_search_stands_in_the_address_and_is_exported(desk: Any, tab: Any) -> None:
    open_store(Path(desk.config.state)).close()  # the gateway's ingester makes it
    page = tab("Ada")
    answer = page.get("/ui/audit?verdict=deny&q=x&since=all")
    assert answer.status_code == 200
    assert 'value="deny" selected' in answer.text
    exported = page.get("/ui/audit/export?verdict=deny")
    assert (exported.status_code, exported.text) == (200, "")
    assert page.get("/ui/sessions?live=1&bot=nobody").status_code == 200
    assert page.get("/ui/sessions/zzzz").status_code == 404


def test_only_administrators_end_sessions(tab: Any) -> None:
    path = "/ui/sessions/01m880q6t42qp19k5tpbzkxpgm/kill"
    assert tab("Ada").post(path, {"reason": "x"}).status_code == 403
    root = tab("Root")
    assert root.post(path, {"reason": " "}).status_code == 422
    assert root.post(path, {"reason": "looks wrong"}).status_code == 303
