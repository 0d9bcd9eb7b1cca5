"""The running gateway comes from `tests/running.py`."""

from __future__ import annotations

from typing import Any

import pytest

_seen: set[str] = set()


@pytest.fixture(autouse=True)
def own_uploads(request: pytest.FixtureRequest) -> None:
    """Each module finds `uploads` empty, whatever ran before it in the same database."""
    if "running_cloud" in request.fixturenames and request.module.__name__ not in _seen:
        _seen.add(request.module.__name__)
        request.getfixturevalue("running_cloud").postgres.sql("DELETE FROM uploads", "e2e")


@pytest.fixture(scope="session")
def cloud(running_cloud: Any) -> Any:
    """What the running gateway stands in."""
    return running_cloud
