"""The keeper as a process: seals each so often, at the end, and is started again."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.events import PolicyLoaded
from wicketgate_gateway.audit.keeper import Duties, Duty, Keeper, main
from wicketgate_gateway.audit.seals import Head, SealLog
from wicketgate_gateway.audit.verify import verify
from wicketgate_gateway.contract.keeping import Anchor, AuditSettings, Retention
from wicketgate_gateway.recording.journal import Journal


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def duties(tmp_path: Path, every: str = "50ms", **more: Any) -> Duties:
    return Duties(
        state=str(tmp_path / "state"),
        audit=AuditSettings(every=every, anchor=Anchor(file=str(tmp_path / "anchor.ndjson")), **more),
        retention=Retention(every="0s"),
    )


def test_a_running_journal_is_sealed_and_anchored_and_its_end_too(tmp_path: Path) -> None:
    keeper = Keeper(duties(tmp_path))
    state, anchor = tmp_path / "state", tmp_path / "anchor.ndjson"
    try:
        journal = Journal(state / "journal")
        until(lambda: anchor.exists() and anchor.read_bytes().count(b"\n") >= 1)
        journal.append([PolicyLoaded(time=1, policy="p")])
        until(lambda: anchor.read_bytes().count(b"\n") >= 2)
        journal.append([PolicyLoaded(time=2, policy="p")])
        journal.close()
    finally:
        keeper.stop()
    report = verify(state, anchors=[anchor])
    assert report.findings == []
    assert report.head is not None
    assert report.head.offset == (state / "journal" / "journal-00000001.wgj").stat().st_size


def test_a_killed_keeper_is_started_again_and_seals_on(tmp_path: Path) -> None:
    keeper = Keeper(duties(tmp_path))
    state = tmp_path / "state"
    try:
        journal = Journal(state / "journal")
        until(lambda: len(SealLog(state).read().signed) == 1)
        assert not keeper.look()
        os.kill(keeper.pid, signal.SIGKILL)
        until(keeper.look)
        journal.append([PolicyLoaded(time=1, policy="p")])
        until(lambda: len(SealLog(state).read().signed) == 2)
        journal.close()
    finally:
        keeper.stop()
    assert [type(signed.seal) for signed in SealLog(state).read().signed] == [Head] * 2
    assert verify(state, anchors=[tmp_path / "anchor.ndjson"]).findings == []


def test_an_anchor_that_fails_is_told_once_and_gets_everything_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wicketgate_gateway.audit.keeper import sealing

    made = Duties(
        state=str(tmp_path / "state"),
        audit=AuditSettings(anchor=Anchor(file=str(tmp_path / "no" / "anchor"))),
        retention=Retention(),
    )
    journal = Journal(tmp_path / "state" / "journal")
    duty = Duty("seals", 1, sealing(made))
    for _ in range(3):
        journal.append([PolicyLoaded(time=1, policy="p")])
        duty._try()
    err = capsys.readouterr().err
    assert err.count("it is tried again") == 1
    assert err.count("no such file") == 1
    (tmp_path / "no").mkdir()
    duty._try()
    assert "works again" in capsys.readouterr().err
    assert (tmp_path / "no" / "anchor").read_bytes() == (tmp_path / "state" / "seals.ndjson").read_bytes()
    journal.close()


def test_a_duty_does_its_last_step_as_it_ends() -> None:
    steps: list[float] = []
    duty = Duty("d", 60, lambda: steps.append(time.monotonic()))
    duty.start()
    until(lambda: steps)
    duty.end()
    duty.join(5)
    assert len(steps) == 2
    assert threading.active_count() >= 1


def test_settings_that_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "seal.key").write_text("x")
    line = duties(tmp_path).model_dump_json(by_alias=True).encode() + b"\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    monkeypatch.setattr(os, "nice", lambda by: 0)
    assert main() == 2
