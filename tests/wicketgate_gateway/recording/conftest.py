"""What the tests of journal and recorder share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from wicketgate_gateway.audit.events import Operation, SessionStarted
from wicketgate_gateway.recording.ids import new_session_id


@pytest.fixture
def make_operation() -> Callable[..., Operation]:
    def make(seq: int = 1, statement: str = "SELECT 1", **fields: object) -> Operation:
        values = {"time": time.time_ns(), "session": "s", "effect": "allow", "rule": "p#1", **fields}
        return Operation(seq=seq, statement=statement, **values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_started() -> Callable[..., SessionStarted]:
    def make(**fields: object) -> SessionStarted:
        values: dict[str, object] = {
            "time": time.time_ns(),
            "session": new_session_id(),
            "bot": "code-review",
            "bot_id": "b0",
            "token_id": "uti",
            "target": "orders-db",
            "protocol": "postgres",
            "peer": "127.0.0.1:5",
            "agent": "eu-west",
        }
        return SessionStarted(**{**values, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    async def wait(condition: Callable[[], object], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            await asyncio.sleep(0.005)

    return wait
