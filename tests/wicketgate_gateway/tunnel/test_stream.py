"""One stream over a carrier that only notes what it is asked for."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.tunnel import frames, stream
from wicketgate_gateway.tunnel.frames import FrameDecoder, FrameError
from wicketgate_gateway.tunnel.messages import Cancel, Control, Opened
from wicketgate_gateway.tunnel.stream import CHUNK_BYTES, CREDIT_STEP, DIRECT_BYTES, WINDOW, Stream, encode


class Carrier:
    def __init__(self) -> None:
        self.loop: Any = None
        self.out: list[bytes | memoryview] = []
        self.paused = False
        self.scheduled = False
        self.active: list[Stream] = []
        self.finished: list[tuple[Stream, str]] = []

    def schedule(self) -> None:
        self.scheduled = True

    def activate(self, stream: Stream) -> None:
        self.active.append(stream)

    def send_raw(self, data: bytes) -> None:
        self.out.append(data)

    def finish(self, stream: Stream, reason: str) -> None:
        self.finished.append((stream, reason))
        stream.end(reason)

    def refuse(self, stream: Stream, reason: str) -> None:
        self.finished.append((stream, reason))
        stream.end(reason)

    def drain(self, subject: Stream) -> None:
        """What the mux does: takes a frame at a time while the stream may send."""
        while subject.ready():
            subject.take(self.out)

    def sent(self) -> list[frames.Frame]:
        return FrameDecoder().feed(b"".join(self.out))


def pair() -> tuple[Carrier, Stream]:
    carrier = Carrier()
    return carrier, Stream(carrier, 7)


def test_a_small_send_goes_straight_into_this_turns_write() -> None:
    carrier, subject = pair()
    subject.send(b"hello")
    assert carrier.sent() == [(frames.DATA, 7, b"hello")]
    assert carrier.scheduled
    assert not carrier.active
    assert subject.credit == WINDOW - 5


def test_nothing_is_sent_for_nothing() -> None:
    carrier, subject = pair()
    subject.send(b"")
    assert carrier.out == []


def test_a_large_send_waits_in_line_in_chunks_without_copies() -> None:
    carrier, subject = pair()
    data = bytes(range(256)) * 400
    subject.send(data)
    assert carrier.out == []
    assert carrier.active == [subject]
    carrier.drain(subject)
    assert [len(p) for _, _, p in carrier.sent()] == [CHUNK_BYTES, len(data) - CHUNK_BYTES]
    assert b"".join(p for _, _, p in carrier.sent()) == data
    assert all(isinstance(part, memoryview) for part in carrier.out[1::2])


def test_credit_to_the_last_byte() -> None:
    carrier, subject = pair()
    for _ in range(WINDOW // DIRECT_BYTES):
        assert subject.writable
        subject.send(b"x" * DIRECT_BYTES)
    assert subject.credit == 0
    assert not subject.writable
    subject.send(b"y")
    assert not subject.ready()
    subject.credit = 1
    assert subject.ready()
    carrier.drain(subject)
    assert carrier.sent()[-1] == (frames.DATA, 7, b"y")
    subject.credit = 5
    assert subject.unblock()
    assert not subject.unblock()


def test_messages_cost_no_credit_but_keep_their_place() -> None:
    carrier, subject = pair()
    subject.credit = 0
    subject.send_control(Cancel())
    assert carrier.sent() == [(frames.CONTROL, 7, encode(Cancel()))]
    subject.send(b"first")
    subject.send_control(Cancel())
    carrier.drain(subject)
    assert len(carrier.sent()) == 1
    subject.credit = 10
    carrier.drain(subject)
    assert [kind for kind, _, _ in carrier.sent()] == [frames.CONTROL, frames.DATA, frames.CONTROL]


def test_credit_is_given_back_in_steps() -> None:
    carrier, subject = pair()
    subject.on_data = lambda data: None
    subject.receive(b"x" * CREDIT_STEP)
    subject.consumed(CREDIT_STEP - 1)
    assert carrier.out == []
    subject.consumed(1)
    assert carrier.sent() == [(frames.CREDIT, 7, CREDIT_STEP.to_bytes(4, "big"))]


def test_no_more_than_the_window_is_taken() -> None:
    _, subject = pair()
    subject.receive(b"x" * WINDOW)
    with pytest.raises(FrameError):
        subject.receive(b"y")


def test_close_waits_for_what_was_sent_before() -> None:
    carrier, subject = pair()
    subject.send(b"x" * (WINDOW + 1))
    subject.close("done")
    assert carrier.finished == []
    carrier.drain(subject)
    subject.close("again")
    assert subject.closing == "done"
    carrier, subject = pair()
    subject.close("at once")
    assert carrier.finished == [(subject, "at once")]
    subject.send(b"late")
    subject.send_control(Cancel())
    assert carrier.out == []


def test_close_returns_the_credit_of_what_nobody_read() -> None:
    carrier, subject = pair()
    subject.receive(b"x" * CREDIT_STEP)
    subject.send(b"y" * (WINDOW + 1))
    subject.close("done")
    assert carrier.sent() == [(frames.CREDIT, 7, CREDIT_STEP.to_bytes(4, "big"))]


def test_a_message_in_parts() -> None:
    _, subject = pair()
    data = encode(Opened(parameters={"x": "y" * 1000}))
    assert subject.message(frames.CONTROL_PART, data[:400], 10_000) is None
    assert subject.message(frames.CONTROL_PART, data[400:500], 10_000) is None
    assert subject.message(frames.CONTROL, data[500:], 10_000) == Opened(parameters={"x": "y" * 1000})
    assert subject.message(frames.CONTROL, encode(Cancel()), 10_000) == Cancel()
    tunnel = Stream(Carrier(), 0)
    with pytest.raises(FrameError, match="limit"):
        tunnel.message(frames.CONTROL, data, 100)
    tunnel.message(frames.CONTROL_PART, data[:60], 100)
    with pytest.raises(FrameError, match="limit"):
        tunnel.message(frames.CONTROL, data[60:], 100)


@pytest.mark.parametrize("kind", [frames.CONTROL, frames.CONTROL_PART])
def test_a_sessions_message_over_the_limit_ends_that_session(kind: int) -> None:
    carrier, subject = pair()
    data = encode(Opened(parameters={"x": "y" * 1000}))
    assert subject.message(kind, data, 100) is None
    assert carrier.finished == [(subject, stream.TOO_LONG)]


def test_a_message_over_the_limit_is_refused_not_sent() -> None:
    carrier, subject = pair()
    subject.send_control(Opened(parameters={"x": "y" * stream.MAX_MESSAGE}))
    assert carrier.finished == [(subject, stream.TOO_LONG)]
    subject.send(b"more")
    assert carrier.out == []


def test_the_end_is_told_once_and_not_for_ones_own() -> None:
    _, subject = pair()
    told: list[str] = []
    subject.on_close = told.append
    subject.end("gone")
    subject.end("again")
    assert told == ["gone"]
    assert repr(subject) == "<Stream 7 gone>"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 70_000), st.just("message"), st.just("credit")), max_size=40))
def test_whatever_the_order_all_arrives_in_order_and_within_the_credit(steps: list[int | str]) -> None:
    async def run() -> None:
        near, sender = pair()
        far, receiver = pair()
        decoder, seen, expected = FrameDecoder(), list[bytes | Control](), list[bytes | Control]()
        receiver.on_data = seen.append

        def carry() -> None:
            near.drain(sender)
            data, near.out = b"".join(near.out), []
            for kind, _, payload in decoder.feed(data):
                if kind == frames.DATA:
                    receiver.receive(payload)  # raises beyond the window
                else:
                    message = receiver.message(kind, payload, stream.MAX_MESSAGE)
                    if message is not None:
                        seen.append(message)

        taken = 0
        for number, step in enumerate([*steps, *["credit"] * 60]):
            if step == "message":
                sender.send_control(Opened(parameters={"n": str(number)}))
                expected.append(Opened(parameters={"n": str(number)}))
            elif step == "credit":
                got = sum(len(item) for item in seen if isinstance(item, bytes))
                receiver.consumed(got - taken)
                taken = got
                for _, _, payload in far.sent():
                    sender.credit += frames.credit_count(payload)
                far.out.clear()
                assert sender.credit <= WINDOW
            else:
                data = bytes([number % 256]) * int(step)
                sender.send(data)
                expected.append(data)
            carry()
        assert merged(seen) == merged(expected)

    asyncio.run(run())


def merged(items: list[bytes | Control]) -> list[bytes | Control]:
    result: list[Any] = []
    for item in items:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return result
