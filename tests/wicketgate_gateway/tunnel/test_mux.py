"""Two ends joined in memory: what one writes the other gets in its next loop turn."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority, client_context
from wicketgate_gateway.tunnel import frames, mux
from wicketgate_gateway.tunnel.messages import Cancel, Control, Hello, Open, Opened, Welcome
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, MAX_OPENING, Mux, TooLongError
from wicketgate_gateway.tunnel.stream import MAX_PARTS, WINDOW, Stream, encode

pytestmark = pytest.mark.anyio

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
OPEN = Open(target="orders-db", bot="b", session="s", parameters={})


class Wire(asyncio.Transport):
    """A transport whose other end is `peer`, or nothing when `peer` is None: then `written` holds what went out."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer: Wire | None = None
        self.written: list[bytes] = []
        self.closed = False
        self.loop = asyncio.get_running_loop()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        if self.peer is not None:
            self.loop.call_soon(self._deliver, bytes(data))

    def _deliver(self, data: bytes) -> None:
        if self.peer is not None and not self.peer.closed:
            self.peer.protocol.data_received(data)

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)
            if self.peer is not None:
                self.loop.call_soon(self.peer.abort)


class End:
    """One mux and what happened at it."""

    def __init__(self, *, opens: bool) -> None:
        self.messages: list[Control] = []
        self.lost: list[str] = []
        self.opened: list[tuple[Stream, Control]] = []
        self.on_open: Callable[[Stream, Control], None] = lambda *_: None
        self.mux = Mux(opens=opens, on_message=self.messages.append, on_lost=self.lost.append, on_open=self._open)
        self.wire = Wire(self.mux)
        self.mux.connection_made(self.wire)

    def _open(self, stream: Stream, message: Control) -> None:
        self.opened.append((stream, message))
        self.on_open(stream, message)


def pair() -> tuple[End, End]:
    gateway, agent = End(opens=True), End(opens=False)
    gateway.wire.peer, agent.wire.peer = agent.wire, gateway.wire
    return gateway, agent


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def opened() -> tuple[End, End, Stream, Stream]:
    gateway, agent = pair()
    near = gateway.mux.open(OPEN)
    await turns()
    return gateway, agent, near, agent.opened[0][0]


async def test_tunnel_messages_both_ways() -> None:
    gateway, agent = pair()
    hello = Hello(agent="eu-west", token="t", targets=["orders-db"])
    agent.mux.send_message(hello)
    gateway.mux.send_message(Welcome(gateway="g"))
    await turns()
    assert gateway.messages == [hello]
    assert agent.messages == [Welcome(gateway="g")]
    assert gateway.mux.peer == "192.0.2.1:4711"


async def test_a_stream_carries_messages_and_data_in_order() -> None:
    _, agent, near, far = await opened()
    assert agent.opened == [(far, OPEN)]
    log: list[Any] = []
    far.on_data, far.on_control = log.append, log.append
    near.send(b"one")
    near.send_control(Cancel())
    near.send(b"two")
    await turns()
    assert log == [b"one", Cancel(), b"two"]


async def test_data_before_the_callback_is_kept_and_delivered() -> None:
    gateway, agent = pair()

    def greet(stream: Stream, _: Control) -> None:
        stream.send_control(Opened(parameters={}))
        stream.send(b"early")

    agent.on_open = greet
    near = gateway.mux.open(OPEN)
    await turns()
    got: list[bytes] = []
    near.on_data = got.append
    assert got == [b"early"]


async def test_one_write_per_loop_turn() -> None:
    gateway, agent = pair()
    streams = [gateway.mux.open(OPEN) for _ in range(50)]
    for stream in streams:
        stream.send(b"x" * 10)
    await turns()
    assert len(gateway.wire.written) == 1
    assert len(agent.opened) == 50


async def test_without_credit_nothing_more_goes_out_and_others_do() -> None:
    gateway, agent, near, far = await opened()
    slow: list[bytes] = []
    far.on_data = slow.append
    near.send(b"s" * (3 * WINDOW))
    assert not near.writable
    await turns(100)
    assert sum(map(len, slow)) == WINDOW
    writable: list[bool] = []
    near.on_writable = lambda: writable.append(near.writable)
    other = gateway.mux.open(OPEN)
    other.send(b"quick")
    await turns()
    got: list[bytes] = []
    agent.opened[1][0].on_data = got.append
    assert got == [b"quick"]
    assert writable == []
    far.on_data = lambda data: (slow.append(data), far.consumed(len(data)))[0]
    far.consumed(WINDOW)
    await turns(100)
    assert sum(map(len, slow)) == 3 * WINDOW
    assert b"".join(slow) == b"s" * (3 * WINDOW)
    assert writable == [True]


