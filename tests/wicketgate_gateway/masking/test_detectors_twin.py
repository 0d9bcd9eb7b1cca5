"""The twin by itself: its checks, its budget, and what it looks through."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.masking import detectors_twin as twin
from wicketgate_gateway.masking.detectors_table import COUNTRIES, TOKENS
from wicketgate_gateway.masking.detectors_twin import OVERRUN, TwinScanner, unveil


@given(st.text("0123456789", min_size=1, max_size=18))
def test_one_last_digit_of_ten_passes_luhn(digits: str) -> None:
    assert sum(twin.luhn(f"{digits}{last}".encode()) for last in range(10)) == 1


@given(st.sampled_from(sorted(COUNTRIES)), st.text("ABCDEFGH0123456789", min_size=30, max_size=30))
def test_ibans(country: str, account: str) -> None:
    bban = account[: COUNTRIES[country] - 4]
    digits = "".join(str(int(c, 36)) for c in bban + country + "00")
    check = 98 - int(digits) % 97
    iban = f"{country}{check:02}{bban}".encode()
    assert twin.mod97(iban)
    assert twin.iban(iban + b"!", 0) == (0, len(iban))
    wrong = f"{country}{check - 1:02}{bban}".encode()
    assert twin.iban(wrong, 0) is None


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), st.booleans())
def test_jwt_headers(header: dict[str, str], has_alg: bool) -> None:
    header = {"x": "y", **header, **({"alg": "RS256"} if has_alg else {})}
    if not has_alg:
        header = {k: v for k, v in header.items() if not {k, v} & {"alg", "enc", "typ"}}
    part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    assert twin.jwt(part + b".e30.x") == has_alg


@pytest.mark.parametrize(
    ("data", "view"),
    [
        (b"\\u0041\\u004b", b"AK"),
        (b"a\\/b", b"a/b"),
        (b"a%40b%2e", b"a@b."),
        (b"A\x1b[0;31mK\x1b[mI", b"AKI"),
        (b"A\x1b]0;title with blanks\x07K", b"AK"),
        (b"A\x1b]8;;http://x\x1b\\K", b"AK"),
        (b"A\x1b(BK\x1b7I", b"AKI"),
        ("A\u200bK\u2060I\ufeffA\u00ad".encode(), b"AKIA"),
        (b"%zz%4", b"%zz%4"),
        (b"\\u00e9 \\u0000", b"\\u00e9 \\u0000"),
    ],
)
def test_what_hides_characters(data: bytes, view: bytes) -> None:
    found, places = unveil(data)
    assert found == view
    assert len(places) == len(view)
    assert all(0 <= start < end <= len(data) for start, end in places)


def test_over_its_budget_it_hits_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = TwinScanner([(0, token) for token in TOKENS], [])
    monkeypatch.setattr(twin, "SECONDS", -1.0)
    monkeypatch.setattr(twin, "SECONDS_A_MEBIBYTE", 0.0)
    assert scanner.scan(b"nobody@example.com") == [(0, 18, OVERRUN)]


@pytest.mark.parametrize(
    "text", [b"eyJ" * 20_000, b"-----BEGIN PRIVATE KEY-----" * 3000, b"@a" * 30_000, b"1 " * 30_000]
)
def test_hostile_text_ends_in_time(text: bytes) -> None:
    scanner = TwinScanner([(0, token) for token in TOKENS], [])
    started = time.process_time()
    scanner.scan(text)
    assert time.process_time() - started < 10


def test_numbers_in_binary() -> None:
    assert twin.number_digits((4111111111111111).to_bytes(8, "big"), False) == b"4111111111111111"
    assert twin.number_digits(
        b"\0\4\0\3\0\0\0\0" + b"".join(n.to_bytes(2, "big") for n in (4111, 1111, 1111, 1111)), True
    ) == (b"4111111111111111")
    for numeric in (False, True):
        for wrong in (b"", b"\0", b"\0\1\0\1", b"DE89 3704 0044 0532 0130 00", b"\0\0\0\0\0\0\0\0\0"):
            assert twin.number_digits(wrong, numeric) is None
