"""Waiting until Graph says the same several times in a row, and the locks of the real provider.

How this works: the Terraform SDK's `StateChangeConf`: the check runs until it has given the wanted answer so
many times without the other one in between, with pauses of the given interval (growing to 10 s while the answer
is the other one). The pauses are long; `WICKETGATE_AZUREAD_WAIT_SECONDS` caps them, for tests and
demonstrations against an emulator that is consistent at once.
"""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

WAIT_VARIABLE: Final = "WICKETGATE_AZUREAD_WAIT_SECONDS"
CONSISTENT_TIMES: Final = 5
CONSISTENT_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 10.0
_NOT_FOUND_CHECKS: Final = 20


class WaitError(Exception):
    """What was waited for did not come in time."""


@dataclass(frozen=True)
class Waits:
    """How to wait: `cap` shortens every pause, None leaves them as the real provider's."""

    cap: float | None = None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def pause(self, seconds: float) -> None:
        """One pause of so many seconds, or of the cap."""
        self.sleep(seconds if self.cap is None else min(seconds, self.cap))

    def until(
        self,
        check: Callable[[], bool | None],
        *,
        deadline: float,
        times: int = CONSISTENT_TIMES,
        seconds: float = CONSISTENT_SECONDS,
        target: str = "Done",
    ) -> None:
        """Return once `check` was true `times` times without being false in between.

        None means "not there" and interrupts nothing, but twenty of these in a row are an error. Raises
        WaitError when the deadline passes, and whatever `check` raises.
        """
        hits = missing = 0
        wait = 0.1
        while True:
            found = check()
            if found is None:
                missing += 1
                if missing > _NOT_FOUND_CHECKS:
                    raise WaitError(f"couldn't find resource ({missing} retries)")
            else:
                missing = 0
                hits = hits + 1 if found else 0
                if hits == times:
                    return
            if hits == 0:
                wait *= 2
            wait = min(max(wait, seconds), _LONGEST_SECONDS)
            if self.now() + (wait if self.cap is None else min(wait, self.cap)) >= deadline:
                raise WaitError(f"timeout while waiting for state to become '{target}'")
            self.pause(wait)


@dataclass
class Locks:
    """Locks by name: what writes to one application or group must take turns."""

    _guard: Any = field(default_factory=threading.Lock)
    _locks: dict[str, threading.Lock] = field(default_factory=dict[str, threading.Lock])

    @contextmanager
    def holding(self, kind: str, identifier: str) -> Generator[None, None, None]:
        """Hold the lock of that thing."""
        with self._guard:
            lock = self._locks.setdefault(f"{kind}.{identifier}", threading.Lock())
        with lock:
            yield