async def test_two_large_sends_are_interleaved() -> None:
    gateway, agent = pair()
    order: list[int] = []
    agent.on_open = lambda stream, _: setattr(stream, "on_data", lambda data: order.append(stream.id))
    first, second = gateway.mux.open(OPEN), gateway.mux.open(OPEN)
    first.send(b"1" * WINDOW)
    second.send(b"2" * WINDOW)
    await turns(50)
    assert order[:6] == [1, 2, 1, 2, 1, 2]


async def test_close_comes_after_what_was_sent_and_frees_both_ends() -> None:
    gateway, agent, near, far = await opened()
    got: list[bytes] = []
    reasons: list[str] = []
    near.on_data = lambda data: (got.append(data), near.consumed(len(data)))[0]
    near.on_close = reasons.append
    far.send(b"z" * (2 * WINDOW))
    far.close("server gone")
    far.send(b"too late")
    await turns(100)
    assert b"".join(got) == b"z" * (2 * WINDOW)
    assert reasons == ["server gone"]
    assert near.closed == "server gone"
    assert gateway.mux.streams == {}
    assert agent.mux.streams == {}


async def test_a_closing_end_still_drains_the_other() -> None:
    # The closer's last bytes wait for a peer that is itself stuck sending: it must get its credit back.
    _, _, near, far = await opened()
    far.on_data = lambda data: None
    near.send(b"a" * (2 * WINDOW))
    far.send(b"b" * (2 * WINDOW))
    await turns(50)
    near.close("client gone")
    await turns(100)
    assert far.writable
    far.consumed(WINDOW)
    await turns(50)
    assert far.closed == "client gone"


async def test_frames_for_a_closed_stream_are_ignored() -> None:
    gateway, _, near, far = await opened()
    near.close("done")
    far.send(b"crossing")
    far.send_control(Opened(parameters={}))
    await turns()
    assert gateway.lost == []
    assert far.closed == "done"


async def test_on_close_set_after_the_end_is_called_once() -> None:
    _, _, near, far = await opened()
    far.close("gone")
    await turns()
    reasons: list[str] = []
    near.on_close = reasons.append
    await turns()
    assert reasons == ["gone"]


async def test_ones_own_close_is_not_reported() -> None:
    _, _, near, _ = await opened()
    reasons: list[str] = []
    near.on_close = reasons.append
    near.close("mine")
    near.close("again")
    await turns()
    assert reasons == []
    assert near.closed == "mine"


async def test_a_lost_connection_ends_all_streams_with_a_reason() -> None:
    gateway, agent, near, _ = await opened()
    reasons: list[str] = []
    near.on_close = reasons.append
    agent.wire.abort()
    await turns()
    assert reasons == ["the tunnel ended: the peer hung up"]
    assert gateway.lost == ["the peer hung up"]
    with pytest.raises(ConnectionError):
        gateway.mux.open(OPEN)
    near.send(b"into the void")
    near.close("no harm")


async def test_close_sends_what_is_buffered_first() -> None:
    gateway, agent = pair()
    gateway.mux.send_message(Welcome(gateway="last words"))
    gateway.mux.close("shutting down")
    await turns()
    assert agent.messages == [Welcome(gateway="last words")]
    assert gateway.lost == ["shutting down"]


async def test_a_message_longer_than_a_frame() -> None:
    gateway, agent = pair()
    agent.mux.max_message = mux.MAX_MESSAGE
    big = Welcome(gateway=os.urandom(200_000).hex())
    gateway.mux.send_message(big)
    await turns(50)
    assert agent.messages == [big]


