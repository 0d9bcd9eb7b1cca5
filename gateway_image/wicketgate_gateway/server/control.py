"""What a gateway process does with the control store: ask people, watch for kills and for bots that are gone, bring all
into the journal.

How this works: the store is opened before anyone is let in, and what was killed is known by then; a process that cannot
read it does not start. Once it runs, a store that is away stops only what is held: everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from wicketgate_gateway.approvals.gone import Gone, GoneWatch
from wicketgate_gateway.approvals.outbox import Outbox
from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.server.kills import Kills
from wicketgate_gateway.server.sessions import Sessions
from wicketgate_gateway.session.holds import Holds


class Control:
    """Make it by `open`; `watch` begins the work, `close` ends it."""

    def __init__(self, store: ApprovalStore, policy: Callable[[], str], gone: Gone | None, seconds: float) -> None:
        self.store = store
        self.approvals = Approvals(store, policy=policy, bot_gone=gone.why if gone is not None else None)
        self._gone = GoneWatch(store, gone.why, seconds) if gone is not None else None
        self.holds = Holds(self.approvals, policy)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls, config: GatewayConfig, policy: Callable[[], str], gone: Gone | None = None, *, seconds: float = 30.0
    ) -> Control:
        """`policy` gives the digest of the bundle in force; `gone` is asked every `seconds` for bots that have
        something open. Raises WicketgateError.
        """
        return cls(await open_store(store_url(config)), policy, gone, seconds)

    async def watch(self, sessions: Sessions, journal: Journal) -> None:
        """Begin: from now on `sessions` knows what was killed. Raises WicketgateError if that cannot be read."""
        kills = Kills(self.store, sessions.running, journal.submit)
        await kills.load()
        sessions.killed = kills.meets
        for work in (kills.run(), Outbox(self.store, journal.submit).run(), self.approvals.sweeping()):
            self._start(work)
        if self._gone is not None:
            self._start(self._gone.run())

    async def close(self) -> None:
        """End; the sessions are over by now."""
        await self.holds.close()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))
