from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from wicketgate_gateway.store import base, postgres


def test_the_kinds_of_store_are_told_apart(audit_url: Callable[[], Path]) -> None:
    lite = sqlite3.connect(":memory:")
    assert base.is_sqlite(lite)
    lite.close()
    other = postgres.connect(audit_url().read_text().strip())
    assert not base.is_sqlite(other)
    other.close()


def test_failures_are_those_of_both() -> None:
    assert issubclass(sqlite3.OperationalError, base.FAILURES)
    assert issubclass(base.StoreError, base.FAILURES)
    assert base.StoreError("x").code == "store-failed"
