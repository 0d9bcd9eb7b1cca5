"""`tools/bootstrap.sh`: what it finds, installs and says, with scripts in the place of Python and uv."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Script = Callable[[Path, str], Path]

# What the script itself calls; a PATH with nothing else shows what it really needs.
_COMMANDS = ("bash", "sh", "dirname", "mkdir", "cut", "sort", "head", "mktemp", "mv", "rm", "cat", "chmod", "ls")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that holds the script alone, and a PATH of its own in `bin`."""
    folder = tmp_path / "checkout"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/bootstrap.sh", folder / "tools")
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    for name in _COMMANDS:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    return folder


def _run(checkout: Path, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    place = checkout.parent
    return subprocess.run(
        [str(place / "bin/bash"), "-euc", f"source {checkout}/tools/bootstrap.sh; {command}"],
        env={"PATH": str(place / "bin"), "HOME": str(place / "home"), **env},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _uv(checkout: Path, script: Script, version: str = "0.9.0", rest: str = "exit 0") -> None:
    log = checkout.parent / "uv-calls"
    script(
        checkout.parent / "bin/uv",
        f'if [ "$1" = --version ]; then echo "uv {version}"; exit; fi\necho "$PWD $@" >> {log}\n{rest}',
    )


def _python(checkout: Path, script: Script, pip: str = "") -> None:
    """A Python whose pip "installs" a uv that says its version."""
    script(
        checkout.parent / "bin/python3",
        f'if [ "$1" = -c ]; then exit 0; fi\nif [ "$3" = --version ]; then exit 0; fi\n{pip}\n'
        'while [ "$1" != --target ]; do shift; done\nmkdir -p "$2/bin"\n'
        'printf "#!/bin/sh\\necho uv 0.13.9\\n" > "$2/bin/uv"; chmod +x "$2/bin/uv"',
    )


def test_a_uv_on_path_is_used(checkout: Path, script: Script) -> None:
    _uv(checkout, script)
    done = _run(checkout, "command -v uv; echo $WICKETGATE_PYTHON")
    assert done.stdout.split() == [str(checkout.parent / "bin/uv"), str(checkout / ".venv/bin/python")], done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("version", ["0.8.24", "nonsense"])
def test_a_uv_too_old_is_replaced(checkout: Path, script: Script, version: str) -> None:
    _uv(checkout, script, version)
    _python(checkout, script)
    done = _run(checkout, "uv --version")
    assert done.stdout == "uv 0.13.9\n", done.stderr
    assert "installing uv 0.13.9" in done.stderr
    again = _run(checkout, "uv --version")
    assert (again.stdout, again.stderr) == ("uv 0.13.9\n", "")


@pytest.mark.parametrize("version", ["0.9", "0.10.1", "0.13.9", "1.0.0"])
def test_versions_are_compared_as_numbers(checkout: Path, script: Script, version: str) -> None:
    _uv(checkout, script, version)
    assert _run(checkout, "uv --version").stdout == f"uv {version}\n"


@pytest.mark.parametrize("home", ["", "relative", "/no/such/home"])
def test_without_a_home_the_checkout_holds_the_cache(checkout: Path, script: Script, home: str) -> None:
    _uv(checkout, script)
    done = _run(checkout, "echo $XDG_CACHE_HOME $GOPATH $GOCACHE", HOME=home)
    cache = checkout / ".wicketgate/cache"
    assert done.stdout.split() == [str(cache), str(cache / "gopath"), str(cache / "go-build")], done.stderr
    assert cache.is_dir()


def test_a_given_cache_is_used(checkout: Path, script: Script) -> None:
    _uv(checkout, script)
    given = str(checkout.parent / "given")
    assert _run(checkout, "echo $XDG_CACHE_HOME", XDG_CACHE_HOME=given).stdout.strip() == given


def test_neither_uv_nor_python(checkout: Path) -> None:
    done = _run(checkout, "true")
    assert done.returncode == 1
    assert "error: there is neither uv nor a Python of at least 3.11" in done.stderr


def test_pip_that_fails_is_said_and_leaves_nothing_to_trust(checkout: Path, script: Script) -> None:
    _python(checkout, script, pip="echo no matching distribution >&2; exit 1")
    done = _run(checkout, "true")
    assert done.returncode == 1
    assert "no matching distribution" in done.stderr
    assert "install uv yourself" in done.stderr
    assert not (checkout.parent / "home/.cache/wicketgate/uv-0.13.9").exists()


def test_sync_says_nothing_if_there_is_nothing_to_do(checkout: Path, script: Script) -> None:
    _uv(checkout, script)
    done = _run(checkout, "wicketgate_sync --group x", VIRTUAL_ENV="/other")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (checkout.parent / "uv-calls").read_text() == f"{checkout} sync --frozen --check --quiet --group x\n"


def test_sync_installs_what_is_missing(checkout: Path, script: Script) -> None:
    _uv(checkout, script, rest='case "$*" in *--check*) exit 1;; esac; echo Installed 5 packages')
    done = _run(checkout, "wicketgate_sync --group x")
    assert done.returncode == 0
    assert "installing the locked Python environment" in done.stderr
    assert "Installed 5 packages" in done.stderr
    assert done.stdout == "", "standard output is the caller's"
    assert (checkout.parent / "uv-calls").read_text().endswith(f"{checkout} sync --frozen --group x\n")


def test_a_failed_sync_ends_the_script(checkout: Path, script: Script) -> None:
    _uv(checkout, script, rest="echo no route >&2; exit 2")
    done = _run(checkout, "wicketgate_sync; echo went on")
    assert done.returncode == 1
    assert "no route" in done.stderr
    assert "went on" not in done.stdout


def test_the_real_script_in_this_checkout() -> None:
    done = subprocess.run(
        ["bash", "-euc", "source tools/bootstrap.sh; uv --version"],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("uv ")
