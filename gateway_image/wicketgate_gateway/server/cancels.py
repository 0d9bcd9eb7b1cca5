"""Cancel keys: what a client needs to cancel a statement of its session from another connection.

A key is a made-up process number and a random secret. It cancels, and proves nothing else. Secrets are compared in
constant time, also for numbers that do not exist.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

_NO_SECRET = b"\0" * 4


class CancelKeys:
    """The keys of one process's sessions."""

    def __init__(self) -> None:
        self._keys: dict[int, tuple[bytes, Callable[[], None]]] = {}

    def add(self, cancel: Callable[[], None]) -> tuple[int, bytes]:
        """A new key (number, 4 bytes of secret); `cancel` is called when someone presents it."""
        while True:
            pid = secrets.randbelow(2**31 - 1) + 1
            if pid not in self._keys:
                break
        secret = secrets.token_bytes(4)
        self._keys[pid] = (secret, cancel)
        return pid, secret

    def remove(self, pid: int) -> None:
        """The session ended."""
        self._keys.pop(pid, None)

    def present(self, pid: int, secret: bytes) -> bool:
        """Cancel what the key stands for; whether it stood for anything (which the client is not told)."""
        known, cancel = self._keys.get(pid, (_NO_SECRET, None))
        if not hmac.compare_digest(known, secret) or cancel is None:
            return False
        cancel()
        return True
