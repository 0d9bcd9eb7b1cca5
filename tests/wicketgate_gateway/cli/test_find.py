from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import main
from wicketgate_gateway.recording import objects

Run = Callable[..., tuple[int, str, str]]


def search(wicketgate: Run, *options: str) -> list[dict[str, Any]]:
    code, out, err = wicketgate("recordings", "search", "--json", *options)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_statements_rows_and_errors_are_found(wicketgate: Run) -> None:
    found = search(wicketgate, "delete FROM")
    assert [(each["bot"], each["where"], each["text"]) for each in found] == [
        ("code-review", "statement", "DELETE FROM orders"),
        ("support", "statement", "DELETE FROM orders"),
    ]
    assert {each["where"] for each in search(wicketgate, "a29***@EXAMPLE")} == {"row"}
    assert {each["where"] for each in search(wicketgate, "denied by policy")} == {"error"}
    assert search(wicketgate, "nowhere to be found") == []
    assert len(search(wicketgate, "delete", "--bot", "support")) == 1


def test_for_people_and_without_control_characters(wicketgate: Run) -> None:
    code, out, _ = wicketgate("recordings", "search", "owned")
    assert code == 0
    assert "statement: SELECT" in out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)
    assert wicketgate("recordings", "search", "nowhere")[2] == "no recording holds it\n"
    assert wicketgate("recordings", "search", "")[0] == main.FAILED


def test_a_recording_that_is_gone_is_passed(wicketgate: Run, state: Path) -> None:
    for path in state.glob("recordings/*/*/*.wgr"):
        path.unlink()
    assert search(wicketgate, "delete") == []


def test_recordings_in_the_store_are_searched_and_replayed(wicketgate: Run, state: Path, tmp_path: Path) -> None:
    before = wicketgate("replay", "last", "--at-once")
    store = objects.ObjectStore((tmp_path / "objects").as_uri())
    objects.remember(state / "recordings", store.url)
    for folder in state.glob("recordings/*/*"):
        if folder.is_dir():
            store.put(folder, folder.name)
            for path in folder.iterdir():
                path.unlink()
    assert len(search(wicketgate, "delete from orders")) == 2
    assert wicketgate("replay", "last", "--at-once") == before
    assert before[0] == 0


def steps(wicketgate: Run, *options: str) -> list[dict[str, Any]]:
    out = wicketgate("replay", "last", "--json", *options)[1]
    return [step for line in out.splitlines() if (step := json.loads(line))["step"] in ("statement", "result")]


def test_replay_of_what_holds_a_text(wicketgate: Run) -> None:
    assert [(step["step"], step["number"]) for step in steps(wicketgate, "--grep", "DELETE")] == [
        ("statement", 2),
        ("result", 2),
    ]
    # Row 29 is beyond what is shown without --rows; its statement comes along.
    assert [(step["step"], step["number"]) for step in steps(wicketgate, "--grep", "a29***")] == [
        ("statement", 1),
        ("result", 1),
    ]
    assert steps(wicketgate, "--grep", "nowhere") == []


def test_replay_from_a_place(wicketgate: Run) -> None:
    everything = steps(wicketgate)
    assert steps(wicketgate, "--from", "0:00") == everything
    assert steps(wicketgate, "--from", "1:00:00") == []
    middle = everything[2]
    later = steps(wicketgate, "--from", middle["time"])
    assert later == [step for step in everything if step["time"] >= middle["time"]]
    assert wicketgate("replay", "last", "--from", "soon")[0] == main.FAILED


@pytest.mark.parametrize("text", ["delete from orders", "d", "é", "DELETE FROM ORDERS"])
def test_the_search_of_bytes_misses_nothing_that_steps_hold(wicketgate: Run, text: str) -> None:
    found = {(each["session"], each["number"]) for each in search(wicketgate, text)}
    shown = {step["number"] for step in steps(wicketgate, "--grep", text) if step["step"] == "statement"}
    assert {number for session, number in found} >= shown
