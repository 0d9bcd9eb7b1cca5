"""How a request goes out. (Streams, masks and records: tests/e2e/test_http.py.)"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.session.http_forward import Forwarding, Understood
from wicketgate_gateway.wire.http.head import CHUNKED


@pytest.mark.parametrize(
    ("method", "length", "body", "masks", "headers"),
    [
        ("GET", 0, None, (), []),
        ("POST", 0, None, (), [("Content-Length", "0")]),
        ("POST", 7, None, (), [("Content-Length", "7")]),
        ("POST", CHUNKED, None, (), [("Transfer-Encoding", "chunked")]),
        ("POST", CHUNKED, b"abc", (), [("Content-Length", "3")]),
        ("GET", 0, None, ("mask",), [("Accept-Encoding", "identity")]),
    ],
)
def test_the_framing_is_ours(method: str, length: int, body: Any, masks: Any, headers: Any) -> None:
    """A body that was read whole has a length; one that streams keeps its framing; masked answers come plain."""
    session: Any = SimpleNamespace(policy=SimpleNamespace(data_masks=masks))
    forwarding = Forwarding(session, SimpleNamespace())  # type: ignore[arg-type]
    given = (("Range", "bytes=1-2"), ("Accept-Encoding", "br")) if masks else ()
    request = Understood(method, "/", given, [], {}, "", body=body)
    asked: Any = SimpleNamespace(length=length)
    assert forwarding._outgoing(asked, request).headers == headers  # pyright: ignore[reportPrivateUsage]
