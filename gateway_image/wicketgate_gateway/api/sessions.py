"""Sessions of this gateway, read from its audit store; a thread of its own, since stores wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

from wicketgate_gateway.api import models
from wicketgate_gateway.audit import query
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store.base import FAILURES
from wicketgate_gateway.store.place import open_reader


class SessionReader:
    """Looks at the audit store in a state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state

    async def list(self, *, bot: str, target: str, live: bool, limit: int) -> list[models.Session]:
        """The newest sessions that match, oldest first. Raises WicketgateError (`sessions-unavailable`)."""
        return await asyncio.to_thread(self._list, bot, target, live, limit)

    def _list(self, bot: str, target: str, live: bool, limit: int) -> list[models.Session]:
        try:
            # Read-only: this process must not make or change what the gateway's own ingester writes.
            connection = open_reader(self._state)
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
