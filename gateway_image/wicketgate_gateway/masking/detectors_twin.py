"""The scanner in Python: the reference for `detect.rs` in differential tests, and the fallback where it is not built.

How this works: for each token its trigger is looked for, and from there the token is matched by a regular expression
without backtracking (possessive repeats), or by a function. Python's engine can take longer than linear time on hostile
input, so a scan has a budget of time; who overruns it is told of one hit over everything (`OVERRUN`), which masks it.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import error, unpack_from

from wicketgate_gateway.masking.detectors_table import CLASSES, COUNTRIES, ISSUERS, Token

RawHit = tuple[int, int, int]
"""Start, end, the detector's number."""
OVERRUN = -1
"""The number of the detector that found no time to look."""
SECONDS = 0.25
SECONDS_A_MEBIBYTE = 2.0

VEIL = re.compile(
    rb"\x1b|\\u00[2-7][0-9A-Fa-f]|\\/|%[2-7][0-9A-Fa-f]|\xe2\x80[\x8b-\x8f]|\xe2\x81\xa0|\xef\xbb\xbf|\xc2\xad"
)
_HEX = re.compile(rb"\\[xX]((?:[0-9A-Fa-f]){16,}+)")
_STRING_ESCAPE = re.compile(rb"[^\x07\x1b]{0,4094}")
_PARAMETERS = re.compile(rb"[\x20-\x3f]*")
_LOCAL = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+'-")
_ALNUM = frozenset(CLASSES["word"])
_DIGIT = frozenset(b"0123456789")
_PEM_MOST = 64 * 1024
_PEM_BODY = re.compile(rb"[A-Za-z0-9+/=:,\-_\\ \r\n\t]*+")


