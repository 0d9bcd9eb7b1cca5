"""A masked value is of its column's own type, in both formats, or NULL; never the value itself."""

import datetime
import decimal
import ipaddress
import json
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod as M
from wicketgate_gateway.masking.typed import ARRAYS, TYPES, _read_numeric, _write_numeric, masker

KEY = b"k" * 32
METHODS = [M.REDACT, M.PARTIAL, M.HASH, M.FORMAT]
SECONDS = int((datetime.datetime(1984, 7, 21, 10, 20, 30) - datetime.datetime(2000, 1, 1)).total_seconds())
VALUES: dict[int, tuple[bytes, bytes]] = {
    16: (b"t", b"\1"),
    21: (b"12345", struct.pack(">h", 12345)),
    23: (b"1234567890", struct.pack(">i", 1234567890)),
    20: (b"4111111111111111", struct.pack(">q", 4111111111111111)),
    26: (b"16384", struct.pack(">I", 16384)),
    700: (b"12.5", struct.pack(">f", 12.5)),
    701: (b"12.25", struct.pack(">d", 12.25)),
    1700: (b"4111111111111111.25", _write_numeric("4111111111111111.25", True)),
    1082: (b"1984-07-21", struct.pack(">i", (datetime.date(1984, 7, 21) - datetime.date(2000, 1, 1)).days)),
    1114: (b"1984-07-21 10:20:30", struct.pack(">q", SECONDS * 1_000_000)),
    1184: (b"1984-07-21 10:20:30.5+02", struct.pack(">q", SECONDS * 1_000_000 - 7_199_500_000)),
    2950: (b"6ba7b810-9dad-11d1-80b4-00c04fd430c8", uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8").bytes),
    869: (b"192.0.2.77", bytes((2, 32, 0, 4, 192, 0, 2, 77))),
    650: (b"2001:db8:1:2::/64", bytes((3, 64, 1, 16)) + ipaddress.ip_address("2001:db8:1:2::").packed),
    17: (b"\\x0102030405060708090a", bytes(range(1, 11))),
    114: (b'{"a": "secret"}', b'{"a": "secret"}'),
    3802: (b'{"a": "secret"}', b'\1{"a": "secret"}'),
}


def parsed(oid: int, value: bytes, binary: bool) -> object:
    return TYPES[oid].read(value, binary)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("oid", sorted(TYPES))
@pytest.mark.parametrize("binary", [False, True])
def test_both_formats_give_the_same_value_of_the_type(oid: int, method: M, binary: bool) -> None:
    value = VALUES[oid][binary]
    masked = masker(method, oid, KEY, binary=binary)
    assert masked is not None
    found = masked(value)
    if found is None:
        assert oid == 16
        return
    assert parsed(oid, found, binary) != parsed(oid, value, binary)
    other = masker(method, oid, KEY, binary=not binary)
    assert other is not None
    again = other(VALUES[oid][not binary])
    if oid not in (650, 700) or method is not M.HASH:  # what differs there: zero bits, digits
        assert again is not None
        one, two = parsed(oid, again, not binary), parsed(oid, found, binary)
        assert one == (pytest.approx(two) if oid == 700 else two)


def test_what_methods_make_of_types() -> None:
    def text(method: M, oid: int, value: bytes) -> bytes | None:
        found = masker(method, oid, KEY, binary=False)
        assert found is not None
        return found(value)

    assert text(M.REDACT, 20, b"-5") == b"0"
    assert text(M.PARTIAL, 20, b"4111111111111234") == b"1234"
    assert text(M.PARTIAL, 23, b"1234567") == b"0"
    assert text(M.REDACT, 1082, b"1984-07-21") == b"1970-01-01"
    assert text(M.PARTIAL, 1082, b"1984-07-21") == b"1984-01-01"
    assert text(M.PARTIAL, 869, b"192.0.2.77") == b"192.0.2.0"
    assert text(M.REDACT, 114, b"{}") == '"•••"'.encode()
    assert text(M.FORMAT, 114, b'{"a": ["x1", 5]}') not in (None, b'{"a": ["x1", 5]}')
    assert text(M.REDACT, 2950, VALUES[2950][0]) == b"00000000-0000-0000-0000-000000000000"
    assert text(M.FORMAT, 23, b"2147483647") not in (None, b"2147483647")
    for odd in (b"infinity", b"21/07/1984", b"-infinity", b"NaN", b""):
        assert text(M.PARTIAL, 1082, odd) is None
        assert text(M.FORMAT, 1700, odd) in (None, b"")
    assert text(M.HASH, 1005, b"{1,2}") is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("oid", sorted({*TYPES, *ARRAYS}))
@given(value=st.binary(max_size=40))
def test_it_never_raises(oid: int, method: M, value: bytes) -> None:
    for binary in (False, True):
        masked = masker(method, oid, KEY, binary=binary)
        assert masked is not None
        assert isinstance(masked(value), bytes | None)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20))
def test_numeric_in_binary(value: decimal.Decimal) -> None:
    assert decimal.Decimal(_read_numeric(_write_numeric(f"{value:f}", True), True)) == value


@given(st.dates(), st.sampled_from(METHODS))
def test_dates_stay_dates(value: datetime.date, method: M) -> None:
    masked = masker(method, 1082, KEY, binary=False)
    assert masked is not None
    datetime.date.fromisoformat((masked(value.isoformat().encode()) or b"").decode())


def test_documents_stay_documents() -> None:
    for method in METHODS:
        masked = masker(method, 3802, KEY, binary=True)
        assert masked is not None
        found = masked(VALUES[3802][1]) or b""
        assert found[:1] == b"\1"
        json.loads(found[1:])


def test_unknown_types_are_for_the_caller() -> None:
    assert masker(M.REDACT, 999_999, KEY, binary=False) is None