async def test_an_end_gives_up_after_unanswered_pings(monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    monkeypatch.setattr(mux, "PING_SECONDS", 0.01)
    gateway = End(opens=True)  # its wire leads nowhere
    await eventually(lambda: gateway.lost)
    assert gateway.lost == ["nothing was heard from the peer"]
    assert mux.PING_SECONDS * 3 <= mux.DEAD_SECONDS


async def test_answered_pings_keep_it_up(monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    monkeypatch.setattr(mux, "PING_SECONDS", 0.005)
    gateway, agent = pair()
    pong = frames.frame(frames.PONG, 0, b"\0" * 8)
    await eventually(lambda: b"".join(agent.wire.written).count(pong) >= 10)
    assert gateway.lost == agent.lost == []


# Attacks: the other end is hostile.


async def attacked(*sent: bytes, opens: bool = True, streams: int = 1) -> End:
    end = End(opens=opens)
    for _ in range(streams if opens else 0):
        end.mux.open(OPEN)
    await turns(3)
    for data in sent:
        end.mux.data_received(data)
    await turns(3)
    return end


async def test_attack_more_data_than_credit() -> None:
    chunk = frames.frame(frames.DATA, 1, b"x" * 65536)
    assert (await attacked(*[chunk] * 4)).lost == []
    assert (await attacked(*[chunk] * 5)).lost == [
        "the peer broke the protocol: it sent more data than it had credit for"
    ]


async def test_attack_more_credit_than_taken() -> None:
    assert "more credit" in (await attacked(frames.credit(1, 1))).lost[0]


@pytest.mark.parametrize("kind", [frames.DATA, frames.CONTROL, frames.CLOSE, frames.CONTROL_PART])
async def test_attack_a_stream_that_never_was(kind: int) -> None:
    assert "never opened" in (await attacked(frames.frame(kind, 99, b"x"))).lost[0]


async def test_attack_the_agent_opens_a_stream() -> None:
    message = encode(OPEN)
    assert "never opened" in (await attacked(frames.frame(frames.CONTROL, 2, message))).lost[0]


async def test_attack_a_stream_number_used_again() -> None:
    message = frames.frame(frames.CONTROL, 5, encode(OPEN))
    end = await attacked(message, frames.frame(frames.CLOSE, 5, b"bye"), message, opens=False)
    assert len(end.opened) == 1
    assert end.lost == []


async def test_attack_data_on_stream_0_and_pings_elsewhere() -> None:
    assert (await attacked(frames.frame(frames.DATA, 0, b"x"))).lost
    assert (await attacked(frames.frame(frames.PING, 1, b"x" * 8))).lost
    assert (await attacked(frames.frame(frames.CLOSE, 0, b"x"))).lost


@pytest.mark.parametrize("payload", [b"\xc1", b"x", b"\x81\xa4type\xa5nopes", b"\x80", b"\x81\xa4type\xa7welcome"])
async def test_attack_messages_that_are_none(payload: bytes) -> None:
    assert "none of ours" in (await attacked(frames.frame(frames.CONTROL, 0, payload))).lost[0]


async def test_attack_an_endless_message() -> None:
    part = frames.frame(frames.CONTROL_PART, 0, b"x" * 32768)
    assert "over its limit" in (await attacked(*[part] * 3)).lost[0]


async def test_attack_a_message_in_endlessly_many_parts() -> None:
    parts = frames.frame(frames.CONTROL_PART, 0, b"x") * (MAX_PARTS + 1)
    assert "over its limit" in (await attacked(parts)).lost[0]


async def test_attack_an_opening_that_does_not_fit_costs_nobody_else_anything() -> None:
    gateway, agent, near, far = await opened()
    with pytest.raises(TooLongError):
        gateway.mux.open(Open(target="orders-db", bot="b", session="s", parameters={"x": "y" * MAX_OPENING}))
    with pytest.raises(UnicodeEncodeError):
        gateway.mux.open(Open(target="orders-db", bot="\udc80", session="s", parameters={}))
    assert list(gateway.mux.streams) == [near.id]
    after = gateway.mux.open(OPEN)
    got: list[bytes] = []
    far.on_data = got.append
    near.send(b"still here")
    await turns()
    assert agent.opened[-1][0].id == after.id
    assert got == [b"still here"]
    assert gateway.lost == agent.lost == []


async def test_attack_an_opening_in_parts_is_refused_alone() -> None:
    parts = frames.frame(frames.CONTROL_PART, 7, b"x" * 1000) * 3 + frames.frame(frames.CONTROL, 7, b"x")
    end = await attacked(parts, frames.frame(frames.CONTROL, 8, encode(OPEN)), opens=False)
    assert [stream.id for stream, _ in end.opened] == [8]
    assert frames.frame(frames.CLOSE, 7, b"the request is too long") in b"".join(end.wire.written)
    assert end.lost == []


async def test_attack_a_message_over_the_limit_ends_its_own_stream_at_its_sender() -> None:
    gateway, agent, near, far = await opened()
    other = gateway.mux.open(OPEN)
    ended: list[str] = []
    near.on_close = far.on_close = ended.append
    far.on_data = lambda data: pytest.fail("data without the message before it")
    near.send_control(Opened(parameters={"x": "y" * MAX_MESSAGE}))
    near.send(b"the body of what was never said")
    assert ended == []
    await turns()
    assert ended == ["a message over its limit"] * 2
    assert other.closed is None
    assert gateway.lost == agent.lost == []


async def test_attack_an_endless_message_on_a_stream_ends_that_stream_alone() -> None:
    part = frames.frame(frames.CONTROL_PART, 1, b"x" * 32768)
    end = await attacked(*[part] * 9, frames.frame(frames.DATA, 2, b"x"), streams=2)
    assert list(end.mux.streams) == [2]
    assert end.lost == []


async def test_attack_a_message_of_the_tunnel_over_the_limit_is_not_sent() -> None:
    gateway, agent = pair()
    agent.mux.max_message = MAX_MESSAGE
    assert not gateway.mux.send_message(Welcome(gateway="x" * MAX_MESSAGE))
    assert gateway.mux.send_message(Welcome(gateway="g"))
    await turns()
    assert agent.messages == [Welcome(gateway="g")]


async def test_attack_too_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "MAX_STREAMS", 2)
    message = encode(OPEN)
    end = await attacked(*[frames.frame(frames.CONTROL, n, message) for n in (1, 2, 3)], opens=False)
    assert len(end.opened) == 2
    assert end.wire.written[-1] == frames.frame(frames.CLOSE, 3, b"too many sessions")


async def test_attack_pings_from_a_peer_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "MAX_BACKLOG", 1000)
    end = End(opens=True)
    end.mux.pause_writing()
    end.mux.data_received(frames.frame(frames.PING, 0, b"x" * 8) * 100)
    await turns(3)
    assert end.lost == ["the peer does not read"]


