"""Encodings undone in pieces; what is cut short, false or a bomb is refused."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from wicketgate_gateway.masking.decoding import MAX_DOCUMENT, Decoding
from wicketgate_gateway.wire.http.head import HttpError

TEXT = b"the quick brown fox " * 500
ENCODED = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
}


class Kept:
    """What comes out."""

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b"!"


@pytest.mark.parametrize("encoding", list(ENCODED))
@pytest.mark.parametrize("size", [1, 7, 100000])
def test_in_pieces(encoding: str, size: int) -> None:
    """The content, whatever the pieces."""
    decoding, data = Decoding(encoding, Kept()), ENCODED[encoding]
    out = b"".join(decoding.feed(data[i : i + size]) for i in range(0, len(data), size)) + decoding.finish()
    assert out == TEXT + b"!"


@pytest.mark.parametrize("encoding", list(ENCODED))
def test_cut_short_false_and_followed(encoding: str) -> None:
    """Each is refused."""
    for pieces in (
        [ENCODED[encoding][:-5]],
        [b"this is no such encoding at all"],
        [ENCODED[encoding], b"and more that is hidden behind it"],
    ):
        with pytest.raises(HttpError):
            undo(encoding, *pieces)


def undo(encoding: str, *pieces: bytes) -> bytes:
    """All of these decoded."""
    decoding = Decoding(encoding, Kept())
    return b"".join(decoding.feed(piece) for piece in pieces) + decoding.finish()


def test_bombs_and_strangers() -> None:
    """Neither unpacks."""
    with pytest.raises(HttpError, match="far more"):
        Decoding("gzip", Kept()).feed(gzip.compress(b"\0" * (5 * MAX_DOCUMENT)))
    with pytest.raises(HttpError, match="not known"):
        Decoding("compress", Kept())


def test_two_members_of_gzip() -> None:
    """Are one content (RFC 1952)."""
    decoding = Decoding("gzip", Kept())
    assert decoding.feed(gzip.compress(b"a") + gzip.compress(b"b")) + decoding.finish() == b"ab!"
