"""Masks of text: what they show, and that they are keyed."""

from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.text import REDACTED, digest, format_preserving, masked_text, number

KEY = b"k" * 32


def test_each_method() -> None:
    value = b"4111111111111111"
    assert masked_text(MaskMethod.REDACT, value, KEY) == REDACTED
    assert masked_text(MaskMethod.PARTIAL, value, KEY) == b"*" * 12 + b"1111"
    assert masked_text(MaskMethod.HASH, value, KEY) == digest(value, KEY)
    assert masked_text(MaskMethod.NULL, value, KEY) == b""


@given(st.text(max_size=60))
def test_the_format_stays(value: str) -> None:
    masked = format_preserving(value.encode(), KEY).decode()
    assert len(masked) == len(value)
    for before, after in zip(value, masked, strict=True):
        if before.isascii():
            assert (before.isdigit(), before.islower(), before.isupper()) == (
                after.isdigit(),
                after.islower(),
                after.isupper(),
            )
            assert before.isalnum() or before == after
        else:
            assert after == ("x" if before.isalnum() else before)


def test_it_depends_on_key_and_value() -> None:
    a, b = b"4111-1111-1111-1111", b"4111-1111-1111-1112"
    assert format_preserving(a, KEY) == format_preserving(a, KEY)
    assert len({format_preserving(a, KEY), format_preserving(b, KEY), format_preserving(a, b"other"), a}) == 4
    assert number(a, KEY, 1000) == number(a, KEY, 1000) < 1000
