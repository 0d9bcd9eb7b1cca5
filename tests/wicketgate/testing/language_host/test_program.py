"""The script that runs a program, as far as no engine is needed; `test_engine.py` has the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wicketgate.testing.language_host import program


def _run(script_arguments: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *script_arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_python_without_the_sdk_says_so(tmp_path: Path) -> None:
    (tmp_path / "pulumi.py").write_text("raise ImportError('not here')\n")
    done = _run([str(program.__file__), "."], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "not here" in done.stderr
    assert "pulumi install" in done.stderr


def test_the_entry_of_a_folder(tmp_path: Path) -> None:
    assert program._entry(str(tmp_path)) is None
    (tmp_path / "__main__.py").touch()
    assert program._entry(str(tmp_path)) == str(tmp_path / "__main__.py")
    assert program._entry(str(tmp_path / "none.py")) is None


def test_a_traceback_begins_in_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "__main__.py"
    path.write_text("def inner():\n    raise ValueError('theirs')\ninner()\n")
    with pytest.raises(ValueError, match="theirs") as caught:
        program._run(str(path))
    text = program._user_traceback(caught.value, str(path))
    assert "theirs" in text
    assert "inner()" in text
    assert "runpy" not in text
    assert "runpy" in program._user_traceback(caught.value, None)