class _OverrunError(Exception):
    """The budget is used up."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    number: int
    trigger: re.Pattern[bytes]
    token: Token
    body: re.Pattern[bytes] | None


class TwinScanner:
    """As `wicketgate_native.Scanner`; `own` are (number, canonical pattern, check)."""

    def __init__(self, tokens: Sequence[tuple[int, Token]], own: Sequence[tuple[int, str, str]]) -> None:
        self._tokens = [
            _Compiled(number, re.compile(token.trigger.encode()), token, _body(token)) for number, token in tokens
        ]
        self._own = [(number, re.compile(pattern.encode()), check) for number, pattern, check in own]

    def scan(self, data: bytes, /) -> list[RawHit]:
        """All hits: start, end, detector; by start, longest first."""
        deadline = time.thread_time() + SECONDS + SECONDS_A_MEBIBYTE * len(data) / 1048576
        try:
            hits = self._plain(data, deadline)
            hits += self._unveiled(data, deadline)
            for found in _HEX.finditer(data):
                first, last = found.span(1)
                decoded = binascii.unhexlify(data[first : last - (last - first) % 2])
                within = self._plain(decoded, deadline) + self._unveiled(decoded, deadline)
                hits += [(first + 2 * start, first + 2 * end, number) for start, end, number in within]
        except _OverrunError:
            return [(0, len(data), OVERRUN)]
        return sorted(set(hits), key=lambda hit: (hit[0], -hit[1], hit[2]))

    def _unveiled(self, data: bytes, deadline: float) -> list[RawHit]:
        if not VEIL.search(data):
            return []
        hits: list[RawHit] = []
        for blank in (False, True) if BLANK in data else (False,):
            view, places = unveil(data, blank=blank)
            within = self._plain(view, deadline)
            hits += [(places[start][0], places[end - 1][1], number) for start, end, number in within]
        return hits

    def _plain(self, data: bytes, deadline: float) -> list[RawHit]:
        hits: list[RawHit] = []
        for compiled in self._tokens:
            past = 0
            for end in self._ends(compiled, data, deadline):
                found = self._match(compiled, data, end, past)
                if found is not None:
                    past = found[1]
                    hits.append((*found, compiled.number))
        for number, pattern, check in self._own:
            for found in pattern.finditer(data):
                if time.thread_time() > deadline:
                    raise _OverrunError
                if found.end() > found.start() and CONFIRM[check](found[0]):
                    hits.append((*found.span(), number))
        return hits

    def _ends(self, compiled: _Compiled, data: bytes, deadline: float) -> Iterator[int]:
        at = 0
        search = compiled.trigger.search
        while found := search(data, at):
            if time.thread_time() > deadline:
                raise _OverrunError
            yield found.start() if compiled.token.matcher == "card" else found.end()
            at = found.start() + 1

    def _match(self, compiled: _Compiled, data: bytes, end: int, past: int) -> tuple[int, int] | None:
        token = compiled.token
        if token.matcher == "card":  # `end` is where its digits start
            return card(data, end, past)
        if token.matcher == "email":
            return email(data, end - 1, past)
        start = end - token.back
        if start < past or start < 0:
            return None
        if compiled.body is None:
            return _MATCHERS[token.matcher](data, start)
        if token.apart and start > 0 and data[start - 1] in _ALNUM:
            return None
        found = compiled.body.match(data, start)
        if found is None or not CONFIRM[token.confirm](found[1]):
            return None
        return found.span(1)


def _body(token: Token) -> re.Pattern[bytes] | None:
    if token.matcher != "steps":
        return None
    parts: list[bytes] = []
    for i, step in enumerate(token.steps):
        if i == token.shown:
            parts.append(b"(")
        if isinstance(step, bytes):
            parts.append(re.escape(step))
        else:
            name, least, most = step
            bound = b"" if most >= 1 << 30 else b"%d" % most
            parts.append(b"[" + re.escape(CLASSES[name]) + b"]{%d,%s}+" % (least, bound))
    return re.compile(b"".join(parts) + b")", re.DOTALL)


def card(data: bytes, start: int, past: int) -> tuple[int, int] | None:
    """A card's number (Luhn, issuer and length) in groups of digits from `start`; the longest."""
    if start < past or (start > 0 and data[start - 1] in _DIGIT):
        return None
    digits, at, best = b"", start, None
    while len(digits) < 19 and at < len(data) and data[at] in _DIGIT:
        digits += data[at : at + 1]
        at += 1
        following = data[at] if at < len(data) else 0
        if following in _DIGIT:
            continue
        if len(digits) >= 13 and _issued(digits) and luhn(digits):
            best = (start, at)
        if following in b" -":
            at += 1
    return best


def _issued(digits: bytes) -> bool:
    prefix = int(digits[:6])
    return any(first <= prefix <= last and lengths >> len(digits) & 1 for first, last, lengths in ISSUERS)


def iban(data: bytes, start: int) -> tuple[int, int] | None:
    """An IBAN (country, its length, mod 97) at `start`, its groups apart by one space or hyphen."""
    length = COUNTRIES.get(data[start : start + 2].decode("latin-1").upper())
    if length is None:
        return None
    kept, at = b"", start
    while len(kept) < length:
        if at >= len(data):
            return None
        if data[at] in _ALNUM:
            kept += data[at : at + 1]
        elif data[at] not in b" -" or data[at - 1] not in _ALNUM:
            return None
        at += 1
    return (start, at) if mod97(kept) else None


def _is_pair(data: bytes, at: int) -> bool:
    return 0xC3 <= data[at] <= 0xDF and 0x80 <= data[at + 1] <= 0xBF


def email(data: bytes, at: int, past: int) -> tuple[int, int] | None:
    """An address around the `@` at `at`."""
    start = at
    for _ in range(64):
        if start > past and data[start - 1] in _LOCAL:
            start -= 1
        elif start >= past + 2 and _is_pair(data, start - 2):
            start -= 2
        else:
            break
    while start < at and data[start] == 0x27:  # a quote around it
        start += 1
    if start == at:
        return None
    end, best, dots, label = at + 1, None, 0, 0
    most = min(at + 1 + 253, len(data))
    while end < most:
        if data[end] in _ALNUM or data[end] == 45:
            end, label = end + 1, label + 1
        elif end + 1 < most and _is_pair(data, end):
            end, label = end + 2, label + 1
        elif data[end] == 46 and label:
            end, dots, label = end + 1, dots + 1, 0
        else:
            break
        if dots and label > 1:
            best = (start, end)
    return best


