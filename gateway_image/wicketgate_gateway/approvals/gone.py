"""What is open for a bot that is no more becomes void: disabled in Entra, past its last day, taken out of the stack.

How this works: each bot that has something open is looked at as often as sessions are, by the same cached answers of
Entra. That a bot is not in the bundle counts only where this process has seen it there: while a new bundle is rolled
out, one gateway knows a bot before another does. An Entra that cannot be asked ends nothing here: sessions end by
themselves then, and without a session nothing is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import structlog

from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused

_GONE = ("bot-disabled", "bot-expired")
log = structlog.get_logger("wicketgate.holds")


class Rechecks(Protocol):
    """The part of `identity.authenticator.Authenticator` that this needs."""

    async def recheck(self, principal: Principal) -> Principal:
        """The principal as of now. Raises Refused."""
        ...


class Gone:
    """Says whether a bot is no more. `bots` gives the object ids of those in the bundle now in force."""

    def __init__(self, tenant: str, authenticator: Rechecks, bots: Callable[[], Collection[str]]) -> None:
        self._tenant = tenant
        self._authenticator = authenticator
        self._bots = bots
        self._seen: set[str] = set(bots())

    async def why(self, bot_id: str) -> str:
        """Why the bot is gone; empty if it is not. Raises Refused if Entra cannot be asked."""
        known = self._bots()
        self._seen.update(known)
        if bot_id in self._seen and bot_id not in known:
            return "it was taken out of the stack"
        bot = Principal(PrincipalKind.BOT, self._tenant, bot_id, bot_id, bot_id, "", time.time())
        try:
            await self._authenticator.recheck(bot)
        except Refused as error:
            if error.code in _GONE:
                return error.reason
            raise
        return ""


class GoneWatch:
    """Looks every `seconds`; `run` it."""

    def __init__(self, store: ApprovalStore, why: Callable[[str], Awaitable[str]], seconds: float) -> None:
        self._store = store
        self._why = why
        self._seconds = seconds

    async def run(self) -> None:
        """For ever; what is away for a while, the store or Entra, ends nothing."""
        told = ""
        while True:
            try:
                await self.step()
                told = ""
            except WicketgateError as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("it cannot be told whether bots that ask are still there", code=error.code)
            except Exception:
                log.exception("a look at the bots that ask failed")
            await asyncio.sleep(self._seconds)

    async def step(self) -> list[str]:
        """Look once; gives the handles that became void. Raises WicketgateError, after all bots were looked at."""
        failed: WicketgateError | None = None
        void: list[str] = []
        for bot_id in await self._store.bots_with_open_requests():
            try:
                why = await self._why(bot_id)
            except WicketgateError as error:
                failed = error
                continue
            if why:
                void += await self._store.void(f"the bot is gone: {why}", bot_id=bot_id)
        if void:
            log.warning("requests of bots that are gone are void", handles=void)
        if failed is not None:
            raise failed
        return void
