"""Clients that take the last answer of a connection slowly: nothing of it is lost."""

from __future__ import annotations

import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.slow
STALL = 8.0
"""Longer than the gateway once waited before it broke off what it still held."""


def test_a_client_that_stalls_gets_the_end(web: Any) -> None:
    """Of answers of many sizes: some end in the kernel's buffers, some in the gateway's own."""
    context = ssl.create_default_context(cafile=str(web.ca_file))
    token = web.cloud.bot_token()

    def take(size: int) -> int:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            plain.connect(("127.0.0.1", web.ports["http"]))
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.settimeout(60)
                sock.sendall(web.head(f"GET /t/orders-api/bytes/{size} HTTP/1.1", "Connection: close", token=token))
                time.sleep(STALL)  # a client that does not read is what this is about
                found = b""
                while piece := sock.recv(65536):
                    found += piece
        return len(found.partition(b"\r\n\r\n")[2])

    sizes = [150_000 * i for i in range(1, 31)]
    with ThreadPoolExecutor(len(sizes)) as pool:
        assert list(pool.map(take, sizes)) == sizes
