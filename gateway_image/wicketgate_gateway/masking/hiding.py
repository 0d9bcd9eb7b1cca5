"""Bound parameters that meet masked columns, as they may be recorded: a keyed digest in place of each.

Equal values stay equal, so that people can tell that two statements looked for the same; nobody can look a value up by
hashing guesses.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence


def hide(
    parameters: Sequence[bytes | None], formats: Sequence[int], numbers: Iterable[int], key: bytes
) -> tuple[list[bytes | None], list[int]]:
    """Parameters and formats (0 text, 1 binary, as in Bind) with those of these numbers (from 1) hidden."""
    shown = list(parameters)
    kinds = [formats[0] if len(formats) == 1 else 0] * len(shown) if len(formats) <= 1 else list(formats)
    for number in numbers:
        value = shown[number - 1] if 0 < number <= len(shown) else None
        if value is not None:
            shown[number - 1] = hmac.digest(key, value, hashlib.sha256).hex()[:16].encode()
            kinds[number - 1] = 0
    return shown, kinds
