from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wicketgate_gateway.cli import main

Run = Callable[..., tuple[int, str, str]]


def export(wicketgate: Run, *options: str) -> list[dict[str, Any]]:
    code, out, err = wicketgate("audit", "export", *options)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_everything_is_there_in_order(wicketgate: Run) -> None:
    found = export(wicketgate)
    kinds = [each["event"] for each in found]
    assert kinds.count("operation") == 6
    assert kinds.count("operation-finished") == 2
    assert kinds.count("recording-closed") == 2
    assert {each["bot"] for each in found if each["event"] == "operation-finished"} == {"code-review", "support"}
    assert export(wicketgate) == found
    assert export(wicketgate, "--after", found[4]["uid"]) == found[5:]


def test_filters(wicketgate: Run) -> None:
    assert {each["bot"] for each in export(wicketgate, "--bot", "support")} == {"support"}
    assert export(wicketgate, "--target", "other") == []
    assert export(wicketgate, "--since", "1h", "--until", "30m") == []
    assert len(export(wicketgate, "--since", "1h")) == len(export(wicketgate))


def test_ocsf(wicketgate: Run) -> None:
    found = export(wicketgate, "--format", "ocsf")
    assert {each["class_uid"] for each in found} == {6005, 3002, 6002, 6003}
    assert len({each["metadata"]["uid"] for each in found}) == len(found)
    assert export(wicketgate, "--format", "ocsf", "--after", found[-2]["metadata"]["uid"]) == found[-1:]


def test_to_a_file_whole_or_not_at_all(wicketgate: Run, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    assert wicketgate("audit", "export", "--to", str(path)) == (0, "", "")
    assert [json.loads(line) for line in path.read_text().splitlines()] == export(wicketgate)
    assert path.stat().st_mode & 0o077 == 0
    code, _, err = wicketgate("audit", "export", "--to", str(tmp_path / "other"), "--after", "nonsense")
    assert code == main.FAILED
    assert "no event" in err
    assert not (tmp_path / "other").exists()


def test_what_a_bot_sent_cannot_reach_a_terminal(wicketgate: Run) -> None:
    out = wicketgate("audit", "export")[1]
    assert "owned" in out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)
