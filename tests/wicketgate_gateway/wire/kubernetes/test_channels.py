"""Channels over WebSocket and SPDY: the same events."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.kubernetes import spdy
from wicketgate_gateway.wire.kubernetes.channels import (
    V4,
    V5,
    Channel,
    ChannelError,
    Closed,
    Over,
    Sent,
    SpdyChannels,
    Tunnel,
    WebSocketChannels,
)


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_websocket(step: int) -> None:
    """Both ends, however it is cut."""
    server, client = WebSocketChannels(V5), WebSocketChannels(V5, client=True)
    client.send(Channel.STDIN, b"in" * 5000)
    client.close(Channel.STDIN)
    client.send(Channel.RESIZE, b"{}")
    client.end()
    data = client.out()
    found = [event for at in range(0, len(data), step) for event in server.feed(data[at : at + step])]
    assert found == [
        Sent(Channel.STDIN, b"in" * 5000), Closed(Channel.STDIN), Sent(Channel.RESIZE, b"{}"), Over(),
    ]  # fmt: skip
    assert client.feed(server.out()) == [Over()]


def test_v4_cannot_close_a_channel() -> None:
    """And 255 is none of its channels."""
    client = WebSocketChannels(V4, client=True)
    client.close(Channel.STDIN)
    assert client.out() == b""
    sender = WebSocketChannels(V5, client=True)
    sender.close(Channel.STDIN)
    with pytest.raises(ChannelError):
        WebSocketChannels(V4).feed(sender.out())


@pytest.mark.parametrize("message", [b"", b"\x09x", b"\xff", b"\xff\x09"])
def test_odd_messages(message: bytes) -> None:
    """A channel that is none."""
    tunnel = Tunnel(client=True)
    tunnel._socket.send_binary(message)  # what our own side never sends
    with pytest.raises(ChannelError):
        WebSocketChannels(V5).feed(tunnel.out())
    with pytest.raises(ChannelError):
        WebSocketChannels("base64.channel.k8s.io")


@pytest.mark.parametrize("protocol", [V4, V5])
def test_text_frames_are_bytes_like_any_other(protocol: str) -> None:
    """The official client for Python sends its input in them; UTF-8 is not asked for, as by the API server."""
    tunnel = Tunnel(client=True)
    tunnel._socket.send_text(b"\0ls\xff", fin=False)
    tunnel._socket.send_continuation(b"\n", fin=True)
    assert WebSocketChannels(protocol).feed(tunnel.out()) == [Sent(Channel.STDIN, b"ls\xff\n")]


def test_text_in_a_tunnel_and_unmasked_frames_are_refused() -> None:
    """As RFC 6455 has it, and port-forward's clients."""
    tunnel = Tunnel(client=True)
    tunnel._socket.send_text(b"x")
    with pytest.raises(ChannelError):
        Tunnel().feed(tunnel.out())
    with pytest.raises(ChannelError):
        WebSocketChannels(V5).feed(b"\x82\x01\x00")


def test_spdy() -> None:
    """Streams by their type; what comes before a stream is open waits for it."""
    channels, writer, reader = SpdyChannels(), spdy.Writer(), spdy.Reader()
    channels.send(Channel.STDERR, b"held")
    sent = writer.open(1, {"streamtype": "error"}) + writer.open(3, {"streamtype": "stdin"})
    sent += writer.open(5, {"streamtype": "stderr"}) + writer.data(3, b"in", fin=True) + writer.ping(1)
    assert channels.feed(sent) == [Sent(Channel.STDIN, b"in"), Closed(Channel.STDIN)]
    assert channels.opened(Channel.ERROR)
    channels.send(Channel.ERROR, b"{}")
    channels.end()
    found = reader.feed(channels.out())
    assert spdy.Data(5, b"held", False) in found
    assert spdy.Data(1, b"{}", False) in found
    assert spdy.Data(1, b"", True) in found
    assert spdy.Ping(1) in found
    assert found[-1] == spdy.GoAway()


@pytest.mark.parametrize("headers", [{"streamtype": "evil"}, {}, {"streamtype": "stdin"}])
def test_odd_streams(headers: dict[str, str]) -> None:
    """A type that is none, or a second one of a type."""
    channels, writer = SpdyChannels(), spdy.Writer()
    channels.feed(writer.open(1, {"streamtype": "stdin"}))
    with pytest.raises(ChannelError):
        channels.feed(writer.open(3, headers))
