"""The native module by itself: its narrow interface, threads, and standard error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.build


def run(script: str) -> str:
    """Runs a script in a process of its own; returns what it printed."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_takes_text_and_bytes_and_gives_bytes() -> None:
    import wicketgate_native as native

    assert native.parse("SELECT 'é'") == native.parse("SELECT 'é'".encode())
    assert isinstance(native.parse("SELECT 1"), bytes)
    assert native.parse(" -- nothing") != b""
    assert "libpg_query 18" in native.version()


def test_errors() -> None:
    import wicketgate_native as native

    with pytest.raises(native.ParseError) as raised:
        native.parse("SELECT FROM WHERE")
    message, position = raised.value.args
    assert "syntax error" in message
    assert position == 13
    for wrong in (b"\xff", "a\0b", "\ud800"):
        with pytest.raises(ValueError, match=r"UTF-8|NUL|Unicode"):
            native.parse(wrong)
    with pytest.raises(TypeError):
        native.parse(1)
    with pytest.raises(TypeError):
        native.strip_literals("text")


def test_other_threads_run_while_it_parses() -> None:
    import wicketgate_native as native

    big = "SELECT " + ",".join(["a"] * 200_000)
    done = threading.Event()
    parsed: list[int] = []

    def work() -> None:
        parsed.extend(len(native.parse(big)) for _ in range(3))
        done.set()

    thread = threading.Thread(target=work)
    longest = 0.0
    started = last = time.perf_counter()
    thread.start()
    while not done.is_set():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        time.sleep(0)
    thread.join()
    assert len(parsed) == 3
    # With the GIL held, a gap would last a whole parse: a third of the time.
    assert longest < (time.perf_counter() - started) / 3


def test_standard_error_stays_whole() -> None:
    """Unpatched, libpg_query puts a pipe in its place during each parse, and other threads' lines go there."""
    script = """
import os, threading, wicketgate_native
stop = threading.Event()
def parse():
    while not stop.is_set():
        wicketgate_native.parse("SELECT 'a\\\\b', 1")
threads = [threading.Thread(target=parse) for _ in range(3)]
for t in threads: t.start()
for n in range(2000): os.write(2, b"line\\n")
stop.set()
for t in threads: t.join()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stderr == "line\n" * 2000


def test_threads_are_bounded_and_the_others_go_on() -> None:
    script = """
import threading, wicketgate_native
outcomes = []
def work():
    try:
        wicketgate_native.parse("SELECT 1"); outcomes.append("parsed")
    except wicketgate_native.ParseError as error:
        outcomes.append(error.args[0][:8])
wicketgate_native.parse("SELECT 1")
for _ in range(130):
    t = threading.Thread(target=work); t.start(); t.join()
wicketgate_native.parse("SELECT 1")
print(outcomes.count("parsed"), set(outcomes[127:]))
"""
    assert run(script) == "127 {'over 128'}\n"


def test_forked_children_parse() -> None:
    import wicketgate_native as native

    native.parse("SELECT 1")
    child = os.fork()
    if child == 0:
        os._exit(0 if native.parse("SELECT 1") else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_small_stacks_do_not_overflow() -> None:
    script = """
import threading, wicketgate_native
def work():
    for text in ("1+" * 40_000 + "1", "f(" * 20_000 + "1" + ")" * 20_000, "NOT " * 9_000 + "a"):
        try: wicketgate_native.parse("SELECT " + text)
        except wicketgate_native.ParseError: pass
    print("alive")
threading.stack_size(192 << 10)
t = threading.Thread(target=work); t.start(); t.join()
"""
    assert run(script) == "alive\n"


def test_the_lock_file_pins_what_the_manifest_says() -> None:
    crate = Path(__file__).resolve().parents[2] / "gateway_image" / "native"
    assert 'pg_query = "=18.1.0"' in (crate / "Cargo.toml").read_text()
    assert 'name = "pg_query"\nversion = "18.1.0"' in (crate / "Cargo.lock").read_text()
