"""`wicketgate connect TARGET`: a local port that adds the token, for tools that cannot ask for one themselves.

How this works, for PostgreSQL (HTTP is `connect_http`'s): a tool connects to 127.0.0.1 without TLS and without a
password that matters. For each connection the gateway is dialled with TLS (verify-full), the tool's start-up message
goes there with the target as the database and the bot as the user, the gateway's request for a password is answered
with a fresh token, and from then on bytes pass both ways. Cancel requests pass, too.

The port stands for the bot, so only this user's processes may use it: the kernel's table of sockets says whose a
connection is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from struct import Struct

from wicketgate_gateway.cli import client
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig, Endpoint
from wicketgate_gateway.contract.model import read
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.identity.exchange import AccessToken
from wicketgate_gateway.wire.postgres import errors, messages, startup
from wicketgate_gateway.wire.postgres.messages import ProtocolError

LOCAL = "127.0.0.1"
START_SECONDS = 30.0
MAX_CONNECTIONS = 100
MAX_START = 10_000
"""PostgreSQL's own bound for a start-up packet."""
RENEW_SECONDS = 300.0
_CHUNK = 64 * 1024
_U32 = Struct(">I")
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_SOCKETS = "/proc/net/tcp"
_OTHERWISE = {
    TargetKind.KUBERNETES: "run `wicketgate kube login`: kubectl gets tokens by itself",
    TargetKind.SSH: "run `wicketgate ssh-config`: ssh gets tokens by itself",
}


def connect(
    target: str, /, *, port: int = 0, config: Path | None = None, any_user: bool = False, json: bool = False
) -> None:
    """Open a port on 127.0.0.1 that adds the token, for tools with a fixed password; ends with Ctrl-C.

    Parameters
    ----------
    target
        The target's name.
    port
        The port; without it, a free one.
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    any_user
        Let every user of this machine in, not only you: they all act as the bot.
    json
        Print one object with `host`, `port`, `target` and `pid` (and `url`, for HTTP) once it listens.
    """
    path = client.config_path(config)
    if path is None:
        raise WicketgateError(
            "there is no client.yaml", code="client-config-missing", remedy="give it by --config, or WICKETGATE_CONFIG"
        )
    document = read(ClientConfig, path)
    if target not in document.targets:
        known = ", ".join(f"`{name}`" for name in sorted(document.targets)) or "none"
        raise WicketgateError(f"there is no target `{target}`", code="target-unknown", remedy=f"known: {known}")
    if not any_user and not os.path.exists(_SOCKETS):
        raise WicketgateError(
            "this system does not tell whose a connection is",
            code="peer-unknown",
            remedy="if nobody else uses this machine, say --any-user",
        )
    kind = document.targets[target]
    if kind in _OTHERWISE:
        raise WicketgateError(
            f"`{target}` is of kind `{kind.value}`, which needs no local port", code="usage", remedy=_OTHERWISE[kind]
        )
    make = Connector
    if kind is TargetKind.HTTP:
        from wicketgate_gateway.cli.connect_http import HttpConnector

        make = HttpConnector
    connector = make(document, target, any_user=any_user)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(connector, port, json))


