from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.recording.values import show, show_parameters


def numeric(*digits: int, weight: int, sign: int = 0, scale: int = 0) -> bytes:
    return struct.pack(f">hhHH{len(digits)}h", len(digits), weight, sign, scale, *digits)


@pytest.mark.parametrize(
    ("value", "oid", "shown"),
    [
        (b"\x01", 16, "t"),
        (struct.pack(">q", -5), 20, "-5"),
        (struct.pack(">h", 7), 21, "7"),
        (struct.pack(">I", 2**32 - 1), 26, "4294967295"),
        (struct.pack(">f", 0.1), 700, "0.1"),
        (struct.pack(">d", 0.1), 701, "0.1"),
        ("ä".encode(), 25, "ä"),
        (struct.pack(">i", 9824), 1082, "2026-11-24"),
        (struct.pack(">q", 1_000_000), 1114, "2000-01-01 00:00:01"),
        (struct.pack(">q", 0), 1184, "2000-01-01 00:00:00+00"),
        (numeric(1, 2345, 6700, weight=1, scale=2), 1700, "12345.67"),
        (numeric(5, weight=-1, sign=0x4000, scale=4), 1700, "-0.0005"),
        (numeric(5, weight=-2, scale=8), 1700, "0.00000005"),
        (numeric(weight=0, scale=2), 1700, "0.00"),
        (numeric(3, weight=2, scale=0), 1700, "300000000"),
        (numeric(weight=0, sign=0xC000), 1700, "NaN"),
        (numeric(weight=0, sign=0xF000), 1700, "-Infinity"),
        (uuid.UUID(int=5).bytes, 2950, str(uuid.UUID(int=5))),
        (b'\x01{"a": 1}', 3802, '{"a": 1}'),
        (b"\x00\xff", 17, "\\x00ff"),
        (b"\x7f" + b"\xff" * 7, 1114, "\\x7fffffffffffffff"),
    ],
)
def test_binary_values(value: bytes, oid: int, shown: str) -> None:
    assert show(value, oid, 1) == shown


def test_text_is_shown_as_it_is_and_what_is_not_text_in_hexadecimal() -> None:
    assert show(b"2026", 1082, 0) == "2026"
    assert show(b"\xff", 25, 0) == "\\xff"
    assert show(b"x" * 10_000, 25, 0) == "x" * 4096 + "… (10000 characters)"


@given(
    st.binary(max_size=64),
    st.sampled_from([16, 20, 25, 26, 700, 701, 1082, 1114, 1700, 2950, 3802, 999]),
    st.sampled_from([0, 1]),
)
def test_rubbish_is_never_an_error(value: bytes, oid: int, code: int) -> None:
    assert isinstance(show(value, oid, code), str)


def test_parameters() -> None:
    assert show_parameters([b"a", None, b"\x01"], []) == ["a", None, "\x01"]
    assert show_parameters([b"a", b"\x01"], [1]) == ["\\x61", "\\x01"]
    assert show_parameters([b"a", b"\x01"], [0, 1]) == ["a", "\\x01"]
    assert show_parameters([b"a", b"b"], [0, 1, 1]) == ["a", "\\x62"]
