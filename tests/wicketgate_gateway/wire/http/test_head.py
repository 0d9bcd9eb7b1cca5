"""Heads: what is taken, what is refused, and that what is written is read back as the same."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.http.head import (
    CHUNKED,
    UNTIL_CLOSE,
    HttpError,
    chunk,
    head_end,
    parse_request,
    parse_response,
    request_length,
    response_length,
    write_request,
    write_response,
)


def request(*lines: str) -> bytes:
    """A head of these lines."""
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def test_a_request() -> None:
    """Values keep their bytes, without the blanks around them."""
    head = parse_request(request("GET /a?b HTTP/1.1", "Host:  x ", "X: a\tb", "x: c"))
    assert (head.method, head.target, head.version) == ("GET", "/a?b", 1)
    assert head.all("x") == ["a\tb", "c"]
    assert head.first("host") == "x"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("GET / HTTP/1.1",), "host-invalid"),
        (("GET / HTTP/1.1", "Host: a", "Host: b"), "host-invalid"),
        (("GET / HTTP/3.0", "Host: a"), "version-unknown"),
        (("GET  / HTTP/1.1", "Host: a"), "http-malformed"),
        (("GET / HTTP/1.1", "Host : a"), "http-malformed"),
        (("GET / HTTP/1.1", "Host: a", " folded"), "http-malformed"),
        (("GET / HTTP/1.1", "Host: a", "X: a\x00"), "http-malformed"),
        (("GET / HTTP/1.1", "Host: a", "X: a\nY: b"), "http-malformed"),
        (("GET / HTTP/1.1", "Host: a", "X: a\rb"), "http-malformed"),
        (("GET / HTTP/1.1", "Host: a", "Ü: a"), "http-malformed"),
        (("GET /" + "a" * 20000 + " HTTP/1.1", "Host: a"), "target-too-long"),
    ],
)
def test_what_is_refused(lines: tuple[str, ...], code: str) -> None:
    """Nothing is repaired."""
    with pytest.raises(HttpError) as failed:
        parse_request(request(*lines))
    assert failed.value.code == code


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ((), 0),
        (("Content-Length: 7",), 7),
        (("Transfer-Encoding: Chunked",), CHUNKED),
        (("Transfer-Encoding: chunked", "Content-Length: 7"), None),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), None),
        (("Transfer-Encoding: gzip, chunked",), None),
        (("Content-Length: 7", "Content-Length: 7"), None),
        (("Content-Length: 7, 7",), None),
        (("Content-Length: +7",), None),
        (("Content-Length: 99999999999999999999",), None),
    ],
)
def test_lengths_of_requests(headers: tuple[str, ...], length: int | None) -> None:
    """One way to say it, or none."""
    head = parse_request(request("POST / HTTP/1.1", "Host: a", *headers))
    if length is None:
        with pytest.raises(HttpError):
            request_length(head)
    else:
        assert request_length(head) == length


def test_lengths_of_answers() -> None:
    """By status and method, else by the framing, else by the end."""
    plain = parse_response(b"HTTP/1.1 200 OK\r\n\r\n")
    assert response_length(plain, "GET") == UNTIL_CLOSE
    assert response_length(plain, "HEAD") == 0
    for status in (100, 204, 304):
        assert response_length(parse_response(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status), "GET") == 0
    with pytest.raises(HttpError) as failed:
        response_length(parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), "HEAD")
    assert failed.value.status == 502
    for bad in (b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 700 X\r\n\r\n"):
        with pytest.raises(HttpError):
            parse_response(bad)


def test_ends() -> None:
    """Where a head ends, and that one without end is given up."""
    assert head_end(b"GET / HTTP/1.1\r\n\r\nx") == 18
    assert head_end(b"GET / HTTP/1.1\r\n") == -1
    with pytest.raises(HttpError):
        head_end(b"a" * 70000)


def test_what_cannot_be_written() -> None:
    """A value that would end its line is refused, whoever it is from."""
    for headers in ([("X", "a\r\nY: b")], [("X Y", "a")], [("X", "a\0")], [("", "a")]):
        with pytest.raises(HttpError):
            write_request("GET", "/", headers)
    with pytest.raises(HttpError):
        write_request("GET", "/a b", [])
    assert write_response(204, "No Content", [("A", "b")]) == b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"
    assert chunk(b"") == b""
    assert chunk(b"abc") == b"3\r\nabc\r\n"


NAMES = st.from_regex(r"X-[A-Za-z0-9-]{1,12}", fullmatch=True)
VALUES = st.from_regex(r"[!-~][ -~]{0,20}[!-~]", fullmatch=True)


@settings(deadline=None)
@given(st.from_regex(r"/[A-Za-z0-9/%?&=._-]{0,40}", fullmatch=True), st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_written_and_read_by_h11(target: str, headers: list[tuple[str, str]]) -> None:
    """The same to another reader, and to ourselves."""
    data = write_request("POST", target, [("Host", "a"), *headers])
    ours = parse_request(data)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    assert theirs.target.decode() == ours.target == target
    assert [v.decode() for n, v in theirs.headers.raw_items() if n[:2] == b"X-"] == [v for _, v in headers]
    assert list(ours.headers[1:]) == headers
