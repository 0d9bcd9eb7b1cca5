"""What asyncssh calls for one client: its log-in and its channels. Nothing is decided here.

How this works: a client is let in by one proof alone, the bot's Entra token: as its password, or ahead of the SSH
protocol by `ProxyCommand` (`door.py`), in which case SSH's own log-in asks for nothing more. Whether the token is good
the gateway's process says, over the link. A channel's request is told there as soon as it came; from then on frames
pass both ways, with credit, so that a slow side stops its own channel and no other. Everything that is not a session
or a forwarded connection is refused here: X11, agents, tunnels, listening, sockets of the file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh
import structlog
from asyncssh.constants import DISC_BY_APPLICATION
from asyncssh.packet import SSHPacket

from wicketgate_gateway.tunnel.messages import Control, Failed, Opened, SshChannel, SshConnect
from wicketgate_gateway.tunnel.mux import Mux, Stream
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, FrameError, Kind

MAX_TOKEN = 16 * 1024
MAX_USER = 200
MAX_TRIES = 3
MAX_CHANNELS = 64
"""At once, of one connection."""
MAX_ENV = 64
MAX_ENV_BYTES = 4 * 1024
MAX_COMMAND = 12 * 1024
"""Bytes of a command: what opens a stream must fit into one frame of the tunnel, twice over (escapes of JSON)."""
SHOWN_OF_CUT = 1000
MAX_HOST = 300
HIGH_WATER = 128 * 1024
NO_SESSION = 255
"""What `ssh` itself ends with when a connection fails."""

log = structlog.get_logger("wicketgate.ssh")


class LogInFailedError(Exception):
    """The gateway does not let the client in."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Account:
    """A client that the gateway let in: the session's number, and the stream whose end is the session's."""

    def __init__(self, stream: Stream, session: str) -> None:
        self.session = session
        self.stream = stream
        self.over = ""
        """Why the gateway ended it."""
        self.on_over: Callable[[str], None] = lambda _reason: None
        stream.on_close = self._ended

    def _ended(self, reason: str) -> None:
        self.over = reason or "the session ended"
        self.on_over(self.over)

    def close(self) -> None:
        """The client is gone."""
        self.stream.close("the client hung up")


async def log_in(mux: Mux, request: SshConnect, seconds: float) -> Account:
    """Ask the gateway to let a client in. Raises LogInFailedError."""
    answered: asyncio.Future[Control | str] = asyncio.get_running_loop().create_future()

    def answer(what: Control | str) -> None:
        if not answered.done():
            answered.set_result(what)

    try:
        stream = mux.open(request)
    except ConnectionError:
        raise LogInFailedError("gateway-away", "the gateway is not there") from None
    stream.on_control = answer
    stream.on_close = answer
    try:
        async with asyncio.timeout(seconds):
            found = await answered
    except BaseException as error:
        stream.close("the client gave up")
        if isinstance(error, TimeoutError):
            raise LogInFailedError("login-timeout", "the log-in took too long") from None
        raise
    if isinstance(found, Opened):
        return Account(stream, found.parameters["session"])
    stream.close("not let in")
    if isinstance(found, Failed):
        raise LogInFailedError(found.code, found.reason)
    raise LogInFailedError("gateway-away", "the gateway ended the log-in")


