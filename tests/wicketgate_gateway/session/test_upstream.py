"""A connection to a target: answers from pieces, and when it may be used again."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.session.upstream import TargetLostError, Upstream
from wicketgate_gateway.tunnel.messages import HttpRequest
from wicketgate_gateway.wire.http.head import HttpError

pytestmark = pytest.mark.anyio


class Stream:
    """The agent's end, as far as it is needed."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.credit = 0
        self.writable = True
        self.closed = ""
        self.on_data: Any = None
        self.on_close: Any = None
        self.on_writable: Any = None

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_control(self, message: Any) -> None:
        self.sent.append(message)

    def consumed(self, count: int) -> None:
        self.credit += count

    def close(self, reason: str) -> None:
        self.closed = reason


def made() -> tuple[Any, Upstream]:
    """A stream and its upstream."""
    stream: Any = Stream()
    return stream, Upstream(stream)


async def test_an_answer_in_pieces() -> None:
    """The head from any pieces; what follows is the body's; then it can be used again."""
    stream, upstream = made()
    upstream.send(HttpRequest(method="GET", path="/", headers=[]))
    assert not upstream.usable
    for piece in (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"00 OK\r\nContent-Length: 3\r\n\r", b"\nab"):
        stream.on_data(piece)
    head, _ = await upstream.answer("GET")
    assert head.status == 100
    head, body = await upstream.answer("GET")
    assert (head.status, b"".join(body.feed(await upstream.read()))) == (200, b"ab")
    stream.on_data(b"c")
    assert b"".join(body.feed(await upstream.read())) == b"c"
    upstream.settle(head, body)
    assert upstream.usable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_not_certain_is_not_used_again(answer: bytes) -> None:
    """Closed by its words, more than was asked for, or an old version."""
    stream, upstream = made()
    upstream.send(HttpRequest(method="GET", path="/", headers=[]))
    stream.on_data(answer)
    await upstream.answer("GET")
    assert not upstream.usable


async def test_a_lost_target() -> None:
    """Early or in the midst of its head."""
    stream, upstream = made()
    stream.on_close("gone")
    with pytest.raises(TargetLostError) as failed:
        await upstream.answer("GET")
    assert failed.value.early
    with pytest.raises(TargetLostError):
        await upstream.write(b"x")
    stream, upstream = made()
    stream.on_data(b"HTTP/1.1 2")
    stream.on_close("gone")
    with pytest.raises(TargetLostError) as failed:
        await upstream.answer("GET")
    assert not failed.value.early


async def test_a_malformed_answer() -> None:
    """Is the target's fault."""
    stream, upstream = made()
    stream.on_data(b"HTTP/1.1 200 OK\nX: y\r\n\r\n")
    with pytest.raises(HttpError) as failed:
        await upstream.answer("GET")
    assert not upstream.usable or failed.value.code
