"""Targets are added and removed by the words of the stack file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.main import run

ADD = [
    "target", "add", "billing", "--kind", "postgres", "--address", "db2:5432", "--agent", "eu", "--credential",
    "billing", "--set", "database=billing", "--label", "env=prod",
]  # fmt: skip


def test_a_target_comes_and_goes(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stack.read_text()
    assert run(ADD) == 0
    assert "no bot reaches it before a policy names it" in capsys.readouterr().out
    assert run(["target", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["billing", "postgres", "db2:5432", "eu", "env=prod"]
    assert run(["target", "list", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[1]["database"] == "billing"
    assert found[1]["credential"] == {"secret": "billing"}
    assert run(["target", "remove", "billing"]) == 0
    assert stack.read_text() == before


def test_programs_are_told_where(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ADD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["target"] == "billing"
    assert stack.read_text().splitlines()[told["line"] - 1].strip().startswith("billing:")
    assert run(["target", "remove", "billing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "billing"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("postgres", "oracle"), "kind"),
        (("eu", "us"), "there is no agent `us`"),
        (("env=prod", "env"), "write `--label KEY=VALUE`"),
        (("database=billing", "databas=billing"), "databas"),
        (("db2:5432", "db2"), "address"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    stack: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], said: str
) -> None:
    before = stack.read_bytes()
    assert run([word.replace(*change) if word != "target" else word for word in ADD]) == 1
    assert said in capsys.readouterr().err
    assert stack.read_bytes() == before
