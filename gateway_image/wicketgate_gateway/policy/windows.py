"""Time windows, compiled: whether one is open at a moment, by the wall clocks of its zone."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from wicketgate_gateway.contract.windows import Window

_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class OpenTimes:
    """One window; minutes count from midnight. One that ends before it begins goes on into the next day."""

    days: frozenset[int]
    begin: int
    end: int
    zone: ZoneInfo
    text: str

    def open(self, now: float) -> bool:
        """Whether it is open at `now` (seconds since 1970)."""
        local = datetime.datetime.fromtimestamp(now, self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


def compile_windows(windows: Iterable[Window] | None) -> tuple[OpenTimes, ...]:
    """The windows; empty for none, which is always open (see `any_open`)."""
    return tuple(
        OpenTimes(
            window.weekdays,
            _minutes(window.start) if window.start else 0,
            _minutes(window.end) if window.end else _DAY,
            ZoneInfo(window.zone),
            _text(window),
        )
        for window in windows or ()
    )


def any_open(windows: tuple[OpenTimes, ...], now: float) -> bool:
    """Whether one of the windows is open, or there are none."""
    return not windows or any(window.open(now) for window in windows)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _text(window: Window) -> str:
    parts = [", ".join(window.days or ())]
    if window.start:
        parts.append(f"{window.start}–{window.end}")
    return " ".join(part for part in (*parts, window.zone) if part)