def phone(data: bytes, start: int) -> tuple[int, int] | None:
    """An E.164 number: `+` and 8 to 15 digits, with up to three separators between."""
    if start > 0 and data[start - 1] in _ALNUM:
        return None
    at, count, apart, best = start + 1, 0, 0, None
    while at < len(data):
        if data[at] in _DIGIT:
            count, apart, at = count + 1, 0, at + 1
            if count > 15:
                break
            if count >= 8 and not (at < len(data) and data[at] in _DIGIT):
                best = (start, at)
        elif data[at] in b" .-()/" and apart < 3:
            apart, at = apart + 1, at + 1
        else:
            break
    return best


def pem(data: bytes, start: int) -> tuple[int, int] | None:
    """A PEM block whose label speaks of a private key, to its end or as far as its lines go."""
    label_at = start + 11
    label_end = data.find(b"-----", label_at, label_at + 64)
    if label_end < 0 or data.find(b"PRIVATE KEY", label_at, label_end) < 0:
        return None
    body = label_end + 5
    end = data.find(b"-----END ", body, body + _PEM_MOST + 9)
    if end >= 0:
        dashes = data.find(b"-----", end + 9, end + 9 + 64)
        return start, (dashes + 5 if dashes >= 0 else min(len(data), end + 9))
    found = _PEM_BODY.match(data, body, min(len(data), body + _PEM_MOST))
    end = found.end() if found else body
    while end > body and data[end - 1] == 0x5C:  # it belongs to what follows
        end -= 1
    return start, end


_MATCHERS: Mapping[str, Callable[[bytes, int], tuple[int, int] | None]] = {"iban": iban, "phone": phone, "pem": pem}


def luhn(text: bytes) -> bool:
    """Whether the digits of `text` pass Luhn's check (ISO/IEC 7812-1)."""
    digits = [byte - 48 for byte in text if byte in _DIGIT]
    doubled = (d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits)))
    return len(digits) > 1 and sum(doubled) % 10 == 0


def mod97(text: bytes) -> bool:
    """Whether letters and digits pass ISO 7064's check of an IBAN; other characters are left out."""
    kept = bytes(byte for byte in text if byte in _ALNUM).decode()
    if len(kept) <= 4:
        return False
    return int("".join(str(int(c, 36)) for c in kept[4:] + kept[:4])) % 97 == 1


def jwt(text: bytes) -> bool:
    """Whether a token's first part is base64url of a JSON object that speaks of an algorithm."""
    header = text.split(b".", 1)[0][:1024].translate(bytes.maketrans(b"-_", b"+/"))
    header = header[: len(header) - (len(header) % 4 == 1)]
    try:
        decoded = base64.b64decode(header + b"=" * (-len(header) % 4), validate=True)
    except binascii.Error:
        return False
    return decoded[:1] == b"{" and any(name in decoded for name in (b'"alg"', b'"enc"', b'"typ"'))


@lru_cache(1)
def _mixed_sets() -> tuple[frozenset[int], frozenset[int]]:
    return _DIGIT, _ALNUM - _DIGIT


def mixed(text: bytes) -> bool:
    """Whether it has letters and digits."""
    digits, letters = _mixed_sets()
    found = frozenset(text)
    return bool(found & digits) and bool(found & letters)


CONFIRM: Mapping[str, Callable[[bytes], bool]] = {
    "": lambda _: True,
    "jwt": jwt,
    "mixed": mixed,
    "luhn": luhn,
    "mod97": mod97,
}


BLANK = b"\x1b "
"""A terminal takes the byte behind this along; elsewhere that byte begins a word. So both are looked at."""


