"""Known secrets taken out of a stream of bytes, as it passes.

How this works: each whole occurrence becomes as many `*`, so that lengths stay true. A piece that ends in the first
bytes of a secret is held back a moment, in case the next piece goes on with it; where it is let go, what follows is
still replaced. So no border between pieces lets a secret through whole.
"""

from __future__ import annotations

from collections.abc import Iterable

LEAST = 6
"""A shorter secret would be found everywhere."""
_HELD = 4


class Redactor:
    """For one direction of one connection."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = tuple(sorted({each for each in secrets if len(each) >= LEAST}, key=len, reverse=True))
        self._held = b""
        self._passed = b""
        """The end of what went out, in so far as a secret may begin in it."""

    def __bool__(self) -> bool:
        return bool(self._secrets)

    @property
    def holding(self) -> bool:
        """Whether bytes are held back: call `release` soon."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may go on."""
        if not self._secrets:
            return data
        passed = len(self._passed)
        data = self._passed + self._held + data
        self._held = self._passed = b""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"*" * len(secret))
        kept = self._begun(data)
        if kept >= _HELD and len(data) - kept >= passed:
            out, self._held = data[passed : len(data) - kept], data[len(data) - kept :]
            return out
        self._passed = data[len(data) - kept :] if kept else b""
        return data[passed:]

    def release(self) -> bytes:
        """What was held back: nothing came behind it for a while."""
        held, self._held = self._held, b""
        self._passed = held or self._passed
        return held

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end are the beginning of a secret."""
        most = 0
        for secret in self._secrets:
            first = secret[:1]
            tail = data[-(len(secret) - 1) :]
            at = tail.find(first)
            while at >= 0:
                if secret.startswith(tail[at:]):
                    most = max(most, len(tail) - at)
                    break
                at = tail.find(first, at + 1)
        return most
