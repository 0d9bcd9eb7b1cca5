"""The first messages of strangers: split at every byte, and refused for what they must not be."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres.login import (
    MAX_PASSWORD,
    MAX_START_UP,
    CancelRequest,
    First,
    FirstMessage,
    GssEncRequest,
    Password,
    SslRequest,
    StartUp,
)
from wicketgate_gateway.wire.postgres.messages import ProtocolError, password


def first(code: int, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">II", len(body) + 8 if length is None else length, code) + body


GOOD: list[tuple[bytes, First]] = [
    (first(80877103), SslRequest()),
    (first(80877104), GssEncRequest()),
    (first(80877102, struct.pack(">I", 7) + b"1234"), CancelRequest(7, b"1234")),
    (first(196608, b"user\0bot\0database\0d\0\0"), StartUp(0, {"user": "bot", "database": "d"}, ())),
    (first(196610, b"user\0bot\0_pq_.x\0on\0\0"), StartUp(2, {"user": "bot"}, ("_pq_.x",))),
    (first(196608, b"\0"), StartUp(0, {}, ())),
]


@pytest.mark.parametrize(("data", "expected"), GOOD)
def test_read_however_it_is_split(data: bytes, expected: First) -> None:
    for cut in range(len(data)):
        message = FirstMessage()
        assert message.feed(data[:cut]) is None
        assert message.wanted <= len(data) - cut
        assert message.feed(data[cut:] + b"rest") == expected
        assert message.rest == b"rest"


def test_who_reads_what_is_wanted_reads_nothing_else() -> None:
    data = GOOD[3][0] + b"more"
    message = FirstMessage()
    position = 0
    while (found := message.feed(data[position : position + message.wanted])) is None:
        position = min(position + message.wanted, len(data)) if position else 8
    assert found == GOOD[3][1]
    assert message.rest == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\0" * 8,
        first(80877103, b"x"),
        first(196608, length=MAX_START_UP + 1),
        first(196608, length=7),
        first(131072, b"\0"),  # protocol 2
        first(262144, b"\0"),  # protocol 4
        first(196608, b"user\0bot\0"),  # no end
        first(196608, b"user\0bot\0\0x"),
        first(196608, b"user\0bot"),
        first(196608, b"user\0bot\0user\0eve\0\0"),
        first(196608, b"user\0\xff\0\0"),
        first(196608),
        first(80877102, b"1234"),
        first(80877102, b"1234" + b"x" * 400),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FirstMessage().feed(data)


@given(st.binary(max_size=100))
def test_no_bytes_break_it(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        FirstMessage().feed(data)


def test_a_password_split_at_every_byte() -> None:
    data = password("eyJ.a.b")
    for cut in range(len(data)):
        message = Password()
        assert message.feed(data[:cut]) is None
        assert message.feed(data[cut:] + b"Q") == "eyJ.a.b"
        assert message.rest == b"Q"


@pytest.mark.parametrize(
    "data",
    [
        b"Q",
        b"p" + struct.pack(">I", MAX_PASSWORD + 1),
        b"p\0\0\0\4",
        b"p\0\0\0\6ab",  # no end
        b"p\0\0\0\x08se\0t",
        b"p\0\0\0\6\xff\0",
    ],
)
def test_passwords_that_are_none(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Password().feed(data)
    assert "se" not in str(caught.value).split("message")[0]


def test_secrets_have_no_text_form() -> None:
    assert "1234" not in repr(CancelRequest(7, b"1234"))
