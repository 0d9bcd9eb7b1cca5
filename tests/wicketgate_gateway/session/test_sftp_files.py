"""Files on record: by digest always, by content up to a limit, masked."""

from __future__ import annotations

import hashlib

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.session.sftp_files import Content, Counted
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, Kind

KEY = b"AKIA" + b"IOSFODNN7EXAMPLE"


class Kept:
    """A direction of a file whose content is kept up to `limit` bytes."""

    def __init__(self, limit: int, mask: Redactor | None = None) -> None:
        self.data = b""
        self._decoder = FrameDecoder()
        self.counted = Counted(content=Content(7, written=True, limit=limit, mask=mask, record=self._record))

    def _record(self, frame: bytes) -> None:
        for kind, payload in self._decoder.feed(frame):
            assert kind == Kind.FILE
            operation, written, piece = frames.file_piece(payload)
            assert (operation, written) == (7, True)
            self.data += piece


def test_by_digest_alone() -> None:
    counted = Counted()
    counted.add(0, b"ab")
    counted.add(2, b"c")
    assert counted.document() == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest(), "inOrder": True}


def test_content_whole() -> None:
    kept = Kept(1 << 20)
    data = bytes(range(256)) * 1000
    for at in range(0, len(data), 100_000):
        kept.counted.add(at, memoryview(data)[at : at + 100_000])
    assert kept.counted.document()["content"] == {"bytes": len(data), "left": ""}
    assert kept.data == data


def test_beyond_the_limit_by_digest_and_says_so() -> None:
    kept = Kept(10)
    kept.counted.add(0, b"12345678")
    kept.counted.add(8, b"90abc")
    kept.counted.add(13, b"more")
    found = kept.counted.document()
    assert kept.data == b"1234567890"
    assert found["content"] == {"bytes": 10, "left": "the first 10 bytes alone, the policy's limit"}
    assert (found["bytes"], found["sha256"]) == (17, hashlib.sha256(b"1234567890abcmore").hexdigest())


def test_at_the_limit_nothing_is_left_out() -> None:
    kept = Kept(4)
    kept.counted.add(0, b"1234")
    assert kept.counted.document()["content"] == {"bytes": 4, "left": ""}


def test_what_comes_out_of_order_is_by_digest() -> None:
    kept = Kept(100)
    kept.counted.add(0, b"ab")
    kept.counted.add(50, b"cd")
    kept.counted.add(4, b"ef")
    found = kept.counted.document()
    assert (kept.data, found["inOrder"]) == (b"ab", False)
    assert found["content"]["left"] == "what came in the file's order alone"


def test_content_is_masked_across_pieces() -> None:
    text = b"before " + KEY + b" after\n"
    for cut in (3, 9, 15, 25):
        kept = Kept(1000, Redactor(Detecting.all(Detectors(["api-key"]), MaskMethod.REDACT, b"k" * 32)))
        kept.counted.add(0, text[:cut])
        kept.counted.add(cut, text[cut:])
        found = kept.counted.document()
        assert KEY not in kept.data
        assert kept.data.startswith(b"before ")
        assert kept.data.endswith(b" after\n")
        assert found["sha256"] == hashlib.sha256(text).hexdigest()
