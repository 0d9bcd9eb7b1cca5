"""What rules may say of HTTP requests."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.http import HttpTerms, json_path


def test_single_values_are_lists_of_one() -> None:
    """As everywhere in policies."""
    terms = HttpTerms.model_validate(
        {"methods": "GET", "routes": "/orders/{id}", "query": {"expand": "lines"}, "json": {"$.amount": ["1", "2"]}}
    )
    assert (terms.methods, terms.routes, terms.query) == (["GET"], ["/orders/{id}"], {"expand": ["lines"]})
    assert terms.json_ == {"$.amount": ["1", "2"]}


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({}, "needs at least one"),
        ({"methods": "get"}, "in capitals"),
        ({"routes": "orders"}, "begins with `/`"),
        ({"routes": "/a/**/b"}, "must be the last segment"),
        ({"routes": "/a/../b"}, "which no path has"),
        ({"routes": "/a//b"}, "is not a segment"),
        ({"routes": "/a%2fb"}, "is not a segment"),
        ({"routes": "/a/{id}x"}, "is not a segment"),
        ({"routes": "/a", "operations": "getA"}, "write one of the two"),
        ({"headers": {"Authorization": "*"}}, "never forwarded"),
        ({"headers": {"X Y": "*"}}, "not a header's name"),
        ({"query": {}}, "limits nothing"),
        ({"json": {"amount": "1"}}, "is not a path"),
        ({"json": {}}, "limits nothing"),
        ({"json": {"$.a": []}}, "has no value"),
        ({"methods": None}, "has no value"),
        ({"upgrade": "h2c", "routes": "/x"}, "cannot be upgraded to"),
    ],
)
def test_what_is_wrong_is_said(terms: dict[str, Any], said: str) -> None:
    """A term that says nothing, or what no request can be, is refused."""
    with pytest.raises(ValidationError) as failed:
        HttpTerms.model_validate(terms)
    assert said in str(failed.value)


@pytest.mark.parametrize("path", ["$", "$.a", "$.items[*].email", "$.a[0]", "$['odd name'].x", "$.**.email", "$.*"])
def test_paths(path: str) -> None:
    """The subset of JSONPath that is taken."""
    assert json_path(path) == path
