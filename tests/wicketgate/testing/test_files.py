"""Atomic and private files."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wicketgate.testing.files import private_folder, sole_owner, write_atomic


def test_content_and_mode(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        file = write_atomic(tmp_path / "secret", "s")
    finally:
        os.umask(old)
    assert file.read_text() == "s"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert write_atomic(tmp_path / "secret", b"t", mode=0o644).read_bytes() == b"t"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_atomic(tmp_path / "a", "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_private_folder(tmp_path: Path) -> None:
    made = private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert private_folder(made) == made


def test_a_folder_has_one_owner_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    with sole_owner(tmp_path), pytest.raises(OSError, match="in use by another process"), sole_owner(tmp_path):
        pass
    program = f"""
import os, pathlib, sys
from wicketgate.testing.files import sole_owner
with sole_owner(pathlib.Path({str(tmp_path)!r})):
    os.kill(os.getpid(), 9)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert done.returncode == -9
    with sole_owner(tmp_path):
        assert (tmp_path / ".lock").exists()
