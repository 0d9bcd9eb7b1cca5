"""Long commands: progress while they run, their words if they fail, and nothing left if they are interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.engine.cache import ProvideError
from tools.engine.run import run_long

ROOT = Path(__file__).resolve().parents[3]
Said = tuple[list[str], Callable[[str], None]]


def _run(command: list[str], cwd: Path, progress: Callable[[str], None], every: float = 15) -> None:
    run_long(command, cwd=cwd, env=os.environ, what="making it", expected_seconds=210, progress=progress, every=every)


def test_progress_while_it_runs(tmp_path: Path, said: Said) -> None:
    _run(["sh", "-c", "echo hidden; sleep 0.5"], tmp_path, said[1], every=0.2)
    assert said[0][0] == "making it (about 3:30 on two cores)"
    assert said[0][1] == "making it: 0:00 of about 3:30"
    assert said[0][-1].startswith("making it: done after 0:0")
    assert "hidden" not in str(said[0])


def test_a_failure_shows_the_last_lines(tmp_path: Path, said: Said) -> None:
    with pytest.raises(ProvideError) as caught:
        _run(["sh", "-c", "seq 100; echo the reason >&2; exit 3"], tmp_path, said[1])
    text = str(caught.value)
    assert "exit code 3" in text
    assert text.endswith("100\nthe reason")
    assert "\n50\n" not in text


def test_an_interruption_ends_the_whole_group(tmp_path: Path, said: Said) -> None:
    pid = tmp_path / "pid"
    # A test run that a shell put into the background ignores SIGINT.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not (pid.exists() and pid.read_text().endswith("\n")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], tmp_path, said[1])
    finally:
        thread.join(30)
        signal.signal(signal.SIGINT, previous)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid.read_text().strip()}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_ended_ends_the_command_too(tmp_path: Path, number: signal.Signals) -> None:
    pid = tmp_path / "pid"
    script = (
        "import os, pathlib\n"
        "from tools.engine.run import run_long\n"
        f"run_long(['sh', '-c', 'echo $$ > {pid}; exec sleep 60'], cwd=pathlib.Path('/'), env=os.environ,"
        " what='x', expected_seconds=1, progress=lambda line: None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as process:
        assert _within(20, lambda: pid.exists() and pid.read_text().endswith("\n"))
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    assert _within(10, lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
