"""A connection that brings no request is closed; one that waits for an answer is not."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.api import http

pytestmark = pytest.mark.anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.6)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.3)
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "api", ["127.0.0.1"])
    server = http.server(app, leaf.server_context())
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    task = asyncio.create_task(server._serve([bound]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells by no event
        await asyncio.sleep(0.01)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca" / "ca.pem"))
    try:
        port = bound.getsockname()[1]
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(begun)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"ok")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"server:" not in head.lower()
            writer.write(b"GET / HTTP/1.1\r\nHost")  # the next request has the same deadline
            assert await reader.read() == b""
        writer.close()
    finally:
        server.should_exit = True
        await task
        bound.close()
