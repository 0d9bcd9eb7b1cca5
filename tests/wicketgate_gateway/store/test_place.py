from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.keeping import AuditStore
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import is_sqlite
from wicketgate_gateway.store.postgres import PostgresConnection

Url = Callable[[], Path]


def test_sqlite_where_nothing_is_said(tmp_path: Path) -> None:
    assert place.open_reader(tmp_path) is None
    store = place.open_store(tmp_path)
    assert is_sqlite(store)
    assert place.own(tmp_path, store) == ("1 = 1", ())
    store.close()
    reader = place.open_reader(tmp_path)
    assert reader is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM events")
    reader.close()


def test_postgresql_as_the_gateway_noted_it(tmp_path: Path, audit_url: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    url = audit_url()
    monkeypatch.chdir(url.parent)
    place.remember(tmp_path, AuditStore(url_file=url.name))
    # Where it stands, from anywhere; never what it says.
    assert str(url) in (tmp_path / place.WHERE).read_text()
    assert "store password" not in (tmp_path / place.WHERE).read_text()
    with pytest.raises(WicketgateError, match="not made yet"):
        place.open_reader(tmp_path)
    store = place.open_store(tmp_path)
    assert isinstance(store, PostgresConnection)
    assert place.own(tmp_path, store) == ("journal = ?", (place.journal_id(tmp_path),))
    store.close()
    reader = place.open_reader(tmp_path)
    assert reader is not None
    reader.close()
    place.remember(tmp_path, AuditStore())
    assert place.open_reader(tmp_path) is None


def test_what_cannot_be_read_names_the_file_and_nothing_in_it(tmp_path: Path) -> None:
    url = tmp_path / "url"
    place.remember(tmp_path, AuditStore(url_file=str(url)))
    for text in (None, "", "two words", "x" * 5000):
        if text is not None:
            url.write_text(text)
        with pytest.raises(WicketgateError) as caught:
            place.open_store(tmp_path)
        assert caught.value.code == "store-url-unreadable"
        assert str(url) in str(caught.value)
    url.write_text("mysql://me:hunter2@host/db")
    with pytest.raises(WicketgateError) as caught:
        place.open_store(tmp_path)
    assert caught.value.code == "store-url-invalid"
    assert "hunter2" not in str(caught.value)
    (tmp_path / place.WHERE).write_text("{}")
    with pytest.raises(WicketgateError) as caught:
        place.open_store(tmp_path)
    assert caught.value.code == "store-failed"


def test_a_journals_name_is_given_once(tmp_path: Path) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(place.journal_id(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8
    assert len(set(names)) == 1
    assert len(names[0]) == 26
    path = tmp_path / place.JOURNAL_ID
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_sessions_of_another_gateway_are_not_ours_to_call_lost(tmp_path: Path, audit_url: Url) -> None:
    from wicketgate_gateway.audit import query
    from wicketgate_gateway.cli.sessions import state_of
    from wicketgate_gateway.store.base import SessionChange

    url = audit_url()
    mine, other = tmp_path / "mine", tmp_path / "other"
    data = (
        '{"event":"session-started","time":1,"bot":"b","bot_id":"i","token_id":"t","target":"t","protocol":"p",'
        '"peer":"x","agent":"a","session":"%s"}'
    )
    for state in (mine, other):
        state.mkdir()
        place.remember(state, AuditStore(url_file=str(url)))
        store = place.open_store(state)
        place.writer(state, store).change_sessions({state.name: SessionChange((1, "b", "t", data % state.name))})
        store.close()
    store = place.open_store(mine)
    rows = {row.started.session: row for row in query.sessions(store)}
    store.close()
    assert state_of(rows["mine"], mine, False) == "lost"
    assert state_of(rows["other"], mine, False) == "live"
    assert state_of(rows["mine"], mine, True) == "live"
    assert place.own_journal(tmp_path) == ""
