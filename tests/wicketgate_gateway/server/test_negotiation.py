"""The bytes before TLS, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.server.negotiation import Negotiation
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.anyio
SSL_REQUEST = struct.pack(">II", 8, 80877103)


class Echo(asyncio.Protocol):
    """Tells whether it was TLS from the start, and sends everything back."""

    def __init__(self, direct: bool) -> None:
        self.direct = direct

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"direct" if self.direct else b"asked")

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Door:
    """One negotiation, with its other end."""

    def __init__(self, folder: Path, deadline: float, *, plaintext: bool = False) -> None:
        ca = CertificateAuthority.open(folder / "ca")
        self.ca_file = ca.cert_file
        context = ca.issue_files(folder, "server", ["localhost"]).server_context()
        context.set_alpn_protocols(["postgresql"])
        self.cancels: list[Any] = []
        self.refusals: list[str] = []
        self.done: list[Any] = []
        listening = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(listening.getsockname())
        sock, _ = listening.accept()
        listening.close()
        sock.setblocking(False)
        self.client.setblocking(False)
        self.negotiation = Negotiation(
            sock,
            context,
            Echo,
            deadline=deadline,
            plaintext=plaintext,
            on_cancel=self.cancels.append,
            on_refused=lambda code, _: self.refusals.append(code),
            on_done=self.done.append,
        )

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def receive(self) -> bytes:
        async with asyncio.timeout(5):
            try:
                return await asyncio.get_running_loop().sock_recv(self.client, 1000)
            except ConnectionResetError:
                return b""

    async def secure(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return await asyncio.open_connection(sock=self.client, ssl=context, server_hostname="localhost")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    made = Door(tmp_path, 5)
    yield made
    made.client.close()


async def test_tls_when_asked_for_byte_by_byte(door: Door) -> None:
    for i in range(8):
        await door.send(SSL_REQUEST[i : i + 1])
        await asyncio.sleep(0.002)
    assert await door.receive() == b"S"
    reader, writer = await door.secure()
    writer.write(b"hello")
    assert await reader.readexactly(10) == b"askedhello"
    assert len(door.done) == 1
    writer.close()


async def test_tls_from_the_start(door: Door) -> None:
    reader, writer = await door.secure()
    assert await reader.readexactly(6) == b"direct"
    writer.close()


async def test_bytes_in_front_of_tls_end_it(door: Door) -> None:
    await door.send(SSL_REQUEST + b"injected")
    assert await door.receive() == b""
    assert door.refusals == ["bytes-before-tls"]
    assert len(door.done) == 1


async def test_plain_start_up_is_refused_in_words(door: Door) -> None:
    body = b"user\0bot\0\0"
    await door.send(struct.pack(">II", len(body) + 8, 196608) + body)
    error = m.read_report((await door.receive())[5:])
    assert error["V"] == "FATAL"
    assert "sslmode" in error["H"]
    assert door.refusals == ["tls-required"]


async def test_cancel_requests_need_no_tls(door: Door) -> None:
    await door.send(struct.pack(">III", 16, 80877102, 77) + b"abcd")
    assert await door.receive() == b""
    assert (door.cancels[0].pid, door.cancels[0].secret) == (77, b"abcd")


async def test_silence_is_cut_off(tmp_path: Path) -> None:
    door = Door(tmp_path, 0.05)
    await door.send(SSL_REQUEST[:4])
    assert await door.receive() == b""
    assert len(door.done) == 1


async def test_a_hello_that_is_none(door: Door) -> None:
    await door.send(b"\x16\x03\x01\x00\x05garbage")
    while await door.receive():
        pass
    for _ in range(100):
        await asyncio.sleep(0.005)
        if door.done:
            break
    assert len(door.done) == 1


async def test_closing_in_mid_handshake(door: Door) -> None:
    await door.send(SSL_REQUEST)
    assert await door.receive() == b"S"
    door.negotiation.close()
    assert await door.receive() == b""
    assert len(door.done) == 1


@pytest.fixture
async def open_door(tmp_path: Path) -> AsyncIterator[Door]:
    made = Door(tmp_path, 5, plaintext=True)
    yield made
    made.client.close()


BODY = b"user\0bot\0database\0orders\0\0"
START_UP = struct.pack(">II", len(BODY) + 8, 196608) + BODY


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_where_plaintext_is_taken_the_start_up_gets_through_whole(open_door: Door, piece: int) -> None:
    sent = START_UP + b"and what follows"
    for i in range(0, len(sent), piece):
        await open_door.send(sent[i : i + piece])
        await asyncio.sleep(0.001)
    got = b""
    while len(got) < len(b"asked" + sent):
        got += await open_door.receive()
    assert got == b"asked" + sent
    assert not open_door.refusals
    assert len(open_door.done) == 1


async def test_where_plaintext_is_taken_tls_is_still_served_and_nothing_in_front_of_it(open_door: Door) -> None:
    await open_door.send(SSL_REQUEST)
    assert await open_door.receive() == b"S"
    reader, writer = await open_door.secure()
    assert await reader.readexactly(5) == b"asked"
    writer.close()


async def test_where_plaintext_is_taken_a_start_up_behind_a_request_for_tls_is_none(open_door: Door) -> None:
    await open_door.send(SSL_REQUEST + START_UP)
    assert await open_door.receive() == b""
    assert open_door.refusals == ["bytes-before-tls"]


async def test_where_plaintext_is_taken_kerberos_is_still_declined_first(open_door: Door) -> None:
    await open_door.send(struct.pack(">II", 8, 80877104))
    assert await open_door.receive() == b"N"
    await open_door.send(START_UP)
    got = b""
    while len(got) < len(b"asked" + START_UP):
        got += await open_door.receive()
    assert got == b"asked" + START_UP


async def test_closing_before_the_handing_over_began(open_door: Door) -> None:
    open_door.negotiation._begin(open_door.negotiation._clear(b""))  # pyright: ignore[reportPrivateUsage]
    open_door.negotiation.close()
    assert await open_door.receive() == b""
    assert len(open_door.done) == 1
