"""Detectors: finding secrets and personal data in bytes, and masking what was found.

How this works: `Detectors` compiles a table (`detectors_table`) and a team's own patterns into one scanner: the native
one (`gateway_image/native/src/detect.rs`), else its twin in Python. Both are exact: a hit has passed its check (Luhn,
mod 97, a JWT's header). `Detecting` masks hits by each detector's method. If a scan fails or overruns its budget, all
that it was to look at is masked: nothing passes unseen.

Escapes are looked through: `\\u0041`, `\\/` and `%41` as JSON and URLs have them, terminal escape sequences, zero-width
characters, and hexadecimal `\\x…`, as PostgreSQL writes bytea. Not looked through: base64 around a secret, compression,
encryption, other encodings than ASCII and UTF-8, a secret cut into pieces that do not stand side by side.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.patterns import alphabet, canonical
from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Mask, MaskMethod
from wicketgate_gateway.masking import detectors_table as table
from wicketgate_gateway.masking.detectors_twin import OVERRUN, TwinScanner, hex_runs
from wicketgate_gateway.masking.masks import STRICTNESS, strictest
from wicketgate_gateway.masking.text import REDACTED, masked_text

OVERRUN_NAME = "overrun"
_NUMBER = b"0123456789.eE+-"
_SECRETS = frozenset({"api-key", "jwt", "private-key", OVERRUN_NAME})


class Hit(NamedTuple):
    """A find: where it starts and ends, and the detector's name."""

    start: int
    end: int
    name: str


class Own(Protocol):
    """A detector of a team, as the policy says it."""

    @property
    def pattern(self) -> str: ...
    @property
    def confirm(self) -> str | None: ...


class Policied(Protocol):
    """What is needed of a `TargetPolicy`."""

    @property
    def detectors(self) -> Sequence[tuple[Sequence[Mask], Mapping[str, Any]]]: ...


class Scanner(Protocol):
    """What the native crate and the twin have in common."""

    def scan(self, data: bytes, /) -> list[tuple[int, int, int]]: ...


class DetectorError(WicketgateError):
    """Detectors cannot be made or run here."""

    code = "detector"


class Detectors:
    """The detectors of these names, compiled; `custom` are the team's own. Raises ValueError for an unknown name or a
    pattern that is refused, DetectorError for own patterns where the native core is missing."""

    def __init__(self, names: Iterable[str], custom: Mapping[str, Own] | None = None, *, twin: bool = False) -> None:
        self.names = tuple(dict.fromkeys(names))
        own: list[tuple[str, str, str]] = []
        for name in self.names:
            if name in BUILT_IN_DETECTORS:
                continue
            if custom is None or name not in custom:
                raise ValueError(f"no detector is called `{name}`")
            own.append((name, canonical(custom[name].pattern), str(custom[name].confirm or "")))
        self.own = tuple(own)
        self.own_bytes = bytes(sorted({byte for name, _, _ in own for byte in alphabet(_pattern(custom, name))}))
        """All bytes that may stand in what own patterns match."""
        self.scanner: Scanner = _compiled(self.names, self.own, twin)

    def scan(self, data: bytes) -> list[Hit]:
        """All hits, by start, longest first; they may overlap. A scan over its budget is one hit over everything."""
        return [Hit(start, end, self.name_of(number)) for start, end, number in self.scanner.scan(data)]

    def name_of(self, number: int) -> str:
        """The name of the detector with this number."""
        return OVERRUN_NAME if number == OVERRUN else self.names[number]


def _pattern(custom: Mapping[str, Own] | None, name: str) -> str:
    return custom[name].pattern if custom else ""


@lru_cache(maxsize=64)
def _compiled(names: tuple[str, ...], own: tuple[tuple[str, str, str], ...], twin: bool) -> Scanner:
    tokens = [(names.index(token.detector), token) for token in table.TOKENS if token.detector in names]
    patterns = [(names.index(name), pattern, check) for name, pattern, check in own]
    native = None if twin else _native()
    if native is None:
        if own and not twin:
            raise DetectorError(
                "detectors of one's own need the native core, whose engine takes linear time",
                code="detector-native",
                remedy="install `wicketgate-native`, or name built-in detectors only",
            )
        return TwinScanner(tokens, patterns)
    classes = list(table.CLASSES)
    rendered = [
        (
            number,
            token.trigger,
            token.matcher,
            token.back,
            [
                (list(step), 0, 0, 0) if isinstance(step, bytes) else (None, classes.index(step[0]), step[1], step[2])
                for step in token.steps
            ],
            token.shown,
            token.confirm,
            token.apart,
        )
        for number, token in tokens
    ]
    return native(
        rendered,
        patterns,
        [list(members) for members in table.CLASSES.values()],
        list(table.COUNTRIES.items()),
        list(table.ISSUERS),
    )


def _native() -> Callable[..., Scanner] | None:
    try:
        return cast("Any", getattr(importlib.import_module("wicketgate_native"), "Scanner", None))
    except ModuleNotFoundError:
        return None


