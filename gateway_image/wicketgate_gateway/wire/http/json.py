"""JSON that means one thing: no key twice, no numbers beyond JSON, UTF-8 alone, not nested without end."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100


class JsonError(ValueError):
    """Not JSON, or JSON that parsers read differently. The text holds no value."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("a key comes twice")
    return found


def _constant(name: str) -> Any:
    raise JsonError(f"`{name}` is no JSON")


def parse_json(data: bytes) -> Any:
    """The document. Raises JsonError."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise JsonError("not UTF-8") from None
    if text.startswith("\ufeff"):
        raise JsonError("a byte order mark")
    depth = deepest = 0
    if text.count("[") + text.count("{") > MAX_DEPTH:
        depth = deepest = _depth(text)
    if deepest > MAX_DEPTH or depth < 0:
        raise JsonError("nested too deep")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except JsonError:
        raise
    except (ValueError, RecursionError):
        raise JsonError("not JSON") from None


def _depth(text: str) -> int:
    depth = deepest = 0
    quoted = escaped = False
    for c in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest
