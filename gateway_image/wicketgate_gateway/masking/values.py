"""How one value is masked.

How this works: types that hold any text get the replacement as text, in both formats (their binary form is their text).
Of the others, those that `typed` knows come out as a value of their own type, so that a client still reads the column;
the rest comes out as NULL. What is derived from a value (digests, other digits) is keyed, so that equal values stay
equal and nobody can look a value up by hashing guesses.
"""

from __future__ import annotations

from collections.abc import Callable

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking import typed
from wicketgate_gateway.masking.text import digest, format_preserving, masked_text, partial

__all__ = ["REDACTED", "TEXT_TYPES", "Masker", "digest", "format_preserving", "mask_value", "masker", "partial"]

TEXT_TYPES = frozenset({25, 1043, 1042, 19, 705})
"""OIDs of text, varchar, bpchar, name and unknown (src/include/catalog/pg_type.dat)."""
REDACTED = "•••".encode()

Masker = Callable[[bytes], bytes | None]


def masker(method: MaskMethod, type_oid: int, key: bytes, *, binary: bool = False) -> Masker:
    """The function that masks values of a column of this type in this format; it is never called with NULL.

    It never raises, and whatever it cannot mask in its type it gives out as NULL.
    """
    if method is MaskMethod.NULL:
        return _null
    if type_oid in TEXT_TYPES:
        return lambda value: masked_text(method, value, key)
    found = typed.masker(method, type_oid, key, binary=binary)
    return _null if found is None else found


def mask_value(
    method: MaskMethod, value: bytes | None, type_oid: int, key: bytes, *, binary: bool = False
) -> bytes | None:
    """The masked form of one value as it stands in a DataRow; None is NULL."""
    return None if value is None else masker(method, type_oid, key, binary=binary)(value)


def _null(value: bytes) -> None:
    return None
