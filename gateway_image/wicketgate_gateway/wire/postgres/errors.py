"""Errors as PostgreSQL's clients see them: ours, and the server's with values taken out.

How this works: a server's error may quote the value that it is about (`invalid input syntax for type integer: "…"`,
`Key (email)=(…) already exists`). For a statement whose answer is masked, everything that could show a value goes:
detail, context and hint always, the message's quoted parts unless they name a schema, table, column, type or constraint
that the error names in fields of their own. An error with a position in the client's text and no context was raised
while the statement was analysed, before any row was read, and stays as it is. (With a context the position is one in
another text: `email::regtype` has the value itself parsed.)
"""

from __future__ import annotations

from wicketgate_gateway.wire.postgres import messages

HIDDEN = "the server's message is hidden, since it could show a masked value"
# PostgreSQL's own messages in these classes put values in double quotes; messages of other classes may be anyone's.
_QUOTING_CLASSES = frozenset({"0A", "08", "21", "22", "23", "25", "26", "34", "40", "42", "53", "54", "55", "57"})
_KEPT = ("S", "V", "C", "M", "s", "t", "c", "d", "n", "R")


def error(severity: str, sqlstate: str, text: str, *, detail: str = "", hint: str = "", position: int = 0) -> bytes:
    """An ErrorResponse of our own; `severity` is `ERROR` or `FATAL`. NULs and line ends are taken out."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": _line(text), "D": _line(detail), "H": _line(hint)}
    if position:
        fields["P"] = str(position)
    return messages.report(b"E", fields)


def notice(text: str, *, detail: str = "", hint: str = "", sqlstate: str = "00000") -> bytes:
    """A NoticeResponse of our own."""
    fields = {"S": "NOTICE", "V": "NOTICE", "C": sqlstate, "M": _line(text), "D": _line(detail), "H": _line(hint)}
    return messages.report(b"N", fields)


def tells_of_others(body: bytes, written: frozenset[str]) -> bool:
    """Whether a report of the server's may show values that its statement has nothing to do with.

    That is so where it comes from code that runs within (a trigger, a cascade), and where a constraint of another table
    than the statement writes (`written`, names without schema) failed: a partition's, a child's, one below a view, or
    whichever at the end of a transaction.
    """
    fields = messages.read_report(body)
    lines = fields.get("W", "").splitlines()
    if any(not line.startswith(_OWN_CONTEXTS) for line in lines):
        return True
    return fields.get("C", "")[:2] == "23" and fields.get("t", "") not in written


_OWN_CONTEXTS = ("COPY ", "JSON data, line ")


def without_values(kind: bytes, body: bytes) -> bytes:
    """The server's ErrorResponse (`E`) or NoticeResponse (`N`) `body` as a message that shows no value."""
    fields = messages.read_report(body)
    if "P" in fields and "W" not in fields:
        return messages.message(kind, body)
    kept = {code: fields[code] for code in _KEPT if code in fields}
    sqlstate = fields.get("C", "")
    if sqlstate[:2] in _QUOTING_CLASSES:
        names = {fields[code] for code in "stcdn" if code in fields}
        kept["M"] = _without_quoted(fields.get("M", ""), names)
    else:
        kept["M"] = HIDDEN
    return messages.report(kind, kept)


def _without_quoted(text: str, names: set[str]) -> str:
    first, last = text.find('"'), text.rfind('"')
    if first < 0:
        return text
    if last == first:
        return text[:first] + "(hidden)"
    # A value may hold quotes itself: take apart only if each quoted part is a name, else cut from first to last.
    parts = text.split('"')
    if len(parts) % 2 and all(part in names for part in parts[1::2]):
        return text
    return f'{text[:first]}"(hidden)"{text[last + 1 :]}'


def _line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split("\n"))
