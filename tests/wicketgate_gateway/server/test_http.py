"""The HTTP listener: room for so many connections, and an end that is waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.server.http import HttpListener

pytestmark = pytest.mark.anyio


async def test_room_and_end() -> None:
    """Twice as many connections as sessions; `close` waits until the last is gone."""
    limits = SimpleNamespace(sessions=1, login="5s")
    registry: Any = SimpleNamespace(config=SimpleNamespace(limits=limits))
    listener = HttpListener(registry)
    stopped: list[str] = []

    class Connection:
        def stop(self, reason: str) -> None:
            stopped.append(reason)
            listener.gone(self)  # type: ignore[arg-type]

    made: list[Any] = [Connection() for _ in range(3)]
    assert [listener.arrived(each) for each in made] == [True, True, False]
    await listener.close()
    assert stopped == ["the gateway stops"] * 2
