"""Servers in a thread and as a process."""

import socket
import ssl
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wicketgate.testing.certs import CertificateAuthority, client_context
from wicketgate.testing.serving import ThreadedServer, bind


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


def test_a_thread_serves_until_the_context_ends(tmp_path: Path) -> None:
    authority = CertificateAuthority.open(tmp_path)
    leaf = authority.issue_files(tmp_path, "server", ["localhost"])
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with ThreadedServer(Starlette(routes=[Route("/", hello)]), listener, leaf):
        answer = httpx2.get(f"https://localhost:{port}/", verify=client_context(authority.cert_file), trust_env=False)
        assert answer.text == "hello"
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"https://localhost:{port}/", verify=ssl.create_default_context(), trust_env=False)


def test_accepted_connections_send_at_once() -> None:
    """asyncio sets TCP_NODELAY by the socket's protocol number, which accepted sockets inherit."""
    listener = bind("127.0.0.1", 0)
    assert listener.proto == socket.IPPROTO_TCP
    listener.close()


def test_a_failed_start_is_told(tmp_path: Path) -> None:
    def lifespan(_: Starlette) -> object:
        raise RuntimeError("no")

    authority = CertificateAuthority.open(tmp_path)
    leaf = authority.issue_files(tmp_path, "server", ["localhost"])
    app = Starlette(lifespan=lifespan)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match="did not start"), ThreadedServer(app, bind("127.0.0.1", 0), leaf):
        pass


def test_the_port_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    note = tmp_path / "port"
    first = bind("127.0.0.1", 0, remembered=note)
    port = first.getsockname()[1]
    other = bind("127.0.0.1", 0, remembered=note)
    assert other.getsockname()[1] != port
    first.close()
    other.close()
    note.write_text(str(port))
    again = bind("127.0.0.1", 0, remembered=note)
    assert again.getsockname()[1] == port
    with pytest.raises(OSError, match=r"in use|Address"):
        bind("127.0.0.1", port)
    again.close()
    note.write_text("nonsense")
    bind("127.0.0.1", 0, remembered=note).close()
    assert note.read_text().isdecimal()
