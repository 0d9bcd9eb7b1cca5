"""What is put on record of HTTP requests under detectors; what goes to the target stays as it is.

How this works: what is found in heads and bodies becomes as many `*`, so that lengths stay true and a recording can be
read; texts of events are masked by each detector's method. In forms and queries `+` is a blank, so they are looked at
both ways. A body that cannot be looked into (compressed, another character set) is all `*`.
"""

from __future__ import annotations

from collections.abc import Iterable

from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.masking.text import REDACTED

FORM = "application/x-www-form-urlencoded"
MOST_FORM = 1024 * 1024
"""A longer form is not looked into piece by piece, and not recorded."""
_CHARSETS = ("utf-8", "utf8", "ascii", "8859-1")
Hits = list[tuple[int, int, int]]


def form_hits(detecting: Detecting, data: bytes) -> Hits:
    """What is found in a form or query, as it stands and with `+` as blank. May raise."""
    scan = detecting.detectors.scanner.scan
    hits = {*scan(data)}
    if b"+" in data:
        hits |= {*scan(data.replace(b"+", b" "))}
    return sorted(hits, key=lambda hit: (hit[0], -hit[1], hit[2]))


def masked_form(detecting: Detecting, data: bytes) -> bytes:
    """A form or query with what is found in it masked, the same object if there is nothing."""
    try:
        hits = form_hits(detecting, data)
        return detecting.spliced(data, hits) if hits else data
    except Exception:  # whatever it is: what could not be looked at is not shown
        return REDACTED


def starred(detecting: Detecting, data: bytes) -> bytes:
    """The same with each masked byte a `*`."""
    try:
        found = bytearray(data)
        for start, end, _ in form_hits(detecting, data):
            found[start:end] = b"*" * (end - start)
        return bytes(found)
    except Exception:  # as above
        return b"*" * len(data)


def starred_text(detecting: Detecting, text: str) -> str:
    """The same for a path with its query, or the value of a header (Latin-1 in `str`)."""
    return starred(detecting, text.encode("latin-1", "replace")).decode("latin-1")


def noted_text(detecting: Detecting | None, text: str) -> str:
    """A text of an event; the same object if nothing is found."""
    if detecting is None:
        return text
    data = text.encode(errors="surrogatepass")
    masked = masked_form(detecting, data)
    return text if masked is data else masked.decode(errors="replace")


class NotedBody:
    """A request's body as it is recorded, byte for byte of the same length."""

    def __init__(self, detecting: Detecting, headers: Iterable[tuple[str, str]]) -> None:
        kind = coding = ""
        for name, value in headers:
            if name.lower() == "content-type":
                kind = value.lower()
            elif name.lower() == "content-encoding":
                coding = value.strip().lower()
        charset = kind.partition("charset")[2]
        readable = coding in ("", "identity") and (not charset or any(each in charset for each in _CHARSETS))
        self._detecting = detecting
        self._redactor = Redactor(detecting, stars=True) if readable else None
        self._form = bytearray() if readable and kind.startswith(FORM) else None
        self._dropped = False

    def feed(self, data: bytes) -> bytes:
        """What may be recorded of all that came and was not yet."""
        if self._redactor is None or self._dropped:
            return b"*" * len(data)
        if self._form is None:
            return self._redactor.feed(data)
        self._form += data
        if len(self._form) <= MOST_FORM:
            return b""
        size, self._dropped = len(self._form), True
        self._form.clear()
        return b"*" * size

    def flush(self) -> bytes:
        """What is left at the end."""
        if self._redactor is None or self._dropped:
            return b""
        return self._redactor.flush() if self._form is None else starred(self._detecting, bytes(self._form))

    def whole(self, body: bytes) -> bytes:
        """A whole body."""
        return self.feed(body) + self.flush()
