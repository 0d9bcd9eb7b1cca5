"""A throwaway project calls the CLI as it should, and says what went wrong; a script stands in for the CLI."""

import json
from pathlib import Path

import pytest
import yaml

from wicketgate.testing.project import CliError, Project


@pytest.fixture
def cli(tmp_path: Path) -> Path:
    """A CLI that notes its arguments and answers from `answer`, if there is one."""
    path = tmp_path / "pulumi"
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls; echo "$PULUMI_BACKEND_URL" > {tmp_path}/backend\n'
        f"cat {tmp_path}/answer 2>/dev/null; exit $(cat {tmp_path}/code 2>/dev/null || echo 0)\n"
    )
    path.chmod(0o755)
    return path


def test_a_project_is_written_and_has_a_stack(tmp_path: Path, cli: Path) -> None:
    folder = tmp_path / "mine"
    Project(folder, cli, {"PULUMI_BACKEND_URL": "file:///elsewhere"}, python=Path("/venv"), plugins={"p": Path("/p")})
    document = yaml.safe_load((folder / "Pulumi.yaml").read_text())
    assert document["runtime"] == {"name": "python", "options": {"toolchain": "pip", "virtualenv": "/venv"}}
    assert document["plugins"] == {"providers": [{"name": "p", "path": "/p"}]}
    assert (tmp_path / "calls").read_text() == "stack init test --non-interactive\n"
    assert (tmp_path / "backend").read_text().strip() == (folder / ".state").as_uri()


def test_answers_are_read(tmp_path: Path, cli: Path) -> None:
    mine = Project(tmp_path / "mine", cli, {}, python=Path("/venv"))
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"changeSummary": {"same": 2}}))
    assert mine.planned() == {"same": 2}
    answer.write_text(json.dumps({"deployment": {"resources": None}}))
    assert mine.state() == []
    answer.write_text(json.dumps({"word": 1}))
    assert mine.outputs() == {"word": 1}
    for call in (mine.up, mine.refresh, mine.destroy):
        assert call().code == 0
    assert (tmp_path / "calls").read_text().splitlines()[-3:] == [
        f"{verb} --yes --skip-preview --non-interactive" for verb in ("up", "refresh", "destroy")
    ]


def test_a_failure_shows_all_that_was_printed(tmp_path: Path, cli: Path) -> None:
    mine = Project(tmp_path / "mine", cli, {}, python=Path("/venv"))
    (tmp_path / "answer").write_text("no such stack")
    (tmp_path / "code").write_text("255")
    with pytest.raises(CliError, match="exit code 255\nno such stack"):
        mine.up()
    assert mine.pulumi("preview", check=False).text == "no such stack"


def test_a_program_loses_its_indentation(tmp_path: Path, cli: Path) -> None:
    mine = Project(tmp_path / "mine", cli, {}, python=Path("/venv"))
    mine.program("\n    import pulumi\n    x = 1\n")
    assert (mine.folder / "__main__.py").read_text() == "\nimport pulumi\nx = 1\n"
