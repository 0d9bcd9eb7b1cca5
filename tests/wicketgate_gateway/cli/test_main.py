from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from wicketgate_gateway.cli import main
from wicketgate_gateway.contract.errors import WicketgateError

Run = Callable[..., tuple[int, str, str]]


def test_usage_errors_say_what_to_do(wicketgate: Run) -> None:
    code, out, err = wicketgate("bogus", at=None)
    assert (code, out) == (main.USAGE, "")
    assert err.startswith("error: ")
    assert "`wicketgate --help` lists the commands" in err
    code, _, err = wicketgate("replay", at=None)
    assert code == main.USAGE
    assert "`wicketgate replay --help` shows how" in err
    code, _, err = wicketgate("audit", "--verdict", "maybe")
    assert code == main.USAGE
    assert "deny" in err
    code, _, err = wicketgate("audit", "--nonsense", "--json")
    assert code == main.USAGE
    assert json.loads(err)["code"] == "usage"


def test_no_state(wicketgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = wicketgate("sessions", at=None)
    assert (code, err) == (
        main.FAILED,
        "error: which gateway is not said; add `--state FOLDER` or `--config gateway.yaml`, or set WICKETGATE_STATE\n",
    )
    code, _, err = wicketgate("sessions", "--json", at=tmp_path / "nowhere")
    assert code == main.FAILED
    assert json.loads(err)["code"] == "state-missing"
    monkeypatch.setenv("WICKETGATE_STATE", str(tmp_path))
    assert wicketgate("sessions", at=None)[0] == 0


def test_what_does_not_exist(wicketgate: Run) -> None:
    assert wicketgate("replay", "zzzzzz")[0] == main.NOT_FOUND
    assert wicketgate("audit", "--session", "zzzzzz")[0] == main.NOT_FOUND


def test_help_names_every_verb(wicketgate: Run) -> None:
    code, out, _ = wicketgate("--help", at=None)
    assert code == 0
    for verb in [*main._VERBS, "audit", "policy", "completion", "--version"]:
        assert verb in out


@pytest.mark.parametrize(
    "verb",
    [
        *(verb for verb in main._VERBS if verb != "ssh-proxy"),  # its output is SSH itself
        *(f"sessions {verb}" for verb in main._SESSIONS),
        *(f"audit {verb}" for verb in main._AUDIT),
        "retention run",
        "legal-hold add",
        "legal-hold lift",
        "legal-hold list",
        "policy check",
        "policy test",
        "policy simulate",
        "policy replay",
        "completion",
    ],
)
def test_each_verb_has_json(wicketgate: Run, verb: str) -> None:
    code, out, _ = wicketgate(*verb.split(), "--help", at=None)
    assert code == 0
    assert "--json" in out


def test_version(wicketgate: Run) -> None:
    assert wicketgate("--version", at=None)[1].strip() == metadata.version("wicketgate")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(wicketgate: Run, shell: str) -> None:
    code, out, _ = wicketgate("completion", shell, at=None)
    assert code == 0
    for verb in main._VERBS:
        assert verb in out
    code, as_json, _ = wicketgate("completion", shell, "--json", at=None)
    assert json.loads(as_json) == {"shell": shell, "script": out}


def test_the_bash_completion_is_bash(wicketgate: Run) -> None:
    out = wicketgate("completion", "bash", at=None)[1]
    done = subprocess.run(["bash", "-n"], input=out, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell(wicketgate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    code, _, err = wicketgate("completion", at=None)
    assert code == main.FAILED
    assert "bash|zsh|fish" in err


def test_the_usual_token_command_loads_no_command_line_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[dict[str, object]] = []

    def token(**options: object) -> int:
        calls.append(options)
        return 5

    monkeypatch.setitem(sys.modules, "wicketgate_gateway.cli.token", type(sys)("token"))
    monkeypatch.setattr(sys.modules["wicketgate_gateway.cli.token"], "token", token, raising=False)
    monkeypatch.setattr(main, "_run_app", lambda arguments: 99)
    path = tmp_path / "client.yaml"
    assert main.run(["token", "--config", str(path), "--json"]) == 5
    assert main.run(["token", f"--config={path}"]) == 5
    assert main.run(["token"]) == 5
    assert calls == [{"config": path, "json": True}, {"config": path}, {}]
    for other in (["token", "--help"], ["token", "--config"], ["token", "--scope", "x"], ["tokens"]):
        assert main.run(other) == 99


def test_an_error_of_a_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(arguments: list[str]) -> int:
        raise WicketgateError("it broke", code="broken", remedy="mend it")

    monkeypatch.setattr(main, "_run_app", broken)
    assert main.run(["sessions"]) == main.FAILED
    assert capsys.readouterr().err == "error: it broke; mend it\n"
    assert main.run(["sessions", "--json"]) == main.FAILED
    assert json.loads(capsys.readouterr().err) == {"error": "it broke", "code": "broken", "remedy": "mend it"}


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run_app", interrupted)
    assert main.run(["sessions"]) == main.INTERRUPTED


def test_a_reader_that_has_enough_is_no_error(state: Path) -> None:
    command = [sys.executable, "-m", "wicketgate_gateway.cli", "replay", "last", "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_starting_imports_little() -> None:
    program = (
        "import sys\nimport wicketgate_gateway.cli.main\n"
        "heavy = {'cyclopts', 'rich', 'pydantic', 'asyncio', 'sqlite3', 'structlog', 'msgspec'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
