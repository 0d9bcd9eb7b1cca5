"""One reader of the store's changes for all who follow them.

How this works: a task reads `ApprovalStore.watch` and puts each change into the queue of each follower. A follower who
does not keep up is cut off, and told so: it must begin anew, with the list as it then is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator

import structlog

from wicketgate_gateway.approvals.model import Change
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError

MAX_BEHIND = 1000
RETRY_SECONDS = 1.0
log = structlog.get_logger("wicketgate.api")


class BehindError(WicketgateError):
    """A follower was too slow."""

    code = "behind"


class Follower:
    """Changes from now on, in their order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Change] = asyncio.Queue(MAX_BEHIND)
        self._behind = False

    def put(self, change: Change) -> None:
        """One more."""
        try:
            self._queue.put_nowait(change)
        except asyncio.QueueFull:
            self._behind = True

    async def next(self, seconds: float) -> Change | None:
        """The next change, or None after so long. Raises BehindError."""
        if self._behind:
            raise BehindError("the follower was too slow", remedy="begin anew")
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return None


class Changes:
    """The reader; `run` it."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store
        self._followers: set[Follower] = set()

    def __len__(self) -> int:
        return len(self._followers)

    @contextlib.contextmanager
    def follow(self) -> Generator[Follower]:
        """A follower, for as long as it is needed."""
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def run(self) -> None:
        """Read for ever; the store being away for a while ends nothing."""
        async for change in watch(self._store, None):
            for follower in self._followers:
                follower.put(change)


async def watch(store: ApprovalStore, since: int | None) -> AsyncIterator[Change]:
    """All changes after the id `since` (None: from now on), for ever, whatever becomes of the store meanwhile."""
    told = False
    while True:
        try:
            async for change in store.watch(since):
                since, told = change.id, False
                yield change
        except WicketgateError as error:
            if not told:
                log.warning("changes cannot be read; it is tried again", code=error.code)
            told = True
            await asyncio.sleep(RETRY_SECONDS)
