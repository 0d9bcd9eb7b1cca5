"""Colours change nothing of the text, and markup in it stays text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.ui.highlight import MAX_COLOURED, coloured

LANGUAGES = ["postgres", "kubernetes", "http", "ssh", "json", "yaml", "unknown"]


def text_of(markup: str) -> str:
    assert set(re.findall(r"</?([a-z]+)", markup)) <= {"span"}
    assert not re.search(r"<span(?! class=\"c-[A-Za-z0-9 -]+\">)", markup)
    return html.unescape(re.sub(r"</?span[^>]*>", "", markup))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 -- x",
        "</pre><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "SELECT '<b>' /* </code> */",
        '{"a": "</span><script>"}',
        "\n\n  SELECT\t1  \n\n",
        "a\u202eb\x1b[31m",
        "",
    ],
)
def test_the_text_is_whole_and_no_markup(language: str, text: str) -> None:
    assert text_of(str(coloured(text, language))).rstrip("\n") == visible(text).rstrip("\n")


@given(st.text(max_size=80), st.sampled_from(LANGUAGES))
def test_any_text(text: str, language: str) -> None:
    shown = visible(text)
    assert text_of(str(coloured(text, language))).rstrip("\n") == shown.rstrip("\n")


def test_long_texts_are_whole_and_plain() -> None:
    text = "SELECT 1;" * MAX_COLOURED
    assert str(coloured(text, "postgres")) == text
