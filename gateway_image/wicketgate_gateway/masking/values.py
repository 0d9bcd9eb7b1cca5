"""How one value is masked.

How this works: types that hold any text get the replacement as text, in both formats (their binary form is their text).
All others (numbers, dates, JSON, arrays, types that we do not know) come out as NULL: no replacement fits them, and a
client must be able to read what it gets. The digest is keyed, so that equal values stay equal and nobody can look a
value up by hashing guesses.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from wicketgate_gateway.contract.policy import MaskMethod

TEXT_TYPES = frozenset({25, 1043, 1042, 19, 705})
"""OIDs of text, varchar, bpchar, name and unknown (src/include/catalog/pg_type.dat)."""
REDACTED = "•••".encode()
_SHOWN = 4
_SHORT = 8
_MOST = 32

Masker = Callable[[bytes], bytes | None]


def masker(method: MaskMethod, type_oid: int, key: bytes) -> Masker:
    """The function that masks values of a column of this type; it is never called with NULL."""
    if method is MaskMethod.NULL or type_oid not in TEXT_TYPES:
        return _null
    if method is MaskMethod.REDACT:
        return _redact
    if method is MaskMethod.PARTIAL:
        return partial
    return lambda value: digest(value, key)


def mask_value(method: MaskMethod, value: bytes | None, type_oid: int, key: bytes) -> bytes | None:
    """The masked form of one value as it stands in a DataRow, in text or binary format; None is NULL."""
    return None if value is None else masker(method, type_oid, key)(value)


def _null(value: bytes) -> None:
    return None


def _redact(value: bytes) -> bytes:
    return REDACTED


def partial(value: bytes) -> bytes:
    """The last four characters, or of an e-mail address the first letter and the domain.

    A text of under eight characters shows none: four would be half of it. The stars do not tell lengths over 32.
    """
    text = value.decode(errors="replace")
    local, at, domain = text.rpartition("@")
    if at and local and "." in domain and " " not in text:
        return (f"{local[0]}***@{domain}" if len(local) > 1 else f"***@{domain}").encode()
    if len(text) < _SHORT:
        return b"*" * len(text)
    return ("*" * min(len(text) - _SHOWN, _MOST) + text[-_SHOWN:]).encode()


def digest(value: bytes, key: bytes) -> bytes:
    """HMAC-SHA-256 of the value, 16 hex digits."""
    return hmac.digest(key, value, hashlib.sha256).hex()[:16].encode()
