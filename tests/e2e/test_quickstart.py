"""`./quickstart`: the newcomer's first command, what it prints for people and for scripts, and that it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.quickstart.layout import ROOT

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(600)]


class Quickstart:
    """The command with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tools.quickstart", *arguments],
            cwd=ROOT,
            env={**os.environ, "WICKETGATE_QUICKSTART_HOME": str(self.home), "COLUMNS": "120", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def facts(self) -> dict[str, Any]:
        result = self.run("--json")
        assert result.returncode == 0, result.stderr
        (line,) = result.stdout.splitlines()
        return json.loads(line)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    made = Quickstart(tmp_path_factory.mktemp("quickstart") / "home")
    yield made
    if made.home.exists():
        made.run("--reset")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_story(quickstart: Quickstart) -> None:
    result = quickstart.run()
    assert result.returncode == 0, result.stdout + result.stderr
    story = result.stdout
    for step in (
        "Pulumi engine",
        "workload issuer",
        "Entra (emulated)",
        "demo database",
        "pulumi up",
        "gateway",
        "agent",
    ):
        assert f"✓ {step}" in story
    assert "created" in story
    assert "allowed SELECT item" in story
    assert "a***@example.com" in story
    assert "ada.lindqvist@example.com" not in story
    assert "denied by policy" in story
    assert "replay " in story


def test_a_second_run_changes_nothing_and_tells_scripts_how_to_go_on(quickstart: Quickstart) -> None:
    result = quickstart.run()
    assert result.returncode == 0, result.stderr
    assert "unchanged" in result.stdout
    assert "created" not in result.stdout
    facts = quickstart.facts()
    assert set(facts) == {
        "gateway", "database", "psql", "token", "cli", "processes", "postgres", "emulator", "pulumi",
    }  # fmt: skip
    assert set(facts["gateway"]) == {"host", "port", "ca_file"}
    assert set(facts["processes"]) == {"agent", "gateway", "entra", "issuer", "postgres"}
    assert all(alive(pid) for pid in facts["processes"].values())
    token = subprocess.run(facts["token"], capture_output=True, text=True, check=True).stdout.strip()
    answer = subprocess.run(
        [*facts["psql"], "-XAt", "-c", "SELECT count(*) FROM customers"],
        env={**os.environ, "PGPASSWORD": token},
        capture_output=True,
        text=True,
    )
    assert answer.stdout.strip() == "5", answer.stderr
    sessions = subprocess.run(
        [*facts["cli"], "sessions", "--config", str(quickstart.home / "deployment" / "gateway.yaml"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(sessions) >= 3
    preview = subprocess.run(
        [facts["pulumi"]["command"], "preview", "--stack", facts["pulumi"]["stack"], "--expect-no-changes"],
        cwd=ROOT,
        env={**os.environ, **facts["pulumi"]["env"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert preview.returncode == 0, preview.stdout + preview.stderr


def test_env_is_for_a_shell(quickstart: Quickstart) -> None:
    result = quickstart.run("--env")
    lines = result.stdout.splitlines()
    assert lines
    assert all(line.startswith("export ") for line in lines)
    assert any(line.startswith("export ARM_METADATA_HOSTNAME=127.0.0.1:") for line in lines)
    printed = subprocess.run(
        ["bash", "-c", f"{result.stdout}\necho $WICKETGATE_PULUMI"], capture_output=True, text=True, check=True
    )
    assert Path(printed.stdout.strip()).is_file()


def test_stop_ends_all_that_it_started_and_reset_forgets(quickstart: Quickstart) -> None:
    pids = quickstart.facts()["processes"].values()
    result = quickstart.run("--stop")
    assert result.returncode == 0, result.stderr
    assert not any(alive(pid) for pid in pids)
    assert quickstart.home.exists()
    assert quickstart.run("--reset").returncode == 0
    assert not quickstart.home.exists()
