"""The tooling is no distribution: its tests find it in the checkout."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

Script = Callable[..., Path]


@pytest.fixture
def script() -> Script:
    """Writes an executable shell script: `script(path, "exit 3")`."""

    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "wicketgate" / "engine"


@pytest.fixture
def said() -> tuple[list[str], Callable[[str], None]]:
    """A list, and a progress function that fills it."""
    lines: list[str] = []
    return lines, lines.append