class Server(asyncssh.SSHServer):
    """One client. `account` is given where the log-in came ahead of the protocol."""

    def __init__(
        self,
        mux: Mux,
        peer: str,
        seconds: float,
        account: Account | None,
        done: Callable[[], None],
        let_in: Callable[[], None],
    ) -> None:
        self.channels = 0
        self.mux = mux
        self._peer = peer
        self._seconds = seconds
        self._account = account
        self._done = done
        self._let_in = let_in
        self._tries = 0
        self._user = ""
        self._connection: asyncssh.SSHServerConnection | None = None

    @property
    def session(self) -> str:
        """The session's number."""
        assert self._account is not None
        return self._account.session

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """See asyncssh."""
        self._connection = conn
        if self._account is not None:
            self._take(self._account)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncssh."""
        self._connection = None
        if self._account is not None:
            self._account.close()
        self._done()

    def auth_completed(self) -> None:
        """See asyncssh."""
        self._let_in()

    def _take(self, account: Account) -> None:
        self._account = account
        account.on_over = self._ended
        if account.over:
            self._ended(account.over)

    def _ended(self, reason: str) -> None:
        connection = self._connection
        if connection is not None:
            # What the channels were told last still goes out: the disconnect is queued behind it.
            asyncio.get_running_loop().call_later(0.05, connection.disconnect, DISC_BY_APPLICATION, reason)

    # Log-in.

    def begin_auth(self, username: str) -> bool:
        """See asyncssh: False lets the client in, so that it must be certain."""
        self._user = username
        return self._account is None

    def public_key_auth_supported(self) -> bool:
        """No."""
        return False

    def host_based_auth_supported(self) -> bool:
        """No."""
        return False

    def kbdint_auth_supported(self) -> bool:
        """No."""
        return False

    def password_auth_supported(self) -> bool:
        """Yes: the password is the token, the user's name the target's."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """See asyncssh."""
        self._tries += 1
        if self._account is not None or self._tries > MAX_TRIES or len(password) > MAX_TOKEN or not password.isascii():
            return False
        connection = self._connection
        assert connection is not None
        version = str(connection.get_extra_info("client_version") or "")[:200]
        # Cut, it is still longer than any target's name, and so none.
        name = username[:MAX_USER]
        request = SshConnect(target=name, token=password, user=name, peer=self._peer, client=version)
        try:
            account = await log_in(self.mux, request, self._seconds)
        except LogInFailedError as error:
            # Shown by clients that show banners; the reason is on record at the gateway.
            connection.send_auth_banner(f"wicketgate: {error}\r\n")
            return False
        if self._connection is None or self._account is not None:
            account.close()
            return False
        self._take(account)
        return True

    # Channels.

    def session_requested(self) -> Channel | bool:
        """See asyncssh."""
        if self._account is None or self.channels >= MAX_CHANNELS:
            return False
        return Channel(self)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """See asyncssh: a connection that the target is to open."""
        if self._account is None or self.channels >= MAX_CHANNELS:
            return False
        return Forward(self, f"{dest_host[:MAX_HOST]}:{dest_port}")

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        """Never."""
        return False

    def unix_connection_requested(self, dest_path: str) -> bool:
        """Never."""
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        """Never."""
        return False

    def tun_requested(self, unit: int | None) -> bool:
        """Never."""
        return False

    def tap_requested(self, unit: int | None) -> bool:
        """Never."""
        return False


class _Joined:
    """A channel of the client joined to a stream of the link."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._chan: Any = None
        self._stream: Stream | None = None
        self._decoder = FrameDecoder()
        self._owed = 0
        self._full = False
        self._reading = True
        self._ended = False

    def _begin(self, request: SshChannel) -> None:
        try:
            stream = self._server.mux.open(request)
        except ConnectionError:
            self._end(NO_SESSION)
            return
        self._stream = stream
        stream.on_close = self._stream_ended
        stream.on_writable = self._writable
        stream.on_data = self._from_gateway

    # From the client.

    def data_received(self, data: bytes, datatype: object) -> None:
        """See asyncssh."""
        stream = self._stream
        if stream is None:
            return
        stream.send(frames.data_frames(Kind.STDIN, data))
        if self._reading and not stream.writable:
            self._reading = False
            self._chan.pause_reading()

    def _writable(self) -> None:
        if not self._reading:
            self._reading = True
            self._chan.resume_reading()

    def eof_received(self) -> bool:
        """See asyncssh."""
        self._send(frames.frame(Kind.EOF))
        return True

    def _send(self, frame: bytes) -> None:
        if self._stream is not None:
            self._stream.send(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncssh."""
        self._server.channels -= 1
        self._ended = True
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close("the channel ended")

    # To the client.

    def pause_writing(self) -> None:
        """See asyncssh."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncssh."""
        self._full = False
        owed, self._owed = self._owed, 0
        if self._stream is not None and owed:
            self._stream.consumed(owed)

    def _from_gateway(self, data: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(data):
                if not self._ended:
                    self._take(kind, payload)
        except FrameError:
            self._end(NO_SESSION)
            return
        self._owed += len(data)
        if not self._full:
            self.resume_writing()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.STDOUT:
            self._chan.write(payload)
        elif kind == Kind.EOF:
            self._chan.write_eof()

    def _stream_ended(self, reason: str) -> None:
        self._stream = None
        self._end(NO_SESSION)

    def _end(self, status: int) -> None:
        if not self._ended:
            self._ended = True
            self._chan.close()


class SessionChannel(asyncssh.SSHServerChannel[bytes]):
    """asyncssh's channel, but that a text which is no text is a request, too: the gateway refuses it on record."""

    def _process_exec_request(self, packet: SSHPacket) -> bool:
        raw = packet.get_string()
        packet.check_end()
        return self._start_session(command=self._text(raw, "utf-8"))

    def _process_subsystem_request(self, packet: SSHPacket) -> bool:
        raw = packet.get_string()
        packet.check_end()
        return self._start_session(subsystem=self._text(raw, "ascii"))

    def _text(self, raw: bytes, encoding: str) -> str:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            session = self._session
            assert isinstance(session, Channel)
            session.inexact = True
            return raw.decode(encoding, "backslashreplace")


class Channel(_Joined, asyncssh.SSHServerSession[bytes]):
    """A session channel: a command, a shell or a subsystem."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.inexact = False
        """The text is not what was sent, but shows it."""
        self._kind = ""
        self._command = ""
        self._pty: tuple[str, Any, Any] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """See asyncssh."""
        self._chan = chan
        self._server.channels += 1
        chan.set_write_buffer_limits(high=HIGH_WATER)

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """See asyncssh."""
        self._pty = (term_type[:64] or "dumb", term_size, term_modes)
        return True

    def exec_requested(self, command: str) -> bool:
        """See asyncssh."""
        self._kind, self._command = "exec", command
        return True

    def shell_requested(self) -> bool:
        """See asyncssh."""
        self._kind = "shell"
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """See asyncssh."""
        self._kind, self._command = "subsystem", subsystem
        return True

    def session_started(self) -> None:
        """See asyncssh."""
        environment: dict[str, str] = {}
        size = 0
        for name, value in self._chan.get_environment_bytes().items():
            size += len(name) + len(value)
            if len(environment) >= MAX_ENV or size > MAX_ENV_BYTES:
                break
            try:
                environment[name.decode("ascii")] = value.decode("utf-8")
            except UnicodeDecodeError:
                continue  # no rule can name it, so it is not passed on
        pty = self._pty
        command, cut = self._command, 0
        if len(command.encode()) > MAX_COMMAND:
            command, cut = command[:SHOWN_OF_CUT], len(command.encode())
        self._begin(
            SshChannel(
                session=self._server.session,
                kind=self._kind,
                command=command,
                cut=cut,
                inexact=self.inexact,
                env=environment,
                pty=pty[0] if pty is not None else "",
                size=tuple(pty[1]) if pty is not None else (0, 0, 0, 0),
                modes=dict(pty[2]) if pty is not None else {},
            )
        )

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """See asyncssh."""
        self._send(frames.window(width, height, pixwidth, pixheight))

    def signal_received(self, signal: str) -> None:
        """See asyncssh."""
        self._send(frames.frame(Kind.SIGNAL, signal.encode()[:32]))

    def break_received(self, msec: int) -> bool:
        """See asyncssh."""
        self._send(frames.frame(Kind.BREAK, msec.to_bytes(4, "big")))
        return True

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.STDOUT:
            self._chan.write(payload)
        elif kind == Kind.STDERR:
            self._chan.write_stderr(payload)
        # An EOF is not passed on by itself: OpenSSH closes a channel whose both directions have ended, and asyncssh
        # then sends no exit status any more. The end of the channel says the same, right behind the status.
        elif kind == Kind.EXIT:
            self._end(frames.number(payload))
        elif kind == Kind.EXIT_SIGNAL:
            self._ended = True
            self._chan.exit_with_signal(payload.decode("ascii", "replace"))

    def _end(self, status: int) -> None:
        if not self._ended:
            self._ended = True
            if self._chan is not None:
                self._chan.exit(status)


class Forward(_Joined, asyncssh.SSHTCPSession[bytes]):
    """A connection that the client wants the target to open (`ssh -L`, `-W`, `-J`)."""

    def __init__(self, server: Server, where: str) -> None:
        super().__init__(server)
        self._where = where

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """See asyncssh."""
        self._chan = chan
        self._server.channels += 1
        chan.set_write_buffer_limits(high=HIGH_WATER)

    def session_started(self) -> None:
        """See asyncssh."""
        self._begin(SshChannel(session=self._server.session, kind="forward", command=self._where))
