"""Witnesses tell patterns apart wherever any text does."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.policy.names import compile_part
from wicketgate_gateway.policy.witness import Glob, witnesses

PATTERNS = st.lists(st.text("ab*?", min_size=1, max_size=5), min_size=1, max_size=4)
EVERY = ["".join(t) for n in range(1, 6) for t in itertools.product("abx", repeat=n)]


def answers(patterns: list[str], text: str) -> tuple[bool, ...]:
    return tuple(compile_part(p).match(text) is not None for p in patterns)


@given(PATTERNS)
def test_whatever_a_text_shows_a_witness_shows(patterns: list[str]) -> None:
    found = witnesses(Glob(p) for p in patterns)
    assert found.complete
    shown = {answers(patterns, text) for text in found.texts}
    assert {answers(patterns, text) for text in EVERY} <= shown
    assert len(shown) == len(found.texts), "one each"


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        (Glob("*", dash=False, single=False), "x", "-"),
        (Glob("/srv/*", barred="/", single=False), "/srv/x", "/srv/x/x"),
        (Glob("/srv", barred="/", below=True), "/srv/x/x", "/srv"),
        (Glob("a?", single=False), "a?", "ax"),
    ],
)
def test_kinds_of_patterns(glob: Glob, yes: str, no: str) -> None:
    other = Glob("never")
    found = witnesses([glob, other, Glob(yes, single=False), Glob(no, single=False)], allowed="-/?").texts
    assert yes in found
    assert no in found


def test_a_walk_that_is_cut_short_says_so_and_still_has_each_pattern() -> None:
    found = witnesses([Glob(f"*{word}*") for word in ("customers", "orders", "payments")], most=20)
    assert not found.complete
    for word in ("customers", "orders", "payments"):
        assert any(re.search(word, text) for text in found.texts)
