"""Pieces of a recording."""

from __future__ import annotations

from wicketgate_gateway.wire.kubernetes.channels import Channel
from wicketgate_gateway.wire.kubernetes.record import Kind, pack, unpack


def test_pieces() -> None:
    """One behind the other; channels have their own numbers."""
    data = pack(Kind.REQUEST, b"{}") + pack(Kind.STDOUT, b"") + pack(Kind.PORT, b"abc")
    assert list(unpack(data)) == [(16, b"{}"), (1, b""), (20, b"abc")]
    assert list(unpack(data[:-1]))[-1] == (20, b"ab")
    assert list(unpack(b"\x00")) == []
    assert all(Kind[channel.name] == channel for channel in Channel)
