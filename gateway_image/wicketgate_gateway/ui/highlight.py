"""Statements in colours: pygments' classes in escaped HTML; what does not show itself is written out first."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name

from wicketgate_gateway.approvals.display import visible

MAX_COLOURED = 64 * 1024
_LEXERS = {
    "postgres": "postgresql",
    "ssh": "bash",
    "json": "json",
    "yaml": "yaml",
}
"""The image has no others (`tools/image/context.py`)."""


def coloured(text: str, language: str) -> Markup:
    """`text` as HTML to stand in `<pre>`; `language` is a protocol's name, `json` or `yaml`. Nothing is cut."""
    shown = visible(text)
    name = _LEXERS.get(language)
    if name is None or len(shown) > MAX_COLOURED:
        return Markup("").join([shown])  # escapes
    return Markup(highlight(shown, _lexer(name), _FORMATTER).rstrip("\n"))  # noqa: S704 - pygments escapes all text


_FORMATTER = HtmlFormatter(nowrap=True, classprefix="c-")


@lru_cache
def _lexer(name: str) -> Lexer:
    # Lexers may drop leading and trailing blank lines, and add a line end: an approver sees the very text.
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)
