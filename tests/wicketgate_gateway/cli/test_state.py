from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate_gateway.audit import query
from wicketgate_gateway.cli.state import Place, gateway_runs
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import sqlite

CONFIG = """\
name: quick
entra: {tenant: 11111111-1111-1111-1111-111111111111}
audience: 22222222-2222-2222-2222-222222222222
workload: {clientId: 33333333-3333-3333-3333-333333333333, tokenFile: token}
agents: {}
listen:
  postgres: {port: 0}
  agents: {port: 0}
tls: {certificateFile: c, keyFile: k}
state: STATE
policies: p
targets: {}
"""


def test_the_folder_is_said_in_one_of_three_ways(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WICKETGATE_STATE", raising=False)
    with pytest.raises(WicketgateError) as caught:
        Place().folder()
    assert caught.value.code == "state-unknown"
    config = tmp_path / "gateway.yaml"
    for said in ("state", str(state)):
        config.write_text(CONFIG.replace("STATE", said))
        assert Place(config=config).folder().resolve() == state.resolve()
    monkeypatch.setenv("WICKETGATE_STATE", str(state))
    assert Place().folder() == state
    assert Place(state=tmp_path).folder() == tmp_path


def test_a_wrong_config_is_told_by_line(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG.replace("agents: {}", "agent: {}"))
    with pytest.raises(DocumentError) as caught:
        Place(config=config).folder()
    assert f"{config}:5" in str(caught.value)


def test_the_store_is_made_from_the_journal(state: Path) -> None:
    with Place(state=state).store() as (folder, connection):
        assert folder == state
        before = query.sessions(connection)
    assert len(before) == 2
    for path in state.glob("audit.db*"):
        path.unlink()
    with Place(state=state).store() as (_, connection):
        assert query.sessions(connection) == before


def test_a_state_that_cannot_be_written(state: Path) -> None:
    shutil.rmtree(state / "journal")
    sqlite.database(state).write_bytes(b"rubbish" * 1000)
    with pytest.raises(WicketgateError) as caught, Place(state=state).store():
        pass
    assert caught.value.code == "store-failed"


def test_whether_a_gateway_runs(
    state: Path, tmp_path: Path, live: Callable[[Callable[[Path, Callable[[], None]], None]], None]
) -> None:
    assert not gateway_runs(state)
    assert not gateway_runs(tmp_path / "nowhere")
    seen: list[bool] = []
    live(lambda folder, end: seen.append(gateway_runs(folder)))
    assert seen == [True]


def test_a_gateway_runs_if_a_worker_of_it_does(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "workers" / "1" / "journal")
    assert gateway_runs(tmp_path)
    journal.close()
    assert not gateway_runs(tmp_path)
