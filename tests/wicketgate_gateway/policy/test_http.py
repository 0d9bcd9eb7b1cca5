"""Requests and rules: an `allow` is sure, a `deny` takes what is possible."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.http import HttpTerms
from wicketgate_gateway.policy.http import ABSENT, UNREADABLE, HttpRule, RequestPoint, compile_terms


def rule(**terms: Any) -> HttpRule:
    """Compiled terms."""
    return compile_terms(HttpTerms.model_validate(terms))


def get(path: str = "/orders/7", method: str = "GET", body: Any = ABSENT, **query: Any) -> RequestPoint:
    """A request."""
    segments = tuple(path[1:].split("/"))
    return RequestPoint(method, segments, {k: tuple(v) for k, v in query.items()}, {"x-kind": ("a",)}, body)


@pytest.mark.parametrize(
    ("route", "path", "covers", "meets"),
    [
        ("/orders/{id}", "/orders/7", True, True),
        ("/orders/*", "/orders/7", True, True),
        ("/orders/*", "/orders/7/lines", False, False),
        ("/orders/*", "/orders/", False, False),
        ("/orders/*", "/orders", False, False),
        ("/orders/**", "/orders", True, True),
        ("/orders/**", "/orders/7/lines/", True, True),
        ("/orders/**", "/ordersx", False, False),
        ("/orders", "/orders/", False, True),
        ("/orders", "/Orders", False, True),
        ("/Admin/**", "/admin/users", False, True),
        ("/", "/", True, True),
        ("/**", "/anything", True, True),
        ("/a*", "/abc", True, True),
    ],
)
def test_routes(route: str, path: str, covers: bool, meets: bool) -> None:
    """What servers may read otherwise is denied by a `deny`, and not allowed by an `allow`."""
    assert rule(routes=route, methods="*").covers(get(path)) is covers
    assert rule(routes=route).meets(get(path)) is meets


def test_methods() -> None:
    """Without them only what changes nothing is let through; a HEAD is a GET."""
    assert rule(routes="/**").covers(get())
    assert not rule(routes="/**").covers(get(method="POST"))
    assert rule(routes="/**").meets(get(method="POST"))
    assert rule(methods="GET").covers(get(method="HEAD"))
    assert rule(methods="GET").meets(get(method="HEAD"))
    assert not rule(methods="get".upper()).covers(get(method="get"))


def test_query() -> None:
    """Every value for an `allow`, one for a `deny`; a name that servers may take for the same is ambiguous."""
    limited = rule(routes="/**", query={"expand": ["lines", "l*"]})
    assert limited.covers(get(expand=["lines"]))
    assert limited.covers(get(expand=["lines", "list"], other=["x"]))
    assert not limited.covers(get())
    assert not limited.covers(get(expand=["lines", "secret"]))
    assert not limited.covers(get(**{"expand": ["lines"], "expand[]": ["x"]}))
    assert not limited.covers(get(expand=["lines"], Expand=["x"]))
    assert rule(query={"expand": "secret"}).meets(get(expand=["lines", "secret"]))
    assert rule(query={"expand": "secret"}).meets(get(**{"Expand[]": ["secret"]}))
    assert not rule(query={"expand": "secret"}).meets(get(expand=["lines"]))


def test_headers() -> None:
    """Names without regard to case."""
    assert rule(headers={"X-Kind": "a"}).covers(get())
    assert not rule(headers={"X-Kind": "b"}).covers(get())
    assert not rule(headers={"X-Other": "*"}).covers(get())


@pytest.mark.parametrize(
    ("body", "covers", "meets"),
    [
        ({"amount": 5}, True, True),
        ({"amount": 5.0}, True, True),
        ({"amount": "5"}, True, True),
        ({"amount": 6}, False, False),
        ({"amount": [5]}, False, False),
        ({"Amount": 5}, False, True),
        ({"amount": 5, "AMOUNT": 9}, False, True),
        ({"amount": 9, "AMOUNT": 5}, False, True),
        ([{"amount": 5}], False, False),
        (ABSENT, False, False),
        (UNREADABLE, False, True),
    ],
)
def test_json_fields(body: Any, covers: bool, meets: bool) -> None:
    """What cannot be read may hold anything."""
    limited = rule(methods="POST", json={"$.amount": "5"})
    assert limited.covers(get(method="POST", body=body)) is covers
    assert limited.meets(get(method="POST", body=body)) is meets


def test_json_paths() -> None:
    """Wildcards are met if any, and cover if all."""
    body = {"lines": [{"sku": "a"}, {"sku": "b"}], "odd name": True, "deep": {"er": {"sku": None}}}
    for path, values, covers, meets in (
        ("$.lines[*].sku", ["a", "b"], True, True),
        ("$.lines[*].sku", ["a"], False, True),
        ("$.lines[0].sku", ["a"], True, True),
        ("$.lines[7].sku", ["a"], False, False),
        ("$['odd name']", ["true"], True, True),
        ("$.**.sku", ["a", "b", "null"], True, True),
        ("$.**.sku", ["null"], False, True),
        ("$.deep.*.sku", ["null"], True, True),
        ("$.lines", ["*"], True, True),
    ):
        limited = rule(json={path: values})
        assert limited.covers(get(body=body)) is covers, path
        assert limited.meets(get(body=body)) is meets, path


def test_upgrades_are_named() -> None:
    """A rule that does not speak of it does not let a connection change its protocol."""
    plain, socket = rule(routes="/**"), rule(routes="/**", upgrade="websocket")
    asks = RequestPoint("GET", ("ws",), {}, {}, upgrade="websocket")
    assert (plain.covers(asks), plain.meets(asks)) == (False, True)
    assert (socket.covers(asks), socket.meets(asks)) == (True, True)
    assert (socket.covers(get()), socket.meets(get())) == (False, False)


def test_points_of_others_are_not_ours() -> None:
    """Neither covered nor met."""
    assert not rule(routes="/**").covers(object())
    assert not rule(routes="/**").meets(object())
    assert str(get()) == "GET /orders/7"
    assert "`/orders/*`" in str(rule(routes="/orders/*"))
