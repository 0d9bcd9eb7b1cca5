"""OData options."""

from typing import Any

import pytest

from wicketgate.testing.entra.errors import GraphError
from wicketgate.testing.entra.query import next_link, parse_query, run

DOCS: list[dict[str, Any]] = [{"id": str(n), "displayName": f"bot {n}", "n": n} for n in range(5)]


def test_defaults_and_names_without_dollar() -> None:
    query = parse_query({}, eventual=False)
    assert (query.select, query.top, query.skip, query.count) == ((), 100, 0, False)
    assert parse_query({"select": "id, displayName"}, eventual=False).select == ("id", "displayName")


def test_expand_with_options() -> None:
    query = parse_query({"$expand": "members($select=id;$filter=displayName eq 'a,b'),owners"}, eventual=False)
    assert list(query.expand) == ["members", "owners"]
    assert query.expand["members"].select == ("id",)
    found = query.expand["members"].filter
    assert found is not None
    assert found.matches({"displayName": "a,b"})


def test_pages_lead_to_the_next_until_the_last() -> None:
    options = {"$top": "2", "$orderby": "displayName desc", "$filter": "n ge 1"}
    query = parse_query(options, eventual=False)
    page = run(query, DOCS, lambda doc: doc)
    assert ([doc["n"] for doc in page.docs], page.total, page.next_skip) == ([4, 3], 4, 2)
    link = next_link("https://g/v1.0/applications", query, 2)
    assert link.startswith("https://g/v1.0/applications?$top=2&")
    assert "$skiptoken=" in link
    last = run(parse_query(options | {"$skiptoken": "Mg=="}, eventual=False), DOCS, lambda doc: doc)
    assert ([doc["n"] for doc in last.docs], last.next_skip) == ([2, 1], None)


def test_search_needs_eventual_consistency() -> None:
    with pytest.raises(GraphError, match="ConsistencyLevel"):
        parse_query({"$search": '"displayName:bot"'}, eventual=False)
    query = parse_query({"$search": '"displayName:T 3"'}, eventual=True)
    assert [doc["n"] for doc in run(query, DOCS, lambda doc: doc).docs] == [3]


@pytest.mark.parametrize(
    "options",
    [
        {"$top": "0"},
        {"$top": "1000"},
        {"$top": "x"},
        {"$skiptoken": "!"},
        {"$orderby": "displayName sideways"},
        {"$filter": "displayName like 'x'"},
        {"$filter": "displayName ne 'x'"},
        {"$apply": "x"},
        {"$search": "x"},
    ],
)
def test_what_graph_refuses(options: dict[str, str]) -> None:
    with pytest.raises(GraphError) as refused:
        parse_query(options, eventual=False)
    assert refused.value.status == 400


def test_advanced_filters_with_their_headers() -> None:
    query = parse_query({"$filter": "displayName ne 'bot 0'", "$count": "true"}, eventual=True)
    assert run(query, DOCS, lambda doc: doc).total == 4
