"""Heads of HTTP/1.1 messages (RFC 9112): read strictly, written anew.

How this works: a head is taken apart by one parser, whose result is what is decided on and what is written out again;
raw bytes of a head are never passed on. What two servers could read differently is refused, not repaired: bare line
feeds, NUL, folded lines, blanks before a colon, characters that no header name has, repeated or odd `Content-Length`,
`Content-Length` beside `Transfer-Encoding`, codings other than a sole `chunked`, more than one `Host`. Values are
Latin-1 in Python's `str`, so that each byte is one character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wicketgate_gateway.contract.errors import WicketgateError

MAX_HEAD = 64 * 1024
MAX_HEADERS = 200
MAX_TARGET = 16 * 1024
MAX_LENGTH: Final = 1 << 53
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)\Z")
_STATUS_LINE = re.compile(rb"HTTP/(\d)\.(\d) (\d{3})(?: ([\t \x21-\x7e\x80-\xff]*))?\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\Z")
_VALUE = re.compile(rb"[\t \x21-\x7e\x80-\xff]*\Z")
_LENGTH = re.compile(r"\d{1,16}\Z")

Headers = tuple[tuple[str, str], ...]


class HttpError(WicketgateError):
    """A message that is refused; `status` is what a client is told."""

    code = "http-malformed"

    def __init__(self, message: str, *, code: str = "http-malformed", status: int = 400, remedy: str = "") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What heads of requests and answers have in common. `headers` are as they were sent, in order."""

    version: int
    """The minor version: 0 or 1."""
    headers: Headers

    def all(self, name: str) -> list[str]:
        """The values of a header, by its name in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: str) -> str:
        """The value of a header that comes once; empty without."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return ""

    def listed(self, name: str) -> list[str]:
        """The members of a header that is a list of tokens, in lower case."""
        return [part.strip().lower() for value in self.all(name) for part in value.split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class RequestHead(Head):
    """A request's head."""

    method: str
    target: str
    """The request target as it was sent."""


@dataclass(frozen=True, slots=True)
class ResponseHead(Head):
    """An answer's head."""

    status: int
    reason: str


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """The index behind a head's end, or -1 if it has not come yet. Raises HttpError if it cannot come any more."""
    end = data.find(b"\r\n\r\n", max(0, start))
    if end < 0:
        if len(data) > MAX_HEAD:
            raise HttpError("the head is too long", code="head-too-large", status=431, remedy="send fewer headers")
        return -1
    if end > MAX_HEAD:
        raise HttpError("the head is too long", code="head-too-large", status=431, remedy="send fewer headers")
    return end + 4


def parse_request(data: bytes) -> RequestHead:
    """A request's head, with its blank line. Raises HttpError."""
    lines = _lines(data)
    match = _REQUEST_LINE.match(lines[0])
    if match is None:
        raise HttpError("the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise HttpError("only HTTP/1.1 and HTTP/1.0 are spoken here", code="version-unknown", status=505)
    if len(target) > MAX_TARGET:
        raise HttpError("the request target is too long", code="target-too-long", status=414)
    head = RequestHead(int(minor), _fields(lines[1:]), method.decode("ascii"), target.decode("ascii"))
    hosts = head.all("host")
    if len(hosts) > 1 or (not hosts and head.version == 1):
        raise HttpError("needs exactly one `Host`", code="host-invalid")
    return head


def parse_response(data: bytes) -> ResponseHead:
    """An answer's head, with its blank line. Raises HttpError."""
    lines = _lines(data)
    match = _STATUS_LINE.match(lines[0])
    if match is None:
        raise HttpError("the status line is malformed", status=502)
    major, minor, status, reason = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise HttpError("the target speaks another version of HTTP", code="version-unknown", status=502)
    number = int(status)
    if not 100 <= number <= 599:
        raise HttpError(f"the status {number} is none", status=502)
    return ResponseHead(int(minor), _fields(lines[1:]), number, (reason or b"").decode("latin-1"))


def _lines(data: bytes) -> list[bytes]:
    if b"\0" in data:
        raise HttpError("a NUL in the head")
    body = data[:-4]
    if data[-4:] != b"\r\n\r\n":
        raise HttpError("the head has no end")
    lines = body.split(b"\r\n")
    # What is left of CR or LF stands alone, and servers differ in what that means.
    if body.count(b"\n") != len(lines) - 1 or body.count(b"\r") != len(lines) - 1:
        raise HttpError("a bare CR or LF in the head")
    if len(lines) > MAX_HEADERS + 1:
        raise HttpError("too many headers", code="head-too-large", status=431, remedy="send fewer headers")
    return lines


def _fields(lines: Sequence[bytes]) -> Headers:
    fields: list[tuple[str, str]] = []
    for line in lines:
        match = _FIELD.match(line)
        if match is None or not _VALUE.match(match[2]):
            what = "a folded header line" if line[:1] in (b" ", b"\t") else "a malformed header line"
            raise HttpError(what)
        fields.append((match[1].decode("ascii"), match[2].decode("latin-1")))
    return tuple(fields)


def write_request(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head as bytes. Raises HttpError for what could not be read back as the same."""
    line = f"{method} {target} HTTP/1.1".encode("latin-1", "replace")
    if _REQUEST_LINE.match(line) is None:
        raise HttpError("the request cannot be written")
    return line + b"\r\n" + _write_fields(headers)


def write_response(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """An answer's head as bytes. Raises HttpError."""
    line = f"HTTP/1.1 {status:03d} {reason}".encode("latin-1", "replace")
    if _STATUS_LINE.match(line) is None:
        raise HttpError("the answer cannot be written", status=502)
    return line + b"\r\n" + _write_fields(headers)


def _write_fields(headers: Iterable[tuple[str, str]]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers:
        field = f"{name}: {value}".encode("latin-1", "replace")
        if not _TOKEN.match(name) or not _VALUE.match(field[len(name) + 2 :]):
            raise HttpError(f"the header `{name[:64]!r}` cannot be written")
        parts.append(field + b"\r\n")
    return b"".join((*parts, b"\r\n"))


# --- framing (RFC 9112 section 6) ------------------------------------------------------------------------------------

CHUNKED: Final = -1
"""The body comes in chunks."""
UNTIL_CLOSE: Final = -2
"""The body ends with the connection."""


def request_length(head: RequestHead) -> int:
    """The size of a request's body, or CHUNKED. Raises HttpError for what is ambiguous."""
    return _length(head, 400)


def response_length(head: ResponseHead, method: str) -> int:
    """The size of the body of an answer to `method`, CHUNKED or UNTIL_CLOSE. Raises HttpError."""
    length = _length(head, 502, none=UNTIL_CLOSE)
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return 0
    return length


def _length(head: Head, status: int, none: int = 0) -> int:
    codings, lengths = head.all("transfer-encoding"), head.all("content-length")
    if codings:
        if lengths:
            raise HttpError("`Content-Length` beside `Transfer-Encoding`", code="length-ambiguous", status=status)
        if head.version == 0:
            raise HttpError("`Transfer-Encoding` in HTTP/1.0", code="length-ambiguous", status=status)
        if len(codings) != 1 or codings[0].lower() != "chunked":
            raise HttpError(
                "a transfer coding other than a sole `chunked`",
                code="coding-unknown",
                status=501 if status == 400 else 502,
            )
        return CHUNKED
    if lengths:
        if len(lengths) != 1 or not _LENGTH.match(lengths[0]) or int(lengths[0]) > MAX_LENGTH:
            raise HttpError("`Content-Length` is not one plain number", code="length-ambiguous", status=status)
        return int(lengths[0])
    return none


def chunk(data: bytes) -> bytes:
    """A piece of a body as a chunk; empty for nothing, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
