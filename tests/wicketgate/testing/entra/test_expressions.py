"""Flexible federated credentials' expressions."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate.testing.entra.expressions import ExpressionError, parse_expression


@pytest.mark.parametrize(
    ("text", "subject", "expected"),
    [
        ("claims['sub'] eq 'a'", "a", True),
        ("claims['sub'] eq 'a'", "A", False),
        ("claims['sub'] eq 'a*'", "ab", False),
        ("claims['sub'] eq 'a.'", "ab", False),
        ("claims['sub'] matches 'repo:o/r:*'", "repo:o/r:ref:refs/heads/main", True),
        ("claims['sub'] matches 'repo:o/r:*'", "repo:o/rr:ref", False),
        ("claims['sub'] matches 'repo:o/r:*'", "xrepo:o/r:", False),
        ("claims['sub'] matches 'v?.?'", "v1.2", True),
        ("claims['sub'] matches 'v?.?'", "v1x2", False),
        ("claims['sub'] matches 'v?'", "v", False),
        ("claims['sub'] matches '*'", "any\nthing", True),
        ("claims['sub'] eq 'a'", "a\n", False),
        ("claims['sub'] matches 'it''s*'", "it's ok", True),
        ("claims['sub'] eq 'a' and claims['x'] eq 'y'", "a", True),
        ("claims['sub'] eq 'a' and claims['x'] eq 'z'", "a", False),
        ("claims['missing'] matches '*'", "a", False),
        ("claims['list'] matches '*'", "a", False),
    ],
)
def test_expressions(text: str, subject: str, expected: bool) -> None:
    assert parse_expression(text)({"sub": subject, "x": "y", "list": ["a"]}) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "claims['sub']",
        "claims['sub'] = 'a'",
        "claims['sub'] eq a",
        "claims[sub] eq 'a'",
        "claims['sub'] eq 'a' or claims['sub'] eq 'b'",
        "claims['sub'] eq 'a' and",
        "claims['sub'] eq 'a' and ",
        "claims['sub'] eq 'a' claims['sub'] eq 'b'",
        "not claims['sub'] eq 'a'",
        "claims['sub'] eq 'a' --",
        "x" * 5000,
    ],
)
def test_what_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_eq_is_equality(value: str, other: str) -> None:
    quoted = value.replace("'", "''")
    assert parse_expression(f"claims['sub'] eq '{quoted}'")({"sub": other}) is (value == other)


def test_many_wildcards_do_not_hang() -> None:
    assert not parse_expression("claims['sub'] matches '" + "*a" * 12 + "b'")({"sub": "a" * 60})


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab*?", max_size=12))
def test_wildcards_agree_with_fnmatch(pattern: str, text: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert parse_expression(f"claims['sub'] matches '{pattern}'")({"sub": text}) is expected
