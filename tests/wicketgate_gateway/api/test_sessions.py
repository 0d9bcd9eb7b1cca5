"""Sessions are read from the audit store, which this process cannot change."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.api.sessions import SessionReader
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store import sqlite


def read(state: Path, **more: Any) -> list[Any]:
    wanted: dict[str, Any] = {"bot": "", "target": "", "live": False, "limit": 10, **more}
    return asyncio.run(SessionReader(state).list(**wanted))


def test_no_store_no_sessions(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_none_says_so(tmp_path: Path) -> None:
    sqlite.connect(sqlite.database(tmp_path)).close()
    assert read(tmp_path) == []
    sqlite.database(tmp_path).write_bytes(b"no database at all" * 100)
    with pytest.raises(WicketgateError) as error:
        read(tmp_path)
    assert error.value.code == "sessions-unavailable"
