"""Bodies, also split at every byte."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import CHUNKED, UNTIL_CLOSE, HttpError

CHUNKS = b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_by_length() -> None:
    """What is behind it is the rest."""
    body = Body(5)
    assert list(body.feed(b"abc")) == [b"abc"]
    assert not body.done
    assert list(body.feed(b"deGET /")) == [b"de"]
    assert (body.done, body.rest, body.size) == (True, b"GET /", 5)


@pytest.mark.parametrize("cut", range(len(CHUNKS) + 1))
def test_chunks_split_anywhere(cut: int) -> None:
    """The same content, trailers and rest."""
    body = Body(CHUNKED)
    content = b"".join(body.feed(CHUNKS[:cut])) + b"".join(body.feed(CHUNKS[cut:] + b"next"))
    assert (content, body.done, body.rest) == (b"abcde", True, b"next")
    assert body.trailers == (("X-Sum", "1"),)


@pytest.mark.parametrize(
    "data",
    [
        b"3;x=y\r\nabc\r\n", b"3\nabc\r\n", b"3\r\nabcd\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b" 3\r\nabc\r\n",
        b"3\r\r\nabc", b"\r\n", b"ffffffffffffffff\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX: a\nb\r\n\r\n", b"3\0\r\nabc\r\n",
        b"a" * 300,
    ],
)  # fmt: skip
def test_malformed_chunks(data: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(HttpError):
        list(Body(CHUNKED).feed(data))


def test_ends_of_connections() -> None:
    """Of a body that ends with it, and of one that does not."""
    body = Body(UNTIL_CLOSE, 502)
    assert list(body.feed(b"abc")) == [b"abc"]
    body.ended()
    assert body.done
    for length in (5, CHUNKED):
        with pytest.raises(HttpError, match="within the body"):
            Body(length).ended()
