"""The kill switch: orders in the control store end sessions, cancel what runs, and let none begin.

How this works: one task looks at the kills in force whenever the store changed, and each second anyway, and compares
them with the sessions that run; a log-in is compared with what the task saw last. While the store is away nothing new
can be ordered there either: the orders known last stay in force. At the start of the process they must be readable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from wicketgate_gateway.approvals.model import Kill
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.audit.events import AuditEvent, SessionKilled
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.server.sessions import Live

LOOK_SECONDS = 1.0
_RETRY_SECONDS = 0.2

log = structlog.get_logger("wicketgate.kills")


class Kills:
    """The kills in force. `sessions` gives the running ones and how to cancel what they run at the server."""

    def __init__(
        self,
        store: ApprovalStore,
        sessions: Callable[[], Iterable[tuple[Live, Callable[[], None]]]],
        submit: Callable[[Sequence[AuditEvent]], None],
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._submit = submit
        self._kills: list[Kill] = []
        self._told = ""

    async def load(self) -> None:
        """See what is in force before anyone is let in. Raises WicketgateError."""
        self._kills = await self._store.kills()

    def meets(self, principal: Principal, target: str, session: str = "") -> Kill | None:
        """The kill that a session falls under, if any."""
        bot_id = principal.object_id
        for kill in self._kills:
            if kill.covers(bot_id=bot_id, groups=principal.groups, target=target, session=session):
                return kill
        return None

    async def run(self) -> None:
        """Watch and act, for ever."""
        while True:
            seen = self._store.generation
            try:
                self._kills = await self._store.kills()
                self._told = ""
            except Exception as error:
                if str(error) != self._told:
                    self._told = str(error)
                    log.error("the kills cannot be read: those known last stay in force", reason=self._told)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            try:
                self.apply()
            except Exception:
                log.exception("a kill could not be carried out")
            await self._store.after_change(seen, LOOK_SECONDS)

    def apply(self) -> None:
        """End every session that a kill in force meets."""
        if not self._kills:
            return
        for live, cancel in list(self._sessions()):
            session = live.session
            kill = self.meets(session.principal, session.opening.target_name, session.id)
            if kill is not None and not live.over:
                self._end(live, cancel, kill)

    def _end(self, live: Live, cancel: Callable[[], None], kill: Kill) -> None:
        now = time.time_ns()
        running = live.busy
        if running:
            # Before the session's end, so that nothing has to wait until the server notices that.
            cancel()
        said = f": {kill.reason}" if kill.reason else ""
        live.end(
            "57P01",
            f"the session was ended by {kill.by or 'an operator'}{said}",
            hint="do not connect again before the operator allows it",
            reason=f"killed (order {kill.id}){said}",
        )
        event = SessionKilled(
            time=now,
            session=live.session.id,
            kill=kill.id,
            by=kill.by,
            reason=kill.reason,
            cancelled=running,
            duration_us=max(0, now - kill.time) // 1000,
        )
        self._submit([event])
        log.warning("session killed", session=live.session.id, kill=kill.id, cancelled=running)
