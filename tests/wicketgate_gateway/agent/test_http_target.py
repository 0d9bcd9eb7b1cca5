"""An HTTP target at the agent: what goes out, and what comes back. (Whole paths: tests/e2e/test_http.py.)"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.agent.http_target import HttpService
from wicketgate_gateway.contract.gateway import HttpTarget
from wicketgate_gateway.tunnel.messages import Failed, HttpRequest, Open, Opened

pytestmark = pytest.mark.anyio
OPEN = Open(target="api", bot="b", session="s", parameters={})


class Stream:
    """The gateway's end, as far as it is needed."""

    def __init__(self) -> None:
        self.controls: list[Any] = []
        self.data = b""
        self.closed = ""
        self.writable = True
        self.on_data: Any = None
        self.on_close: Any = None
        self.on_control: Any = None
        self.on_writable: Any = None

    def send(self, data: bytes) -> None:
        self.data += data

    def send_control(self, message: Any) -> None:
        self.controls.append(message)

    def consumed(self, count: int) -> None: ...

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason


async def until(condition: Any) -> None:
    """Wait for it."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells by no event
            await asyncio.sleep(0.01)


async def serve(tmp_path: Path, answer: bytes, **more: Any) -> tuple[Any, list[bytes]]:
    """One request with a bot's own authorization to a server that says this; the stream, and what the server got."""
    got: list[bytes] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.read(3))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / "token").write_text("the-targets-own-token")
    config = HttpTarget.model_validate(
        {
            "kind": "http",
            "address": f"http://127.0.0.1:{port}/base",
            "auth": "bearer",
            "credential": str(tmp_path),
            **more,
        }
    )
    stream: Any = Stream()
    done: list[Any] = []
    HttpService("api", config).serve(stream, OPEN, done.append)
    await until(lambda: stream.controls)
    assert isinstance(stream.controls[0], Opened)
    headers = [("Authorization", "Bearer bot"), ("Host", "evil"), ("Content-Length", "3")]
    stream.on_control(HttpRequest(method="POST", path="/x?y", headers=headers))
    stream.on_data(b"abc")
    await until(lambda: done)
    server.close()
    return stream, got


async def test_the_head_is_the_targets_own(tmp_path: Path) -> None:
    """Base path, host and credential; the body behind it; cookies and echoes of the secret taken out."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 26\r\n\r\nsee the-targets-own-token !"
    stream, got = await serve(tmp_path, answer)
    assert got[0].startswith(b"POST /base/x?y HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer the-targets-own-token\r\n" in got[0]
    assert b"bot" not in got[0]
    assert got[1] == b"abc"
    assert stream.data == b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nsee " + b"*" * 21 + b" !"
    assert stream.closed


async def test_an_answer_that_is_none(tmp_path: Path) -> None:
    """Ends the stream with what is wrong."""
    stream, _ = await serve(tmp_path, b"HTTP/1.1 200 OK\nX: y\r\n\r\n")
    assert stream.data.startswith(b"HTTP/1.1 502 Bad Gateway\r\nx-wicketgate-trouble: http-malformed ")
    assert "cannot be passed on" in stream.closed


async def test_a_credential_that_is_refused(tmp_path: Path) -> None:
    """Is told to the gateway, whatever the target says of it; only the agent can say so."""
    stream, _ = await serve(tmp_path, b"HTTP/1.1 401 No\r\nX-Wicketgate-Trouble: a b\r\nContent-Length: 2\r\n\r\nno")
    assert stream.data.count(b"x-wicketgate-trouble: target-credential-refused ") == 1
    assert b"a b" not in stream.data
    (tmp_path / "more").mkdir()
    answer = b"HTTP/1.1 200 OK\r\nX-Wicketgate-Trouble: a b\r\nContent-Length: 0\r\n\r\n"
    stream, _ = await serve(tmp_path / "more", answer)
    assert stream.data == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_nobody_there(tmp_path: Path) -> None:
    """Is told at once."""
    config = HttpTarget.model_validate({"kind": "http", "address": "http://127.0.0.1:1"})
    stream: Any = Stream()
    HttpService("api", config).serve(stream, OPEN, lambda _: None)
    await until(lambda: stream.controls)
    assert isinstance(stream.controls[0], Failed)
    assert stream.controls[0].code == "target-unavailable"