class Detecting:
    """Detectors and the method of each, with the key of digests. Made once for a policy."""

    def __init__(
        self, policies: Iterable[tuple[Iterable[Mask], Mapping[str, Own]]], key: bytes, *, twin: bool = False
    ) -> None:
        """For each policy its masks with `detect`, and its own detectors. Where several masks name a detector, the
        strictest method holds; two policies' own detectors of one name are two. Raises as `Detectors`."""
        methods: dict[str, MaskMethod] = {}
        own: dict[str, Own] = {}
        for masks, theirs in policies:
            for mask in masks:
                for name in mask.detect or ():
                    found = theirs.get(name)
                    unique = name
                    while found is not None and own.setdefault(unique, found) != found:
                        unique += "'"
                    methods[unique] = strictest((methods.get(unique), mask.method)) or mask.method
        self.detectors = Detectors(sorted(methods), own, twin=twin)
        self.key = key
        self.methods = [methods[name] for name in self.detectors.names]
        """By the detectors' numbers."""
        self.strictest = strictest(methods.values()) or MaskMethod.NULL
        self._scan = self.detectors.scanner.scan

    @classmethod
    def all(cls, detectors: Detectors, method: MaskMethod, key: bytes) -> Detecting:
        """The same method for whatever these detectors find."""
        made = cls.__new__(cls)
        made.detectors, made.key, made.strictest = detectors, key, method
        made.methods = [method] * len(detectors.names)
        made._scan = detectors.scanner.scan
        return made

    def holds_secret(self, data: bytes) -> bool:
        """Whether there is a key or token in it, or that cannot be told: what no person should be shown."""
        try:
            names = {self.detectors.name_of(number) for _, _, number in self._scan(data)}
        except Exception:  # whatever it is
            return True
        return not names.isdisjoint(_SECRETS)

    def method_of(self, hits: Sequence[tuple[int, int, int]]) -> MaskMethod:
        """The strictest method of these hits."""
        found = [self.strictest if number == OVERRUN else self.methods[number] for _, _, number in hits]
        return max(found, key=STRICTNESS.__getitem__, default=self.strictest)

    def text(self, data: bytes, *, quote: bool = False) -> bytes:
        """The text with its hits masked, the same object if there are none. NULL leaves nothing in a hit's place.

        `quote`: the text is JSON, so a number that is masked becomes a string.
        """
        try:
            hits = self._scan(data)
            return self.spliced(data, hits, quote=quote) if hits else data
        except Exception:  # whatever it is: what could not be looked at is not shown
            return REDACTED

    def shown(self, text: str) -> str:
        """The same for a text as it may be recorded; the same object if there are no hits."""
        data = text.encode(errors="surrogatepass")
        masked = self.text(data)
        return text if masked is data else masked.decode(errors="replace")

    def spliced(self, data: bytes, hits: Sequence[tuple[int, int, int]], *, quote: bool = False) -> bytes:
        """`data` with these hits (by start) masked, overlapping ones as one."""
        if quote:
            hits = [_whole_number(data, hit) for hit in hits]
        runs = hex_runs(data) if b"\\x" in data or b"\\X" in data else ()
        out: list[bytes] = []
        copied = at = 0
        while at < len(hits):
            start, end = hits[at][:2]
            last = at + 1
            while last < len(hits) and hits[last][0] < end:
                end = max(end, hits[last][1])
                last += 1
            method = self.method_of(hits[at:last])
            out.append(data[copied:start])
            out.append(self._replacement(data, start, end, method, runs, quote))
            copied, at = end, last
        out.append(data[copied:])
        return b"".join(out)

    def _replacement(
        self,
        data: bytes,
        start: int,
        end: int,
        method: MaskMethod,
        runs: Sequence[tuple[int, int]],
        quote: bool,
    ) -> bytes:
        value = data[start:end]
        for first, last in runs:
            if first <= start and end <= last and not (start - first) % 2 and not (end - start) % 2:
                return masked_text(method, bytes.fromhex(value.decode()), self.key).hex().encode()
        masked = masked_text(method, value, self.key)
        if quote and _is_bare(data, start, end):
            return b'"' + masked + b'"'
        return masked


def _is_bare(data: bytes, start: int, end: int) -> bool:
    # A number of JSON: it stands between punctuation, in no quotes.
    if data[start:end].strip(_NUMBER):
        return False
    before = data[max(0, start - 64) : start].rstrip(b" \t\r\n")[-1:]
    after = data[end : end + 64].lstrip(b" \t\r\n")[:1]
    return before in (b"", b":", b",", b"[") and after in (b"", b",", b"]", b"}")


def _whole_number(data: bytes, hit: tuple[int, int, int]) -> tuple[int, int, int]:
    # Part of a number of JSON is no number: all of it goes.
    start, end, number = hit
    while start > 0 and data[start - 1] in _NUMBER:
        start -= 1
    while end < len(data) and data[end] in _NUMBER:
        end += 1
    return (start, end, number) if _is_bare(data, start, end) else hit


def detecting(policy: Policied, key: bytes) -> Detecting | None:
    """What looks for secrets in what a target sends under this policy; None if nothing does. Raises DetectorError."""
    return Detecting(policy.detectors, key) if policy.detectors else None
