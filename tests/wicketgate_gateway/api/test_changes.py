"""One reader, many followers: none slows another, and the store may be away for a while."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wicketgate_gateway.api import changes
from wicketgate_gateway.api.changes import BehindError, Changes
from wicketgate_gateway.approvals.model import Change
from wicketgate_gateway.contract.errors import WicketgateError

pytestmark = pytest.mark.anyio


class Store:
    """Gives changes, and fails in between."""

    def __init__(self, *runs: list[int]) -> None:
        self.runs = list(runs)
        self.asked: list[int | None] = []

    async def watch(self, since: int | None) -> AsyncIterator[Change]:
        self.asked.append(since)
        if not self.runs:
            await asyncio.sleep(60)
        for number in self.runs.pop(0):
            yield Change(number, 0, "requested", f"hold-{number}", {})
        raise WicketgateError("away", code="approvals-unavailable")


async def test_a_store_that_comes_back_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "RETRY_SECONDS", 0.01)
    store = Store([5, 6], [], [7])
    made: Any = Changes(store)  # type: ignore[arg-type]
    with made.follow() as follower:
        task = asyncio.create_task(made.run())
        seen = [await follower.next(5) for _ in range(3)]
        assert [change.id for change in seen] == [5, 6, 7]
        assert await follower.next(0.01) is None
        await asyncio.sleep(0.05)
        assert store.asked[:4] == [None, 6, 6, 7]
        task.cancel()
    assert len(made) == 0


async def test_a_slow_follower_is_cut_off_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_BEHIND", 2)
    made: Any = Changes(Store(list(range(5))))  # type: ignore[arg-type]
    with made.follow() as slow:
        task = asyncio.create_task(made.run())
        await asyncio.sleep(0.05)
        with pytest.raises(BehindError):
            await slow.next(1)
        task.cancel()
