from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wicketgate_gateway.audit.events import AgentConnected, Operation
from wicketgate_gateway.audit.query import AuditRow
from wicketgate_gateway.cli import audit
from wicketgate_gateway.store import place

Run = Callable[..., tuple[int, str, str]]


def ask(wicketgate: Run, *options: str) -> list[dict[str, Any]]:
    code, out, err = wicketgate("audit", "--json", *options)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_json_has_everything(wicketgate: Run) -> None:
    rows = ask(wicketgate)
    kinds = [row["event"] for row in rows]
    assert kinds.count("operation") == 6
    assert {"gateway-started", "session-started", "session-ended", "session-refused"} <= set(kinds)
    operation = next(row for row in rows if row["event"] == "operation")
    assert operation["statement"] == "SELECT email FROM customers"
    assert (operation["verdict"], operation["rule"], operation["masked"]) == ("allow", "orders-readonly#1", True)
    assert (operation["outcome"], operation["rows"], operation["duration_us"]) == ("ok", 30, 77)
    assert operation["time"].endswith("Z")
    refused = rows[-1]
    assert (refused["event"], refused["verdict"], refused["code"]) == ("session-refused", "refused", "token-expired")


def test_filters(wicketgate: Run) -> None:
    assert len(ask(wicketgate, "--verdict", "deny")) == 2
    assert len(ask(wicketgate, "--verdict", "deny", "--bot", "support")) == 1
    assert len(ask(wicketgate, "--verdict", "refused")) == 1
    assert len(ask(wicketgate, "--target", "orders-db", "--text", "EMAIL")) == 2
    assert len(ask(wicketgate, "--since", "1h", "--until", "1m")) == 0
    assert len(ask(wicketgate, "--event", "session-started", "--event", "session-ended")) == 4
    assert len(ask(wicketgate, "-n", "2")) == 2
    last = ask(wicketgate, "--session", "last")
    assert {row["bot"] for row in last} == {"support"}
    assert (
        ask(wicketgate, "--session", last[0]["session"])
        == ask(wicketgate, "--session", last[0]["session"][-8:])
        == last
    )


def test_plain(wicketgate: Run) -> None:
    code, out, _ = wicketgate("audit", "--verdict", "deny", "--bot", "support")
    assert code == 0
    head, line = out.splitlines()
    assert head.split() == ["time", "verdict", "bot", "target", "session", "result", "why", "what"]
    assert line.endswith("orders-readonly#1: no rule allows `delete`  DELETE FROM orders")


def test_recorded_escapes_do_not_reach_the_terminal(wicketgate: Run) -> None:
    for options in ((), ("--json",)):
        out = wicketgate("audit", *options)[1]
        assert "owned" in out
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)


def test_nothing_found(wicketgate: Run) -> None:
    assert wicketgate("audit", "--bot", "nobody") == (0, "", "no event matches\n")


def row(event: Any, **fields: Any) -> AuditRow:
    values: dict[str, Any] = {"id": 1, "time": 0, "kind": "operation", "session": "s", "bot": "b", "target": "t"}
    return AuditRow(**{**values, "verdict": "", "event": event, **fields})


def test_what_and_why() -> None:
    operation = Operation(
        time=0,
        seq=1,
        statement="SELECT\n  $1",
        effect="allow",
        rule="p#1",
        parameters=[b"a", None, b"\x01"],
        formats=[0, 0, 1],
    )
    assert audit.what(row(operation)) == "SELECT $1  [a, NULL, \\x01]"
    assert audit.why(row(operation, verdict="allow")) == "p#1"
    connected = AgentConnected(time=0, agent="eu", agent_id="x", peer="1.2.3.4:5", targets=["a", "b"])
    assert audit.what(row(connected, kind="agent-connected")).startswith("agent-connected agent=eu")
    assert "targets=a,b" in audit.what(row(connected, kind="agent-connected"))
    assert audit.what(row(None, kind="journal-damaged")) == "journal-damaged"
    assert audit.why(row(None, kind="journal-damaged", reason="broken")) == "broken"
    long = Operation(time=0, seq=1, statement="x" * 1000, effect="allow", rule="p#1")
    assert len(audit.what(row(long))) == 301


def test_results() -> None:
    assert audit.result(row(None, outcome="ok", rows=1, duration_us=1500)) == "1 row, 1.5 ms"
    assert audit.result(row(None, outcome="error", sqlstate="42601")) == "error 42601"
    assert audit.result(row(None, outcome="lost")) == "lost"
    assert audit.result(row(None)) == ""


def test_the_store_is_built_again_from_the_journal(wicketgate: Run, state: Path) -> None:
    before = ask(wicketgate)
    store = place.open_store(state)
    store.execute("UPDATE events SET verdict = 'allow', bot = 'nobody'")
    store.close()
    assert ask(wicketgate, "--verdict", "deny") == []
    code, out, err = wicketgate("audit", "rebuild", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"deleted": len(before), "damage": []}
    assert ask(wicketgate) == before
    code, out, _ = wicketgate("audit", "rebuild")
    assert code == 0
    assert f"{len(before)} events deleted" in out
