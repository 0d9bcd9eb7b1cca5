"""The agent's connection to a target: TLS, log-in with the held credential, then plain bytes.

How this works: one `asyncio.Protocol` a connection. During the log-in it hands chunks to a coroutine that drives the
sans-I/O `Login`; after that it is given callbacks and each chunk goes straight to them. The credential is read from its
folder for each log-in and lives no longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import PostgresTarget, TlsMode
from wicketgate_gateway.wire.postgres import startup
from wicketgate_gateway.wire.postgres.startup import LoggedIn, Login

DIAL_SECONDS = 10.0
CLOSE_SECONDS = 10.0
"""The time that a target has to take what is buffered at the end."""
MAX_CHUNKS = 16
"""Chunks (of at most 256 KiB) that wait to be read before the socket is left alone."""
_HIGH_WATER = 256 * 1024


class TargetError(WicketgateError):
    """The target cannot be used. The message names the target and never its credential or its own words about it."""

    code = "target-unavailable"


class Key(NamedTuple):
    """What cancels a session's statements (BackendKeyData)."""

    pid: int
    secret: bytes


class TargetConnection(asyncio.Protocol):
    """One connection to a target. After `relay`, data and the end go to callbacks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._unread = False
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self._on_drained: Callable[[], None] | None = None
        self.paused = False
        """Whether the target does not take more for now."""

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, TLS or plain. Raises ConnectionError when there is none."""
        if self._transport is None or self._ended:
            raise ConnectionError("not connected")
        return self._transport

    @property
    def ended(self) -> bool:
        """Whether the connection is over."""
        return self._ended

    def upgraded(self, transport: asyncio.Transport) -> None:
        """Takes the TLS transport that replaced the plain one."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    async def read(self) -> bytes:
        """The next chunk. Raises ConnectionError at the end."""
        while not self._chunks:
            if self._ended:
                raise ConnectionError("the target closed the connection")
            self._waiter = self._loop.create_future()
            await self._waiter
        chunk = self._chunks.popleft()
        if self._unread and len(self._chunks) < MAX_CHUNKS:
            self._read_on()
        return chunk

    def relay(
        self, on_data: Callable[[bytes], None], on_end: Callable[[], None], on_drained: Callable[[], None]
    ) -> None:
        """From now on chunks go to `on_data`, the end to `on_end`, and `on_drained` tells that `paused` is over."""
        self._on_data, self._on_end, self._on_drained = on_data, on_end, on_drained
        while self._chunks:
            on_data(self._chunks.popleft())
        self._read_on()
        if self._ended:
            self._loop.call_soon(on_end)

    def write(self, data: bytes) -> None:
        """Sends `data`; dropped after the end."""
        if self._transport is not None and not self._ended:
            self._transport.write(data)

    def close(self) -> None:
        """Closes after what is buffered has gone out; no callback is called from here on."""
        self._on_data = self._on_end = self._on_drained = None
        if self._transport is not None and not self._ended:
            self._transport.close()
            self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Closes at once."""
        self._on_data = self._on_end = self._on_drained = None
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._on_data is not None:
            self._on_data(data)
        else:
            self._chunks.append(data)
            if len(self._chunks) >= MAX_CHUNKS and not self._unread:
                # Nobody takes it yet, and a target must not fill our memory.
                self._unread = True
                self.transport.pause_reading()
            self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._ended = True
        self._wake()
        if self._on_end is not None:
            self._on_end()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.paused = False
        if self._on_drained is not None:
            self._on_drained()

    def _read_on(self) -> None:
        if self._unread and not self._ended:
            self._unread = False
            self.transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Target:
    """A target of the agent: how to reach it and how to log in. `name` is what policies call it."""

    def __init__(self, name: str, config: PostgresTarget) -> None:
        self.name = name
        self.config = config
        host, _, port = config.address.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port) if port.isdigit() else 0
        if not self.host or not 0 < self.port < 65536:
            raise WicketgateError(
                f"`{config.address}`, the address of `{name}`, is not `host:port`",
                code="address-invalid",
                remedy="write it as `db.internal:5432`",
            )

    async def log_in(self, client: Mapping[str, str]) -> tuple[TargetConnection, LoggedIn]:
        """A logged-in connection, with a client's start-up parameters as far as they may reach the server.

        Raises ParameterRefusedError, LoginRefusedError, LoginUnsupportedError, ProtocolError or TargetError.
        """
        user, password = await asyncio.to_thread(read_credential, self.config.credential)
        parameters = startup.start_up_parameters(
            client, user=user, database=self.config.database, search_path=self.config.search_path
        )
        connection = await self.connect()
        try:
            encrypted = self.config.tls is not TlsMode.DISABLE
            binding = certificate_digest(connection.transport) if encrypted else None
            login = Login(parameters, password, tls=encrypted, binding=binding)
            del password
            connection.write(login.start())
            while login.done is None:
                # In a thread: SCRAM's key derivation takes milliseconds, and other sessions run on this loop.
                answer = await asyncio.to_thread(login.feed, await connection.read())
                if answer:
                    connection.write(answer)
        except ConnectionError:
            connection.abort()
            raise TargetError(f"`{self.name}` closed the connection during the log-in") from None
        except BaseException:
            connection.abort()
            raise
        return connection, login.done

    async def cancel(self, key: Key) -> None:
        """Asks the server to cancel what the session of `key` runs. Raises TargetError."""
        connection = await self.connect()
        connection.write(startup.cancel_request(key.pid, key.secret))
        # The server closes once it has passed the request on; that it comes back says nothing of the outcome.
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(DIAL_SECONDS):
                while True:
                    await connection.read()
        connection.close()

    async def connect(self) -> TargetConnection:
        """A connection with TLS (verify-full) unless the configuration says otherwise. Raises TargetError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                _, connection = await loop.create_connection(TargetConnection, self.host, self.port)
                try:
                    if self.config.tls is not TlsMode.DISABLE:
                        await self._encrypt(connection)
                except BaseException:
                    connection.abort()
                    raise
                return connection
        except TimeoutError:
            raise TargetError(f"`{self.name}` did not answer within {DIAL_SECONDS:.0f} s") from None
        except ssl.SSLCertVerificationError as error:
            raise TargetError(
                f"the certificate of `{self.name}` was refused: {error.verify_message}",
                code="target-certificate-refused",
                remedy="check `caFile` and the host name in `address`",
            ) from None
        except OSError as error:  # TLS errors, too
            reason = error.strerror or type(error).__name__
            raise TargetError(f"`{self.name}` cannot be reached: {reason}") from None

    async def _encrypt(self, connection: TargetConnection) -> None:
        context = await asyncio.to_thread(_context, self.config.ca_file)
        connection.write(startup.SSL_REQUEST)
        answer = await connection.read()
        # More than one byte would be data that someone put in front of the handshake (CVE-2021-23222).
        if answer != b"S":
            raise TargetError(
                f"`{self.name}` does not offer TLS",
                code="target-without-tls",
                remedy="turn TLS on there, or set `tls: disable` if the network is trusted",
            )
        transport = await asyncio.get_running_loop().start_tls(
            connection.transport, connection, context, server_hostname=self.host
        )
        if transport is None:
            raise ConnectionError("the connection closed during the handshake")
        connection.upgraded(transport)


def read_credential(folder: str) -> tuple[str, str]:
    """User name and password from the files `username` and `password` in `folder`. Raises TargetError."""
    values: list[str] = []
    for name in ("username", "password"):
        try:
            # A Secret made with `echo` ends in a line end, which no password means.
            value = (Path(folder) / name).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise TargetError(
                f"the credential file `{name}` cannot be read: {reason}",
                code="credential-unreadable",
                remedy="check `credential` and its permissions",
            ) from None
        if not value or "\0" in value:
            raise TargetError(f"the credential file `{name}` is empty or broken", code="credential-unreadable")
        values.append(value)
    return values[0], values[1]


def certificate_digest(transport: asyncio.BaseTransport) -> bytes | None:
    """The digest of the peer's certificate for `tls-server-end-point` (RFC 5929 section 4.1), or None without one."""
    tls = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if der is None:
        return None
    certificate = x509.load_der_x509_certificate(der)
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:  # such as Ed25519, for which the RFC defines none
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


def _context(ca_file: str | None) -> ssl.SSLContext:
    # With a CA of its own a target is trusted by that one alone.
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
