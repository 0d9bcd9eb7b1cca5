"""Character references of HTML and XML undone before detectors, so that they see what a reader would: `ann&#64;b.com`.

How this works: a reference to a printable ASCII character becomes that character, but for those that would change the
markup (`<`, `>`, `&` and quotes). All others stay. A reference that is not complete at the end of a piece waits for the
next one.
"""

from __future__ import annotations

import html.entities
import re

from wicketgate_gateway.masking.decoding import Inner

_LONGEST = 48
_REFERENCE = re.compile(rb"&(?:#(?:[xX]0{0,24}([0-9A-Fa-f]{1,6})|0{0,24}([0-9]{1,7}));?|([A-Za-z]{2,24});)")
_OPEN = re.compile(rb"&(?:#(?:[xX][0-9A-Fa-f]*|[0-9]*)|[A-Za-z]*)\Z")
_MARKUP = frozenset("<>&\"'")


def _plain(text: str) -> bool:
    return len(text) == 1 and (" " <= text <= "~" or text in "\t\n") and text not in _MARKUP


_NAMED = {
    name[:-1].encode(): text.encode()
    for name, text in html.entities.html5.items()
    if name.endswith(";") and _plain(text)
}


def _character(match: re.Match[bytes]) -> bytes:
    in_hex, decimal, name = match.groups()
    if name:
        return _NAMED.get(name, match[0])
    number = int(in_hex, 16) if in_hex else int(decimal)
    return bytes([number]) if number < 128 and _plain(chr(number)) else match[0]


class EntityFilter:
    """Markup for a filter that looks for text."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        data, self._held = self._held + data, b""
        if b"&" not in data:
            return self._inner.feed(data)
        start = max(0, len(data) - _LONGEST)
        if (found := _OPEN.search(data, start)) is not None:
            data, self._held = data[: found.start()], data[found.start() :]
        return self._inner.feed(_REFERENCE.sub(_character, data))

    def finish(self) -> bytes:
        """See `Inner`."""
        held, self._held = self._held, b""
        return self._inner.feed(_REFERENCE.sub(_character, held)) + self._inner.finish()
