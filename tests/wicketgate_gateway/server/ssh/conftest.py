"""The SSH process against a stand-in for the gateway's: it lets one token in, and echoes channels."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.contract.gateway import ServerTls
from wicketgate_gateway.server.ssh.door import Door
from wicketgate_gateway.server.ssh.host_keys import host_keys
from wicketgate_gateway.server.tls import server_context
from wicketgate_gateway.tunnel.messages import Control, Failed, Opened, SshChannel, SshConnect
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux, Stream
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, Kind

TOKEN = "good-token"


class Front:
    """A door that is open, and what came through it."""

    def __init__(self, port: int, ca_file: Path, authority: str) -> None:
        self.port = port
        self.authority = authority
        self.connects: list[SshConnect] = []
        self.channels: list[SshChannel] = []
        self.accounts: list[Stream] = []
        self.door: Door
        self._ca_file = ca_file

    async def connect(self, password: str = TOKEN, user: str = "web-1", **options: Any) -> Any:
        """A client (asyncssh) that checks the host key by the authority."""
        known = asyncssh.import_known_hosts(f"@cert-authority localhost {self.authority}\n")
        return await asyncssh.connect(
            "localhost", self.port, config=None, username=user, password=password, known_hosts=known, client_keys=None,
            agent_path=None, **options,
        )  # fmt: skip

    def tls(self) -> ssl.SSLContext:
        """What `ssh-proxy` uses."""
        return ssl.create_default_context(cafile=str(self._ca_file))

    def opened(self, stream: Stream, message: Control) -> None:
        """See `Mux`."""
        if isinstance(message, SshConnect):
            self.connects.append(message)
            if message.token != TOKEN:
                stream.send_control(Failed(code="token-invalid", reason="the token is none"))
                stream.close("no")
                return
            self.accounts.append(stream)
            stream.send_control(Opened(parameters={"session": f"s{len(self.accounts)}"}))
        elif isinstance(message, SshChannel):
            self.channels.append(message)
            decoder = FrameDecoder()

            def came(data: bytes) -> None:
                for kind, payload in decoder.feed(data):
                    if kind == Kind.STDIN:
                        stream.send(frames.data_frames(Kind.STDOUT, payload))
                    elif kind == Kind.EOF:
                        stream.send(frames.data_frames(Kind.STDERR, b"done") + frames.exit_status(7))
                stream.consumed(len(data))

            stream.on_data = came


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """See `Front`."""
    authority = CertificateAuthority.open(tmp_path / "ca")
    leaf = authority.issue_files(tmp_path, "server", ["localhost"])
    keys = host_keys(tmp_path, str(leaf.cert_file), "gate")
    listening = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    made = Front(listening.getsockname()[1], authority.cert_file, keys.authority)
    loop = asyncio.get_running_loop()

    def mux(*, opens: bool) -> Callable[[], Mux]:
        def make() -> Mux:
            mux = Mux(opens=opens, on_message=nothing, on_lost=nothing, on_open=made.opened)
            mux.max_message = MAX_MESSAGE
            return mux

        return make

    _, gateway = await loop.create_connection(mux(opens=False), sock=ours)
    _, process = await loop.create_connection(mux(opens=True), sock=theirs)
    tls = server_context(ServerTls(certificate_file=str(leaf.cert_file), key_file=str(leaf.key_file)))
    made.door = Door(listening, process, keys, tls, 5.0)
    await made.door.open()
    yield made
    made.door.close()
    for connection in list(made.door.connections):
        connection.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while made.door.connections:  # noqa: ASYNC110 - asyncssh tells by no event of ours
                await asyncio.sleep(0.01)
    for end in (process, gateway):
        end.abort("the test ends")


def nothing(_: object) -> None: ...
