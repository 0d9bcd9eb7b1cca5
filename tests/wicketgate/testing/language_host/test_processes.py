"""The host's children: their output comes whole, and none outlives its call."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate.testing.language_host.processes import Children

_SLEEP = "import time; print('up', flush=True); time.sleep(60)"
_STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"


def _ignore(_callback: Callable[[], None]) -> None:
    """A call that never ends by itself."""


def test_run_gives_the_exit_code(tmp_path: Path) -> None:
    children = Children()
    assert children.run([sys.executable, "-c", "raise SystemExit(32)"], tmp_path, os.environ, _ignore) == 32


def test_stream_gives_both_outputs_and_the_code(tmp_path: Path) -> None:
    script = "import sys; print('o' * 300_000); print('e', file=sys.stderr); raise SystemExit(3)"
    pieces = list(Children().stream([sys.executable, "-c", script], tmp_path, os.environ, _ignore))
    out = b"".join(piece[1] for piece in pieces if not isinstance(piece, int) and piece[0] == "stdout")
    err = b"".join(piece[1] for piece in pieces if not isinstance(piece, int) and piece[0] == "stderr")
    assert (out, err, pieces[-1]) == (b"o" * 300_000 + b"\n", b"e\n", 3)


def test_the_folder_and_the_environment_are_the_childs(tmp_path: Path) -> None:
    script = "import os; print(os.getcwd(), os.environ.get('WORD'))"
    pieces = list(Children().stream([sys.executable, "-c", script], tmp_path, {"WORD": "x"}, _ignore))
    assert pieces[0] == ("stdout", f"{tmp_path} x\n".encode())


@pytest.mark.parametrize("how", ["call", "cancel", "end_all"])
def test_a_child_ends_with_its_call_or_its_host(tmp_path: Path, how: str) -> None:
    children = Children()
    callbacks: list[Callable[[], None]] = []
    stream = children.stream([sys.executable, "-c", _SLEEP], tmp_path, os.environ, callbacks.append)
    next(stream)
    {"call": lambda: callbacks[0](), "cancel": children.cancel, "end_all": children.end_all}[how]()
    assert list(stream)[-1] == -15


def test_an_abandoned_stream_ends_its_child(tmp_path: Path) -> None:
    children = Children()
    stream = children.stream([sys.executable, "-c", _SLEEP], tmp_path, os.environ, _ignore)
    next(stream)
    (child,) = children._running
    stream.close()
    assert child.poll() is not None


@pytest.mark.slow
def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    children = Children()
    stream = children.stream([sys.executable, "-c", _STUBBORN], tmp_path, os.environ, _ignore)
    next(stream)
    began = time.monotonic()
    children.end_all()
    assert list(stream)[-1] == -9
    assert time.monotonic() - began < 20


def test_nothing_starts_in_a_host_that_ends(tmp_path: Path) -> None:
    children = Children()
    children.end_all()
    with pytest.raises(RuntimeError, match="ending"):
        children.run([sys.executable, "-c", ""], tmp_path, os.environ, _ignore)


def test_ending_lets_a_waiting_run_return(tmp_path: Path) -> None:
    children = Children()
    codes: list[int] = []
    started = tmp_path / "started"
    script = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"

    def run() -> None:
        codes.append(children.run([sys.executable, "-c", script], tmp_path, os.environ, _ignore))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    children.end_all()
    thread.join(10)
    assert codes == [-15]
