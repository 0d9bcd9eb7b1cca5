"""HTTP requests as points, and the terms of rules on them, compiled.

How this works: a request is one point. What an `allow` says must hold for certain: case counts, a field that is written
twice in different cases is no field. What a `deny` or `hold` says need only be possible: servers differ in whether case
counts, in how they read `a[]=1`, and in what they take a body without a type for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wicketgate_gateway.contract.http import HttpTerms
from wicketgate_gateway.policy.names import compile_part

if TYPE_CHECKING:
    from wicketgate_gateway.policy.compile import CompiledRule

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""What a rule without `methods` lets through."""


class _Absent:
    """No JSON: there is no body, or it was not read."""

    def __repr__(self) -> str:
        return "<no JSON>"


ABSENT: Final = _Absent()
"""There is no body."""
UNREADABLE: Final = _Absent()
"""There is a body, and it is not JSON, or not known."""


@dataclass(frozen=True, slots=True)
class RequestPoint:
    """A request as it will be forwarded. `segments` are decoded, the last is empty if the path ends with `/`; names of
    headers are in lower case."""

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, tuple[str, ...]]
    body: Any = ABSENT
    """The JSON document, ABSENT or UNREADABLE."""
    operation: str = ""
    """The `operationId` that the target's OpenAPI document has for it, if any."""
    upgrade: str = ""
    """The protocol that the connection shall become, in lower case."""
    may_be: frozenset[str] | None = None
    """Those of all operations that a server may take it for; None: there is no document, so it may be any."""

    @property
    def kind(self) -> str:
        """The method."""
        return self.method

    @property
    def path(self) -> str:
        """The decoded path."""
        return "/" + "/".join(self.segments)

    def __str__(self) -> str:
        said = f"{self.method} {self.path}"
        return f"{said} (upgrade to {self.upgrade})" if self.upgrade else said

    def values(self) -> dict[str, Any]:
        """The variables of conditions."""
        return {
            "op.method": self.method,
            "op.path": self.path,
            # Without a document a condition on it fails, and what fails denies.
            **({} if self.may_be is None and not self.operation else {"op.operation": self.operation}),
            "op.query": {name: list(values) for name, values in self.query.items()},
            "op.headers": {name: list(values) for name, values in self.headers.items()},
            **({} if isinstance(self.body, _Absent) else {"op.body": self.body}),
        }


Segments = tuple[re.Pattern[str] | None, ...]
"""A route: patterns of segments, None for a last `**`."""


