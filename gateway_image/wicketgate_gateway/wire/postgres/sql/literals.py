"""Cache keys: a statement's text without its plain literals.

How this works: one pass over the bytes. A plain `'…'` becomes `\\x01`, a plain number `\\x02` (a whole one of up to
nine digits, so surely an int4) or `\\x03`; all else is copied. No copied text holds a control character but blanks, so
two texts have the same key only if they differ in nothing but plain literals. Whatever could make the text mean
something else than it seems (comments, dollar quotes, escapes, prefixes, bytes outside ASCII, odd numbers) gives None:
such a text is not cached. Assumes `standard_conforming_strings = on`, as all of this package does.

`gateway_image/native/src/literals.rs` is the fast twin; `strip_literals` is that one where it is built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wicketgate_gateway.wire.postgres.sql.parser import native

if TYPE_CHECKING:
    from collections.abc import Callable

STRING, INTEGER, NUMBER = b"\x01", b"\x02", b"\x03"
_MAX_INTEGER_DIGITS = 9
_PIECE = re.compile(
    rb"""
    (?P<string>    '(?:[^'\\\x00]|'')*+'             (?![\w$"\x80-\xff]) )
  | (?P<name>      "(?:[^"\x00-\x1f\x7f]|"")*+"      (?![\w$'"\x80-\xff]) )
  | (?P<word>      [A-Za-z_][A-Za-z0-9_]*+           (?![$'"\x80-\xff]|&['"]) )
  | (?P<parameter> \$[0-9]++                         (?![\w$\x80-\xff]) )
  | (?P<number>    [0-9]++(?:\.[0-9]++)?+            (?![\w$.'"\x80-\xff]) )
  | (?P<other>     [\t\n\r\x20!\#%&()*+,:;<=>?@\[\]^{|}~] | -(?!-) | /(?!\*) | \.(?![0-9]) )
    """,
    re.VERBOSE,
)


def strip_literals_twin(sql: bytes) -> bytes | None:
    """The key of `sql`, or None where the text holds anything out of the ordinary."""
    if not sql.isascii():
        try:
            sql.decode()
        except UnicodeDecodeError:
            return None
    out: list[bytes] = []
    position = 0
    for piece in _PIECE.finditer(sql):
        if piece.start() != position:
            return None
        position = piece.end()
        match piece.lastgroup:
            case "string":
                out.append(STRING)
            case "number":
                text = piece[0]
                out.append(INTEGER if b"." not in text and len(text) <= _MAX_INTEGER_DIGITS else NUMBER)
            case _:
                out.append(piece[0])
    return b"".join(out) if position == len(sql) else None


_native = native()
strip_literals: Callable[[bytes], bytes | None] = strip_literals_twin if _native is None else _native.strip_literals
