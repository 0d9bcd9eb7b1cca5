"""Where a bot's token is found, and where it is not. (Connections: tests/e2e and tests/attacks, test_http.py.)"""

from __future__ import annotations

import base64

import pytest

from wicketgate_gateway.server.http_connection import token_of
from wicketgate_gateway.wire.http.head import RequestHead

BASIC = base64.b64encode(b"bot:t").decode()


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([("Authorization", "Bearer t")], "t"),
        ([("authorization", "bearer  t ")], "t"),
        ([("Authorization", f"Basic {BASIC}")], "t"),
        ([("Proxy-Authorization", "Bearer t"), ("Authorization", "Bearer other")], "t"),
        ([("X-Wicketgate-Token", "t"), ("Authorization", "Bearer other")], "t"),
        ([("X-Wicketgate-Token", "t"), ("X-Wicketgate-Token", "u")], ""),
        ([("Authorization", "Bearer t"), ("Authorization", "Bearer u")], ""),
        ([("Authorization", "Basic !!!")], ""),
        ([("Authorization", "Negotiate x")], ""),
        ([("Authorization", "Bearer")], ""),
        ([], ""),
    ],
)
def test_one_token_or_none(headers: list[tuple[str, str]], token: str) -> None:
    """Two of them are none."""
    assert token_of(RequestHead(1, tuple(headers), "GET", "/")) == token
