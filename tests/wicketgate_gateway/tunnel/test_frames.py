import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.tunnel import frames
from wicketgate_gateway.tunnel.frames import FrameDecoder, FrameError

CONVERSATION = [
    (frames.CONTROL, 0, b"hello"),
    (frames.DATA, 7, b"select 1"),
    (frames.CREDIT, 7, b"\0\0\0\x08"),
    (frames.CONTROL_PART, 8, b"p" * 300),
    (frames.CONTROL, 8, b"q"),
    (frames.DATA, 4294967295, b"x" * 1000),
    (frames.PING, 0, b"12345678"),
    (frames.PONG, 0, b"12345678"),
    (frames.CLOSE, 7, b""),
    (frames.CLOSE, 8, "bye ä".encode()),
]
WIRE = b"".join(frames.frame(*item) for item in CONVERSATION)


def joined(found: list[frames.Frame]) -> list[frames.Frame]:
    """DATA may come in pieces: neighbours of the same stream count as one."""
    result: list[frames.Frame] = []
    for kind, stream, payload in found:
        if kind == frames.DATA and result and result[-1][:2] == (kind, stream):
            result[-1] = (kind, stream, result[-1][2] + payload)
        else:
            result.append((kind, stream, payload))
    return result


def test_whole() -> None:
    assert FrameDecoder().feed(WIRE) == CONVERSATION


def test_split_at_every_byte() -> None:
    for cut in range(len(WIRE) + 1):
        decoder = FrameDecoder()
        assert joined(decoder.feed(WIRE[:cut]) + decoder.feed(WIRE[cut:])) == CONVERSATION


def test_byte_by_byte() -> None:
    decoder = FrameDecoder()
    assert joined([f for i in range(len(WIRE)) for f in decoder.feed(WIRE[i : i + 1])]) == CONVERSATION


@given(st.lists(st.integers(1, 200), max_size=30))
def test_any_chunks(sizes: list[int]) -> None:
    decoder, at, found = FrameDecoder(), 0, []
    for size in sizes:
        found += decoder.feed(WIRE[at : at + size])
        at += size
    assert joined(found + decoder.feed(WIRE[at:])) == CONVERSATION


def test_header_and_frame_agree() -> None:
    assert frames.header(frames.DATA, 5, 3) + b"abc" == frames.frame(frames.DATA, 5, b"abc")
    assert frames.frame(frames.DATA, 5, b"abc") == struct.pack(">IB", 5, 2) + b"\0\0\x03abc"
    assert frames.credit_count(frames.credit(9, 65536)[8:]) == 65536


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (0, 1),
        (8, 1),
        (255, 0),
        (frames.DATA, 0),
        (frames.DATA, frames.MAX_PAYLOAD + 1),
        (frames.DATA, 0xFFFFFF),
        (frames.CONTROL, 0),
        (frames.CONTROL, frames.MAX_PAYLOAD + 1),
        (frames.CREDIT, 3),
        (frames.CREDIT, 5),
        (frames.CLOSE, frames.MAX_REASON + 1),
        (frames.PING, 7),
        (frames.PONG, 9),
    ],
)
def test_refused_by_the_header_alone(kind: int, length: int) -> None:
    with pytest.raises(FrameError):
        FrameDecoder().feed(struct.pack(">II", 1, kind << 24 | length))


def test_a_whole_chunk_of_data_is_handed_on_uncopied() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(frames.header(frames.DATA, 3, 5000)) == []
    chunk = b"y" * 4000
    ((_, _, payload),) = decoder.feed(chunk)
    assert payload is chunk
