from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from wicketgate_gateway.cli.asciicast import Asciicast
from wicketgate_gateway.recording.replay import Output, Resized

Run = Callable[..., tuple[int, str, str]]


def test_a_player_gets_a_head_and_what_a_terminal_shows(wicketgate: Run) -> None:
    code, out, err = wicketgate("replay", "last", "--export", "asciicast")
    assert (code, err) == (0, "")
    head, *events = (json.loads(line) for line in out.splitlines())
    assert (head["version"], head["term"]["cols"]) == (3, 120)
    assert head["title"].startswith("support to orders-db")
    assert all(len(event) == 3 and event[0] >= 0 and event[1] in ("o", "x") for event in events)
    assert events[-1][1:] == ["x", "0"]
    shown = "".join(event[2] for event in events if event[1] == "o")
    assert "DELETE" in shown
    assert "denied by policy" in shown
    assert "\n" not in shown.replace("\r\n", "")


def test_recorded_escapes_do_not_control_the_player(wicketgate: Run) -> None:
    out = wicketgate("replay", "last", "--export", "asciicast")[1]
    shown = "".join(json.loads(line)[2] for line in out.splitlines()[1:])
    assert "owned" in shown
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert not {"\x07", "\x9b", "\u202e"} & set(shown)


def test_to_a_file(wicketgate: Run, tmp_path: Path) -> None:
    path = tmp_path / "session.cast"
    assert wicketgate("replay", "last", "--export", "asciicast", "--to", str(path)) == (0, "", "")
    assert json.loads(path.read_text().splitlines()[0])["version"] == 3
    assert path.stat().st_mode & 0o077 == 0


def test_ndjson_has_all_rows(wicketgate: Run, tmp_path: Path) -> None:
    path = tmp_path / "session.ndjson"
    assert wicketgate("replay", "last", "--export", "ndjson", "--to", str(path))[0] == 0
    steps = [json.loads(line) for line in path.read_text().splitlines()]
    result = next(step for step in steps if step["step"] == "result")
    assert len(result["rows"]) == result["row_count"] == 30
    assert steps[-1]["whole"] is True


def test_a_terminal_is_written_as_it_was() -> None:
    file = io.StringIO()
    cast = Asciicast(file, idle=2.0, since=0)
    cast.step(Resized(10**9, "", 1, 90, 20), 0)
    cast.step(Output(1, 2 * 10**9, "stdout", b"a\r\nb\n", pty=True), 0)
    assert [json.loads(line) for line in file.getvalue().splitlines()] == [[1.0, "r", "90x20"], [1.0, "o", "a\r\nb\n"]]
