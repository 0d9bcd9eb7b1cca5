"""TLS to a target: nothing is lost when the target closes while we do not read, and certificates are checked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority, client_context
from wicketgate_gateway.agent import tls
from wicketgate_gateway.agent.target import TargetConnection

SIZE = 4 * 1024 * 1024


@contextlib.contextmanager
def _server(folder: Path, names: list[str]) -> Iterator[tuple[int, CertificateAuthority]]:
    """Sends `SIZE` bytes to who sends four, and closes at once."""
    authority = CertificateAuthority.open(folder / "ca")
    context = authority.issue_files(folder, "server", names).server_context()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as sock:
                    sock.recv(4)
                    sock.sendall(b"x" * SIZE)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], authority
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


@pytest.mark.anyio
async def test_what_came_before_the_target_closed_is_delivered(tmp_path: Path) -> None:
    """However slowly it is read; uvloop's own TLS drops the rest."""
    with _server(tmp_path, ["localhost"]) as (port, authority):
        context = client_context(authority.cert_file, system=False)
        connection = await tls.connect(TargetConnection, "localhost", port, context)
        size, paused = 0, False
        ended = asyncio.Event()

        def take(data: bytes) -> None:
            nonlocal size, paused
            size += len(data)
            if not paused:
                paused = True
                connection.transport.pause_reading()
                asyncio.get_running_loop().call_later(0.002, go_on)

        def go_on() -> None:
            nonlocal paused
            paused = False
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
    with _server(tmp_path, ["example.com"]) as (port, authority):
        for context in (client_context(authority.cert_file, system=False), ssl.create_default_context()):
            with pytest.raises(ssl.SSLCertVerificationError):
                await tls.connect(TargetConnection, "localhost", port, context)