class Route:
    """A compiled route template."""

    __slots__ = ("_exact", "_loose", "_rest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parts = text[1:].split("/")
        self._rest = parts[-1] == "**"
        if self._rest:
            parts.pop()
        self._exact = tuple(_segment(part, ignore_case=False) for part in parts)
        self._loose = tuple(_segment(part, ignore_case=True) for part in parts)

    def matches(self, segments: Sequence[str]) -> bool:
        """Whether the path is of this route for certain."""
        return self._fits(self._exact, segments)

    def could_match(self, segments: Sequence[str]) -> bool:
        """Whether a server might take the path for one of this route: case and a last `/` may not count."""
        bare = segments[:-1] if len(segments) > 1 and not segments[-1] else segments
        return any(self._fits(self._loose, each) for each in (segments, bare, (*bare, "")))

    def _fits(self, patterns: Sequence[re.Pattern[str]], segments: Sequence[str]) -> bool:
        if self._rest:
            if len(segments) < len(patterns):
                return False
        elif len(segments) != len(patterns):
            return False
        return all(p.match(s) for p, s in zip(patterns, segments, strict=False))


def _segment(part: str, *, ignore_case: bool) -> re.Pattern[str]:
    if part.startswith("{") or part == "*":
        return re.compile(r"(?s:.+)\Z")  # a segment that is empty stands for nothing
    return compile_part(part, ignore_case=ignore_case)


class HttpRule:
    """The terms of one rule."""

    __slots__ = ("_headers", "_json", "_methods", "_operations", "_query", "_routes", "_said", "_upgrade")

    def __init__(self, terms: HttpTerms) -> None:
        self._methods = None if terms.methods is None else frozenset(terms.methods)
        self._routes = None if terms.routes is None else tuple(Route(text) for text in terms.routes)
        self._operations = None if terms.operations is None else _patterns(terms.operations)
        self._query = {name: _patterns(values) for name, values in (terms.query or {}).items()}
        self._headers = {name.lower(): _patterns(values) for name, values in (terms.headers or {}).items()}
        self._json = {path: (json_steps(path), _patterns(values)) for path, values in (terms.json_ or {}).items()}
        self._upgrade = frozenset(terms.upgrade or ())
        self._said = _said(terms)

    def __str__(self) -> str:
        return self._said

    @property
    def safe_only(self) -> bool:
        """Whether an `allow` with these terms lets nothing through but `SAFE_METHODS`, since it names none."""
        return self._methods is None and self._operations is None

    @property
    def header_names(self) -> frozenset[str]:
        """The headers that it looks at, in lower case."""
        return frozenset(self._headers)

    @property
    def body_paths(self) -> tuple[tuple[Step, ...], ...]:
        """Where in a JSON body it looks."""
        return tuple(steps for steps, _ in self._json.values())

    @property
    def reads_body(self) -> bool:
        """Whether it looks into the body."""
        return bool(self._json)

    def covers(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        if not isinstance(point, RequestPoint):
            return False
        if point.upgrade and point.upgrade not in self._upgrade:
            return False
        if self._upgrade and not point.upgrade:
            return False
        methods = SAFE_METHODS if self._methods is None else self._methods
        if not (self._methods is None and self._operations is not None) and not _has(methods, point.method):
            return False
        if self._routes is not None and not any(route.matches(point.segments) for route in self._routes):
            return False
        if self._operations is not None and not (point.operation and _any(self._operations, point.operation)):
            return False
        return self._covers_values(point)

    def _covers_values(self, point: RequestPoint) -> bool:
        for given, wanted in ((point.query, self._query), (point.headers, self._headers)):
            for name, patterns in wanted.items():
                values = given.get(name, ())
                if not values or not all(_any(patterns, value) for value in values):
                    return False
                if given is point.query and sum(_loose_name(other) == _loose_name(name) for other in given) > 1:
                    return False  # which of them counts is the server's guess
        for steps, patterns in self._json.values():
            found = None if isinstance(point.body, _Absent) else _certain(point.body, steps)
            if not found or not all(_any(patterns, text) for text in found):
                return False
        return True

    def meets(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        if not isinstance(point, RequestPoint):
            return False
        if self._upgrade and point.upgrade not in self._upgrade:
            return False
        if not self.could_concern(point):
            return False
        for name, patterns in self._query.items():
            loose = _loose_name(name)
            values = (v for other, vs in point.query.items() if _loose_name(other) == loose for v in vs)
            if not any(_any(patterns, value) for value in values):
                return False
        for name, patterns in self._headers.items():
            if not any(_any(patterns, value) for value in point.headers.get(name, ())):
                return False
        for steps, patterns in self._json.values():
            if point.body is UNREADABLE:
                continue
            if not any(_any(patterns, text) for text in possible_values(point.body, steps)):
                return False
        return True

    def could_concern(self, point: RequestPoint) -> bool:
        """Whether method and route may be those of the rule, whatever else the request says."""
        if self._methods is not None and not _has(self._methods, point.method):
            return False
        if self._routes is not None and not any(route.could_match(point.segments) for route in self._routes):
            return False
        if self._operations is None or (point.may_be is None and not point.operation):
            return True  # without a document it could be any operation
        return any(_any(self._operations, each) for each in (*(point.may_be or ()), point.operation) if each)


def compile_terms(terms: HttpTerms) -> HttpRule:
    """A rule's terms, ready to match."""
    return HttpRule(terms)


def _has(methods: frozenset[str], method: str) -> bool:
    # A HEAD is a GET whose answer has no body.
    return method in methods or "*" in methods or (method == "HEAD" and "GET" in methods)


def _patterns(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(compile_part(text) for text in texts)


def _any(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.match(text) for pattern in patterns)


def _loose_name(name: str) -> str:
    return name.partition("[")[0].lower()  # PHP, Rails, qs: `a[]` and `a[b]` are within `a`


def _said(terms: HttpTerms) -> str:
    methods = ", ".join(f"`{m}`" for m in terms.methods or sorted(SAFE_METHODS))
    if terms.operations is not None:
        only = f" by {methods}" if terms.methods is not None else ""
        said = "the operations " + ", ".join(f"`{name}`" for name in terms.operations) + only
    else:
        said = f"{methods} on " + (", ".join(f"`{route}`" for route in terms.routes or ()) or "any path")
    parts = [f"`{name}={'|'.join(values)}`" for name, values in (terms.query or {}).items()]
    parts += [f"`{name}: {'|'.join(values)}`" for name, values in (terms.headers or {}).items()]
    parts += [f"`{path}` being {' or '.join(f'`{v}`' for v in values)}" for path, values in (terms.json_ or {}).items()]
    parts += [f"upgrade to `{name}`" for name in terms.upgrade or ()]
    return f"{said} with {', '.join(parts)}" if parts else said


# --- paths into JSON -------------------------------------------------------------------------------------------------

Step = str | int | None
"""A key, an index, None for `[*]` and `.*`; `DEEP` for `**`."""
DEEP: Final = "\0**"
_STEP = re.compile(r"\.(\*\*)|\.(\*)|\.([A-Za-z_][A-Za-z0-9_-]*)|(\[\*\])|\[(\d+)\]|\['([^'\\]+)'\]")


def json_steps(path: str) -> tuple[Step, ...]:
    """The steps of a validated path (`contract.http.json_path`)."""
    steps: list[Step] = []
    for match in _STEP.finditer(path, 1):
        deep, star, key, every, index, quoted = match.groups()
        steps.append(DEEP if deep else None if star or every else int(index) if index is not None else key or quoted)
    return tuple(steps)


def _certain(value: Any, steps: Sequence[Step]) -> list[str] | None:
    """The texts of all values at a path; None if a key on the way is there twice, but for its case."""
    found = [value]
    for step in steps:
        below: list[Any] = []
        for each in found:
            if isinstance(step, str) and step != DEEP and isinstance(each, dict):
                if sum(key.lower() == step.lower() for key in each) > 1:
                    return None
                if step in each:
                    below.append(each[step])
            else:
                below += _below(each, step)
        found = below
    return [text_of(each) for each in found]


def possible_values(value: Any, steps: Sequence[Step]) -> Iterator[str]:
    """The texts of all values that a server may find at a path: case may not count."""
    if isinstance(value, _Absent):
        return
    found = [value]
    for step in steps:
        below: list[Any] = []
        for each in found:
            if isinstance(step, str) and step != DEEP and isinstance(each, dict):
                below += [inner for key, inner in each.items() if key.lower() == step.lower()]
            else:
                below += _below(each, step)
        found = below
    for each in found:
        yield text_of(each)


def _below(value: Any, step: Step) -> list[Any]:
    if step == DEEP:
        found: list[Any] = [value]
        for each in found:  # grows as it goes
            if isinstance(each, dict):
                found += each.values()
            elif isinstance(each, list):
                found += each
        return found
    if step is None:
        return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(step, int):
        return [value[step]] if isinstance(value, list) and step < len(value) else []
    return [value[step]] if isinstance(value, dict) and step in value else []


def text_of(value: Any) -> str:
    """A JSON value as rules write it: `true`, `null`, `12`, `12.5`, text as it is; a whole is no value."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    return "\0object" if isinstance(value, dict) else "\0list"


def needs_body(rules: Iterable[CompiledRule], point: RequestPoint) -> bool:
    """Whether a rule that may be about this request looks into its body."""
    for rule in rules:
        terms = rule.points
        if not isinstance(terms, HttpRule) or not terms.could_concern(point):
            continue
        if terms.reads_body or (rule.condition is not None and rule.condition.reads_body):
            return True
    return False
