"""What a masked value looks like, by method and type."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.values import REDACTED, TEXT_TYPES, digest, mask_value, partial

KEY = b"k" * 32
INT4, TEXT_ARRAY, INTERVAL, CHAR = 23, 1009, 1186, 18


@pytest.mark.parametrize("method", list(MaskMethod))
@pytest.mark.parametrize("oid", [INTERVAL, CHAR, 0, 999_999])
def test_types_without_a_replacement_come_out_as_null(method: MaskMethod, oid: int) -> None:
    assert mask_value(method, b"4111", oid, KEY) is None


def test_other_types_come_out_in_their_own() -> None:
    assert mask_value(MaskMethod.REDACT, b"4111", INT4, KEY) == b"0"
    assert mask_value(MaskMethod.REDACT, pack(">i", 4111), INT4, KEY, binary=True) == pack(">i", 0)
    assert mask_value(MaskMethod.REDACT, b"{a,b}", TEXT_ARRAY, KEY) == "{•••,•••}".encode()
    assert mask_value(MaskMethod.NULL, b"4111", INT4, KEY) is None


@pytest.mark.parametrize("oid", sorted(TEXT_TYPES))
def test_texts(oid: int) -> None:
    assert mask_value(MaskMethod.REDACT, b"secret", oid, KEY) == REDACTED
    assert mask_value(MaskMethod.NULL, b"secret", oid, KEY) is None
    assert mask_value(MaskMethod.PARTIAL, b"4111111111111111", oid, KEY) == b"*" * 12 + b"1111"
    assert mask_value(MaskMethod.HASH, b"secret", oid, KEY) == digest(b"secret", KEY)
    assert all(mask_value(method, None, oid, KEY) is None for method in MaskMethod)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("eve@example.com", "e***@example.com"),
        ("e@example.com", "***@example.com"),
        ("ünal@example.com", "ü***@example.com"),
        ("Ann Smith <ann@example.com>", "*" * 23 + "com>"),
        ("secret@host", "*******host"),
        ("1234567", "*******"),
        ("12345678", "****5678"),
        ("", ""),
        ("ключ-длинный", "********нный"),
        ("x" * 500, "*" * 32 + "xxxx"),
    ],
)
def test_partial(value: str, masked: str) -> None:
    assert partial(value.encode()).decode() == masked


@given(st.binary(max_size=60))
def test_partial_shows_at_most_half_of_what_is_no_address(value: bytes) -> None:
    masked = partial(value)
    masked.decode()
    if b"@" not in value:
        assert len(masked.decode().lstrip("*")) <= 4


def test_the_digest_depends_on_key_and_value() -> None:
    assert len(digest(b"a", KEY)) == 16
    assert len({digest(b"a", KEY), digest(b"b", KEY), digest(b"a", b"other")}) == 3
