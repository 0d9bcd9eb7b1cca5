"""Background processes that outlive the quickstart: started once, found again by pid file, ended in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError


def running(folder: Path, name: str) -> int | None:
    """The pid of `name` if it still runs and is the process that we started (a pid may have a new owner)."""
    try:
        pid, started = (folder / "run" / f"{name}.pid").read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def _start_time(pid: int) -> str:
    # Field 22 of /proc/PID/stat (proc(5)); elsewhere the start time as ps tells it.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        if Path("/proc/self").exists():
            return ""
    result = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return result.stdout.strip().replace(" ", "_")


def start(
    folder: Path,
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    within: float = 30,
) -> int:
    """Start `command` in a session of its own and wait until `ready()`; gives its pid.

    Raises WicketgateError with the end of its log if it ends or is not ready within `within` seconds.
    """
    (folder / "run").mkdir(exist_ok=True)
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
    adopt(folder, name, process.pid)
    deadline = time.monotonic() + within
    while not ready():
        if process.poll() is not None:
            raise _failed(name, log, f"ended with status {process.returncode}")
        if time.monotonic() > deadline:
            process.kill()
            raise _failed(name, log, f"was not ready after {within:.0f} s")
        time.sleep(0.05)
    return process.pid


def adopt(folder: Path, name: str, pid: int) -> None:
    """Remember a process that something else started."""
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / f"{name}.pid").write_text(f"{pid} {_start_time(pid)}")


def _failed(name: str, log: Path, what: str) -> WicketgateError:
    try:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    except OSError:
        tail = "(no log)"
    return WicketgateError(f"`{name}` {what}:\n{tail}", remedy=f"the whole log is `{log}`")


def stop(folder: Path, name: str, *, signal_number: int = signal.SIGTERM, within: float = 15) -> bool:
    """End `name`; gives whether it was running. Kills it where it does not end within `within` seconds."""
    pid = running(folder, name)
    if pid is not None:
        os.kill(pid, signal_number)
        deadline = time.monotonic() + within
        while running(folder, name) is not None:
            _reap(pid)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    (folder / "run" / f"{name}.pid").unlink(missing_ok=True)
    return pid is not None


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # not our child where an earlier run started it
        os.waitpid(pid, os.WNOHANG)
