"""JSON that means one thing."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.http.json import JsonError, parse_json


def test_plain() -> None:
    """As Python reads it."""
    assert parse_json(b'{"a": [1, 2.5, null, true, "\\u00e9"]}') == {"a": [1, 2.5, None, True, "é"]}


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}', b'{"x": {"a": 1, "\\u0061": 2}}', b"NaN", b"[Infinity]", b"{", b"\xff", b"\xef\xbb\xbf{}",
        b"[" * 200 + b"]" * 200, b"[" * 100000, b"{'a': 1}", b'{"a": 1} x', b"",
    ],
)  # fmt: skip
def test_refused(data: bytes) -> None:
    """What parsers read differently."""
    with pytest.raises(JsonError):
        parse_json(data)
