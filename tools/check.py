"""`./test`: lint, types, the dependency law, then all tests; one line a step, and the whole output of what failed.

Some tests run dozens of processes, and the machine's load can starve one of them. So a few failed tests get one more
run, one after the other. Which ones passed only then is printed at the end, so that they are mended and not forgotten.
An attack that got through never gets another run, and many failures are no accident.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.system import provide as provide_system

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTHON_PATHS = ("components", "gateway_image", "stacks", "tools", "bench", "tests")

STATIC: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lint", ("ruff", "check", *PYTHON_PATHS)),
    ("format", ("ruff", "format", "--check", *PYTHON_PATHS)),
    ("types", ("basedpyright",)),
    ("dependency law", ("lint-imports",)),
)
MOST_AGAIN = 8
LEFT_OUT = "not slow and not build and not root"


def _static() -> bool:
    """Run the static checks; gives whether all passed."""
    good = True
    for name, (program, *arguments) in STATIC:
        started = time.monotonic()
        result = subprocess.run(
            [BIN / program, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        mark = "ok" if result.returncode == 0 else "FAILED"
        print(f"  {name:<16}{mark:<8}{time.monotonic() - started:5.1f} s", flush=True)
        if result.returncode:
            print(result.stdout, flush=True)
            good = False
    return good


def _pytest(arguments: Sequence[str]) -> int:
    environment = {**os.environ, "PULUMI_ERROR_OUTPUT_STRING": "1"}
    return subprocess.run([BIN / "pytest", *arguments], cwd=ROOT, env=environment, check=False).returncode


def _once_more(reports: Sequence[tuple[str, str]]) -> list[str]:
    """The tests to run again, of (test, phase: setup, call, teardown); none where that would hide a fault."""
    names = list(dict.fromkeys(name for name, _ in reports))
    got_through = any(name.startswith("tests/attacks/") and phase == "call" for name, phase in reports)
    return [] if got_through or len(names) > MOST_AGAIN else names


def _tests(arguments: Sequence[str]) -> int:
    """Run these tests, and a few that failed once more; gives the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "failed.json"
        status = _pytest([*arguments, "-q", f"--failed-file={file}"])
        again = _once_more(json.loads(file.read_text())) if status == 1 and file.exists() else []
    if not again:
        return status
    print(f"  {len(again)} failed; once more, one after the other", flush=True)
    status = _pytest(["-q", *again])
    if status == 0:
        print("\n".join(f"  FLAKY {name}: failed beside others, passed by itself" for name in again), flush=True)
    return status


def _engine() -> None:
    """The Pulumi engine and the kubernetes plugin, before tests that share them start side by side."""
    from tools.provide import provide

    started = time.monotonic()
    engine = provide(kubernetes=True, progress=lambda line: print(f"  {line}", flush=True))
    print(f"  {'engine':<16}{engine.source:<8}{time.monotonic() - started:5.1f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; gives the exit status."""
    parser = argparse.ArgumentParser(prog="./test", description="Lint, types, the dependency law and all tests.")
    parser.add_argument("--fast", action="store_true", help="leave out what needs a build or root, and what is slow")
    options, rest = parser.parse_known_args(argv)
    if rest:
        return _pytest(rest)
    good = _static()
    workers = ["-n", str(max(2, min(4, os.cpu_count() or 2))), "--dist", "loadfile"]
    if options.fast:
        print("  --fast: left out are the tests marked slow, build and root; `./test` runs them", flush=True)
        status = _tests([*workers, "-m", LEFT_OUT])
    else:
        provide_system(lambda line: print(f"  {line}", flush=True))
        _engine()
        status = _tests([*workers, "--durations=15", "-m", "not alone"])
        status = _tests(["-m", "alone"]) or status
    return status or (0 if good else 1)


if __name__ == "__main__":
    sys.exit(main())
