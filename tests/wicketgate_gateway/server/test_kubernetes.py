"""Which target a request is for. Whole connections are tested end to end and by the attack corpus."""

from __future__ import annotations

import pytest

from wicketgate_gateway.server.kubernetes import target_of
from wicketgate_gateway.wire.http.head import parse_request


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/t/prod/api/v1/pods?limit=1", ("prod", "/api/v1/pods?limit=1")),
        ("/t/prod", ("prod", "/")),
        ("/t/prod?x=1", ("prod", "/?x=1")),
        ("/t/prod//api", ("prod", "//api")),
        ("/t/", ("", "/")),
        ("/api/v1/pods", ("", "/api/v1/pods")),
        ("/T/prod/api", ("", "/T/prod/api")),
        ("/t/%70rod/api", ("%70rod", "/api")),
    ],
)
def test_the_target(target: str, expected: tuple[str, str]) -> None:
    """By the first part behind `/t/`, as it is written: nothing is decoded."""
    assert target_of(parse_request(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())) == expected
