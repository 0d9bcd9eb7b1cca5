"""Secrets in what a target says: gone, whatever the borders between pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.agent.redact import Redactor

SECRET = b"s3cr3t-token-of-the-target"


def test_whole_occurrences_keep_their_length() -> None:
    """So that Content-Length stays true."""
    redactor = Redactor([SECRET, b"short"])
    assert redactor.feed(b"a " + SECRET + b" b") == b"a " + b"*" * len(SECRET) + b" b"
    assert not redactor.holding


@given(st.lists(st.integers(0, 60), max_size=12), st.booleans())
def test_no_border_lets_it_through(cuts: list[int], release: bool) -> None:
    """Cut anywhere, with and without pauses: same length, no secret."""
    whole = b"before " + SECRET + b" between " + SECRET + b"!"
    redactor = Redactor([SECRET])
    out = b""
    last = 0
    for cut in [*sorted(cuts), len(whole)]:
        out += redactor.feed(whole[last:cut])
        last = max(last, cut)
        if release and redactor.holding:
            out += redactor.release()
    out += redactor.release()
    assert len(out) == len(whole)
    assert SECRET not in out
    if not release:
        assert SECRET[3:7] not in out
        assert SECRET[-4:] not in out


def test_byte_by_byte() -> None:
    """Three bytes tell nothing; all others are held until it is known what they are."""
    redactor = Redactor([SECRET])
    whole = b"x" + SECRET + b"y" + SECRET[:9] + b"z"
    out = b"".join(redactor.feed(bytes([each])) for each in whole) + redactor.release()
    assert out == b"x" + SECRET[:3] + b"*" * (len(SECRET) - 3) + b"y" + SECRET[:9] + b"z"


def test_without_secrets_it_costs_nothing() -> None:
    """The very bytes."""
    data = b"x" * 100
    assert Redactor([b"tiny"]).feed(data) is data
