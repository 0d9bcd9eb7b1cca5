"""Runs a long command with a line now and then, and shows its output only if it fails."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from tools.engine.cache import Progress, ProvideError

_EVERY_SECONDS: Final = 15.0
_TAIL_LINES: Final = 25


def run_long(
    command: list[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    what: str,
    expected_seconds: int,
    progress: Progress,
    every: float = _EVERY_SECONDS,
) -> None:
    """Run `command` to its end. Raises ProvideError with the last lines of its output if it fails.

    It gets a process group of its own, which is ended as a whole if we are interrupted: `go build` has many children.
    """
    progress(f"{what} (about {_clock(expected_seconds)} on two cores)")
    started = time.monotonic()
    with tempfile.TemporaryFile() as output, _ended_as_interrupted():
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                try:
                    code = child.wait(every)
                    break
                except subprocess.TimeoutExpired:
                    elapsed = int(time.monotonic() - started)
                    progress(f"{what}: {_clock(elapsed)} of about {_clock(expected_seconds)}")
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        if code != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
            raise ProvideError(
                f"{what}: `{' '.join(command[:3])} …` failed with exit code {code}:\n" + "\n".join(lines)
            )
    progress(f"{what}: done after {_clock(int(time.monotonic() - started))}")


@contextlib.contextmanager
def _ended_as_interrupted() -> Generator[None]:
    """SIGTERM and SIGHUP raise SystemExit meanwhile: by default they would end us without a look at the child."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"
