"""What is recorded of COPY FROM STDIN: masked fields starred out, all else as sent, and every length kept."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.masking.copy_format import CopyFormat
from wicketgate_gateway.masking.copy_in import HIDE_ALL, CopyIn
from wicketgate_gateway.masking.copy_out import SIGNATURE
from wicketgate_gateway.wire.postgres import messages as m

CSV = CopyFormat("csv", b",", b"")
SECOND = frozenset({1})


def recorded(what: CopyIn, *payloads: bytes) -> bytes:
    """The payloads' data as it is recorded, all heads checked."""
    stars, found = what.stars(), b""
    for payload in payloads:
        shown = stars.feed(m.copy_data(payload))
        assert shown[:5] == m.copy_data(payload)[:5]
        assert len(shown) == len(payload) + 5
        found += shown[5:]
    return found


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        (CopyFormat(), b"1\tann\tx\n2\tbo\\tb\ty\n", b"1\t***\tx\n2\t*****\ty\n"),
        (CopyFormat(), b"1\ta\\\tb\\\\\tx\r\n2\tb\ty\r\n", b"1\t******\tx\r\n2\t*\ty\r\n"),
        (CopyFormat(), b"1\ta\\\nb\tx\n", b"1\t****\tx\n"),
        (CopyFormat(), b"1\t\\N\tx\n\\.\n", b"1\t**\tx\n\\.\n"),
        (CopyFormat(delimiter=b"|"), b"1|a\tb|x\n", b"1|***|x\n"),
        (CSV, b'1,ann,x\n2,"a,""\nb",y\n3,,z\n', b"1,***,x\n2,********,y\n3,,z\n"),
        (CSV, b'1,a"b,c"d,x\n', b"1,*******,x\n"),
        (CopyFormat("csv", b";", b"", b"'", b"!"), b"1;'a!';!!b';x\n2;a!;y\n", b"1;*********;x\n2;**;y\n"),
        (CopyFormat("csv", b";", b"", b"'", b"!"), b"1;'a!b;';x\n", b"1;******;x\n"),
    ],
)
def test_rows(kind: CopyFormat, data: bytes, shown: bytes):
    assert recorded(CopyIn(kind, SECOND), data) == shown
    assert recorded(CopyIn(kind, SECOND), *(bytes([byte]) for byte in data)) == shown


def binary(*rows: tuple[bytes | None, ...], extension: bytes = b"") -> bytes:
    data = SIGNATURE + bytes(4) + struct.pack(">i", len(extension)) + extension
    for row in rows:
        data += struct.pack(">h", len(row))
        data += b"".join(struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v for v in row)
    return data + b"\xff\xff"


def test_binary():
    data = binary((b"1", b"ann", b"x"), (b"2", None, b"y"), (b"3", b"", b"z"), extension=b"ext")
    shown = binary((b"1", b"***", b"x"), (b"2", None, b"y"), (b"3", b"", b"z"), extension=b"***")
    what = CopyIn(CopyFormat("binary"), SECOND)
    assert recorded(what, data) == shown
    assert recorded(what, *(bytes([byte]) for byte in data)) == shown


@pytest.mark.parametrize(
    "data", [b"this is no binary COPY, whatever it is", binary((b"1", b"a")) + b"after the end",
             SIGNATURE + bytes(8) + struct.pack(">hi", 2, -7) + b"rest"]
)  # fmt: skip
def test_binary_that_does_not_fit_is_hidden_from_there_on(data: bytes):
    found = recorded(CopyIn(CopyFormat("binary"), SECOND), data)
    assert found[19:].strip(b"*") != data[19:].strip(b"*") or found.endswith(b"****")
    assert found.endswith(b"****")


def test_what_is_not_certain_is_hidden_as_a_whole():
    assert recorded(HIDE_ALL, b"1\tann\n", b"2") == b"*" * 7


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(1, 60)), kind=st.sampled_from([CopyFormat(), CSV]))
def test_pieces_make_no_difference(data: bytes, cuts: list[int], kind: CopyFormat):
    what = CopyIn(kind, SECOND)
    whole = what.stars().feed(m.copy_data(data))
    places = sorted({0, len(data) + 5, *(cut + 5 for cut in cuts if cut < len(data))})
    stars = what.stars()
    assert b"".join(stars.feed(m.copy_data(data)[a:b]) for a, b in pairwise(places)) == whole
