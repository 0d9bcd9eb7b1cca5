"""What tests drive is found, or named with what brings it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import system
from tools.system import Program, missing, provide


def test_what_is_on_path_or_where_systems_keep_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in (("bin", "here"), ("sbin", "there")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text("#!/bin/sh\n")
        (tmp_path / place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    programs = [Program(name, f"{name}-package", "x") for name in ("here", "there", "nowhere")]
    assert [p.name for p in missing(programs, [str(tmp_path / "sbin")])] == ["nowhere"]


def test_who_is_not_root_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said: list[str] = []
    assert not provide(said.append, [Program("zzz", "zzz-package", "sleeping")])
    assert "zzz (sleeping)" in said[0]
    assert "apt-get install -y -q --no-install-recommends zzz-package" in said[0]
    assert provide(said.append, [])


def test_root_gets_it_installed_and_a_failure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in *bad*) echo "no such package" >&2; exit 100;; esac\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []
    assert not provide(said.append, [Program("zzz", "bad", "x")])
    assert "no such package" in said[-1]
    assert "install -y -q --no-install-recommends bad" in log.read_text()
    (tmp_path / "zzz").write_text("#!/bin/sh\n")
    (tmp_path / "zzz").chmod(0o755)
    assert provide(said.append, [Program("zzz", "good", "x")])


def test_each_program_of_the_table_is_here() -> None:
    """On the machine that runs all tests, all of them must be."""
    assert [program.name for program in missing(system.PROGRAMS)] == []
