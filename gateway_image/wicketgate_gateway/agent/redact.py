"""Known secrets taken out of a stream of bytes, as it passes.

How this works: each whole occurrence becomes as many `*`, so that lengths stay true. Where a piece ends in the first
bytes of a secret, they are held back until the next piece says whether it goes on: all of them where nobody waits for
them (`patient`), else those from the fourth on, and not for long (`release`). What follows what was let go is still
replaced.
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
        self.patient = False
        """Whether nobody waits for what is held: it will be asked for at the end."""
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
        begins = len(data) - kept
        if kept < (1 if self.patient else _HELD):
            self._passed = data[begins:] if kept else b""
            return data[passed:]
        upto = max(begins, passed)
        self._passed, self._held = data[begins:upto], data[upto:]
        return data[passed:upto]

    def release(self) -> bytes:
        """What was held back: nothing came behind it for a while."""
        held, self._held = self._held, b""
        self._passed += held
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
