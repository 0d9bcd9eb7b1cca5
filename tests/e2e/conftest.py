"""The running gateway comes from `tests/running.py`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def cloud(running_cloud: Any) -> Any:
    """What the running gateway stands in."""
    return running_cloud
