"""Held requests as text: there and back, and nothing else goes out."""

from __future__ import annotations

import pytest

from wicketgate_gateway.session.http_held import canonical_request, parse_canonical
from wicketgate_gateway.wire.http.head import HttpError


def test_there_and_back() -> None:
    """Sorted names, and what says nothing of the request left out."""
    headers = (
        ("X-B", "2"),
        ("User-Agent", "curl"),
        ("Content-Type", "a/b"),
        ("traceparent", "x"),
        ("Range", "bytes=1-"),
    )
    text = canonical_request("POST", "/a?b", headers, b'{"x":\n\n1}')
    assert text == 'POST /a?b\ncontent-type: a/b\nx-b: 2\n\n{"x":\n\n1}'
    assert parse_canonical(text) == ("POST", "/a?b", (("content-type", "a/b"), ("x-b", "2")), b'{"x":\n\n1}')


def test_what_a_client_sends_anew_is_the_same() -> None:
    """Another trace, another user agent, another order."""
    one = canonical_request("POST", "/", (("A", "1"), ("B", "2"), ("X-Request-Id", "1")), b"x")
    two = canonical_request("POST", "/", (("b", "2"), ("a", "1"), ("X-Request-Id", "2")), b"x")
    assert one == two
    assert canonical_request("POST", "/", (("A", "1"),), b"y") != canonical_request("POST", "/", (("A", "1"),), b"x")


def test_what_nobody_could_read() -> None:
    """Is not asked for."""
    with pytest.raises(HttpError) as failed:
        canonical_request("POST", "/", (), b"\xff\xfe")
    assert failed.value.code == "hold-not-showable"
    for text in ("", "POST /", "POST / \nnonsense\n\nx", "POST\n\nx"):
        with pytest.raises(HttpError):
            parse_canonical(text)
