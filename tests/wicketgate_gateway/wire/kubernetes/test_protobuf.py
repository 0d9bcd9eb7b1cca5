"""Options of a deletion in protobuf."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.kubernetes.protobuf import MAGIC, delete_options
from wicketgate_gateway.wire.kubernetes.request import RequestError


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(raw: bytes, kind: bytes = b"DeleteOptions") -> bytes:
    return MAGIC + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw)


def test_options() -> None:
    """As JSON has them."""
    raw = b"\x08\x05" + field(2, field(1, b"uid")) + b"\x18\x01" + field(4, b"Background") + field(5, b"All")
    assert delete_options(envelope(raw)) == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 5,
        "preconditions": {"uid": "uid"},
        "orphanDependents": True,
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }


@pytest.mark.parametrize(
    "data",
    [
        b"", b"k8s", envelope(b"", b"Pod"), envelope(field(9, b"x")), envelope(b"\x08"), envelope(b"\x0d1234"),
        envelope(field(1, b"x")), envelope(field(4, b"a") + field(4, b"b")), envelope(b"\x22\x7f"),
        envelope(field(4, b"\xff")), envelope(b"\x28\x01"), MAGIC + b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_refused(data: bytes) -> None:
    """What is not known, stands twice, or is cut."""
    with pytest.raises(RequestError):
        delete_options(data)
