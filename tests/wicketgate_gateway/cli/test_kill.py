"""`wicketgate kill` and `sessions kill`, through a running API."""

import json
from collections.abc import Callable
from typing import Any

from wicketgate_gateway.approvals.model import State
from wicketgate_gateway.cli import main

Run = Callable[..., tuple[int, str, str]]


def test_kill_list_and_lift(as_person: Run, desk: Any) -> None:
    held = desk.hold()
    assert as_person("Root", "kill")[2] == "nothing is killed\n"
    code, out, _ = as_person("Root", "kill", "--bot", "code-review", "--reason", "it loops")
    assert code == 0
    assert out.startswith("killed: bot code-review; none begins until it is lifted (kill ")
    assert desk.stands(held.handle).state is State.VOID
    listed = as_person("Root", "kill")[1].splitlines()
    assert listed[1].split()[1:3] == ["bot", "code-review"]
    assert "it loops" in listed[1]
    code, out, _ = as_person("Root", "kill", "--bot", "code-review", "--lift")
    assert (code, out) == (0, "lifted: bot code-review\n")
    assert as_person("Root", "kill", "--bot", "code-review", "--lift")[0] == main.NOT_FOUND


def test_everything(as_person: Run, desk: Any) -> None:
    code, out, _ = as_person("Root", "kill", "--all", "--reason", "drill", "--json")
    assert (code, json.loads(out)["scope"]) == (0, "all")
    assert as_person("Root", "kill", "--all", "--lift")[1] == "lifted: everything\n"


def test_a_session(as_person: Run, desk: Any) -> None:
    code, out, _ = as_person("Root", "sessions", "kill", "01J0000000000000000000TEST", "--reason", "r")
    assert (code, out) == (0, "killed: session 01J0000000000000000000TEST\n")
    assert as_person("Root", "sessions", "kill", "../kills", "--reason", "r")[0] == main.NOT_FOUND


def test_what_is_not_said_or_not_allowed(as_person: Run, desk: Any) -> None:
    assert "why" in as_person("Root", "kill", "--all")[2]
    assert "say one of" in as_person("Root", "kill", "--all", "--bot", "x", "--reason", "r")[2]
    assert "say one of" in as_person("Root", "kill", "--lift")[2]
    assert "no bot `x`" in as_person("Root", "kill", "--bot", "x", "--reason", "r")[2]
    assert "`Gateway.Admin`" in as_person("Dana", "kill", "--all", "--reason", "r")[2]
    assert as_person("Root", "kill")[2] == "nothing is killed\n"
