"""What a request asks for: path and query, understood once, refused where servers could understand them differently.

How this works: the path is split at `/` and each segment decoded once. Refused are what a server behind could read as
another path: encoded slashes and backslashes, empty segments, `.` and `..` in any writing, `;` (parameters of a path
for some), what is still encoded after decoding, bytes that are not UTF-8, controls. What is forwarded is written anew
from the decoded segments. The query is forwarded as it came, of plain characters only, and read as a form is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from wicketgate_gateway.wire.http.head import HttpError

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@%/-]*\Z")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]{}|^`\"<>-]*\Z")
_SAFE = "!$&'()*+,=:@~-._"
MAX_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """A request's path and query."""

    segments: tuple[str, ...]
    """Decoded; the last is empty if the path ends with `/`; `('',)` is the root."""
    raw_query: str | None
    """As it is forwarded; None without a `?`."""
    query: dict[str, tuple[str, ...]]
    """Decoded parameters, in order of first appearance."""

    @property
    def path(self) -> str:
        """The path as it is forwarded."""
        return "/" + "/".join(quote(segment, safe=_SAFE) for segment in self.segments)

    @property
    def shown(self) -> str:
        """Path and query for people."""
        return "/" + "/".join(self.segments) + ("" if self.raw_query is None else f"?{self.raw_query}")

    @property
    def forwarded(self) -> str:
        """Path and query as they go out."""
        return self.path if self.raw_query is None else f"{self.path}?{self.raw_query}"

    def below(self, count: int) -> Target:
        """The same without its first segments."""
        return Target(self.segments[count:] or ("",), self.raw_query, self.query)


def parse_target(text: str) -> Target:
    """The target of a request in origin form. Raises HttpError for other forms, and for all that is ambiguous."""
    if not text.startswith("/"):
        raise HttpError(
            "the request target is not a path",
            code="target-form",
            remedy="send the path alone, as to a server; this is no forward proxy",
        )
    path, mark, query = text.partition("?")
    return Target(_segments(path), query if mark else None, _parameters(query) if mark else {})


def _segments(path: str) -> tuple[str, ...]:
    if not _PATH.match(path):
        raise _ambiguous("it holds a character that paths do not have (`;`, `\\`, `#`, quotes)")
    if _BAD_ENCODING.search(path):
        raise _ambiguous("a `%` without two hexadecimal digits")
    parts = path[1:].split("/")
    return tuple(_segment(part, last=i == len(parts) - 1) for i, part in enumerate(parts))


def _segment(part: str, *, last: bool) -> str:
    if not part:
        if last:
            return ""
        raise _ambiguous("an empty segment (`//`)")
    text = _decoded(part)
    if text in (".", ".."):
        raise _ambiguous("a segment `.` or `..`")
    if any(c in text for c in "/\\;?#"):
        raise _ambiguous("an encoded `/`, `\\`, `;`, `?` or `#`")
    if _ENCODED.search(text):
        raise _ambiguous("a segment that is encoded twice")
    if text != text.strip() or (text.rstrip(".") != text and set(text) == {"."}):
        raise _ambiguous("a segment that begins or ends with a blank")
    return text


def _decoded(part: str) -> str:
    if "%" not in part:
        return part
    raw = bytearray()
    position = 0
    for match in _ENCODED.finditer(part):
        raw += part[position : match.start()].encode("ascii")
        raw.append(int(match[0][1:], 16))
        position = match.end()
    raw += part[position:].encode("ascii")
    try:
        text = raw.decode("utf-8")  # strict: overlong forms and lone surrogates are errors
    except UnicodeDecodeError:
        raise _ambiguous("bytes that are not UTF-8") from None
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise _ambiguous("an encoded control character")
    return text


def _parameters(query: str) -> dict[str, tuple[str, ...]]:
    if not _QUERY.match(query):
        raise HttpError("the query holds a character that must be encoded", code="query-malformed")
    if _BAD_ENCODING.search(query):
        raise HttpError("a `%` without two hexadecimal digits in the query", code="query-malformed")
    found: dict[str, tuple[str, ...]] = {}
    pairs = query.split("&") if query else []
    if len(pairs) > MAX_PARAMETERS:
        raise HttpError("too many parameters in the query", code="query-malformed")
    for pair in pairs:
        name, _, value = pair.replace("+", " ").partition("=")
        key = _query_text(name)
        found[key] = (*found.get(key, ()), _query_text(value))
    return found


def _query_text(part: str) -> str:
    raw = bytearray()
    position = 0
    for match in _ENCODED.finditer(part):
        raw += part[position : match.start()].encode("ascii")
        raw.append(int(match[0][1:], 16))
        position = match.end()
    raw += part[position:].encode("ascii")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise HttpError("bytes that are not UTF-8 in the query", code="query-malformed") from None
    if "\0" in text or "\r" in text or "\n" in text:
        raise HttpError("an encoded NUL or line end in the query", code="query-malformed")
    return text


def _ambiguous(what: str) -> HttpError:
    return HttpError(
        f"the path is ambiguous: {what}",
        code="path-ambiguous",
        remedy="write the path in its plain form, each segment encoded once",
    )