def unveil(data: bytes, *, blank: bool = False) -> tuple[bytes, list[tuple[int, int]]]:
    """`data` without what hides characters, and where each of its bytes begins and ends in `data`.

    `blank`: an escape and a blank leave the byte behind them alone.
    """
    view = bytearray()
    places: list[tuple[int, int]] = []
    at = 0
    while found := VEIL.search(data, at):
        view += data[at : found.start()]
        places += [(i, i + 1) for i in range(at, found.start())]
        at = found.start()
        kind = data[at]
        if kind == 0x1B:
            end = at + 2 if blank and data.startswith(BLANK, at) else _escape(data, at)
        else:
            end = found.end()
            if kind in b"\\%":
                places.append((at, end))
                view.append(0x2F if data[at + 1] == 0x2F else int(data[end - 2 : end], 16))
        at = end
    view += data[at:]
    places += [(i, i + 1) for i in range(at, len(data))]
    return bytes(view), places


class Bare:
    """The same view as `unveil`, for streams: places are worked out only where they are asked for."""

    def __init__(self, data: bytes, *, blank: bool = False) -> None:
        view = bytearray()
        self._starts: list[int] = []
        self._sources: list[int] = []
        self.end = 0
        """Where the last byte of the view ends in `data`; 0 without one."""
        at = 0
        while found := VEIL.search(data, at):
            start = found.start()
            if start > at:
                self._run(view, data, at, start)
            kind = data[start]
            if kind == 0x1B:
                at = start + 2 if blank and data.startswith(BLANK, start) else _escape(data, start)
                continue
            at = found.end()
            if kind in b"\\%":
                self._starts.append(len(view))
                self._sources.append(start)
                view.append(0x2F if data[start + 1] == 0x2F else int(data[at - 2 : at], 16))
                self.end = at
        if at < len(data):
            self._run(view, data, at, len(data))
        self.view = bytes(view)

    def _run(self, view: bytearray, data: bytes, start: int, end: int) -> None:
        self._starts.append(len(view))
        self._sources.append(start)
        view += data[start:end]
        self.end = end

    def place(self, at: int) -> int:
        """Where the byte `at` of the view begins in `data`."""
        run = bisect_right(self._starts, at) - 1
        return self._sources[run] + at - self._starts[run]


def _escape(data: bytes, at: int) -> int:
    kind = data[at + 1] if at + 1 < len(data) else -1
    if kind == 0x5B:  # CSI
        found = _PARAMETERS.match(data, at + 2)
        return min(len(data), (found.end() if found else at + 2) + 1)
    if kind in (0x5D, 0x50, 0x58, 0x5E, 0x5F):  # OSC, DCS, SOS, PM, APC
        found = _STRING_ESCAPE.match(data, at + 2)
        end = found.end() if found else at + 2
        if end - at >= 4096 or end >= len(data):
            return end
        if data[end] == 7:
            return end + 1
        return end + 2 if data[end + 1 : end + 2] == b"\\" else end
    if 0x20 <= kind <= 0x2F:
        return min(len(data), at + 3)
    return at + 2 if kind >= 0 else at + 1


def hex_runs(data: bytes) -> list[tuple[int, int]]:
    """Where the digits of each hexadecimal `\\x…` stand."""
    return [found.span(1) for found in _HEX.finditer(data)]


def number_digits(value: bytes, numeric: bool) -> bytes | None:
    """The whole digits of a binary int8, or of a binary numeric (`src/backend/utils/adt/numeric.c`).

    None if it is none: then it is looked at as it stands, so that a server cannot pass a secret off as a number.
    """
    if not numeric:
        return b"%d" % unpack_from(">q", value) if len(value) == 8 else None
    try:
        count, weight = unpack_from(">Hh", value)
        words = unpack_from(f">{count}H", value, 8)
    except error:
        return None
    if len(value) != 8 + 2 * count:
        return None
    groups = [words[i] if i < count else 0 for i in range(min(weight + 1, 32))]
    return "".join(f"{group:04}" for group in groups).lstrip("0").encode()
