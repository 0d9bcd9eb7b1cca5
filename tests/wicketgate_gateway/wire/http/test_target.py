"""Paths and queries: one meaning, or none."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.http.head import HttpError
from wicketgate_gateway.wire.http.target import parse_target


@pytest.mark.parametrize(
    ("text", "segments", "forwarded"),
    [
        ("/", ("",), "/"),
        ("/a/b", ("a", "b"), "/a/b"),
        ("/a/", ("a", ""), "/a/"),
        ("/a%20b", ("a b",), "/a%20b"),
        ("/%61", ("a",), "/a"),
        ("/caf%C3%A9", ("café",), "/caf%C3%A9"),
        ("/a%25", ("a%",), "/a%25"),
        ("/a...b", ("a...b",), "/a...b"),
        ("/x?a=%41&b", ("x",), "/x?a=%41&b"),
        ("/x?", ("x",), "/x?"),
    ],
)
def test_understood_and_written_anew(text: str, segments: tuple[str, ...], forwarded: str) -> None:
    """And understood the same again."""
    target = parse_target(text)
    assert (target.segments, target.forwarded) == (segments, forwarded)
    assert parse_target(target.forwarded) == target


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "http://x/", "*", "//a", "/a//b", "/a/../b", "/a/.", "/%2e%2e/a", "/a%2fb", "/a%5cb", "/a\\b", "/a;b",
        "/a%3bb", "/..;/a", "/%252e", "/%c0%ae", "/%ff", "/%00", "/%0a", "/a%", "/%zz", "/a#b", "/a b", '/"',
        "/%20", "/a%20",
        "/x?%ff", "/x?a=%00", "/x?a=%0d%0a", "/x?%", "/x?é", "/x?a b",
    ],
)  # fmt: skip
def test_ambiguous(text: str) -> None:
    """Refused, not normalised."""
    with pytest.raises(HttpError):
        parse_target(text)


def test_queries() -> None:
    """As forms are read."""
    target = parse_target("/x?a=1&a=2&b=x+y%2B&c&d=e=f&%61=3")
    assert target.query == {"a": ("1", "2", "3"), "b": ("x y+",), "c": ("",), "d": ("e=f",)}
    assert target.below(1).path == "/"
