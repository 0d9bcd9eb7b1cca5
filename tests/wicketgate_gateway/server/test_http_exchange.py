"""One request on a connection: bodies, framing of answers, problems, and what is left of a body that nobody read."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.server.http_exchange import Served
from wicketgate_gateway.wire.http.head import CHUNKED, HttpError, RequestHead
from wicketgate_gateway.wire.http.target import parse_target

pytestmark = pytest.mark.anyio


class Connection:
    """A client that sent all that it has to say."""

    def __init__(self, data: bytes) -> None:
        self.data, self.out = data, b""
        self.closed = self.ending = False

    async def more(self) -> bool:
        return False

    def take(self) -> bytes:
        data, self.data = self.data, b""
        return data

    def put_back(self, data: bytes) -> None:
        self.data = data + self.data

    def write(self, data: bytes) -> None:
        self.out += data

    async def drained(self) -> None: ...


def served(data: bytes, length: int, *headers: tuple[str, str], method: str = "POST", version: int = 1) -> Any:
    """A request with this behind its head."""
    connection = Connection(data)
    head = RequestHead(version, headers, method, "/")
    return Served(connection, head, parse_target("/"), "", length), connection


async def test_bodies() -> None:
    """By length and in chunks; what follows is the connection's."""
    exchange, connection = served(b"abcGET", 3)
    assert await exchange.body(10) == b"abc"
    assert connection.data == b"GET"
    exchange, connection = served(b"3\r\nabc\r\n0\r\n\r\nGET", CHUNKED)
    assert await exchange.read() == b"abc"
    assert (await exchange.read(), connection.data) == (b"", b"GET")
    assert await served(b"abc", 3)[0].body(2) is None
    with pytest.raises(HttpError, match="within the body"):
        await served(b"ab", 3)[0].body(10)


async def test_a_trailer_that_would_be_framing() -> None:
    """Is refused."""
    with pytest.raises(HttpError):
        await served(b"0\r\nContent-Length: 5\r\n\r\n", CHUNKED)[0].read()


async def test_expectations() -> None:
    """100 when the body is asked for; others are not known."""
    exchange, connection = served(b"abc", 3, ("Expect", "100-continue"))
    assert await exchange.read() == b"abc"
    assert connection.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    with pytest.raises(HttpError):
        served(b"", 0, ("Expect", "201-created"))


async def test_framing_of_answers() -> None:
    """A length or chunks; none where there is no body; HTTP/1.0 knows no chunks."""
    exchange, _ = served(b"", 0)
    assert b"Transfer-Encoding: chunked\r\n" in exchange.respond(200, "OK", [], CHUNKED)
    assert b"Content-Length: 5\r\n" in served(b"", 0)[0].respond(200, "OK", [], 5)
    assert b"Length" not in served(b"", 0)[0].respond(204, "No Content", [], 0)
    assert b"Length" not in served(b"", 0, method="HEAD")[0].respond(200, "OK", [], 5)
    with pytest.raises(HttpError):
        served(b"", 0, version=0)[0].respond(200, "OK", [], CHUNKED)


async def test_problems_and_the_rest_of_bodies() -> None:
    """A short rest is read; a long one ends the connection."""
    exchange, connection = served(b"abcGET", 3)
    assert b"application/problem+json" in exchange.problem(403, "no", "why", retryAfter=30)
    await exchange.settle()
    assert (connection.ending, connection.data) == (False, b"GET")
    assert b"Retry-After: 30\r\n" in connection.out
    exchange, connection = served(b"abc", 10_000_000)
    assert b"Connection: close\r\n" in exchange.problem(401, "no", "why")
    assert b'WWW-Authenticate: Bearer realm="wicketgate"' in connection.out
    assert connection.ending
