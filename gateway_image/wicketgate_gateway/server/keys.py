"""The key that keeps masked digests stable: one that gateways share by a file, or one made once per state folder."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError

KEY_BYTES = 32
_HEX = re.compile(rb"\s*([0-9A-Fa-f]{64})\s*\Z")


def mask_key(state: Path, shared: str | None = None) -> bytes:
    """The key in the file `shared`, else the one in `<state>/mask.key`, made if there is none.

    A shared key that cannot be read is never replaced by another: two gateways would tell one value by two digests.
    Raises WicketgateError, without what the file holds.
    """
    return _own(state / "mask.key") if shared is None else _shared(shared)


def _shared(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            found = _HEX.match(file.read(1024))
    except OSError:
        found = None
    if found is None:
        raise WicketgateError(
            f"`{path}` does not hold the key of masks",
            code="mask-key-unreadable",
            remedy="write into it what `openssl rand -hex 32` makes, readable for the gateway",
        )
    return bytes.fromhex(found[1].decode())


def _own(path: Path) -> bytes:
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            key = path.read_bytes()
        else:
            key = secrets.token_bytes(KEY_BYTES)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or "cannot be used"
        raise WicketgateError(
            f"`{path}`: {reason.lower()}", code="state-unusable", remedy="give the gateway's user the state folder"
        ) from None
    if len(key) != KEY_BYTES:
        raise WicketgateError(
            f"`{path}` is damaged", code="state-unusable", remedy="delete it; `hash` masks then give new digests"
        )
    return key
