"""Answers on their way through the agent: a secret is found wherever chunks and encodings cut it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from wicketgate_gateway.agent.http_body import AnswerBody
from wicketgate_gateway.agent.redact import Redactor
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import CHUNKED, HttpError, ResponseHead, chunk

SECRET = b"the-secret-of-it"
TEXT = b"before " + SECRET + b" behind " + SECRET
SEEN = TEXT.replace(SECRET, b"*" * len(SECRET))

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress
}  # fmt: skip


def passed(headers: list[tuple[str, str]], data: bytes, size: int, method: str = "GET", version: int = 1) -> bytes:
    """What goes on of an answer that comes in pieces of this size."""
    head = ResponseHead(version, tuple(headers), 200, "OK")
    answer = AnswerBody(Redactor([SECRET]), head, method)
    out = b"".join(answer.pass_on(data[i : i + size]) for i in range(0, len(data), size))
    return out + answer.release() + answer.ended()


def content(framed: bytes) -> bytes:
    """What is in chunks, which must end."""
    body = Body(CHUNKED)
    found = b"".join(body.feed(framed))
    assert body.done
    assert body.rest == b""
    return found


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_chunks(size: int, piece: int) -> None:
    """A border within the secret hides nothing of it."""
    data = b"".join(chunk(TEXT[i : i + piece]) for i in range(0, len(TEXT), piece)) + b"0\r\nX: y\r\n\r\n"
    assert content(passed([("Transfer-Encoding", "chunked")], data, size)) == SEEN


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("coding", list(CODINGS))
def test_encodings_that_nobody_asked_for(coding: str, size: int) -> None:
    """Undone, with lengths, chunks, and by the end of the connection."""
    data = CODINGS[coding](TEXT)
    coded = ("Content-Encoding", coding)
    assert content(passed([coded, ("Content-Length", str(len(data)))], data, size)) == SEEN
    assert content(passed([coded, ("Transfer-Encoding", "chunked")], chunk(data) + b"0\r\n\r\n", size)) == SEEN
    assert content(passed([coded], data, size, version=0)) == SEEN


def test_headers_say_what_goes_on() -> None:
    """No encoding, no length, no validators; the end of the connection is told."""
    headers = (("Content-Encoding", "gzip"), ("Content-Length", "9"), ("ETag", "x"), ("X-A", "b"))
    head = ResponseHead(1, headers, 200, "OK")
    told = AnswerBody(Redactor([SECRET]), head, "GET").headers(headers)
    assert told == (("X-A", "b"), ("Transfer-Encoding", "chunked"))
    old = ResponseHead(0, headers, 200, "OK")
    assert AnswerBody(Redactor([SECRET]), old, "GET").headers(headers)[-1] == ("Connection", "close")
    assert AnswerBody(Redactor([SECRET]), head, "HEAD").headers(headers) == (("X-A", "b"),)
    assert AnswerBody(Redactor(()), head, "GET").headers(headers) == headers


def test_lengths_stay() -> None:
    """Without chunks the bytes are the content."""
    assert passed([("Content-Length", str(len(TEXT)))], TEXT, 4) == SEEN
    assert passed([], TEXT, 4) == SEEN


@pytest.mark.parametrize("coding", ["gzip, br", "compress", "gzip"])
def test_what_cannot_be_undone_is_refused(coding: str) -> None:
    """Also where it is not what it says, or cut short."""
    with pytest.raises(HttpError):
        passed([("Content-Encoding", coding), ("Content-Length", "6")], b"no zip", 6)
    half = gzip.compress(TEXT)[:-9]
    with pytest.raises(HttpError):
        passed([("Content-Encoding", "gzip")], half, 6, version=0)


def test_an_answer_cut_short_and_one_too_long() -> None:
    """The first is no end; what follows an end goes on, for the gateway to see."""
    with pytest.raises(HttpError):
        passed([("Transfer-Encoding", "chunked")], b"5\r\nabc", 3)
    assert passed([("Transfer-Encoding", "chunked")], b"0\r\n\r\nHTTP/1.1 200", 100).endswith(b"0\r\n\r\nHTTP/1.1 200")


def test_nothing_to_look_for() -> None:
    """Bytes pass as they are."""
    head = ResponseHead(1, (("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")), 200, "OK")
    assert AnswerBody(Redactor(()), head, "GET").pass_on(b"what ever") == b"what ever"
