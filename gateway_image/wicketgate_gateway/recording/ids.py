"""Session ids: sortable by start, unguessable in their second half, and safe as a folder's name.

How this works: a ULID (github.com/ulid/spec) in lower case: 48 bits of milliseconds since 1970, then 80 random bits,
as 26 characters of Crockford's base 32. Within one process ids only ever rise, also within one millisecond and when
the clock steps back. An id names a session; it proves nothing and opens nothing.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime

from wicketgate_gateway.contract.errors import WicketgateError

LENGTH = 26
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: number for number, letter in enumerate(_ALPHABET)}
_RANDOM_BITS = 80

_lock = threading.Lock()
_last = 0


def new_session_id(now_ns: int | None = None) -> str:
    """A new id; `now_ns` (nanoseconds since 1970) is for tests."""
    global _last
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    number = (milliseconds << _RANDOM_BITS) | int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")
    with _lock:
        if number >> _RANDOM_BITS <= _last >> _RANDOM_BITS:
            # The same millisecond (or a clock that stepped back): a random step keeps order and stays unguessable.
            number = _last + 1 + int.from_bytes(os.urandom(8), "big")
        _last = number
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def check_session_id(text: str) -> str:
    """`text` in lower case if it is an id, so that it may become part of a path.

    Raises WicketgateError (`session-id-invalid`).
    """
    lower = text.lower()
    if len(lower) != LENGTH or any(letter not in _VALUES for letter in lower) or lower[0] > "7":
        raise WicketgateError(
            f"`{text[:64]}` is not a session id", code="session-id-invalid", remedy="`wicketgate sessions` lists them"
        )
    return lower


def started_at(session: str) -> datetime:
    """When the session of this (valid) id began, in UTC, to the millisecond."""
    number = 0
    for letter in session:
        number = (number << 5) | _VALUES[letter]
    return datetime.fromtimestamp((number >> _RANDOM_BITS) / 1000, UTC)
