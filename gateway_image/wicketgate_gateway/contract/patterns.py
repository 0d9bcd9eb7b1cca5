"""Patterns that people write for detectors: what a linear-time engine can find in a stream, in one canonical form.

How this works: Python's own parser takes the pattern apart. What needs a look around, back or at the text's borders is
refused, as is what matches nothing at all; the rest is written out again with only literals, classes, groups, branches
and repeats, so that every engine (Rust's `regex`, Python's `re`) reads it in the same way, over bytes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

MAX_LENGTH = 1000
MAX_POSITIONS = 2000
"""How many characters the pattern may stand for with bounded repeats written out: compiled size goes with it."""

_parser: Any = importlib.import_module("re._parser")
_IGNORE_CASE = re.IGNORECASE
_REPEATS = {"MAX_REPEAT": "", "MIN_REPEAT": "?"}
_REFUSED = {
    "GROUPREF": "a reference back to a group",
    "GROUPREF_EXISTS": "a condition on a group",
    "ASSERT": "looking ahead or behind",
    "ASSERT_NOT": "looking ahead or behind",
    "AT": "`^`, `$`, `\\b` and the like (where a value begins and ends is not known in a stream)",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "ATOMIC_GROUP": "an atomic group",
}
_CATEGORIES: dict[str, frozenset[int]] = {
    "CATEGORY_DIGIT": frozenset(b"0123456789"),
    "CATEGORY_SPACE": frozenset(b" \t\n\r\f\v"),
    "CATEGORY_WORD": frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
}
_ALL = frozenset(range(256))


def canonical(pattern: str) -> str:
    """The pattern in the one form that all engines read alike, over bytes. Raises ValueError with what is wrong."""
    if not pattern:
        raise ValueError("an empty pattern matches everywhere")
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"the pattern is longer than {MAX_LENGTH} characters")
    if not pattern.isascii():
        raise ValueError("the pattern holds characters outside ASCII: it is matched byte by byte")
    try:
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"`{pattern}` is no regular expression: {getattr(error, 'msg', error)}") from None
    flags = parsed.state.flags & ~re.UNICODE
    if flags & ~_IGNORE_CASE:
        raise ValueError("of flags only `(?i)` is understood")
    text = _write(parsed, bool(flags & _IGNORE_CASE), _Budget())
    if parsed.getwidth()[0] == 0:
        raise ValueError(f"`{pattern}` matches the empty text, and so everywhere")
    return text


def alphabet(pattern: str) -> frozenset[int]:
    """All bytes that may stand in what the pattern matches. Raises as `canonical`."""
    canonical(pattern)
    parsed = _parser.parse(pattern)
    return frozenset(_bytes_of(parsed, bool(parsed.state.flags & _IGNORE_CASE)))


def _bytes_of(items: Iterable[tuple[Any, Any]], ignore_case: bool) -> set[int]:
    found: set[int] = set()
    for op, value in items:
        name = str(op)
        if name in _REPEATS:
            found |= _bytes_of(value[2], ignore_case)
        elif name == "BRANCH":
            for branch in value[1]:
                found |= _bytes_of(branch, ignore_case)
        elif name == "SUBPATTERN":
            _, added, removed, inner = value
            within = (ignore_case or bool(added & _IGNORE_CASE)) and not removed & _IGNORE_CASE
            found |= _bytes_of(inner, within)
        else:
            found |= _members(name, value, ignore_case)
    return found


def checked_pattern(pattern: str) -> str:
    """The pattern as it is, if `canonical` takes it; for models."""
    canonical(pattern)
    return pattern


class _Budget:
    """What the bounded repeats come to."""

    def __init__(self) -> None:
        self.left = MAX_POSITIONS
        self.factor = 1

    def take(self) -> None:
        self.left -= self.factor
        if self.left < 0:
            raise ValueError("the pattern's repeats come to too much: write smaller bounds, or `+` without any")


def _write(items: Iterable[tuple[Any, Any]], ignore_case: bool, budget: _Budget) -> str:
    return "".join(_item(str(op), value, ignore_case, budget) for op, value in items)


def _item(op: str, value: Any, ignore_case: bool, budget: _Budget) -> str:
    if op in _REFUSED:
        raise ValueError(f"{_REFUSED[op]} cannot be had in linear time over a stream")
    if op in _REPEATS:
        least, most, inner = value
        endless = most == _parser.MAXREPEAT
        before = budget.factor
        budget.factor *= max(1, least if endless else most)
        text = _write(inner, ignore_case, budget)
        budget.factor = before
        bounds = f"{{{least},}}" if endless else f"{{{least},{most}}}"
        return f"(?:{text}){bounds}{_REPEATS[op]}"
    if op == "BRANCH":
        return "(?:" + "|".join(_write(branch, ignore_case, budget) for branch in value[1]) + ")"
    if op == "SUBPATTERN":
        _, added, removed, inner = value
        if (added | removed) & ~_IGNORE_CASE:
            raise ValueError("of flags only `(?i)` is understood")
        ignore_case = (ignore_case or bool(added & _IGNORE_CASE)) and not removed & _IGNORE_CASE
        return "(?:" + _write(inner, ignore_case, budget) + ")"
    budget.take()
    members = _members(op, value, ignore_case)
    if not members:
        raise ValueError("a class of the pattern matches no byte")
    return _class(sorted(members))


def _members(op: str, value: Any, ignore_case: bool) -> frozenset[int]:
    if op == "LITERAL":
        return _cases({value}, ignore_case)
    if op == "NOT_LITERAL":
        return _ALL - _cases({value}, ignore_case)
    if op == "ANY":
        return _ALL - {10}
    if op != "IN":
        raise ValueError(f"{op.lower()} is not understood in a pattern")
    found: set[int] = set()
    negated = False
    for kind, what in value:
        name = str(kind)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found.add(what)
        elif name == "RANGE":
            found.update(range(what[0], what[1] + 1))
        elif name == "CATEGORY":
            category = str(what)
            inverse = "_NOT_" in category
            members = _CATEGORIES[category.replace("_NOT_", "_")]
            found |= _ALL - members if inverse else members
        else:
            raise ValueError(f"{name.lower()} is not understood in a class")
    return _ALL - _cases(found, ignore_case) if negated else _cases(found, ignore_case)


def _cases(members: Iterable[int], ignore_case: bool) -> frozenset[int]:
    found = frozenset(members)
    if max(found, default=0) > 255:
        raise ValueError("the pattern holds characters outside ASCII: it is matched byte by byte")
    if not ignore_case:
        return found
    letters = {byte for byte in found if chr(byte).isalpha() and byte < 128}
    return found | {byte ^ 0x20 for byte in letters}


def _class(members: Sequence[int]) -> str:
    if len(members) == 1:
        return _byte(members[0])
    parts: list[str] = []
    first = last = members[0]
    for byte in (*members[1:], -1):
        if byte == last + 1:
            last = byte
            continue
        parts.append(_byte(first) if first == last else f"{_byte(first)}-{_byte(last)}")
        first = last = byte
    return "[" + "".join(parts) + "]"


def _byte(value: int) -> str:
    return chr(value) if chr(value).isalnum() and value < 128 else f"\\x{value:02x}"
