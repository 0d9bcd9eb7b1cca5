from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import main, replay

Run = Callable[..., tuple[int, str, str]]


def recording(state: Path) -> Path:
    return max((state / "recordings").glob("*/*/000001.wgr"))


def steps(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json(wicketgate: Run) -> None:
    code, out, err = wicketgate("replay", "last", "--json", "--rows", "2")
    assert (code, err) == (0, "")
    found = steps(out)
    assert [step["step"] for step in found] == ["session", *["statement", "result"] * 3, "end"]
    session, first, rows, denied, refusal = found[:5]
    assert session["bot"] == "support"
    assert (first["text"], first["verdict"], first["seq"]) == ("SELECT email FROM customers", "allow", 1)
    assert rows["columns"] == ["email", "count"]
    assert rows["rows"] == [["a0***@example.com", None], ["a1***@example.com", None]]
    assert (rows["row_count"], rows["number"], rows["complete"]) == (30, 1, True)
    assert (denied["verdict"], denied["reason"]) == ("deny", "no rule allows `delete`")
    assert refusal["error"]["sqlstate"] == "42501"
    assert found[-1]["whole"] is True
    assert found[-1]["problems"] == []


def test_plain(wicketgate: Run) -> None:
    code, out, err = wicketgate("replay", "last", "--at-once")
    assert (code, err) == (0, "")
    assert "  email              | count\n" in out
    assert "  a0***@example.com  | NULL\n" in out
    assert "  30 rows (20 shown)" in out
    assert "✘ deny" in out
    assert "ERROR 42501: denied by policy" in out
    assert "hint: read only" in out
    assert "3 statements, 1 denied; the recording is whole and matches the journal's digest" in out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)


def test_a_cut_recording_is_shown_as_far_as_it_goes(wicketgate: Run, state: Path) -> None:
    path = recording(state)
    path.write_bytes(path.read_bytes()[:-5])
    code, out, _ = wicketgate("replay", "last")
    assert code == main.INCOMPLETE
    assert "30 rows" in out
    assert "torn: `000001.wgr`" in out
    assert "its end is missing" in out


def test_a_lost_block_names_the_statements_that_went_out(wicketgate: Run, state: Path) -> None:
    path = recording(state)
    path.write_bytes(path.read_bytes()[:500])
    code, out, _ = wicketgate("replay", "last", "--json")
    end = steps(out)[-1]
    assert code == main.INCOMPLETE
    assert end["missing"] == [1, 3]
    assert any(problem.startswith("missing: statement 1 of ") for problem in end["problems"])


def test_an_edit_is_found(wicketgate: Run, state: Path) -> None:
    path = recording(state)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    assert wicketgate("replay", "last")[0] == main.INCOMPLETE


def test_another_sessions_recording_is_found(wicketgate: Run, state: Path) -> None:
    first, second = sorted((state / "recordings").glob("*/*/000001.wgr"))
    shutil.copy(first, second)
    code, out, _ = wicketgate("replay", "last")
    assert code == main.INCOMPLETE
    assert "belongs to session" in out


def test_no_recording(wicketgate: Run, state: Path) -> None:
    shutil.rmtree(recording(state).parent)
    code, _, err = wicketgate("replay", "last")
    assert code == main.NOT_FOUND
    assert "has no recording" in err


def test_wrong_numbers(wicketgate: Run) -> None:
    for options in (["--speed", "0"], ["--idle", "-1"], ["--rows", "-1"]):
        code, _, err = wicketgate("replay", "last", *options)
        assert code == main.FAILED
        assert "positive" in err


def test_a_live_session_and_following_it(wicketgate: Run, live: Callable[..., None]) -> None:
    seen: list[dict[str, Any]] = []

    def check(folder: Path, end: Callable[[], None]) -> None:
        deadline = time.monotonic() + 10
        while len(found := steps(wicketgate("replay", "last", "--json", at=folder)[1])) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found[-1]["note"] == "the session is still running"
        assert found[-1]["whole"] is False
        assert found[-1]["problems"] == []
        timer = threading.Timer(0.3, end)
        timer.start()
        code, out, _ = wicketgate("replay", "last", "--json", "--follow", at=folder)
        timer.join()
        assert code == 0
        seen.extend(steps(out))

    live(check)
    assert [step["step"] for step in seen] == ["session", *["statement", "result"] * 3, "end"]
    assert seen[-1]["whole"] is True


def test_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    clock = replay._Clock(10**9, speed=2, idle=1.5)
    for at in (2 * 10**9, 2 * 10**9, 10**9, 3 * 10**9, 100 * 10**9):
        clock.wait(at)
    assert waits == [0.5, 0.5, 1.5]


def test_on_a_terminal_it_has_colours_and_a_box(state: Path) -> None:
    out = on_terminal("replay", "last", "--state", str(state), "--speed", "1000")
    assert "\x1b[" in out
    assert "╭" in out
    assert "\\x1b[2J" in out
    assert "\x1b[2J" not in out
    assert "\x07" not in out


def test_no_color(state: Path) -> None:
    out = on_terminal("replay", "last", "--state", str(state), "--at-once", NO_COLOR="1")
    assert "\x1b[3" not in out
    assert "╭" in out


def on_terminal(*arguments: str, **environment: str) -> str:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wicketgate_gateway.cli", *arguments],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm-256color", **environment},
    )
    os.close(secondary)
    data = b""
    while True:
        try:
            part = os.read(primary, 65536)
        except OSError:  # EIO: the last writer has closed it
            break
        if not part:
            break
        data += part
    os.close(primary)
    assert process.wait(60) == 0
    return data.decode()