async def _serve(connector: Connector, port: int, json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bound = await connector.listen(port)
    if json:
        from wicketgate_gateway.cli.output import print_json

        print_json(connector.described(bound))
    else:
        print(f"{connector.target} is at {LOCAL}:{bound} for this user, without TLS; Ctrl-C ends it", flush=True)
        print(f"  {connector.hint(bound)}")
    sys.stdout.flush()
    await stop.wait()
    await connector.close()


class Connector:
    """The local port. Tokens are kept in memory until 5 minutes before their end."""

    def __init__(self, config: ClientConfig, target: str, *, any_user: bool = False) -> None:
        self.target = target
        self._config = config
        self._any_user = any_user
        self._settings = client.of_config(config)
        self._tls = gateway_context(config.gateway)
        self._token: AccessToken | None = None
        self._token_lock = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> int:
        """Starts to listen on 127.0.0.1; the port. Raises WicketgateError if it is taken."""
        try:
            self._server = await asyncio.start_server(self._accept, LOCAL, port)
        except OSError as error:
            reason = (error.strerror or "not possible").lower()
            raise WicketgateError(
                f"port {port} cannot be opened: {reason}", code="port-unavailable", remedy="choose another --port"
            ) from None
        return self._server.sockets[0].getsockname()[1]

    def described(self, port: int) -> dict[str, object]:
        """What `--json` says."""
        return {"host": LOCAL, "port": port, "target": self.target, "pid": os.getpid()}

    def hint(self, port: int) -> str:
        """A command that uses it."""
        return f"psql -h {LOCAL} -p {port} {self.target}"

    async def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except (OSError, EOFError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a tool, to its end."""
        try:
            async with asyncio.timeout(START_SECONDS):
                upstream = await self._start(reader, writer)
            if upstream is not None:
                await _relay(reader, writer, *upstream)
        except TimeoutError:
            _say(writer, "08006", "the gateway did not answer in time")
        except ProtocolError as error:
            _say(writer, "08P01", str(error))
        except WicketgateError as error:
            _say(writer, "28000", str(error))
        except (OSError, EOFError):
            _say(writer, "08006", "the connection broke")

    async def _start(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Reads the tool's start-up and logs in at the gateway; None when it was a cancel request."""
        for _ in range(3):
            length, code = Struct(">II").unpack(await reader.readexactly(8))
            if not 8 <= length <= MAX_START:
                raise ProtocolError("this is no PostgreSQL client")
            body = await reader.readexactly(length - 8)
            if code in (_SSL, _GSS):
                writer.write(b"N")
                continue
            # Only now, since before its start-up message a client takes no error's text.
            await self._check_peer(writer)
            if code == _CANCEL:
                up_reader, up_writer = await self._dial()
                up_writer.write(_U32.pack(length) + _U32.pack(code) + body)
                await up_reader.read()
                up_writer.close()
                return None
            if code >> 16 != 3:
                raise ProtocolError("only version 3 of the protocol is spoken here")
            return await self._log_in(writer, code, body)
        raise ProtocolError("too many requests for encryption")

    async def _check_peer(self, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) > MAX_CONNECTIONS:
            raise WicketgateError("too many connections at once", code="too-many-connections")
        ends = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        if not self._any_user and not await asyncio.to_thread(_is_ours, *ends):
            raise WicketgateError("this port belongs to another user", code="peer-foreign")

    async def _log_in(
        self, writer: asyncio.StreamWriter, version: int, body: bytes
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        parameters = {**start_parameters(body), "user": self._config.bot, "database": self.target}
        token = await self._fresh_token()
        up_reader, up_writer = await self._dial()
        try:
            packet = startup.startup_message(parameters)
            up_writer.write(packet[:4] + _U32.pack(version) + packet[8:])
            while True:
                head = await up_reader.readexactly(5)
                (length,) = _U32.unpack_from(head, 1)
                if not 4 <= length <= MAX_START:
                    raise ProtocolError("the gateway broke the protocol")
                rest = await up_reader.readexactly(length - 4)
                if head[:1] == b"R" and rest == b"\0\0\0\3":
                    up_writer.write(messages.password(token.token))
                    return up_reader, up_writer
                if head[:1] not in (b"v", b"N", b"E"):
                    raise ProtocolError("the gateway did not ask for a token")
                writer.write(head + rest)
                if head[:1] == b"E":
                    up_writer.close()
                    return None
        except BaseException:
            up_writer.close()
            raise

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection to the gateway. Raises WicketgateError."""
        gateway = self._config.gateway
        where = f"{gateway.host}:{gateway.port}"
        try:
            reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
            try:
                writer.write(startup.SSL_REQUEST)
                # Exactly one byte: more would be data that someone put in front of the handshake (CVE-2021-23222).
                if await reader.readexactly(1) != b"S" or reader._buffer:  # pyright: ignore[reportAttributeAccessIssue]
                    raise WicketgateError(f"`{where}` does not offer TLS", code="gateway-without-tls")
                await writer.start_tls(self._tls, server_hostname=gateway.host)
            except BaseException:
                writer.close()
                raise
            return reader, writer
        except ssl.SSLCertVerificationError as error:
            raise WicketgateError(
                f"the certificate of `{where}` was refused: {error.verify_message}",
                code="gateway-certificate-refused",
                remedy="check `gateway.caFile` and `gateway.host` in client.yaml",
            ) from None
        except (OSError, EOFError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "it hung up"
            raise WicketgateError(f"`{where}` cannot be reached: {reason}", code="gateway-unreachable") from None

    async def _fresh_token(self) -> AccessToken:
        async with self._token_lock:
            if self._token is None or self._token.expires_at - RENEW_SECONDS <= time.time():
                self._token = await asyncio.to_thread(client.fetch_token, self._settings)
            return self._token


def gateway_context(gateway: Endpoint) -> ssl.SSLContext:
    """The context for a gateway: its CA alone if the file names one, else the system's. Raises WicketgateError."""
    try:
        context = ssl.create_default_context(cafile=gateway.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise WicketgateError(
            f"`{gateway.ca_file}` cannot be read: {error.strerror or 'no PEM'}",
            code="ca-file-invalid",
            remedy="check `caFile` in client.yaml",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def start_parameters(body: bytes) -> dict[str, str]:
    """The parameters of a StartupMessage's body. Raises ProtocolError."""
    parameters: dict[str, str] = {}
    at = 0
    while body[at : at + 1] not in (b"\0", b""):
        name, at = messages.read_cstring(body, at)
        value, at = messages.read_cstring(body, at)
        parameters[name] = value
    if at != len(body) - 1:
        raise ProtocolError("the start-up message is broken")
    return parameters


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()

    loop = asyncio.get_running_loop()
    pumps = [loop.create_task(pump(reader, up_writer)), loop.create_task(pump(up_reader, writer))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        up_writer.close()


def _say(writer: asyncio.StreamWriter, sqlstate: str, text: str) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(errors.error("FATAL", sqlstate, f"wicketgate: {text}"))


def _is_ours(peer: tuple[str, int], own: tuple[str, int]) -> bool:
    """Whether the socket at the other end belongs to this user, by the kernel's table (proc(5), /proc/net/tcp)."""
    ends = [_hex(*peer), _hex(*own)]
    with open(_SOCKETS, encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[1:3] == ends:
                return int(fields[7]) == os.getuid()
    return False


def _hex(address: str, port: int) -> str:
    number = int.from_bytes(bytes(map(int, address.split("."))), sys.byteorder)
    return f"{number:08X}:{port:04X}"
