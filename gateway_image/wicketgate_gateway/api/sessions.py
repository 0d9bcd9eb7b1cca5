"""Sessions of this gateway, read from its audit store; a thread of its own, since stores wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from wicketgate_gateway.api import models
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import AgentConnected, AgentCredentials, AgentDisconnected
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.audit.seals import Breach, Head, SealLog
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store.base import FAILURES, Connection
from wicketgate_gateway.store.place import open_reader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chain:
    """How far the journal's chain is sealed: the number of seals, the newest head's time (ns since 1970), and how often
    the journal did not go on from what was sealed."""

    seals: int
    until: int | None
    breaches: int
    readable: bool


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent's newest connection, or its end."""

    connected: bool
    time: int
    peer: str
    version: str = ""
    expires: Mapping[str, int] = field(default_factory=dict[str, int])
    """When the credentials of its targets end, in seconds since 1970, as far as they say."""


class SessionReader:
    """Looks at the audit store in a state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state

    async def list(self, *, bot: str, target: str, live: bool, limit: int) -> list[models.Session]:
        """The newest sessions that match, oldest first. Raises WicketgateError (`sessions-unavailable`)."""
        return await asyncio.to_thread(self._list, bot, target, live, limit)

    def ask(self, question: Callable[[Connection], T]) -> T:
        """What `question` finds in the store, which it may only read. Raises WicketgateError. It may take a while."""
        try:
            connection = open_reader(self.state)
            if connection is None:
                raise WicketgateError(
                    "there is no audit store yet", code="sessions-unavailable", remedy="wait a moment"
                )
            try:
                return question(connection)
            finally:
                connection.close()
        except FAILURES as error:
            raise WicketgateError(
                f"the audit store cannot be read: {type(error).__name__}",
                code="sessions-unavailable",
                remedy="try again shortly",
            ) from None

    def chain(self) -> Chain:
        """How far the audit's chain is sealed. It may take a while; raises nothing."""
        try:
            found = SealLog(self.state).read().signed
        except (WicketgateError, OSError):
            return Chain(0, None, breaches=0, readable=False)
        heads = [signed for signed in found if isinstance(signed.seal, Head)]
        return Chain(
            seals=len(found),
            until=heads[-1].seal.time if heads else None,
            breaches=sum(isinstance(signed.seal, Breach) for signed in found),
            readable=True,
        )

    def last_used(self, bots: Iterable[str]) -> dict[str, int]:
        """When each of these bots' newest session began; those without one are left out."""

        def newest(connection: Connection) -> dict[str, int]:
            found = {bot: query.sessions(connection, bot=bot, limit=1) for bot in bots}
            return {bot: rows[-1].started.time for bot, rows in found.items() if rows}

        return self.ask(newest)

    def agents(self) -> dict[str, Agent]:
        """Each agent's newest connection, as the audit has it."""
        kinds = ("agent-connected", "agent-credentials", "agent-disconnected")
        wanted = AuditFilter(kinds=kinds, limit=1000)
        found: dict[str, Agent] = {}
        for row in self.ask(lambda connection: query.events(connection, wanted)):
            if isinstance(row.event, AgentConnected):
                found[row.event.agent] = Agent(True, row.time, row.event.peer, row.event.version)
            elif isinstance(row.event, AgentCredentials) and row.event.agent in found:
                found[row.event.agent] = replace(found[row.event.agent], expires=row.event.expires)
            elif isinstance(row.event, AgentDisconnected):
                found[row.event.agent] = Agent(False, row.time, "")
        return found

    def _list(self, bot: str, target: str, live: bool, limit: int) -> list[models.Session]:
        try:
            # Read-only: this process must not make or change what the gateway's own ingester writes.
            connection = open_reader(self.state)
            if connection is None:
                return []
            try:
                rows = query.sessions(connection, bot=bot, target=target, live=live, limit=limit)
            finally:
                connection.close()
        except (WicketgateError, *FAILURES) as error:
            raise WicketgateError(
                f"the audit store cannot be read: {type(error).__name__}",
                code="sessions-unavailable",
                remedy="try again shortly",
            ) from None
        return [models.session(row, running=True) for row in rows]
