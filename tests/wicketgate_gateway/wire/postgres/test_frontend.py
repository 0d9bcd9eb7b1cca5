"""Conversations of a client: bytes in, events out, however the bytes are split; and everything that is refused."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres import frontend as f
from wicketgate_gateway.wire.postgres import messages as m

CONVERSATION: list[bytes] = [
    m.query("SELECT 'ü'; SELECT 2"),
    m.query(""),
    m.parse("s1", "SELECT $1::text, $2::int4", [25, 0]),
    m.bind("p1", "s1", [b"x\0y", None], [0, 1], [1]),
    m.bind("", ""),
    m.describe(b"S", "s1"),
    m.describe(b"P", "p1"),
    m.execute("p1", 10),
    m.close(b"S", "s1"),
    m.FLUSH,
    m.SYNC,
    m.message(b"F", pack(">IHHH", 1598, 0, 0, 0)),
    m.COPY_DONE,
    m.copy_fail("enough"),
    m.TERMINATE,
]
EXPECTED: list[f.Event] = [
    f.Query(CONVERSATION[0], "SELECT 'ü'; SELECT 2"),
    f.Query(CONVERSATION[1], ""),
    f.Parse(CONVERSATION[2], "s1", "SELECT $1::text, $2::int4"),
    f.Bind(CONVERSATION[3], "p1", "s1", (0, 1), (b"x\0y", None), (1,)),
    f.Bind(CONVERSATION[4], "", "", (), (), ()),
    f.Describe(CONVERSATION[5], "S", "s1"),
    f.Describe(CONVERSATION[6], "P", "p1"),
    f.Execute(CONVERSATION[7], "p1", 10),
    f.Close(CONVERSATION[8], "S", "s1"),
    f.Flush(CONVERSATION[9]),
    f.Sync(CONVERSATION[10]),
    f.FunctionCall(CONVERSATION[11], 1598),
    f.CopyDone(CONVERSATION[12]),
    f.CopyFail(CONVERSATION[13]),
    f.Terminate(CONVERSATION[14]),
]


def events(decoder: f.FrontendDecoder, *parts: bytes) -> list[f.Event]:
    found: list[f.Event] = []
    for part in parts:
        decoder.feed(part)
        while (event := decoder.next()) is not None:
            found.append(event)
    return found


def test_a_conversation_at_once() -> None:
    decoder = f.FrontendDecoder()
    assert events(decoder, b"".join(CONVERSATION)) == EXPECTED
    assert decoder.buffered == 0


def test_a_conversation_split_at_every_byte() -> None:
    data = b"".join(CONVERSATION)
    for i in range(len(data) + 1):
        assert events(f.FrontendDecoder(), data[:i], data[i:]) == EXPECTED
    assert events(f.FrontendDecoder(), *(data[i : i + 1] for i in range(len(data)))) == EXPECTED


@given(st.lists(st.binary(max_size=30), max_size=8), st.data())
def test_copy_data_comes_through_byte_by_byte_the_same(rows: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(m.copy_data(row) for row in rows) + m.COPY_DONE + m.SYNC
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    decoder = f.FrontendDecoder()
    found = events(decoder, *parts)
    copied = b"".join(e.raw for e in found if isinstance(e, f.CopyBytes))
    assert copied + m.COPY_DONE + m.SYNC == stream
    assert [type(e) for e in found if not isinstance(e, f.CopyBytes)] == [f.CopyDone, f.Sync]
    assert not decoder.within_copy_data


def test_a_large_copy_message_is_not_collected() -> None:
    decoder = f.FrontendDecoder()
    assert events(decoder, b"d" + pack(">I", 4 + 1_000_000) + b"x" * 10) != []
    assert decoder.buffered == 0
    assert decoder.within_copy_data
    for _ in range(10):
        events(decoder, b"y" * 99_999)
    assert decoder.buffered == 0
    assert events(decoder, m.SYNC) == [f.Sync(m.SYNC)]


def test_a_large_bind_in_small_parts_is_joined_once() -> None:
    raw = m.bind("", "", [b"z" * 3_000_000])
    (event,) = events(f.FrontendDecoder(), *(raw[i : i + 1000] for i in range(0, len(raw), 1000)))
    assert isinstance(event, f.Bind)
    assert event.raw == raw


@pytest.mark.parametrize(
    "attack",
    [
        m.message(b"Q", b"SELECT 1\0DROP TABLE x\0"),  # NUL in the middle
        m.message(b"Q", b"SELECT 1"),  # no end
        m.message(b"Q", b""),
        m.message(b"Q", b"SELECT '\xff'\0"),  # not UTF-8
        m.message(b"Q", b"SELECT '\xed\xa0\x80'\0"),  # a surrogate
        m.message(b"Q", b"SELECT '\xc0\xa7'\0"),  # an overlong quote
        m.message(b"P", b"s\0SELECT 1\0\0\1"),  # a type too few
        m.message(b"P", b"s\0SELECT 1\0\0\0x"),
        m.message(b"P", b"s" * 64 + b"\0SELECT 1\0\0\0"),  # the server would cut the name
        m.message(b"B", b"\0\0\0\0\0\1\0\0\0\7x"),  # a parameter beyond the end
        m.message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),  # length -2
        m.message(b"B", b"\0\0\0\1\0\2\0\0\0\0"),  # format 2
        m.message(b"B", b"\0\0\0\2\0\0\0\1\0\0\0\0"),  # two formats, no parameter
        m.message(b"B", b"\0\0\0\0\0\0\0\0x"),
        m.message(b"B", b"\0\0"),
        m.message(b"D", b"X\0"),
        m.message(b"D", b"Sx\0y"),
        m.message(b"C", b""),
        m.message(b"E", b"\0\0\0\0"),
        m.message(b"E", b"\0\0\0\0\0\0"),
        m.message(b"S", b"x"),
        m.message(b"X", b"x"),
        m.message(b"p", b"secret\0"),  # a password after log-in
        m.message(b"Y", b""),
        m.message(b"Z", b"I"),  # what only a server says
        m.message(b"F", b"\0"),
        m.message(b"f", b"x"),
        b"Q\0\0\0\3xx",  # a length below its own size
        b"S\x7f\xff\xff\xff",
        b"d\0\0\0\0",
        b"Q" + pack(">I", f.MAX_STATEMENT + 1),
        b"\x16\x03\x01\0\x10\0",  # a TLS hello within the session
        b"\0\0\0\x08\x04\xd2\x16\x2f",  # an SSLRequest within the session
    ],
)
def test_refused(attack: bytes) -> None:
    decoder = f.FrontendDecoder()
    with pytest.raises(m.ProtocolError):
        events(decoder, attack)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        found = events(f.FrontendDecoder(), data)
    except m.ProtocolError:
        return
    assert b"".join(e.raw for e in found) == data[: sum(len(e.raw) for e in found)]
