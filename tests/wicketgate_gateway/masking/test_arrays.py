"""Arrays: each element is changed, and what comes out is an array that PostgreSQL's clients read."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.masking.arrays import masked


def star(value: bytes) -> bytes | None:
    return None if value == b"null" else b"*" * len(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"{}", b"{}"),
        (b"{a,bc,NULL}", b"{*,**,NULL}"),
        (b'{"a b","x\\"y",null}', b"{***,***,NULL}"),
        (b"{{a,b},{c,d}}", b"{{*,*},{*,*}}"),
        (b"[0:1]={a,b}", b"[0:1]={*,*}"),
        (b'{""}', b'{""}'),
    ],
)
def test_text(value: bytes, wanted: bytes) -> None:
    assert masked(value, star, binary=False) == wanted


@pytest.mark.parametrize("value", [b"", b"a", b"{a", b'{"a}', b"[0:1]", b"{a\\b}"])
def test_what_is_no_array_is_null(value: bytes) -> None:
    assert masked(value, star, binary=False) is None
    assert masked(value, star, binary=True) is None


def sent(elements: list[bytes | None]) -> bytes:
    head = struct.pack(">iiI", 1, None in elements, 25) + struct.pack(">ii", len(elements), 1)
    return head + b"".join(struct.pack(">i", -1) if e is None else struct.pack(">i", len(e)) + e for e in elements)


@given(st.lists(st.none() | st.binary(max_size=20), max_size=6))
def test_binary(elements: list[bytes | None]) -> None:
    wanted = [None if e is None else star(e) for e in elements]
    assert masked(sent(elements), star, binary=True) == sent(wanted)


def test_cut_binary_is_null() -> None:
    value = sent([b"abc"])
    assert all(masked(value[:cut], star, binary=True) is None for cut in (3, 21, len(value) - 1))


def test_what_needs_quotes_gets_them() -> None:
    assert masked(b"{a}", lambda _: b'x,"\\', binary=False) == b'{"x,\\"\\\\"}'
    assert masked(b"{a}", lambda _: b"NULL", binary=False) == b'{"NULL"}'
