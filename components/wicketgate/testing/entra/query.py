"""OData query options on a list or an object: `$filter $select $expand $orderby $top $skiptoken $count $search`."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from wicketgate.testing.entra.errors import bad_request
from wicketgate.testing.entra.filters import Filter, FilterError, parse_filter
from wicketgate.testing.entra.store import Doc

_PAGE = 100
_MAX_PAGE = 999
_SEARCH = re.compile(r'"(?P<name>\w+):(?P<text>[^"]*)"')
_KNOWN = frozenset(
    {"$filter", "$select", "$expand", "$orderby", "$top", "$skiptoken", "$count", "$search", "$format", "$skip"}
)


@dataclass(frozen=True)
class Query:
    """Parsed options. `advanced` is true with `ConsistencyLevel: eventual`."""

    select: tuple[str, ...] = ()
    expand: Mapping[str, "Query"] = field(default_factory=dict[str, "Query"])
    filter: Filter | None = None
    order: tuple[str, bool] | None = None
    top: int = _PAGE
    skip: int = 0
    count: bool = False
    search: tuple[str, str] | None = None
    rest: Mapping[str, str] = field(default_factory=dict[str, str])


def parse_query(options: Mapping[str, str], *, eventual: bool) -> Query:
    """Reads the options of one request. Raises GraphError 400 for what Graph refuses."""
    named = {(key if key.startswith("$") else f"${key}"): value for key, value in options.items()}
    for name in options:
        if name.startswith("$") and name not in _KNOWN:
            raise bad_request(f"The query parameter '{name}' is not supported.", "BadRequest")
    parsed_filter = None
    count = named.get("$count", "").lower() == "true"
    if text := named.get("$filter"):
        try:
            parsed_filter = parse_filter(text)
        except FilterError as error:
            raise bad_request(str(error)) from None
        if parsed_filter.advanced and not (eventual and count):
            raise bad_request(
                "Operator or function is not supported because the required parameters might be missing. Try adding "
                "$count=true query parameter and ConsistencyLevel:eventual header. Refer to "
                "https://aka.ms/graph-docs/advanced-queries for more information",
                "Request_UnsupportedQuery",
            )
    return Query(
        select=_names(named.get("$select", "")),
        expand=_expand(named.get("$expand", "")),
        filter=parsed_filter,
        order=_order(named.get("$orderby", "")),
        top=_top(named.get("$top")),
        skip=_skip(named.get("$skiptoken")),
        count=count,
        search=_search(named.get("$search"), eventual=eventual),
        rest={key: value for key, value in named.items() if key != "$skiptoken"},
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _expand(text: str) -> dict[str, Query]:
    found: dict[str, Query] = {}
    for part in _split(text, ","):
        name, _, inside = part.partition("(")
        options = dict(one.split("=", 1) for one in _split(inside.removesuffix(")"), ";") if "=" in one)
        found[name.strip()] = parse_query(options, eventual=True)
    return found


def _split(text: str, separator: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for one in text:
        quoted ^= one == "'"
        depth += 0 if quoted else (one == "(") - (one == ")")
        if one == separator and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += one
    return [part.strip() for part in parts if part.strip()]


def _order(text: str) -> tuple[str, bool] | None:
    if not text:
        return None
    name, _, direction = text.strip().partition(" ")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise bad_request(f"Syntax error in '$orderby={text}'.")
    return name, direction.strip().lower() == "desc"


def _top(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_PAGE:
        raise bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {_MAX_PAGE} inclusive.")
    return int(text)


def _skip(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        raise bad_request("The specified page token value is invalid.", "Directory_ExpiredPageToken") from None


def _search(text: str | None, *, eventual: bool) -> tuple[str, str] | None:
    if text is None:
        return None
    match = _SEARCH.fullmatch(text.strip())
    if not eventual:
        raise bad_request("Request with $search query parameter only works through MSGraph with a special request "
                          "header: 'ConsistencyLevel: eventual'", "Request_UnsupportedQuery")  # fmt: skip
    if match is None:
        raise bad_request(f"Syntax error in '$search={text}'.")
    return match["name"], match["text"]


@dataclass(frozen=True)
class Page:
    """What a list request gets: the documents of this page, and the total and next token if there are."""

    docs: list[Doc]
    total: int
    next_skip: int | None


def run(query: Query, docs: list[Doc], view: Callable[[Doc], dict[str, Any]]) -> Page:
    """Filters, sorts and pages `docs`; `view` gives the properties that filters may see."""
    chosen = [(doc, view(doc)) for doc in docs]
    if query.filter:
        chosen = [pair for pair in chosen if query.filter.matches(pair[1])]
    if query.search:
        name, text = query.search
        chosen = [pair for pair in chosen if text.casefold() in str(pair[1].get(name) or "").casefold()]
    if query.order:
        name, down = query.order
        chosen.sort(key=lambda pair: str(pair[1].get(name) or "").casefold(), reverse=down)
    end = query.skip + query.top
    return Page([doc for doc, _ in chosen[query.skip : end]], len(chosen), end if end < len(chosen) else None)


def next_link(base: str, query: Query, skip: int) -> str:
    """The `@odata.nextLink` of a page."""
    token = base64.urlsafe_b64encode(str(skip).encode()).decode()
    return f"{base}?{urlencode({**query.rest, '$skiptoken': token}, quote_via=quote, safe='$')}"
