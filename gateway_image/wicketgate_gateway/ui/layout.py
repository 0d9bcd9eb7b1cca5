"""JSON laid out to be read, in every page alike; it stays the same JSON, and what is none stays as it is."""

from __future__ import annotations

import json

MAX_LAID_OUT = 256 * 1024


def laid_out(text: str) -> tuple[str, str]:
    """A text as it reads best, and the language that it is in: `json`, or empty for what is not JSON.

    Members keep their order, and twice the same name stays twice (what a parser drops must not be dropped here).
    """
    start = text.lstrip()[:1]
    if start not in ("{", "[") or len(text) > MAX_LAID_OUT:
        return text, ""
    try:
        found = json.loads(text, object_pairs_hook=_Members, parse_float=_Number, parse_int=_Number)
        return _write(found, ""), "json"
    except (ValueError, RecursionError):
        return text, ""


class _Members(list[tuple[str, object]]):
    """An object's members, in order."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _write(value: object, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, _Members):
        parts = [f"{json.dumps(name, ensure_ascii=False)}: {_write(each, inner)}" for name, each in value]
        return "{" + _lines(parts, indent) + "}"
    if isinstance(value, list):
        return "[" + _lines([_write(each, inner) for each in value], indent) + "]"  # pyright: ignore[reportUnknownVariableType] - whatever JSON holds
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _lines(parts: list[str], indent: str) -> str:
    inside = ",\n".join(f"{indent}  {part}" for part in parts)
    return f"\n{inside}\n{indent}" if parts else ""
