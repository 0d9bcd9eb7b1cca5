"""Onboarding a bot is one command, and its lines are those that a person would write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.main import run

ADD = [
    "bot", "add", "fixer", "--owner", "group:platform", "--group", "readers", "--expires", "2027-01-31",
    "--credential", "github: {repository: acme/fix, branch: main}",
]  # fmt: skip


def test_a_bot_is_added_behind_the_others(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stack.read_text()
    assert run(ADD) == 0
    lines = """\
    fixer:
      owner: "group:platform"
      groups: [readers]
      expires: "2027-01-31"
      credentials:
        - github: {repository: acme/fix, branch: main}
"""
    assert stack.read_text() == before + lines
    assert f"added `fixer` in {stack}:27:5" in capsys.readouterr().out
    assert run(["bot", "remove", "fixer"]) == 0
    assert stack.read_text() == before
    assert "wicketgate kill --bot fixer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("readers", "writers"), "there is no group `writers`"),
        (("2027-01-31", "tomorrow"), "expires"),
        (("group:platform", "platform"), "`owner` must be"),
        (("branch: main", "branch: '*'"), "one exact value"),
        (("fixer", "Fixer Bot"), "Fixer Bot"),
        (("fixer", "review"), "`review` is there already"),
        (("github: {repository: acme/fix, branch: main}", "github: ["), "not YAML"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    stack: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], said: str
) -> None:
    before = stack.read_bytes()
    assert run([word.replace(*change) for word in ADD]) == 1
    assert said in capsys.readouterr().err
    assert stack.read_bytes() == before


def test_an_unknown_bot_cannot_be_removed(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bot", "remove", "nobody", "--file", str(stack)]) == 1
    assert "there is no `config.wicketgate:bots.nobody`" in capsys.readouterr().err


def test_bots_are_listed(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bot", "list"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["review", "group:platform", "readers", "2027-06-30", "github"]
    assert run(["bot", "list", "--json", "--stack", "dev"]) == 0
    assert json.loads(capsys.readouterr().out)["bot"] == "review"
    stack.write_text("config: {}\n")
    assert run(["bot", "list"]) == 0
    assert capsys.readouterr().out == "no bots\n"


def test_programs_are_told_where(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ADD, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bot": "fixer", "file": str(stack), "line": 27}
    assert run(["bot", "remove", "fixer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bot": "fixer", "file": str(stack)}
