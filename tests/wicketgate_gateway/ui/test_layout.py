"""JSON laid out: it stays the same JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.ui.layout import laid_out

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES))
def test_it_stays_the_same(value: Any) -> None:
    shown, language = laid_out(json.dumps(value))
    assert language == "json"
    assert json.loads(shown) == value


def test_nothing_is_dropped() -> None:
    shown, _ = laid_out('{"a": 1.10, "a": 1e400, "b": [], "c": {}}')
    assert shown == '{\n  "a": 1.10,\n  "a": 1e400,\n  "b": [],\n  "c": {}\n}'


@pytest.mark.parametrize(
    "text", ["", "{", "plain", "7", '"x"', "{'a': 1}", "[" * 100_000, "[1]" + " " * 300_000, "[1] x"]
)
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    assert laid_out(text) == (text, "")
