"""When the agent's credentials for targets end, as far as their files say: certificates, and tokens with `exp`.

How this works: nothing is verified here, for nothing is decided by it: the date is shown to people, so that they renew
a credential in time. Passwords, keys and opaque tokens say no end.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509

from wicketgate_gateway.contract.gateway import AgentTarget

MAX_FILE = 64 * 1024
_CERTIFICATES = ("tls.crt",)
_TOKENS = ("token",)


def expiries(targets: Mapping[str, AgentTarget]) -> dict[str, int]:
    """Seconds since 1970 at which the credential of each target ends; targets that tell nothing are left out."""
    found: dict[str, int] = {}
    for name, target in targets.items():
        folder = target.credential
        ends = expiry(Path(folder)) if folder is not None else None
        if ends is not None:
            found[name] = ends
    return found


def expiry(folder: Path) -> int | None:
    """When what stands in a credential's folder ends: the first end of all that say one."""
    ends: list[int] = []
    for name in _CERTIFICATES:
        ends += _of_certificate(_read(folder / name))
    for name in _TOKENS:
        ends += _of_token(_read(folder / name))
    return min(ends, default=None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError:
        return b""


def _of_certificate(data: bytes) -> list[int]:
    if not data:
        return []
    try:
        # The chain's others are renewed by whoever issues: what the agent shows is the first.
        return [int(x509.load_pem_x509_certificate(data).not_valid_after_utc.timestamp())]
    except ValueError:
        return []


def _of_token(data: bytes) -> list[int]:
    parts = data.strip().split(b".")
    if len(parts) != 3:
        return []
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return []
    ends = payload.get("exp") if isinstance(payload, dict) else None
    if isinstance(ends, bool) or not isinstance(ends, int | float) or not 0 < ends < 1e11:
        return []
    return [int(ends)]
