"""The channels of exec and attach: the same few streams over WebSocket or over SPDY. Bytes in, events out.

How this works: a `WebSocketChannels` speaks `v5.channel.k8s.io` or `v4.channel.k8s.io` (each binary message begins with
the channel's number) as server towards a client, or as client towards an API server. A `SpdyChannels` speaks
`v4.channel.k8s.io` over SPDY towards a client from before kubectl 1.31: each stream says in a header what it is. Both
give the same events, so that the gateway takes either from a client and asks the API server over WebSocket alone.
Source: k8s.io/apimachinery/pkg/util/remotecommand/constants.go; KEP-4006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Side
from websockets.protocol import Protocol as WebSocket

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.wire.kubernetes import spdy

V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
"""SPDY within WebSocket: port-forward since kubectl 1.31."""
PORT_FORWARD: Final = "portforward.k8s.io"
"""Port-forward over SPDY itself."""
MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one WebSocket message; kubectl sends 32 KiB."""
_CLOSE: Final = 255
"""Of v5: the channel in the next byte is closed by its sender."""


class Channel(IntEnum):
    """What a channel carries."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    """A `Status` object, when the command has ended."""
    RESIZE = 4
    """`{"Width": …, "Height": …}`, whenever the terminal's size changes."""


class ChannelError(WicketgateError):
    """The peer breaks the protocol; the connection must end."""

    code = "channel-violation"


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes on a channel."""

    channel: Channel
    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer sends no more on a channel."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Over:
    """The peer ends the connection."""


Event = Sent | Closed | Over


class Channels(Protocol):
    """One end of the channels. `out` gives what must be written now."""

    def feed(self, data: bytes) -> list[Event]:
        """What came. Raises ChannelError."""
        ...

    def send(self, channel: Channel, data: bytes) -> None:
        """Bytes on a channel."""
        ...

    def close(self, channel: Channel) -> None:
        """No more on a channel."""
        ...

    def end(self, reason: str = "") -> None:
        """No more at all."""
        ...

    def out(self) -> bytes:
        """What is to be written."""
        ...


class WebSocketChannels:
    """Channels over WebSocket, behind the handshake."""

    def __init__(self, subprotocol: str, *, client: bool = False) -> None:
        if subprotocol not in (V5, V4):
            raise ChannelError(f"`{subprotocol[:60]}` is not spoken here")
        self._v5 = subprotocol == V5
        self._socket = _socket(client=client)

    def feed(self, data: bytes) -> list[Event]:
        """See `Channels`."""
        found: list[Event] = []
        # The official client for Python sends what is `str` as text; the API server heeds the bytes alone.
        for message in _messages(self._socket, data, text=True):
            if message is None:
                found.append(Over())
                continue
            if not message:
                raise ChannelError("a message without a channel")
            number, rest = message[0], message[1:]
            if number == _CLOSE and self._v5:
                if len(rest) != 1:
                    raise ChannelError("a close without its channel")
                found.append(Closed(_channel(rest[0])))
            else:
                found.append(Sent(_channel(number), rest))
        return found

    def send(self, channel: Channel, data: bytes) -> None:
        """See `Channels`."""
        self._write(bytes((channel,)) + data)

    def close(self, channel: Channel) -> None:
        """See `Channels`; v4 cannot say it."""
        if self._v5:
            self._write(bytes((_CLOSE, channel)))

    def end(self, reason: str = "") -> None:
        """See `Channels`."""
        _end(self._socket, reason)

    def out(self) -> bytes:
        """See `Channels`."""
        return b"".join(self._socket.data_to_send())

    def _write(self, message: bytes) -> None:
        try:
            self._socket.send_binary(message)
        except InvalidState:
            return  # the peer is closing


_STREAMS: Final[Mapping[str, Channel]] = {
    "stdin": Channel.STDIN,
    "stdout": Channel.STDOUT,
    "stderr": Channel.STDERR,
    "error": Channel.ERROR,
    "resize": Channel.RESIZE,
}


class SpdyChannels:
    """Channels over SPDY, towards a client."""

    def __init__(self) -> None:
        self._reader, self._writer = spdy.Reader(), spdy.Writer()
        self._channels: dict[int, Channel] = {}
        self._streams: dict[Channel, int] = {}
        self._out: list[bytes] = []
        self._early: dict[Channel, list[bytes | None]] = {}
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        """See `Channels`."""
        found: list[Event] = []
        try:
            events = self._reader.feed(data)
        except spdy.SpdyError as error:
            raise ChannelError(error.message) from None
        for event in events:
            match event:
                case spdy.Opened():
                    self._opened(event)
                    if event.fin:
                        found.append(Closed(self._channels[event.stream]))
                case spdy.Data(stream, payload, fin):
                    channel = self._channels.get(stream)
                    if channel is None:
                        raise ChannelError("data of a stream that is not open")
                    if payload:
                        found.append(Sent(channel, payload))
                    if fin:
                        found.append(Closed(channel))
                case spdy.Reset(stream):
                    channel = self._channels.get(stream)
                    if channel is not None:
                        found.append(Closed(channel))
                case spdy.Ping(number):
                    if number % 2:
                        self._out.append(self._writer.ping(number))
                case spdy.GoAway():
                    found.append(Over())
                case spdy.Replied():
                    raise ChannelError("a reply to a stream that nobody opened")
        return found

    def _opened(self, event: spdy.Opened) -> None:
        channel = _STREAMS.get(event.headers.get("streamtype", ""))
        if channel is None or channel in self._streams or not event.stream % 2 or event.stream in self._channels:
            raise ChannelError("a stream of an unknown type, or one that is open already")
        self._channels[event.stream] = channel
        self._streams[channel] = event.stream
        self._out.append(self._writer.reply(event.stream))
        for data in self._early.pop(channel, []):
            if data is None:
                self.close(channel)
            else:
                self.send(channel, data)

    def opened(self, channel: Channel) -> bool:
        """Whether the client has opened the channel."""
        return channel in self._streams

    def send(self, channel: Channel, data: bytes) -> None:
        """See `Channels`. What comes for a stream that the client has yet to open waits for it."""
        stream = self._streams.get(channel)
        if stream is None:
            self._early.setdefault(channel, []).append(data)
        else:
            self._out.append(self._writer.data(stream, data))

    def close(self, channel: Channel) -> None:
        """See `Channels`."""
        stream = self._streams.get(channel)
        if stream is None:
            self._early.setdefault(channel, []).append(None)
        else:
            self._out.append(self._writer.data(stream, b"", fin=True))

    def end(self, reason: str = "") -> None:
        """See `Channels`."""
        if not self._over:
            self._over = True
            for channel in (Channel.STDOUT, Channel.STDERR, Channel.ERROR):
                if channel in self._streams:
                    self.close(channel)
            self._out.append(self._writer.go_away(max(self._channels, default=0)))

    def out(self) -> bytes:
        """See `Channels`."""
        out, self._out = b"".join(self._out), []
        return out


class Tunnel:
    """Bytes within WebSocket's binary messages: SPDY for port-forward."""

    def __init__(self, *, client: bool = False) -> None:
        self._socket = _socket(client=client)

    def feed(self, data: bytes) -> list[bytes | None]:
        """The bytes that came; None once the peer ends the connection. Raises ChannelError."""
        return _messages(self._socket, data)

    def send(self, data: bytes) -> None:
        """Bytes for the peer."""
        if data:
            try:
                self._socket.send_binary(data)
            except InvalidState:
                return

    def end(self, reason: str = "") -> None:
        """No more."""
        _end(self._socket, reason)

    def out(self) -> bytes:
        """What is to be written."""
        return b"".join(self._socket.data_to_send())


