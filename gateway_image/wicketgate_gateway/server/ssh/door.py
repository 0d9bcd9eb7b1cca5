"""The SSH address: who connects, and which of the two ways in they take.

How this works: one port takes both. A client that begins with a TLS record is `wicketgate ssh-proxy`, an OpenSSH
client's `ProxyCommand`: it says the target and the token ahead of the SSH protocol (`wire.ssh.preface`). Everyone else
speaks SSH at once and gives the token as the password. Nothing of this happens in the accept loop; each connection has
one deadline for all until it is let in, and strangers are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import cast

import asyncssh
import structlog
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs

from wicketgate_gateway.server.ssh.host_keys import HostKeys
from wicketgate_gateway.server.ssh.protocol import Account, LogInFailedError, Server, SessionChannel, log_in
from wicketgate_gateway.tunnel.messages import SshConnect
from wicketgate_gateway.tunnel.mux import Mux
from wicketgate_gateway.wire.ssh import preface
from wicketgate_gateway.wire.ssh.preface import PrefaceError, PrefaceReader

MAX_STRANGERS = 256
"""Connections at once that are not let in yet: SSH's key exchange costs the gateway more than the client."""
ACCEPT_BATCH = 16
_TLS_HANDSHAKE = 0x16
_SHORT_OF_FILES = 0.1
_SILENT_SECONDS = 0.5
"""A client that says nothing for so long waits for the server to speak first, which SSH allows."""

# No finite-field key exchange, no CBC, no SHA-1; every algorithm list is explicit, so that an update changes nothing.
KEX = (
    "mlkem768x25519-sha256", "sntrup761x25519-sha512@openssh.com", "curve25519-sha256",
    "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
)  # fmt: skip
CIPHERS = (
    "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr",
)  # fmt: skip
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
REKEY_BYTES = 1 << 30

log = structlog.get_logger("wicketgate.ssh")


def available(wanted: tuple[str, ...], all_of_them: list[bytes]) -> list[str]:
    """Those algorithms that this build of asyncssh has, in our order."""
    known = {name.decode() for name in all_of_them}
    return [name for name in wanted if name in known]


class Connection(asyncssh.SSHServerConnection):
    """A client's connection. Options are made once for all of them, since that takes longer than a log-in may."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: asyncssh.SSHServerConnectionOptions) -> None:
        super().__init__(loop, options)
        self.let_in: asyncio.Future[None] = loop.create_future()
        """Done once the client is let in or gone."""

    def serve(self, factory: Callable[[], Server]) -> None:
        """Have this client served by what `factory` makes."""
        self._protocol_factory = factory

    def create_server_channel(
        self, encoding: str | None = "", errors: str = "", window: int = 0, max_pktsize: int = 0
    ) -> SessionChannel:
        """See asyncssh: the same, but a channel of our own."""
        size = max_pktsize or self._max_pktsize
        self._update_recv_pktlen(size)
        return SessionChannel(
            self, self._loop, self._allow_pty, False, False, 0, 0, None, "strict", window or self._window, size
        )

    def settled(self) -> None:
        """The client is no stranger any more."""
        if not self.let_in.done():
            self.let_in.set_result(None)


class Door:
    """Accepts on `listening` and hands clients to asyncssh."""

    def __init__(
        self, listening: socket.socket, mux: Mux, keys: HostKeys, tls: ssl.SSLContext, login_seconds: float
    ) -> None:
        self.connections: set[Connection] = set()
        self._listening = listening
        self._mux = mux
        self._keys = keys
        self._tls = tls
        self._seconds = login_seconds
        self._strangers: set[object] = set()
        self._options: asyncssh.SSHServerConnectionOptions | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Begin to accept."""
        self._options = await asyncssh.SSHServerConnectionOptions.construct(
            server_factory=asyncssh.SSHServer,
            server_host_keys=[(self._keys.key, self._keys.certificate)],
            server_version="Wicketgate",
            kex_algs=available(KEX, get_kex_algs()),
            encryption_algs=available(CIPHERS, get_encryption_algs()),
            mac_algs=available(MACS, get_mac_algs()),
            compression_algs=["none"],
            login_timeout=self._seconds,
            keepalive_interval=30,
            keepalive_count_max=3,
            rekey_bytes=REKEY_BYTES,
            gss_host=None,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            sftp_factory=None,
            public_key_auth=False,
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=True,
        )
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_SHORT_OF_FILES, self._loop.add_reader, self._listening, self._accept)
                return
            if len(self._strangers) >= MAX_STRANGERS:
                sock.close()
                continue
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._strangers.add(sock)
            _First(self, sock)

    def speaks(self, sock: socket.socket, *, tls: bool) -> None:
        """What the client's first byte says."""
        self._strangers.discard(sock)
        task = self._loop.create_task(self._tls_client(sock) if tls else self._ssh_client(sock))
        self._strangers.add(task)
        task.add_done_callback(self._strangers.discard)

    def gone(self, sock: socket.socket) -> None:
        """It hung up, or stayed silent for too long."""
        self._strangers.discard(sock)
        sock.close()

    async def _ssh_client(self, sock: socket.socket) -> None:
        peer = _peer(sock)
        connection = self._connection(peer, None)
        await self._loop.connect_accepted_socket(lambda: connection, sock)
        await self._let_in(connection)

    async def _tls_client(self, sock: socket.socket) -> None:
        peer = _peer(sock)
        front = _Preface(self, peer)
        try:
            async with asyncio.timeout(self._seconds):
                await self._loop.connect_accepted_socket(
                    lambda: front, sock, ssl=self._tls, ssl_handshake_timeout=self._seconds
                )
                connection = await front.done
        except (TimeoutError, OSError, asyncio.CancelledError):
            front.abort()
            sock.close()
            return
        if connection is not None:
            await self._let_in(connection)

    async def _let_in(self, connection: Connection) -> None:
        """A stranger until its log-in is over; asyncssh ends those that take too long."""
        await connection.let_in

    def _connection(self, peer: str, account: Account | None) -> Connection:
        assert self._options is not None
        connection = Connection(self._loop, self._options)

        def done() -> None:
            self.connections.discard(connection)
            connection.settled()

        connection.serve(lambda: Server(self._mux, peer, self._seconds, account, done, connection.settled))
        self.connections.add(connection)
        return connection

    async def proxied(self, wanted: preface.Wanted, peer: str) -> Connection:
        """A connection for a client that proved who it is ahead of SSH. Raises LogInFailedError."""
        request = SshConnect(target=wanted.target, token=wanted.token, user="", peer=peer, client="ssh-proxy")
        account = await log_in(self._mux, request, self._seconds)
        return self._connection(peer, account)

    def known_hosts(self) -> str:
        """What a client needs to check the host key by the authority."""
        return f"{self._keys.authority}\n"


