from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from wicketgate_gateway.cli.state import Place

Run = Callable[..., tuple[int, str, str]]


def test_json(wicketgate: Run, state: Path) -> None:
    code, out, err = wicketgate("sessions", "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["bot"] for row in rows] == ["code-review", "support"]
    row = rows[0]
    assert row["state"] == "ended"
    assert (row["operations"], row["denied"], row["reason"]) == (3, 1, "client left")
    assert row["recording"]["complete"] is True
    folder = Path(row["recording"]["folder"])
    assert sum(path.stat().st_size for path in folder.iterdir()) == row["recording"]["size"]
    assert row["token_id"] == "uti-1"
    assert row["started"] < row["ended"]


def test_filters(wicketgate: Run) -> None:
    def bots(*options: str) -> list[str]:
        return [json.loads(line)["bot"] for line in wicketgate("sessions", "--json", *options)[1].splitlines()]

    assert bots("--bot", "support") == ["support"]
    assert bots("--target", "other") == []
    assert bots("--limit", "1") == bots("-n", "1") == ["support"]
    assert bots("--since", "1h") == ["code-review", "support"]
    assert bots("--since", "2199-01-01") == []
    assert bots("--live") == []


def test_plain(wicketgate: Run) -> None:
    code, out, _ = wicketgate("sessions")
    assert code == 0
    head, first, second = out.splitlines()
    assert head.split() == ["started", "session", "bot", "target", "state", "lasted", "statements", "denied", "client"]
    assert "code-review" in first
    assert "support" in second
    assert "\x1b" not in out


def test_one_session(wicketgate: Run) -> None:
    session = json.loads(wicketgate("sessions", "--json")[1].splitlines()[0])["session"]
    code, out, err = wicketgate("sessions", "show", session)
    assert (code, err) == (0, "")
    for part in (session, "code-review", "uti-1", "client left", "sha256", "deny", f"wicketgate replay {session}"):
        assert part in out
    shown = json.loads(wicketgate("sessions", "show", session[-8:], "--json")[1])
    assert shown["session"] == session
    assert len(shown["events"]) == 3
    assert [event["verdict"] for event in shown["events"]].count("deny") == 1
    assert wicketgate("sessions", "show", "zzzzzz")[0] == 3


def test_nothing_found(wicketgate: Run) -> None:
    code, out, err = wicketgate("sessions", "--bot", "nobody")
    assert (code, out, err.strip()) == (0, "", "no session matches")
    assert wicketgate("sessions", "--bot", "nobody", "--json") == (0, "", "")


def test_live_and_lost(wicketgate: Run, live: Callable[..., None], tmp_path: Path) -> None:
    found: list[str] = []

    def states(folder: Path) -> None:
        found.append(json.loads(wicketgate("sessions", "--json", at=folder)[1])["state"])

    def check(folder: Path, end: Callable[[], None]) -> None:
        states(folder)
        # As a gateway that was killed leaves it.
        shutil.copytree(folder, tmp_path / "killed")
        states(tmp_path / "killed")

    live(check)
    assert found == ["live", "lost"]
    with Place(state=tmp_path / "live").store():
        pass
    states(tmp_path / "live")
    assert found[-1] == "lost"
