"""Frames of a channel, as a conversation and split at every byte."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.ssh import channel
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, FrameError, Kind

TALK = (
    channel.frame(Kind.BEGIN, b"{}")
    + channel.data_frames(Kind.STDIN, b"in")
    + channel.window(80, 24)
    + channel.data_frames(Kind.STDOUT, b"x" * (channel.MAX_DATA + 5))
    + channel.frame(Kind.EOF)
    + channel.exit_status(75)
)


def test_frames_come_back_however_they_are_split() -> None:
    whole = list(FrameDecoder().feed(TALK))
    assert [kind for kind, _ in whole] == [Kind.BEGIN, Kind.STDIN, Kind.WINDOW, Kind.STDOUT, Kind.STDOUT, 4, Kind.EXIT]
    assert channel.window_size(whole[2][1]) == (80, 24, 0, 0)
    assert channel.number(whole[-1][1]) == 75
    start = TALK[:120] + TALK[-20:]
    small = channel.data_frames(Kind.STDIN, b"in") + channel.window(1, 2) + channel.exit_status(3)
    assert start
    for cut in range(len(small)):
        decoder = FrameDecoder()
        assert [*decoder.feed(small[:cut]), *decoder.feed(small[cut:])] == list(FrameDecoder().feed(small))
        assert decoder.buffered == 0


@pytest.mark.parametrize(
    "raw", [b"\0\0\0\0\0", b"\x63\0\0\0\0", b"\x02\xff\xff\xff\xff", b"\x01\0\0\x80\x01", b"\x05\0\x01\0\x01"]
)
def test_what_is_no_frame_is_refused(raw: bytes) -> None:
    with pytest.raises(FrameError):
        list(FrameDecoder().feed(raw))


def test_numbers_of_wrong_length_are_refused() -> None:
    with pytest.raises(FrameError):
        channel.number(b"\0")
    with pytest.raises(FrameError):
        channel.window_size(b"\0" * 15)


def test_sizes_are_bounded() -> None:
    (frame,) = FrameDecoder().feed(channel.window(-1, 1 << 40))
    assert channel.window_size(frame[1]) == (0, 0xFFFF, 0, 0)


def test_a_piece_of_a_file() -> None:
    (found,) = FrameDecoder().feed(channel.file_frame(9, b"data", written=True))
    assert found[0] == Kind.FILE
    assert channel.file_piece(found[1]) == (9, True, b"data")
    with pytest.raises(FrameError):
        channel.file_piece(b"\0\0")
