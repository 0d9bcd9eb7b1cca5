"""What every part of the emulator shares: the directory, the keys, the switches, its own address."""

import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from wicketgate.testing.entra.directory import Directory
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.quirks import Quirks

_LOG_LENGTH = 5000


@dataclass
class Core:
    """The running emulator's state. `url` is its own https origin; `trust` verifies the issuers it fetches from."""

    url: str
    directory: Directory
    keys: SigningKeys
    trust: ssl.SSLContext
    admin_key: str
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque[dict[str, Any]](maxlen=_LOG_LENGTH))
    sign_ins: deque[dict[str, Any]] = field(default_factory=lambda: deque[dict[str, Any]](maxlen=_LOG_LENGTH))
    """The sign-in log, in memory alone: the newest last."""

    @property
    def quirks(self) -> Quirks:
        """The switches."""
        return self.directory.quirks

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self.directory.tenant

    @property
    def issuer(self) -> str:
        """`iss` of v2.0 tokens. That of v1.0 tokens is `https://sts.windows.net/{tenant}/`, as the real one's."""
        return f"{self.url}/{self.tenant}/v2.0"

    def clock(self) -> int:
        """The tenant's clock in whole seconds, skew included."""
        return int(time.time() + self.quirks.clock_skew)

    def names_tenant(self, name: str) -> bool:
        """Whether a path segment names this tenant: its id or its domain."""
        return name.lower() in (self.tenant, self.directory.domain)
