"""SPDY: a conversation, whole and byte by byte; what breaks the protocol ends it."""

from __future__ import annotations

import struct
import zlib

import pytest

from wicketgate_gateway.wire.kubernetes.spdy import (
    DICTIONARY,
    MAX_DATA,
    Data,
    GoAway,
    Opened,
    Ping,
    Reader,
    Replied,
    Reset,
    SpdyError,
    Writer,
)


def test_the_dictionary_is_the_specifications() -> None:
    """By its size and Adler-32, which zlib checks on the other side."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_conversation(step: int) -> None:
    """However it is cut."""
    writer = Writer()
    sent = (
        writer.open(1, {"StreamType": "stdin", "port": "80"})
        + writer.data(1, b"abc")
        + writer.open(3, {"streamtype": "error"}, fin=True)
        + writer.reply(5)
        + writer.data(1, b"", fin=True)
        + writer.reset(3)
        + writer.ping(7)
        + writer.go_away()
    )
    reader = Reader()
    found = [event for at in range(0, len(sent), step) for event in reader.feed(sent[at : at + step])]
    data = b"".join(event.data for event in found if isinstance(event, Data))
    rest = [event for event in found if not isinstance(event, Data)]
    assert data == b"abc"
    assert rest == [
        Opened(1, {"streamtype": "stdin", "port": "80"}, False),
        Opened(3, {"streamtype": "error"}, True),
        Replied(5, {}, False),
        Reset(3, 5),
        Ping(7),
        GoAway(),
    ]
    assert [event.fin for event in found if isinstance(event, Data)][-1] is True


def test_large_data_is_cut() -> None:
    """Into frames."""
    data = bytes(range(256)) * 1000
    found = Reader().feed(Writer().data(1, data, fin=True))
    assert all(isinstance(event, Data) and len(event.data) <= MAX_DATA for event in found)
    assert b"".join(event.data for event in found if isinstance(event, Data)) == data


def _syn(block: bytes) -> bytes:
    body = struct.pack(">IIBB", 1, 0, 0, 0) + block
    return struct.pack(">II", 0x80030001, len(body)) + body


def _packed(text: bytes) -> bytes:
    pack = zlib.compressobj(zdict=DICTIONARY)
    return pack.compress(text) + pack.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 0x80020001, 10) + bytes(10),
        struct.pack(">II", 0x80030001, 0xFFFFFF),
        struct.pack(">II", 0x80030008, 4) + bytes(4),
        struct.pack(">II", 0x80030063, 0),
        struct.pack(">II", 0x80030003, 3) + bytes(3),
        struct.pack(">II", 0, 0),
        _syn(b"not zlib"),
        _syn(_packed(struct.pack(">I", 1) + struct.pack(">I", 99) + b"x")),
        _syn(_packed(struct.pack(">I", 2) + (struct.pack(">I", 1) + b"a") * 4)),
        _syn(_packed(struct.pack(">I", 1) + struct.pack(">I", 1) + b"A" + struct.pack(">I", 0))),
        _syn(_packed(bytes(1_000_000))),
    ],
)
def test_violations(data: bytes) -> None:
    """End it."""
    with pytest.raises(SpdyError):
        Reader().feed(data)