async def test_a_callback_that_fails_ends_its_own_stream_only() -> None:
    gateway, agent, near, far = await opened()
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    def fail(data: bytes) -> None:
        raise RuntimeError("a bug")

    far.on_data = fail
    other = gateway.mux.open(OPEN)
    near.send(b"boom")
    other.send(b"fine")
    await turns()
    assert near.closed == "internal error"
    assert other.closed is None
    assert agent.lost == []
    assert len(faults) == 1


async def test_while_the_transport_is_full_sends_wait_their_turn() -> None:
    gateway, _, near, far = await opened()
    got: list[bytes] = []
    far.on_data = got.append
    gateway.mux.pause_writing()
    near.send(b"waits")
    assert not near.writable
    await turns()
    assert got == []
    gateway.mux.resume_writing()
    await turns()
    assert got == [b"waits"]


async def test_over_real_tls(tmp_path: Path) -> None:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "server", ["127.0.0.1"])
    loop = asyncio.get_running_loop()
    total = 3_000_000

    def pour(stream: Stream, _: Control) -> None:
        left = [total]

        def more() -> None:
            while stream.writable and left[0]:
                size = min(50_000, left[0])
                left[0] -= size
                stream.send(b"d" * size)
            if not left[0]:
                stream.close("all sent")

        stream.on_writable = more
        more()

    def agent() -> Mux:
        return Mux(opens=False, on_message=lambda _: None, on_lost=lambda _: None, on_open=pour)

    server = await loop.create_server(agent, "127.0.0.1", 0, ssl=leaf.server_context())
    lost, ended = loop.create_future(), loop.create_future()
    _, gateway = await loop.create_connection(
        lambda: Mux(opens=True, on_message=lambda _: None, on_lost=lost.set_result),
        *server.sockets[0].getsockname()[:2],
        ssl=client_context(tmp_path / "ca" / "ca.pem", system=False),
    )
    stream = gateway.open(OPEN)
    got = [0]

    def take(data: bytes) -> None:
        got[0] += len(data)
        stream.consumed(len(data))

    stream.on_data = take
    stream.on_close = ended.set_result
    async with asyncio.timeout(20):
        assert await ended == "all sent"
        assert got == [total]
        gateway.close("done")
        assert await lost == "done"
    server.close()
