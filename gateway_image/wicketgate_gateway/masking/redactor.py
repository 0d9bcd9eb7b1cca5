"""Detectors on a stream: hits are found wherever its pieces begin and end, and little is held back for it.

How this works: what could be the beginning of a hit stays until more has come: the last word, a group of digits with
blanks between, the name that a secret follows, a private key without its end, an escape sequence that is not complete.
Everything before is scanned and passed on. A word (or a private key) without an end within `MOST_HELD` bytes is masked,
and the rest of it dropped: it could be anything.

For terminals: `idle`, called when nothing came for a while, lets go of what waits, unless a secret has clearly begun.
What was let go is remembered to the end of its line, and what follows is looked at together with it: a pause within a
hit shows what came before the pause, and nothing behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.masking.detectors_twin import BLANK, VEIL, Bare
from wicketgate_gateway.masking.text import REDACTED

MOST_HELD = 128 * 1024
_BREAK = re.compile(rb"[\s\x00]")
_WORD = bytes(byte for byte in range(256) if byte not in b" \t\n\r\f\v\0")
_AFTER_PEM = re.compile(rb"[^A-Za-z0-9+/=:,\-_\\ \r\n\t]")
_TAIL = 160
_DIGITS = re.compile(rb"(?:[A-Za-z]{2})?[+(]{0,2}[0-9][0-9 .()/-]*\Z|[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 -]{0,45}\Z|[+]\Z")
_NAMED = re.compile(
    rb"(?i)(?:aws_secret_access_key|secretaccesskey|aws_session_token|accountkey|sharedaccesskey)[ \t\"':=>\\]{0,8}\Z"
)
_BEGUN = re.compile(
    rb"(?:AKIA|ASIA|AIza|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|[sr]k_(?:live|test)_|sk-[a-z]+-|npm_|pypi-|SG\.|hvs\.|eyJ)"
)
_PEM = b"-----BEGIN "
_PEM_END = b"-----END "


class Redactor:
    """One stream. `quote`: it is JSON, so a number that is masked becomes a string. Not for several threads."""

    def __init__(self, detecting: Detecting, *, quote: bool = False, stars: bool = False) -> None:
        """`stars`: each masked byte becomes a `*`, whatever the method, so that all keeps its place and length."""
        self._detecting = detecting
        self._stars = stars
        self._quote = quote
        self._held = b""
        self._again = 0  # bytes held below which another look cannot let go of more
        self._dropping: re.Pattern[bytes] | None = None
        self._before = b""  # the byte before what is held, for what must stand apart; more once `idle` let go of some
        self._let_go = False

    @property
    def held(self) -> int:
        """Bytes that wait."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may be passed on of all that came and was not yet. It never raises."""
        if self._dropping is not None:
            found = self._dropping.search(data)
            if found is None:
                return b"*" * len(data) if self._stars else b""
            self._dropping = None
            dropped = b"*" * found.start() if self._stars else b""
            return dropped + self._feed(data[found.start() :])
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        buffer = self._held + data
        if len(buffer) < self._again and not _BREAK.search(data):
            self._held = buffer
            return b""
        return self._pass_on(buffer, self._cut(buffer))

    def _cut(self, buffer: bytes) -> int:
        """Where what may not yet be passed on begins."""
        if not self._let_go:
            return self._open(buffer)
        return max(self._open(self._before + buffer) - len(self._before), 0)

    def idle(self) -> bytes:
        """What waits, unless it begins as secrets do; for terminals, where people wait to see what was typed."""
        buffer = self._held
        if not buffer or buffer[-1:] in b"\x1b\\":
            return b""
        shift = len(self._before) if self._let_go else 0
        view = self._before + buffer if shift else buffer
        if any(found.end() > shift for found in _BEGUN.finditer(view)):
            return b""
        if view.find(_PEM, max(0, shift - len(_PEM) + 1)) >= 0:
            return b""
        if not self._let_go:
            self._let_go, self._before = True, self._before[-1:]
        return self._pass_on(buffer, len(buffer))

    def flush(self) -> bytes:
        """All that waits: the stream is at its end."""
        return self._pass_on(self._held, len(self._held))

    def _pass_on(self, buffer: bytes, cut: int) -> bytes:
        if not buffer:
            return b""
        before = self._before
        try:
            hits = self._detecting.detectors.scanner.scan(before + buffer) if cut else []
            shift = len(before)
            moved = [(max(start - shift, 0), end - shift, number) for start, end, number in hits if end > shift]
            for start, end, _ in sorted(moved, key=lambda hit: -hit[1]):
                if start < cut < end:  # it may go on
                    cut = start
            out = self._spliced(buffer[:cut], [hit for hit in moved if hit[1] <= cut]) if cut else b""
        except Exception:  # whatever it is: what could not be looked at is not shown
            out, cut = b"*" * len(buffer) if self._stars else REDACTED, len(buffer)
        self._held = rest = buffer[cut:]
        if cut:
            self._remember(before, buffer[:cut])
        self._again = len(rest) + max(64, len(rest) // 2)
        if len(rest) > MOST_HELD:
            self._held, self._again = b"", 0
            self._dropping = _AFTER_PEM if _PEM in (self._before + rest if self._let_go else rest) else _BREAK
            if self._stars:
                return out + b"*" * len(rest)
            return out + (b"" if self._detecting.strictest is MaskMethod.NULL else REDACTED)
        return out

    def _remember(self, before: bytes, passed: bytes) -> None:
        self._let_go = self._let_go and b"\n" not in passed
        self._before = (before + passed)[-_TAIL:] if self._let_go else passed[-1:]

    def _spliced(self, data: bytes, hits: Sequence[tuple[int, int, int]]) -> bytes:
        if self._stars and hits:
            starred = bytearray(data)
            for start, end, _ in hits:
                starred[start:end] = b"*" * (end - start)
            return bytes(starred)
        return self._detecting.spliced(data, hits, quote=self._quote) if hits else data

    def _open(self, buffer: bytes) -> int:
        """Where what may not yet be passed on begins: as it stands, and without what hides characters."""
        at = self._begun(buffer)
        if VEIL.search(buffer):
            bare = Bare(buffer)
            at = min(at, self._begun_in(bare, len(buffer)))
            if BLANK in buffer:
                at = min(at, self._begun_in(Bare(buffer, blank=True), len(buffer)))
            escape = buffer.rfind(b"\x1b", max(0, len(buffer) - 4096))
            if escape >= 0 and bare.end <= escape:
                at = min(at, escape)  # it may go on
        return at

    def _begun_in(self, bare: Bare, end: int) -> int:
        cut = self._begun(bare.view)
        return bare.place(cut) if cut < len(bare.view) else end

    def _begun(self, view: bytes) -> int:
        cut = len(view.rstrip(_WORD))
        for pattern in (_DIGITS, _NAMED):
            near = pattern.search(view, max(0, len(view) - _TAIL)) or pattern.search(view[:cut], max(0, cut - _TAIL))
            if near is not None:
                # The word that it is in belongs to it.
                cut = min(cut, len(view[: near.start()].rstrip(_WORD)))
        begun = view.rfind(_PEM)
        if begun >= 0:
            ended = view.find(_PEM_END, begun)
            if ended < 0 or view.find(b"-----", ended + 9) < 0:
                cut = min(cut, begun)
        own = self._detecting.detectors.own_bytes
        return min(cut, len(view.rstrip(own))) if own else cut


def redactor(masks: Detectors | Detecting, method: MaskMethod | None = None, key: bytes = b"") -> Redactor:
    """A redactor for these detectors, all masked by `method`."""
    if isinstance(masks, Detecting):
        return Redactor(masks)
    return Redactor(Detecting.all(masks, method or MaskMethod.REDACT, key))
