"""What is recorded of requests: of the same length, without what is found, whatever the pieces."""

from __future__ import annotations

import pytest

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.masking.requests import FORM, NotedBody, masked_form, noted_text, starred_text

LOOKS = Detecting.all(Detectors(["card", "email", "api-key"]), MaskMethod.REDACT, b"k" * 32)
KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"


def test_forms() -> None:
    """`+` is a blank there; an address keeps it."""
    assert masked_form(LOOKS, b"c=4111+1111+1111+1111&x=1") == "c=•••&x=1".encode()
    assert masked_form(LOOKS, b"m=ann%2Bx%40example.com&x=1") == "m=•••&x=1".encode()
    nothing = b"a=1+2"
    assert masked_form(LOOKS, nothing) is nothing
    assert starred_text(LOOKS, f"/a?k={KEY}") == "/a?k=" + "*" * len(KEY)
    assert noted_text(LOOKS, f"GET /a?k={KEY}") == "GET /a?k=•••"
    assert noted_text(None, KEY) == KEY


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"mail": "ann\\u0040example.com", "k": "%s", "fine": 1}' % KEY.encode()),
        (FORM, b"m=ann%%40example.com&c=4111+1111+1111+1111&k=%s&fine=1" % KEY.encode()),
        ("text/plain; charset=utf-8", f"ann@example.com {KEY} fine".encode()),
    ],
)
def test_bodies(kind: str, body: bytes, step: int) -> None:
    """The same length, however it comes."""
    noted = NotedBody(LOOKS, [("Content-Type", kind)])
    found = b"".join(noted.feed(body[i : i + step]) for i in range(0, len(body), step)) + noted.flush()
    assert len(found) == len(body)
    assert b"fine" in found
    assert b"ann" not in found
    assert KEY.encode() not in found


@pytest.mark.parametrize("headers", [[("content-encoding", "gzip")], [("Content-Type", "text/plain; charset=utf-16")]])
def test_what_cannot_be_read(headers: list[tuple[str, str]]) -> None:
    """Nothing of it is recorded but its length."""
    assert NotedBody(LOOKS, headers).whole(b"abc") == b"***"


def test_a_long_form() -> None:
    """Bounded: then nothing of it is recorded."""
    noted = NotedBody(LOOKS, [("Content-Type", FORM)])
    size = sum(len(noted.feed(b"a=b&" * 100_000)) for _ in range(4)) + len(noted.flush())
    assert size == 1_600_000
