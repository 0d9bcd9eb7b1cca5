"""The audit's chain verified from the page: one walk along the whole journal at a time, and what the last one found."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from wicketgate_gateway.audit.verify import verify
from wicketgate_gateway.cli.state import gateway_runs
from wicketgate_gateway.contract.errors import WicketgateError


@dataclass(frozen=True, slots=True)
class Verified:
    """What the last walk along the chain found. Times are ns since 1970."""

    at: int
    until: int | None
    """The time of the last seal that the journal was found to agree with."""
    events: int
    findings: tuple[str, ...]


class Verifier:
    """Walks the chain of a state folder, once at a time, and remembers what it found."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._walking = asyncio.Lock()
        self.last: Verified | None = None

    @property
    def busy(self) -> bool:
        """Whether a walk is under way."""
        return self._walking.locked()

    async def walk(self) -> Verified:
        """Walk the whole journal. Raises WicketgateError while another walk is under way."""
        if self._walking.locked():
            raise WicketgateError(
                "the chain is being verified already", code="verify-busy", remedy="wait for it, and load the page again"
            )
        async with self._walking:
            self.last = await asyncio.to_thread(self._walk)
            return self.last

    def _walk(self) -> Verified:
        report = verify(self._state, running=gateway_runs(self._state))
        until = report.head.time if report.head is not None else None
        found = tuple(f"{each.where}: {each.message}" for each in report.findings[:20])
        return Verified(time.time_ns(), until, report.journal.events, found)
