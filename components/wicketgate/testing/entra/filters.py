"""OData's `$filter`, the part that Graph's directory supports, as a small real parser.

Grammar: `or`, `and`, `not`, parentheses; `eq ne gt ge lt le in`; `startswith endswith contains`; `any` with a lambda;
literals are strings with doubled quotes, numbers, booleans, null, bare GUIDs and dates. Strings compare without case,
as the directory does. A filter that does not parse is refused, never ignored.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Predicate = Callable[[dict[str, Any]], bool]

_MAX_LENGTH = 8192
_MAX_DEPTH = 40
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<punct>[(),:])"
    r"|(?P<date>\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?)(?![\w-])"
    r"|(?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"|(?P<number>-?\d+(?:\.\d+)?)(?![\w-])"
    r"|(?P<word>[A-Za-z_@$][\w@$.]*(?:/[A-Za-z_$][\w$.]*)*))"
)
_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: _fold(left) == _fold(right),
    "ne": lambda left, right: _fold(left) != _fold(right),
    "gt": lambda left, right: _ordered(left, right, lambda a, b: a > b),
    "ge": lambda left, right: _ordered(left, right, lambda a, b: a >= b),
    "lt": lambda left, right: _ordered(left, right, lambda a, b: a < b),
    "le": lambda left, right: _ordered(left, right, lambda a, b: a <= b),
}
# What the directory answers only with `$count=true` and `ConsistencyLevel: eventual`.
_ADVANCED = {"not", "ne", "endswith"}


class FilterError(ValueError):
    """The filter does not parse."""


@dataclass(frozen=True)
class Filter:
    """A parsed filter: what it accepts, and whether it needs the directory's advanced queries."""

    matches: Predicate
    advanced: bool


def parse_filter(text: str) -> Filter:
    """Parses a `$filter`. Raises FilterError."""
    if len(text) > _MAX_LENGTH:
        raise FilterError("Invalid filter clause: too long.")
    parser = _Parser(_tokens(text))
    predicate = parser.disjunction(0)
    if parser.peek() is not None:
        raise FilterError(f"Invalid filter clause: Syntax error: unexpected '{parser.peek()}'.")
    return Filter(predicate, parser.advanced)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.end() == position or match.lastgroup is None:
            raise FilterError(f"Invalid filter clause: Syntax error at position {position} in '{text}'.")
        found.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self.advanced = False

    def peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise FilterError("Invalid filter clause: unexpected end of the expression.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, text: str) -> None:
        kind, found = self._next()
        if found != text or kind == "string":
            raise FilterError(f"Invalid filter clause: '{text}' expected but '{found}' found.")

    def _keyword(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == ("word", word):
            self._at += 1
            return True
        return False

    def disjunction(self, depth: int) -> Predicate:
        parts = [self._conjunction(depth)]
        while self._keyword("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def _conjunction(self, depth: int) -> Predicate:
        parts = [self._term(depth)]
        while self._keyword("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)

    def _term(self, depth: int) -> Predicate:
        if depth > _MAX_DEPTH:
            raise FilterError("Invalid filter clause: too deep.")
        if self._keyword("not"):
            self.advanced = True
            inner = self._term(depth + 1)
            return lambda item: not inner(item)
        kind, text = self._next()
        if (kind, text) == ("punct", "("):
            inside = self.disjunction(depth + 1)
            self._expect(")")
            return inside
        if kind != "word":
            raise FilterError(f"Invalid filter clause: a property expected but '{text}' found.")
        if text.lower() in _FUNCTIONS and self.peek() == "(":
            return self._function(text.lower())
        if text.endswith("/any") and self.peek() == "(":
            return self._any(text.removesuffix("/any"), depth)
        return self._comparison(text)

    def _function(self, name: str) -> Predicate:
        self._expect("(")
        kind, path = self._next()
        if kind != "word":
            raise FilterError(f"Invalid filter clause: a property expected but '{path}' found.")
        self._expect(",")
        wanted = self._literal()
        self._expect(")")
        if not isinstance(wanted, str):
            raise FilterError(f"Invalid filter clause: {name} takes a string.")
        self.advanced |= name in _ADVANCED
        test = _FUNCTIONS[name]

        def predicate(item: dict[str, Any]) -> bool:
            value = _value(item, path)
            return isinstance(value, str) and test(value.casefold(), wanted.casefold())

        return predicate

    def _any(self, path: str, depth: int) -> Predicate:
        self._expect("(")
        _, variable = self._next()
        self._expect(":")
        inner = self.disjunction(depth + 1)
        self._expect(")")

        def predicate(item: dict[str, Any]) -> bool:
            values = _value(item, path)
            return isinstance(values, list) and any(inner({variable: value}) for value in values)

        return predicate

    def _comparison(self, path: str) -> Predicate:
        _, operator = self._next()
        if operator == "in":
            self._expect("(")
            wanted = [_fold(self._literal())]
            while self.peek() == ",":
                self._next()
                wanted.append(_fold(self._literal()))
            self._expect(")")
            return lambda item: _fold(_value(item, path)) in wanted
        if operator not in _COMPARE:
            raise FilterError(f"Invalid filter clause: unknown operator '{operator}'.")
        self.advanced |= operator in _ADVANCED
        literal = self._literal()
        compare = _COMPARE[operator]
        return lambda item: compare(_value(item, path), literal)

    def _literal(self) -> Any:
        kind, text = self._next()
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind in ("guid", "date"):
            return text
        if kind == "number":
            return float(text)
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        raise FilterError(f"Invalid filter clause: a literal expected but '{text}' found.")


def _value(item: dict[str, Any], path: str) -> Any:
    value: Any = item
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _fold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _ordered(left: Any, right: Any, test: Callable[[Any, Any], bool]) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return test(left.casefold(), right.casefold())
    if isinstance(left, int | float) and isinstance(right, int | float):
        return test(left, right)
    return False
