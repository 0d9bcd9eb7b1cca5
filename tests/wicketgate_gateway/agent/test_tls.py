"""TLS to a target: nothing is lost when the target closes while we do not read, and certificates are checked."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority, client_context
from wicketgate_gateway.agent import tls
from wicketgate_gateway.agent.target import TargetConnection

SIZE = 4 * 1024 * 1024


async def _serve(folder: Path, names: list[str]) -> tuple[asyncio.Server, int, CertificateAuthority]:
    authority = CertificateAuthority.open(folder / "ca")
    leaf = authority.issue_files(folder, "server", names)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(b"x" * SIZE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=leaf.server_context())
    return server, server.sockets[0].getsockname()[1], authority


@pytest.mark.anyio
async def test_what_came_before_the_target_closed_is_delivered(tmp_path: Path) -> None:
    """However slowly it is read; uvloop's own TLS drops the rest."""
    server, port, authority = await _serve(tmp_path, ["localhost"])
    async with server:
        context = client_context(authority.cert_file, system=False)
        connection = await tls.connect(TargetConnection, "localhost", port, context)
        size = 0
        ended = asyncio.Event()

        def take(data: bytes) -> None:
            nonlocal size
            size += len(data)
            connection.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.002, go_on)

        def go_on() -> None:
            if not connection.ended:
                connection.transport.resume_reading()

        connection.relay(take, ended.set, lambda: None)
        connection.write(b"send")
        async with asyncio.timeout(30):
            await ended.wait()
        assert size == SIZE


@pytest.mark.anyio
async def test_another_name_is_refused(tmp_path: Path) -> None:
    """As is a certificate of another authority."""
    server, port, authority = await _serve(tmp_path, ["example.com"])
    async with server:
        for context in (client_context(authority.cert_file, system=False), ssl.create_default_context()):
            with pytest.raises(ssl.SSLCertVerificationError):
                await tls.connect(TargetConnection, "localhost", port, context)
