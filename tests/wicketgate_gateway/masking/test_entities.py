"""References in markup are undone for detectors, wherever a piece ends; markup stays markup."""

from __future__ import annotations

import pytest

from wicketgate_gateway.masking.entities import EntityFilter


class Kept:
    """What comes out."""

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b"."


PAIRS = [
    (b"ann&#64;b.com", b"ann@b.com."),
    (b"ann&#x40;b.com", b"ann@b.com."),
    (b"ann&#X0040;b.com", b"ann@b.com."),
    (b"ann&#00064b.com", b"ann@b.com."),
    (b"ann&commat;b&period;com", b"ann@b.com."),
    (b"4111&#32;1111&#x20;1111&Tab;1111", b"4111 1111 1111\t1111."),
    (b"&lt;&#60;&#x3c;&amp;&#38;&quot;&#39;&#x27;", b"&lt;&#60;&#x3c;&amp;&#38;&quot;&#39;&#x27;."),
    (b"&#0;&#128;&#xe9;&#1234567;&euro;&nosuch;", b"&#0;&#128;&#xe9;&#1234567;&euro;&nosuch;."),
    (b"a & b && c &# d &", b"a & b && c &# d &."),
    (b"&#64", b"@."),
]


@pytest.mark.parametrize(("data", "wanted"), PAIRS)
def test_references(data: bytes, wanted: bytes) -> None:
    """Split anywhere, and byte by byte."""
    for at in range(len(data) + 1):
        filter_ = EntityFilter(Kept())
        assert filter_.feed(data[:at]) + filter_.feed(data[at:]) + filter_.finish() == wanted
    filter_ = EntityFilter(Kept())
    assert b"".join(filter_.feed(bytes([each])) for each in data) + filter_.finish() == wanted


def test_what_is_held_is_bounded() -> None:
    """Zeros without an end are no reference."""
    filter_ = EntityFilter(Kept())
    assert len(filter_.feed(b"&#" + b"0" * 10_000)) >= 9_000
