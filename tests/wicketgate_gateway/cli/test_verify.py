from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from wicketgate_gateway.audit.anchors import Anchorer, FilePlace
from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.seals import SealLog, key_text, signing_key
from wicketgate_gateway.cli import main

Run = Callable[..., tuple[int, str, str]]


def seal(state: Path) -> Path:
    Sealer(state / "journal", SealLog(state), signing_key(state)).seal()
    anchor = state.parent / "anchor.ndjson"
    Anchorer(state, FilePlace(anchor)).deliver()
    return anchor


def test_whole(wicketgate: Run, state: Path) -> None:
    anchor = seal(state)
    key = wicketgate("audit", "key")[1].strip()
    assert key == key_text(signing_key(state).public_key())
    assert json.loads(wicketgate("audit", "key", "--json")[1]) == {"key": key}
    code, out, err = wicketgate("audit", "verify", "--anchor", str(anchor), "--key", key)
    assert (code, err) == (0, "")
    assert out.startswith("whole: ")
    assert "2 recordings checked" in out
    code, out, _ = wicketgate("audit", "verify", "--anchor", str(anchor), "--key", key, "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["whole"], report["findings"], report["recordings"]) == (True, [], 2)
    assert report["seals"]["anchored"] == report["seals"]["count"] == 1
    assert report["seals"]["head"]["time"].endswith("Z")


def test_not_whole(wicketgate: Run, state: Path) -> None:
    anchor = seal(state)
    path = state / "journal" / "journal-00000001.wgj"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    code, out, _ = wicketgate("audit", "verify", "--anchor", str(anchor), "--no-recordings")
    assert code == main.INCOMPLETE
    assert out.startswith("edited: journal-00000001.wgj at byte ")
    assert "not whole: 1 finding" in out
    code, out, _ = wicketgate("audit", "verify", "--json", "--no-recordings")
    assert code == main.INCOMPLETE
    [found] = json.loads(out)["findings"]
    assert (found["kind"], found["where"]) == ("edited", path.name)


def test_recordings_are_checked_unless_told(wicketgate: Run, state: Path) -> None:
    seal(state)
    for path in state.glob("recordings/*/*/*.wgr"):
        path.unlink()
    assert wicketgate("audit", "verify")[0] == main.INCOMPLETE
    assert wicketgate("audit", "verify", "--no-recordings")[0] == 0


def test_no_journal_no_key_no_anchor(wicketgate: Run, state: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert wicketgate("audit", "verify", at=empty)[0] == main.NOT_FOUND
    code, _, err = wicketgate("audit", "key", "--json", at=empty)
    assert (code, json.loads(err)["code"]) == (main.FAILED, "key-missing")
    code, _, err = wicketgate("audit", "verify", "--key", "rubbish")
    assert code == main.FAILED
    assert "not a public key" in err
    code, _, err = wicketgate("audit", "verify", "--anchor", str(tmp_path / "no"))
    assert code == main.FAILED
    assert "copy of the anchor" in err


def test_audit_without_a_verb_searches(wicketgate: Run) -> None:
    assert wicketgate("audit", "--json") == wicketgate("audit", "search", "--json")
    assert "--verdict" in wicketgate("audit", "search", "--help", at=None)[1]
    assert "verify" in wicketgate("audit", "--help", at=None)[1]
