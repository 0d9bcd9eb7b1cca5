"""Time windows that come again every week."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wicketgate_gateway.contract.model import Strings, Terms

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d\Z|24:00\Z")


def _weekdays(values: list[str]) -> list[str]:
    for value in values:
        first, dash, last = value.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"`{value}` is not a day or a span of days: write `mon` or `mon-fri`")
    return values


def _clock(value: Any) -> Any:
    if not isinstance(value, str) or not _CLOCK.match(value):
        raise ValueError('not a time of day: write it in quotes with two digits each, as in "08:00"')
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"`{value}` is not a time zone: write it as in `Europe/Berlin`, or `UTC`") from None
    return value


Clock = Annotated[str, BeforeValidator(_clock)]
"""A time of day, `08:00` to `24:00`."""


class Window(Terms):
    """A time window that comes again every week."""

    days: Annotated[Strings, Field(min_length=1), AfterValidator(_weekdays)] | None = None
    """Days and spans of days (`mon-fri`, `sun`); without it, every day."""
    start: Annotated[Clock | None, Field(alias="from")] = None
    """The first minute, in `zone`."""
    end: Annotated[Clock | None, Field(alias="to")] = None
    """The first minute after it; one before `from` is of the next day."""
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """The time zone, as in the IANA database; daylight saving time counts."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("`from` and `to` go together")
        if self.start is None and self.days is None:
            raise ValueError("needs `days`, or `from` and `to`")
        if self.start is not None and (self.start == self.end or self.start == "24:00"):
            raise ValueError("`from` must be before `to`, or after it for a window over midnight")
        return self

    @property
    def weekdays(self) -> frozenset[int]:
        """The days, Monday 0."""
        found: set[int] = set()
        for value in self.days or ["mon-sun"]:
            first, _, last = value.partition("-")
            begin = _DAYS.index(first)
            length = (_DAYS.index(last or first) - begin) % 7
            found |= {(begin + i) % 7 for i in range(length + 1)}
        return frozenset(found)


def _one_window(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Windows = Annotated[list[Window], Field(min_length=1), BeforeValidator(_one_window)]
"""One window, or a list of which one must be open."""
