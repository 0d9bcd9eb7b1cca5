"""Addresses in answers: the target's own become paths, others stay."""

from __future__ import annotations

import pytest

from wicketgate_gateway.agent.http_answer import told


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [
        ("/orders/7", "", "/orders/7"),
        ("orders/7", "", "orders/7"),
        ("https://api.internal/orders/7?x=1#y", "", "/orders/7?x=1#y"),
        ("https://API.internal:443/orders", "", "/orders"),
        ("//api.internal/orders", "", "/orders"),
        ("https://api.internal", "", "/"),
        ("https://api.internal?x=1", "", "/?x=1"),
        ("https://api.internal:8443/orders", "", "https://api.internal:8443/orders"),
        ("http://api.internal/orders", "", "http://api.internal/orders"),
        ("https://evil.example/orders", "", "https://evil.example/orders"),
        ("https://api.internal@evil.example/", "", "https://api.internal@evil.example/"),
        ("https://api.internal//evil.example/", "", "https://api.internal//evil.example/"),
        ("https://[bad", "", "https://[bad"),
        ("/v2/orders/7", "/v2", "/orders/7"),
        ("https://api.internal/v2/orders", "/v2", "/orders"),
        ("/v2", "/v2", "/"),
        ("/v2?x=1", "/v2", "/?x=1"),
        ("/v20/orders", "/v2", "https://api.internal:443/v20/orders"),
        ("https://api.internal/other", "/v2", "https://api.internal/other"),
    ],
)
def test_location(value: str, base: str, expected: str) -> None:
    """Whatever way it is written."""
    assert told("location", value, tls=True, host="api.internal", port=443, base=base) == expected


def test_link() -> None:
    """Each address of it."""
    value = '<https://api.internal/a?page=2>; rel="next", </b>; rel="last", <https://other/c>; rel="x"'
    found = told("link", value, tls=True, host="api.internal", port=443, base="")
    assert found == '</a?page=2>; rel="next", </b>; rel="last", <https://other/c>; rel="x"'
