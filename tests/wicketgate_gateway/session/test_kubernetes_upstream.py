"""The connection to the API server by way of the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from wicketgate_gateway.session.kubernetes_upstream import Upstream, UpstreamError
from wicketgate_gateway.tunnel.messages import HttpRequest


class FakeStream:
    """A tunnel stream that remembers what was sent; the test plays the agent."""

    def __init__(self) -> None:
        self.on_data: Callable[[bytes], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None
        self.on_writable: Callable[[], None] = lambda: None
        self.writable = True
        self.controls: list[HttpRequest] = []
        self.sent = b""
        self.credit = 0
        self.closed = ""

    def send_control(self, message: Any) -> None:
        self.controls.append(message)

    def send(self, data: bytes) -> None:
        self.sent += data

    def consumed(self, count: int) -> None:
        self.credit += count

    def close(self, reason: str) -> None:
        self.closed = reason


@pytest.mark.anyio
@pytest.mark.parametrize("step", [1, 7, 4096])
async def test_requests_one_after_the_other(step: int) -> None:
    """However the answers are cut; the credit of what was read is given back."""
    stream = FakeStream()
    upstream = Upstream(stream)  # type: ignore[arg-type] - as much of a stream as it uses
    answers = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
    )
    for answer, status, content in zip(answers, (200, 201), (b"abc", b"def"), strict=True):
        asking = asyncio.ensure_future(upstream.ask("POST", "/x", [("A", "b")], b"body"))
        await asyncio.sleep(0)
        for at in range(0, len(answer), step):
            stream.on_data(answer[at : at + step])
        head = await asking
        assert head.status == status
        assert await upstream.whole() == content
        assert upstream.idle
    assert stream.controls[0].headers == [("A", "b"), ("Content-Length", "4")]
    assert stream.sent == b"bodybody"
    assert stream.credit == sum(map(len, answers))
    upstream.close()
    assert stream.closed


@pytest.mark.anyio
async def test_an_upgraded_connection_is_raw() -> None:
    """What follows the head comes first."""
    stream = FakeStream()
    upstream = Upstream(stream)  # type: ignore[arg-type] - as above
    stream.on_data(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nabc")
    assert (await upstream.ask("GET", "/x", [])).status == 101
    assert await upstream.raw() == b"abc"
    assert not await upstream.ready(0.01)
    stream.on_data(b"d")
    assert await upstream.ready(5)
    stream.on_close("gone")
    assert await upstream.raw() == b"d"
    assert await upstream.raw() == b""
    with pytest.raises(UpstreamError):
        await upstream.send(b"x")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 200 OK\r\nBad\r\n\r\n", b"HTTP/1.1 2", b""]
)
async def test_what_is_cut_or_malformed(answer: bytes) -> None:
    """Is told, not passed on as whole."""
    stream = FakeStream()
    upstream = Upstream(stream)  # type: ignore[arg-type] - as above
    stream.on_data(answer) if answer else None
    stream.on_close("gone")

    async def both() -> None:
        await upstream.ask("GET", "/x", [])
        await upstream.whole()

    with pytest.raises(UpstreamError):
        await both()


@pytest.mark.anyio
async def test_an_answer_over_its_bound() -> None:
    """Is not taken into memory."""
    stream = FakeStream()
    upstream = Upstream(stream)  # type: ignore[arg-type] - as above
    stream.on_data(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
    await upstream.ask("GET", "/x", [])
    with pytest.raises(UpstreamError, match="over 10 bytes"):
        await upstream.whole(10)
