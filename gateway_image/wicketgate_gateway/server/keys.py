"""The key that keeps masked digests stable: made once per state folder, read by its owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError

KEY_BYTES = 32


def mask_key(state: Path) -> bytes:
    """The key in `<state>/mask.key`, made if there is none. Raises WicketgateError."""
    path = state / "mask.key"
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