def _socket(*, client: bool) -> WebSocket:
    return WebSocket(Side.CLIENT if client else Side.SERVER, state=OPEN, max_size=MAX_MESSAGE)


def _messages(socket: WebSocket, data: bytes, *, text: bool = False) -> list[bytes | None]:
    """The messages in what came, fragments put together; None for the connection's end."""
    found: list[bytes | None] = []
    if not data:
        socket.receive_eof()
    else:
        socket.receive_data(data)
    parts: list[bytes] = socket.__dict__.setdefault("parts", [])
    for event in socket.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.TEXT and not text:
            raise ChannelError("a text message, where only binary ones are spoken")
        if event.opcode is Opcode.CLOSE:
            found.append(None)
        elif event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            parts.append(bytes(event.data))
            if sum(map(len, parts)) > MAX_MESSAGE:
                raise ChannelError("a message is too long")
            if event.fin:
                found.append(b"".join(parts))
                parts.clear()
    if socket.parser_exc is not None:
        raise ChannelError("a frame that WebSocket does not have")
    return found


def _end(socket: WebSocket, reason: str) -> None:
    try:
        socket.send_close(CloseCode.NORMAL_CLOSURE, reason[:120])
    except InvalidState:
        return


def _channel(number: int) -> Channel:
    try:
        return Channel(number)
    except ValueError:
        raise ChannelError(f"the channel {number} is none") from None
