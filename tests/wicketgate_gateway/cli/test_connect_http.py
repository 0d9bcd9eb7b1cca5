"""The local address of an HTTP service: the token goes in, bytes stay what they are, and no web site gets there."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.cli import client
from wicketgate_gateway.cli.connect_http import HttpConnector
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError

pytestmark = pytest.mark.anyio
TOKEN = "header.payload.signature-of-the-token"


class Gateway:
    """A TLS server that keeps what comes, and answers each request as it is told."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[16:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                if b"chunked" in head:
                    body = await reader.readuntil(b"0\r\n\r\n")
                self.seen.append(head + body)
                writer.write(self.answer)
                if b" 101 " in self.answer:
                    while data := await reader.read(100):
                        writer.write(data[::-1])
        writer.close()


class World:
    """A connector before a gateway."""

    def __init__(self, gateway: Gateway, connector: HttpConnector, port: int) -> None:
        self.gateway, self.connector, self.port = gateway, connector, port

    async def ask(self, data: bytes, count: int = 1) -> bytes:
        """What comes back, up to so many bodies `ok`, or to the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        found = b""
        async with asyncio.timeout(30):
            while found.count(b"\r\n\r\nok") < count and (piece := await reader.read(65536)):
                found += piece
        writer.close()
        return found

    def head(self, line: str, *headers: str, host: str = "") -> bytes:
        """A tool's request."""
        return "\r\n".join((line, f"Host: {host or f'127.0.0.1:{self.port}'}", *headers, "", "")).encode()


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """client.yaml, as far as it says nothing of the gateway."""
    ids = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
    return {
        "bot": "code-review",
        "entra": {"tenant": ids},
        "audience": ids,
        "workload": {"clientId": ids, "tokenFile": str(tmp_path / "none")},
        "gateway": {"host": "localhost", "port": 1},
        "targets": {"orders-api": "http"},
    }


@pytest.fixture
async def world(tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Both, running."""
    ca = CertificateAuthority.open(tmp_path / "ca")
    leaf = ca.issue_files(tmp_path / "gate", "gate", ["localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    gateway = Gateway()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0, ssl=context)
    config["http"] = {
        "host": "localhost", "port": server.sockets[0].getsockname()[1], "caFile": str(ca.cert_file)
    }  # fmt: skip
    monkeypatch.setattr(client, "fetch_token", lambda _: AccessToken(TOKEN, time.time() + 3600))
    connector = HttpConnector(ClientConfig.model_validate(config), "orders-api")
    yield World(gateway, connector, await connector.listen(0))
    await connector.close()
    server.close()


async def test_requests_get_target_and_token(world: World) -> None:
    """Each on a connection, also those sent ahead; a tool's own authorization is not the bot's."""
    more = ("Authorization: Basic eDp5", "X-Wicketgate-Target: other", "X-A: b")
    data = world.head("GET /a?b HTTP/1.1", *more)
    data += world.head("POST /c HTTP/1.1", "Content-Length: 3") + b"abc"
    data += world.head("PUT /d HTTP/1.1", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    assert (await world.ask(data, 3)).count(b"HTTP/1.1 200 OK") == 3
    first, second, third = world.gateway.seen
    assert world.gateway.connections == 1
    assert first.startswith(b"GET /a?b HTTP/1.1\r\n")
    assert b"X-A: b\r\nX-Wicketgate-Target: orders-api\r\nX-Wicketgate-Token: " + TOKEN.encode() in first
    assert b"Basic" not in first
    assert b"other" not in first
    assert second.endswith(b"\r\n\r\nabc")
    assert third.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert TOKEN.encode() in second
    assert TOKEN.encode() in third


@pytest.mark.parametrize("size", [1, 7])
async def test_piece_by_piece(world: World, size: int) -> None:
    """Heads and bodies may come in any pieces."""
    data = world.head("POST /c HTTP/1.1", "Content-Length: 3") + b"abc" + world.head("GET /d HTTP/1.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    for i in range(0, len(data), size):
        writer.write(data[i : i + size])
        await writer.drain()
        await asyncio.sleep(0)
    found = b""
    async with asyncio.timeout(30):
        while found.count(b"\r\n\r\nok") < 2:
            found += await reader.read(100)
    writer.close()
    assert [seen.split(b" ")[1] for seen in world.gateway.seen] == [b"/c", b"/d"]


@pytest.mark.parametrize(
    ("headers", "host", "code"),
    [
        (("Origin: https://evil.example",), "", b"origin-foreign"),
        (("Origin: null",), "", b"origin-foreign"),
        (("Sec-Fetch-Site: cross-site",), "", b"origin-foreign"),
        ((), "evil.example", b"host-foreign"),
        ((), "127.0.0.1:1", b"host-foreign"),
    ],
)
async def test_web_sites_get_nowhere(world: World, headers: tuple[str, ...], host: str, code: bytes) -> None:
    """Neither by a page's own request, nor by a name that leads here."""
    found = await world.ask(world.head("GET / HTTP/1.1", *headers, host=host))
    assert found.startswith(b"HTTP/1.1 403")
    assert code in found
    assert world.gateway.connections == 0


async def test_an_upgraded_connection_passes(world: World) -> None:
    """Bytes both ways behind the 101."""
    world.gateway.answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(world.head("GET /ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"))
    async with asyncio.timeout(30):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"abc")
        assert await reader.readexactly(3) == b"cba"
    writer.close()


async def test_a_tool_that_sends_no_more_gets_its_answer(world: World) -> None:
    """Half a connection is enough to read from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(world.head("GET /a HTTP/1.1"))
    writer.write_eof()
    async with asyncio.timeout(30):
        assert (await reader.read()).endswith(b"\r\n\r\nok")
    writer.close()


async def test_what_goes_wrong_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token; no gateway; no HTTP."""

    def refused(_: Any) -> AccessToken:
        raise ExchangeError("Entra says no", code="exchange-refused")

    assert (await world.ask(b"GET / HTTP/9.9\r\n\r\n")).startswith(b"HTTP/1.1 505")
    assert (await world.ask(b"x" * 70_000)).startswith(b"HTTP/1.1 431")
    monkeypatch.setattr(client, "fetch_token", refused)
    found = await world.ask(world.head("GET / HTTP/1.1"))
    assert found.startswith(b"HTTP/1.1 502")
    assert b"Entra says no" in found
    monkeypatch.setattr(client, "fetch_token", lambda _: AccessToken(TOKEN, time.time() + 3600))
    world.connector._endpoint = world.connector._endpoint.model_copy(update={"port": 1})
    found = await world.ask(world.head("GET / HTTP/1.1"))
    assert b"gateway-unreachable" in found
    assert TOKEN.encode() not in found


async def test_another_user_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says whose a connection is."""
    monkeypatch.setattr("wicketgate_gateway.cli.connect._is_ours", lambda *_: False)
    found = await world.ask(world.head("GET / HTTP/1.1"))
    assert found.startswith(b"HTTP/1.1 403")
    assert b"peer-foreign" in found


async def test_a_file_that_says_too_little(config: dict[str, Any]) -> None:
    """Without the address for HTTP there is nothing to connect to."""
    with pytest.raises(WicketgateError, match="does not say where the gateway takes HTTP"):
        HttpConnector(ClientConfig.model_validate(config), "orders-api")


async def test_how_it_is_told(world: World) -> None:
    """For people and for programs."""
    assert world.connector.described(5)["url"] == "http://127.0.0.1:5"
    assert world.connector.hint(5) == "curl http://127.0.0.1:5/"
