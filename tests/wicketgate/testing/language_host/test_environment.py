"""The Python that runs a program: found, activated, kept in step, refused where it is none."""

import os
import sys
from pathlib import Path

import pytest

from wicketgate.testing.language_host.environment import PythonEnvironment, find
from wicketgate.testing.language_host.options import OptionsError, RuntimeOptions


def _options(root: Path, toolchain: str = "pip", virtualenv: Path | None = None) -> RuntimeOptions:
    return RuntimeOptions(root, root, ".", toolchain, virtualenv, None)


def _fake_uv(folder: Path, script: str) -> Path:
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)
    return folder


def _venv(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


def test_pip_without_an_environment_takes_the_python_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    found = find(_options(tmp_path))
    assert Path(found.python).parent == Path(sys.executable).parent
    assert found.virtualenv is None


def test_no_python_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionsError, match="python3"):
        find(_options(tmp_path))


def test_the_options_environment_is_used(tmp_path: Path) -> None:
    venv = _venv(tmp_path / "venv")
    found = find(_options(tmp_path, virtualenv=venv))
    found.prepare()
    assert found.python == str(venv / "bin" / "python")


def test_a_missing_environment_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="pulumi install"):
        find(_options(tmp_path, virtualenv=tmp_path / "none")).prepare()


def test_activation(tmp_path: Path) -> None:
    found = PythonEnvironment("p", tmp_path, "uv", tmp_path)
    environ = found.environ({"PATH": "/bin", "PYTHONHOME": "/x", "VIRTUAL_ENV": "/other", "KEEP": "1"})
    assert environ["PATH"] == f"{tmp_path}/bin{os.pathsep}/bin"
    assert environ["VIRTUAL_ENV"] == environ["PULUMI_RUNTIME_VIRTUALENV"] == str(tmp_path)
    assert environ["PULUMI_RUNTIME_TOOLCHAIN"] == "uv"
    assert environ["KEEP"] == "1"
    assert "PYTHONHOME" not in environ


def test_uv_must_be_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionsError, match="`uv` is not on PATH"):
        find(_options(tmp_path, "uv"))


def test_uv_syncs_the_nearest_locks_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    path = _fake_uv(tmp_path / "tools", f'echo "$PWD $UV_PROJECT_ENVIRONMENT $*" >> {log}')
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", "/other")
    project, program = tmp_path / "project", tmp_path / "project" / "stacks"
    program.mkdir(parents=True)
    for name in ("uv.lock", "pyproject.toml"):
        (project / name).touch()
    venv = _venv(project / ".venv")
    found = find(_options(program, "uv"))
    found.prepare()
    assert found.virtualenv == venv
    assert log.read_text() == f"{program} {venv} sync --inexact --quiet\n"


def test_a_failing_sync_is_told_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _fake_uv(tmp_path / "tools", "echo 'no such index' >&2; exit 2")
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(OptionsError, match="no such index"):
        find(_options(tmp_path, "uv", _venv(tmp_path / ".venv"))).prepare()


def test_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _fake_uv(tmp_path / "tools", "exit 0")
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    uv = str(path / "uv")
    program = tmp_path / "program"
    program.mkdir()
    venv = tmp_path / "venv"
    assert find(_options(program, "uv", venv)).install_commands(program) == [
        [uv, "venv", "--allow-existing", str(venv)]
    ]
    (program / "requirements.txt").touch()
    create, install = find(_options(program, "pip", venv)).install_commands(program)
    assert create[1:] == ["-m", "venv", str(venv)]
    assert install == [str(venv / "bin/python"), "-m", "pip", "install", "-r", "requirements.txt"]
    (program / "pyproject.toml").touch()
    assert find(_options(program, "uv", venv)).install_commands(program) == [[uv, "sync"]]
