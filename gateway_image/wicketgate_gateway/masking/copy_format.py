"""How the data of a COPY is written, by the statement's options: known with certainty, or not at all.

How this works: the options of the tree are read one by one. One that is not known here, that comes twice, or whose
value is not a plain constant gives a text that says so, and so does whatever would make a field's bytes mean two
things.

Source: PostgreSQL's documentation of COPY, and ProcessCopyOptions in src/backend/commands/copy.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from wicketgate_gateway.wire.postgres.sql.model import Facts, SqlError
from wicketgate_gateway.wire.postgres.sql.parser import parse
from wicketgate_gateway.wire.postgres.sql.walk import strings

_TEXT_NULL = b"\\N"
_BAD_DELIMITERS = frozenset(b"\\.\r\n\0abcdefghijklmnopqrstuvwxyz0123456789")
_CSV_ONLY = ("quote", "escape", "force_quote")
_IGNORED_IN = frozenset(
    {"force_null", "force_not_null", "freeze", "on_error", "log_verbosity", "reject_limit", "default"}
)
"""Options of COPY FROM that say nothing of where fields begin and end."""
_TRUE = frozenset({"true", "on", "1", "match"})
_FALSE = frozenset({"false", "off", "0"})


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """The format of a COPY's data; of `binary` only the kind counts."""

    kind: Literal["text", "csv", "binary"] = "text"
    delimiter: bytes = b"\t"
    null: bytes = _TEXT_NULL
    quote: bytes = b'"'
    escape: bytes = b'"'
    header: bool = False
    quoted: frozenset[str] = frozenset()
    """Columns whose values are always quoted (FORCE_QUOTE)."""
    quotes_all: bool = False


def copy_statement(facts: Facts) -> Any | None:
    """The tree of a COPY; None if the text holds anything else."""
    try:
        statements = parse(facts.text).stmts
    except SqlError:
        return None
    if len(statements) != 1 or statements[0].stmt.WhichOneof("node") != "copy_stmt":
        return None
    return statements[0].stmt.copy_stmt


def format_of(statement: Any) -> CopyFormat | str:
    """The format that the options of a COPY's tree ask for; a text if that is not certain: why."""
    given: dict[str, Any] = {}
    for node in statement.options:
        option = node.def_elem
        if node.WhichOneof("node") != "def_elem" or option.defnamespace:
            return "an option is no plain one"
        if option.defname in given:
            return f"the option `{option.defname}` is given twice"
        given[option.defname] = option.arg
    kind = _string(given.pop("format", None), b"text")
    encoding = _string(given.pop("encoding", None), b"utf8")
    if encoding is None or encoding.lower().replace(b"-", b"").replace(b"_", b"") not in (b"utf8", b"unicode"):
        return "the encoding is not UTF8"
    if statement.is_from:
        given = {name: value for name, value in given.items() if name not in _IGNORED_IN}
    if kind == b"binary":
        return CopyFormat("binary") if not given else f"the option `{next(iter(given))}` does not go with binary"
    if kind not in (b"text", b"csv"):
        return "the format is none of text, csv and binary"
    return _csv(given) if kind == b"csv" else _text(given, reads=statement.is_from)


def _text(given: dict[str, Any], *, reads: bool) -> CopyFormat | str:
    header = _boolean(given.pop("header", None))
    delimiter = _string(given.pop("delimiter", None), b"\t")
    null = _string(given.pop("null", None), _TEXT_NULL)
    if given:
        return f"the option `{next(iter(given))}` is not known for text"
    if header is None:
        return "the option `header` is neither true nor false"
    if delimiter is None or len(delimiter) != 1 or delimiter[0] in _BAD_DELIMITERS:
        return "the delimiter is not one that text can have"
    if null is None or (null != _TEXT_NULL and not reads):
        # A value that reads so is written so, too.
        return "in text, NULL and a value that reads like it cannot be told apart"
    return CopyFormat("text", delimiter, null, header=header)


def _csv(given: dict[str, Any]) -> CopyFormat | str:
    header = _boolean(given.pop("header", None))
    delimiter = _string(given.pop("delimiter", None), b",")
    null = _string(given.pop("null", None), b"")
    quote = _string(given.pop("quote", None), b'"')
    escape = _string(given.pop("escape", None), quote)
    forced = given.pop("force_quote", None)
    if given:
        return f"the option `{next(iter(given))}` is not known for csv"
    if header is None:
        return "the option `header` is neither true nor false"
    if null is None or delimiter is None or quote is None or escape is None:
        return "an option is no plain text"
    marks = (delimiter, quote, escape)
    if any(len(mark) != 1 or mark in b"\r\n\0" or mark[0] > 127 for mark in marks):
        return "delimiter, quote and escape must be one character each"
    if delimiter in (quote, escape) or quote in null or delimiter in null or b"\n" in null or b"\r" in null:
        return "delimiter, quote and NULL cannot be told apart"
    names: list[str] = []
    every = False
    if forced is not None:
        every = forced.WhichOneof("node") == "a_star"
        if not every:
            if forced.WhichOneof("node") != "list":
                return "the option `force_quote` is no list of columns"
            names = strings(forced.list.items)
    return CopyFormat("csv", delimiter, null, quote, escape, header, frozenset(names), every)


def _string(argument: Any, default: bytes | None) -> bytes | None:
    # An option's text; None if it is given, but as something else.
    if argument is None:
        return default
    return argument.string.sval.encode() if argument.WhichOneof("node") == "string" else None


def _boolean(argument: Any) -> bool | None:
    # `HEADER` alone stands for true; without the option it is false. None if it is neither.
    if argument is None:
        return False
    match argument.WhichOneof("node"):
        case None:
            return True
        case "boolean":
            return bool(argument.boolean.boolval)
        case "integer":
            value = str(argument.integer.ival)
        case "string":
            value = argument.string.sval.lower()
        case _:
            return None
    return True if value in _TRUE else False if value in _FALSE else None
