"""Passwords in statements: blanked before the statement is recorded anywhere.

How this works: PostgreSQL has statements that carry a password as a literal (`ALTER ROLE … PASSWORD '…'`, options of
user mappings, a subscription's connection string). In statements that may be such (roles and DDL by the analysis, and
texts that were not understood) the literal behind the word PASSWORD becomes `'***'`, and so does a literal that itself
holds `password=`. Nowhere else: a bot could else hide what it sends by writing the word into a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementClass

BLANK = "'***'"
_TOKEN = re.compile(
    r"""
    (?P<space>   \s+ | --[^\n\r]* )
  | (?P<comment> /\* )
  | (?P<string>  (?: [eE]'(?:[^'\\]|\\.|'')*+(?:'|\Z) ) | (?: (?:[uU]&|[bBxXnN])?'(?:[^']|'')*+(?:'|\Z) ) )
  | (?P<dollar>  \$(?P<tag>[^\W\d]\w*)?\$ )
  | (?P<word>    [^\W\d][\w$]* | "(?:[^"]|"")*+(?:"|\Z) )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CARRYING = frozenset({StatementClass.ROLE, StatementClass.DDL, StatementClass.ADMIN, StatementClass.EXTERNAL})


def may_carry_passwords(statements: Sequence[Facts]) -> bool:
    """Whether any of these statements is of a kind that can hold a password."""
    return any(facts.classes & _CARRYING for facts in statements)


def without_passwords(text: str, statements: Sequence[Facts] | None) -> str:
    """`text` with password literals blanked; `statements` are its facts, None if it was not understood."""
    if "password" not in text.lower():
        return text
    if statements is not None and not may_carry_passwords(statements):
        return text
    out: list[str] = []
    after_password = False
    for kind, piece in _tokens(text):
        if kind == "space":
            out.append(piece)
        elif kind == "string":
            secret = after_password or "password" in piece.lower()
            out.append(BLANK if secret else piece)
            # Another literal on the next line continues this one: `after_password` stays.
        else:
            out.append(piece)
            word = piece.strip('"').lower()
            # `PASSWORD = '…'` is no grammar of any statement, but costs nothing to blank.
            after_password = word.endswith("password") or (after_password and piece in ("=", "("))
    return "".join(out)


def without_literals(text: str) -> str:
    """`text` with all literals blanked: strings become `'***'`, the digits of numbers 0, comments a blank.

    To rules it means the same."""
    out: list[str] = []
    before = ""
    for kind, piece in _tokens(text):
        if kind == "string":
            out.append(BLANK)
        elif kind == "other" and piece.isdigit() and before != "$":
            out.append("0")
            continue
        elif kind == "space" and not piece.isspace():
            out.append(" ")  # a comment, which may hold anything
        else:
            out.append(piece)
        before = piece
    return "".join(out)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        kind = match.lastgroup or "other"
        end = match.end()
        if match["comment"]:
            end, kind = _comment_end(text, position), "space"
        elif match["dollar"]:
            closing = text.find(match["dollar"], end)
            end, kind = (len(text) if closing < 0 else closing + len(match["dollar"])), "string"
        yield kind, text[position:end]
        position = end


def _comment_end(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        if text.startswith("/*", position):
            depth += 1
            position += 2
        elif text.startswith("*/", position):
            depth -= 1
            position += 2
            if not depth:
                return position
        else:
            position += 1
    return position