class _First:
    """Looks at the first byte of a connection and takes none."""

    def __init__(self, door: Door, sock: socket.socket) -> None:
        self._door = door
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._look)
        self._timer = self._loop.call_later(_SILENT_SECONDS, self._silent)

    def _look(self) -> None:
        try:
            first = self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        self._stop()
        if first:
            self._door.speaks(self._sock, tls=first[0] == _TLS_HANDSHAKE)
        else:
            self._door.gone(self._sock)

    def _silent(self) -> None:
        self._stop()
        self._door.speaks(self._sock, tls=False)

    def _stop(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._sock)


class _Preface(asyncio.Protocol):
    """The lines ahead of SSH; then the transport is asyncssh's."""

    def __init__(self, door: Door, peer: str) -> None:
        self._door = door
        self._peer = peer
        self._reader = PrefaceReader()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._size = 0
        self.done: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's TLS transport is none of asyncio's classes, but has their methods.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._task is not None:
            self._task.cancel()
        self._finish(None)

    def abort(self) -> None:
        """Too late."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._task is not None:
            self._keep(data)
            return
        try:
            wanted = self._reader.feed(data)
        except PrefaceError as error:
            self._say(preface.refused("protocol", str(error)))
            return
        if wanted is None:
            return
        if not wanted.target:
            self._say(preface.accepted(self._door.known_hosts()))
            return
        self._keep(self._reader.rest)
        self._task = asyncio.get_running_loop().create_task(self._log_in(wanted))

    def _keep(self, data: bytes) -> None:
        self._early.append(data)
        self._size += len(data)
        if self._size > preface.MAX_PREFACE:
            self.abort()

    async def _log_in(self, wanted: preface.Wanted) -> None:
        transport = self._transport
        assert transport is not None
        try:
            connection = await self._door.proxied(wanted, self._peer)
        except LogInFailedError as error:
            self._say(preface.refused(error.code, str(error)))
            return
        except Exception:
            log.exception("a log-in failed inside", peer=self._peer)
            self._say(preface.refused("internal-error", "the log-in failed inside the gateway"))
            return
        transport.write(preface.accepted())
        transport.set_protocol(connection)
        connection.connection_made(transport)
        for piece in self._early:
            if piece:
                connection.data_received(piece)
        self._finish(connection)

    def _say(self, answer: bytes) -> None:
        transport = self._transport
        if transport is not None:
            transport.write(answer)
            transport.close()
        self._finish(None)

    def _finish(self, connection: Connection | None) -> None:
        if not self.done.done():
            self.done.set_result(connection)


def _peer(sock: socket.socket) -> str:
    try:
        address = sock.getpeername()
    except OSError:
        return ""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
