from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store import sqlite


def test_a_new_store(tmp_path: Path) -> None:
    path = sqlite.database(tmp_path / "state")
    connection = sqlite.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (sqlite.SCHEMA_VERSION,)
    connection.execute("INSERT INTO statements (digest, text) VALUES (x'00', 'x')")
    for name in os.listdir(path.parent):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name
    connection.close()
    again = sqlite.connect(path)
    assert again.execute("SELECT text FROM statements").fetchall() == [("x",)]
    again.close()


def test_a_migration_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.db"
    sqlite.connect(path).close()
    second = "CREATE TABLE more (x INTEGER);\nINSERT INTO more VALUES (1);\nINSERT INTO nowhere VALUES (1);\n"
    monkeypatch.setattr(sqlite, "_MIGRATIONS", (*sqlite._MIGRATIONS, second))
    before = sqlite.SCHEMA_VERSION
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", before + 1)
    with pytest.raises(WicketgateError, match="nowhere") as caught:
        sqlite.connect(path)
    assert caught.value.code == "store-failed"
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone() == (before,)
    assert plain.execute("SELECT 1 FROM sqlite_master WHERE name = 'more'").fetchall() == []
    plain.close()
    monkeypatch.setattr(sqlite, "_MIGRATIONS", (*sqlite._MIGRATIONS[:before], second.replace("nowhere", "more")))
    connection = sqlite.connect(path)
    assert connection.execute("SELECT count(*) FROM more").fetchone() == (2,)
    connection.close()


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.db"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_MIGRATIONS", sqlite._MIGRATIONS[:1])
        patch.setattr(sqlite, "SCHEMA_VERSION", 1)
        first = sqlite.connect(path)
        first.execute("INSERT INTO events (time, kind, data) VALUES (1, 'operation', ?)", ('{"rule": "orders#2"}',))
        first.close()
    connection = sqlite.connect(path)
    query = "SELECT time FROM events INDEXED BY events_rule WHERE rule = 'orders#2'"
    assert connection.execute(query).fetchall() == [(1,)]
    connection.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    connection = sqlite.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WicketgateError) as caught:
        sqlite.connect(path)
    assert caught.value.code == "store-newer"


def test_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"not a database" * 100)
    with pytest.raises(WicketgateError) as caught:
        sqlite.connect(tmp_path / "audit.db")
    assert caught.value.code == "store-failed"
    assert "journal" in caught.value.remedy
    with pytest.raises(WicketgateError):
        sqlite.connect(tmp_path / "audit.db" / "x")
