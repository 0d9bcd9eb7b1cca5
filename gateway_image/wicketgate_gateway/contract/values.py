"""Small value types that several documents use."""

from __future__ import annotations

import datetime
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)\Z")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ]00:00:00(?:\.0+)?(?:Z|\+00:00| \+0000 UTC))?\Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def _duration(value: object) -> str:
    if not isinstance(value, str) or not _DURATION.match(value):
        raise ValueError("not a duration: write a number and a unit (ms, s, m, h, d), as in `10m`")
    return value


def seconds(duration: str) -> float:
    """The seconds in a validated `Duration`."""
    match = _DURATION.match(duration)
    assert match
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(
            "not a name: use up to 63 lowercase letters, digits and `-`, beginning and ending with a letter or digit"
        )
    return value


def _uuid(value: str) -> str:
    if not _UUID.match(value):
        raise ValueError("not an object id: write a lowercase UUID")
    return value


def _port(value: int) -> int:
    if not 0 <= value <= 65535:
        raise ValueError("not a port: write a number from 0 to 65535")
    return value


def _date(value: object) -> str:
    # Pulumi reads an unquoted date as a point in time, and writes it back as one.
    match = _DATE.match(value) if isinstance(value, str) else None
    try:
        return datetime.date.fromisoformat(match[1] if match else "").isoformat()
    except ValueError:
        raise ValueError("not a date: write it as in `2027-06-30`") from None


Duration = Annotated[str, BeforeValidator(_duration)]
"""A number and a unit: `250ms`, `30s`, `10m`, `12h`, `90d`."""
Name = Annotated[str, AfterValidator(_name)]
"""A DNS label (RFC 1123), as Kubernetes and Entra accept it everywhere."""
Uuid = Annotated[str, AfterValidator(_uuid)]
"""A lowercase UUID: an Entra object, application or tenant id."""
Port = Annotated[int, AfterValidator(_port)]
"""A TCP port; 0 lets the system choose."""
Date = Annotated[str, BeforeValidator(_date)]
"""A calendar date in ISO 8601; the end of that day in UTC counts."""
