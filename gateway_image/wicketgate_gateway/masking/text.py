"""Masks of text, and what is derived from a value by a key.

How this works: a digest is HMAC-SHA-256. Format-preserving replacement draws from the digest, character by character:
a digit for a digit, a letter of the same case for a letter, everything else as it is. It cannot be undone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from wicketgate_gateway.contract.policy import MaskMethod

REDACTED = "•••".encode()
_SHOWN = 4
_SHORT = 8
_MOST = 32


def masked_text(method: MaskMethod, value: bytes, key: bytes) -> bytes:
    """A text as the method masks it; NULL gives nothing."""
    if method is MaskMethod.REDACT:
        return REDACTED
    if method is MaskMethod.PARTIAL:
        return partial(value)
    if method is MaskMethod.HASH:
        return digest(value, key)
    return format_preserving(value, key) if method is MaskMethod.FORMAT else b""


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


def number(value: bytes, key: bytes, below: int) -> int:
    """A number from 0 to `below`, derived from the value by the key."""
    return int.from_bytes(hmac.digest(key, value, hashlib.sha256), "big") % below


def stream(value: bytes, key: bytes) -> Iterator[int]:
    """As many bytes as wanted, derived from the value by the key."""
    seed = hmac.digest(key, value, hashlib.sha256)
    count = 0
    while True:
        yield from hashlib.sha256(seed + count.to_bytes(8, "big")).digest()
        count += 1


def format_preserving(value: bytes, key: bytes) -> bytes:
    """Each ASCII digit another digit, each letter a letter of its case; letters beyond ASCII become `x`."""
    drawn = stream(b"format:" + value, key)
    out: list[str] = []
    for char in value.decode(errors="replace"):
        if "0" <= char <= "9":
            out.append(chr(48 + next(drawn) % 10))
        elif "a" <= char <= "z":
            out.append(chr(97 + next(drawn) % 26))
        elif "A" <= char <= "Z":
            out.append(chr(65 + next(drawn) % 26))
        else:
            out.append("x" if ord(char) > 127 and char.isalnum() else char)
    return "".join(out).encode(errors="replace")
