"""Patterns of one's own: in one canonical form that means the same, or refused with the reason."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wicketgate_gateway.contract.patterns import canonical, checked_pattern


@pytest.mark.parametrize(
    ("pattern", "form"),
    [
        ("ORD-[0-9]{8}", r"ORD\x2d(?:[0-9]){8,8}"),
        (r"\d{3}\.x?y+", r"(?:[0-9]){3,3}\x2e(?:x){0,1}(?:y){1,}"),
        ("(?i)ab|c", "(?:[Aa][Bb]|[Cc])"),
        ("(?i:a)b", "(?:[Aa])b"),
        ("[^a]", r"[\x00-\x60b-\xff]"),
        ("a+?b", "(?:a){1,}?b"),
        ("[a&&b]", r"[\x26a-b]"),
    ],
)
def test_the_canonical_form(pattern: str, form: str) -> None:
    assert canonical(pattern) == form
    assert checked_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "empty pattern"),
        ("x*", "empty text"),
        ("(a|b?)", "empty text"),
        (r"(a)\1", "reference back"),
        ("a(?=b)", "looking ahead"),
        ("(?<!b)a", "looking ahead or behind"),
        ("^a", "where a value begins"),
        (r"\ba", "where a value begins"),
        ("a$", "where a value begins"),
        ("a++", "possessive"),
        ("(?>a)b", "atomic"),
        ("(a)(?(1)b|c)", "condition on a group"),
        ("(?m)a", r"only `\(\?i\)`"),
        ("(?x) a", r"only `\(\?i\)`"),
        ("a(", "no regular expression"),
        ("é", "outside ASCII"),
        ("\\u00e9\\u0100", "outside ASCII"),
        ("((a{100}){100}){100}", "too much"),
        ("a" * 1001, "longer than"),
        (r"[^\s\S]", "matches no byte"),
    ],
)
def test_what_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical(pattern)


parts = st.sampled_from(
    ["a", "b", "[a-c]", "[^a]", r"\d", r"\w", ".", "(?:ab|c)", r"\.", "a{1,2}", "b?", "c+", "(?:a+?)"]
)


@given(st.lists(parts, min_size=1, max_size=5).map("".join), st.text("abc1._\n", max_size=12))
def test_it_finds_what_the_pattern_finds(pattern: str, text: str) -> None:
    try:
        form = canonical(pattern)
    except ValueError:
        assume(False)
        raise
    data = text.encode()
    wanted = [found.span() for found in re.compile(pattern.encode()).finditer(data)]
    assert [found.span() for found in re.compile(form.encode()).finditer(data)] == wanted
