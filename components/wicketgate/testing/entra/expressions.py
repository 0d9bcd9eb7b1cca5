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
    tests: list[tuple[str, re.Pattern[str]]] = []
    position = 0
    while True:
        term = _TERM.match(text, position)
        if term is None:
            raise ExpressionError(f"a comparison is expected at position {position}")
        value = term["value"].replace("''", "'")
        tests.append((term["claim"], _pattern(value, wildcards=term["operator"] == "matches")))
        position = term.end()
        if position == len(text):
            break
        glue = _AND.match(text, position)
        if glue is None:
            raise ExpressionError(f"`and` is expected at position {position}")
        position = glue.end()
    return lambda claims: all(
        isinstance(claims.get(name), str) and pattern.fullmatch(claims[name]) is not None for name, pattern in tests
    )


def _pattern(value: str, *, wildcards: bool) -> re.Pattern[str]:
    if not wildcards:
        return re.compile(re.escape(value), re.DOTALL)
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in re.sub(r"\*+", "*", value))
    return re.compile("".join(parts), re.DOTALL)
