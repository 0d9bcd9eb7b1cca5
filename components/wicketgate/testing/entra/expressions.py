"""Flexible federated credentials: `claims['sub'] matches 'repo:o/r:ref:refs/heads/*' and claims['x'] eq 'y'`.

Operators are `eq`, `matches` (with `*` for any run and `?` for one character) and `and`. Comparison is case-sensitive.
Source: Entra's flexible federated identity credentials page (preview).
"""

import re
from collections.abc import Callable
from typing import Any

_TERM = re.compile(r"\s*claims\['(?P<claim>[A-Za-z0-9_]+)'\]\s+(?P<operator>eq|matches)\s+'(?P<value>(?:[^']|'')*)'\s*")
_AND = re.compile(r"and\s")
_MAX_LENGTH = 4096


class ExpressionError(ValueError):
    """The expression does not parse."""


def parse_expression(text: str) -> Callable[[dict[str, Any]], bool]:
    """A predicate over an assertion's claims. Raises ExpressionError."""
    if len(text) > _MAX_LENGTH:
        raise ExpressionError("the expression is too long")
    tests: list[tuple[str, str, Callable[[str, str], bool]]] = []
    position = 0
    while True:
        term = _TERM.match(text, position)
        if term is None:
            raise ExpressionError(f"a comparison is expected at position {position}")
        value = term["value"].replace("''", "'")
        tests.append((term["claim"], value, _matches if term["operator"] == "matches" else str.__eq__))
        position = term.end()
        if position == len(text):
            break
        glue = _AND.match(text, position)
        if glue is None:
            raise ExpressionError(f"`and` is expected at position {position}")
        position = glue.end()
    return lambda claims: all(
        isinstance(claims.get(name), str) and test(value, claims[name]) for name, value, test in tests
    )


def _matches(pattern: str, text: str) -> bool:
    """Wildcard match that goes back to the last `*` only: at worst pattern times text, where a regex may explode."""
    at = place = 0
    star, resume = -1, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(one == "*" for one in pattern[at:])
