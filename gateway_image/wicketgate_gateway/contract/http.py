"""What a rule can say of an HTTP request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from wicketgate_gateway.contract.model import Strings, Terms

VARIABLES: Mapping[str, str] = {
    "op.method": "string",
    "op.path": "string",
    "op.operation": "string",
    "op.query": "lists",
    "op.headers": "lists",
    "op.body": "any",
}
"""What a condition can ask of an HTTP request, beside what it can ask of any operation."""
_METHOD = re.compile(r"[A-Z][A-Z-]{0,30}\Z|\*\Z")
_SEGMENT = re.compile(r"(?:\*\*?|\{[A-Za-z_][A-Za-z0-9_-]*\}|[A-Za-z0-9._~!$&'()+,;=:@*?-]+)\Z")
_HEADER = re.compile(r"[A-Za-z0-9-]+\Z")
_NAME = re.compile(r"[^\s]+\Z")
_JSON_PATH = re.compile(r"\$(?:\.\*\*|\.\*|\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[\d+\]|\['[^'\\]+'\])*\Z")

NEVER_MATCHED = frozenset({"authorization", "proxy-authorization", "x-wicketgate-token", "cookie", "connection"})
"""Headers that never reach a target as the bot sent them: a rule on one would say nothing."""


def json_path(value: str) -> str:
    """Check a path into a JSON document: `$.a.b`, `$.items[*].name`, `$.items[0]`, `$['odd name']`."""
    if not _JSON_PATH.match(value):
        raise ValueError(f"`{value}` is not a path of the form `$.items[*].name`")
    return value


def _methods(values: list[str]) -> list[str]:
    for value in values:
        if not _METHOD.match(value):
            raise ValueError(f"`{value}` is not a method: write it in capitals, such as `GET`")
    return values


def _routes(values: list[str]) -> list[str]:
    for value in values:
        if not value.startswith("/"):
            raise ValueError(f"`{value}` is not a route: it begins with `/`")
        segments = value[1:].split("/") if value != "/" else []
        for i, segment in enumerate(segments):
            last = i == len(segments) - 1
            if (segment == "" and last) or _SEGMENT.match(segment):
                if "**" in segment and (segment != "**" or not last):
                    raise ValueError(f"`**` in `{value}` must be the last segment")
                if segment in (".", ".."):
                    raise ValueError(f"`{value}` holds `{segment}`, which no path has once it is understood")
                continue
            raise ValueError(f"`{segment}` in `{value}` is not a segment: write text, `{{name}}`, `*` or a last `**`")
    return values


def _keys(shape: re.Pattern[str], what: str) -> Any:
    def check(values: dict[str, list[str]]) -> dict[str, list[str]]:
        if not values:
            raise ValueError("an empty mapping limits nothing: name something, or remove the key")
        for key, texts in values.items():
            if not shape.match(key):
                raise ValueError(f"`{key}` is not {what}")
            if not texts:
                raise ValueError(f"`{key}` has no value: list some, or write `*` for any")
        return values

    return AfterValidator(check)


def _matchable(values: dict[str, list[str]]) -> dict[str, list[str]]:
    for key in values:
        if key.lower() in NEVER_MATCHED:
            raise ValueError(f"`{key}` is never forwarded, so a rule on it would say nothing")
    return values


class HttpTerms(Terms):
    """What a rule says of an HTTP request; every term that is given must match. Values may hold `*` and `?`."""

    methods: Annotated[Strings, Field(min_length=1), AfterValidator(_methods)] | None = None
    """Methods, in capitals. Without it: in `allow` and `hold` GET, HEAD and OPTIONS; in `deny`, and with `operations`,
    any."""
    routes: Annotated[Strings, Field(min_length=1), AfterValidator(_routes)] | None = None
    """Routes: `/orders/{id}` and `/orders/*` stand for one segment there, a last `/**` for any number of them."""
    operations: Annotated[Strings, Field(min_length=1)] | None = None
    """Operations by `operationId` of the target's OpenAPI document."""
    query: Annotated[dict[str, Strings], _keys(_NAME, "a parameter's name")] | None = None
    """Query parameters and the values that each may have. In `allow` every value that a named parameter has must match,
    and it must be there; in `deny` and `hold` one value is enough. Parameters that are not named are free."""
    headers: Annotated[dict[str, Strings], _keys(_HEADER, "a header's name"), AfterValidator(_matchable)] | None = None
    """Headers and the values that each may have."""
    json_: Annotated[dict[str, Strings] | None, Field(alias="json")] = None
    """Fields of a JSON body, by path (`$.amount`), and the values that each may have; the body must be JSON."""
    upgrade: Annotated[Strings, Field(min_length=1)] | None = None
    """`websocket`: in `allow` and `hold`, the request may become a WebSocket connection; others may not."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        terms = (self.methods, self.routes, self.operations, self.query, self.headers, self.json_, self.upgrade)
        if all(term is None for term in terms):
            raise ValueError("needs at least one of `methods`, `routes`, `operations`, `query`, `headers`, `json`")
        if self.operations is not None and self.routes is not None:
            raise ValueError("`operations` have routes of their own: write one of the two")
        for path, values in (self.json_ or {}).items():
            json_path(path)
            if not values:
                raise ValueError(f"`{path}` has no value: list some, or write `*` for any")
        if self.json_ is not None and not self.json_:
            raise ValueError("an empty `json` limits nothing: name a field, or remove the key")
        for value in self.upgrade or ():
            if value != "websocket":
                raise ValueError(f"`{value}` cannot be upgraded to: write `websocket`")
        return self
