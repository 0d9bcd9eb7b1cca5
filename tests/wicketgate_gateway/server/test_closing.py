"""The end of a connection waits for who takes what is left, and not for who does not."""

from __future__ import annotations

import asyncio

import pytest

from wicketgate_gateway.server import closing

pytestmark = pytest.mark.anyio


class Transport:
    """Holds so many bytes at each look."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)
        self.closed = 0
        self.aborted = asyncio.Event()

    def is_closing(self) -> bool:
        return bool(self.closed)

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0)


@pytest.mark.parametrize("left", [(0, 0), (100, 60, 20, 20), (100, 100)])
async def test_progress(monkeypatch: pytest.MonkeyPatch, left: tuple[int, ...]) -> None:
    """It is broken off at the first look that finds no progress, and not before."""
    monkeypatch.setattr(closing, "STALL_SECONDS", 0.01)
    transport = Transport(*left)
    closing.close(transport)
    closing.close(transport)
    assert transport.closed == 1
    async with asyncio.timeout(10):
        await transport.aborted.wait()
    assert transport.left == []
