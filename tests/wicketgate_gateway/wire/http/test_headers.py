"""What passes, and what does not."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.http.head import RequestHead, ResponseHead
from wicketgate_gateway.wire.http.headers import answered, forwarded, grouped, keeps_alive, without


def head(*headers: tuple[str, str], version: int = 1) -> RequestHead:
    """A request with these headers."""
    return RequestHead(version, headers, "GET", "/")


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Host", "Content-Length", "Transfer-Encoding", "Expect",
        "Authorization", "Cookie", "Proxy-Authorization", "X-Forwarded-For", "Forwarded", "X-Original-URL", "Via",
        "X-HTTP-Method-Override", "Impersonate-Group", "X-Wicketgate-Token", "X_Custom", "CF-Connecting-IP",
    ],
)  # fmt: skip
def test_does_not_pass(name: str) -> None:
    """Of one hop, spoofing, credentials, ambiguous names."""
    assert forwarded(head((name, "x"), ("Accept", "y"))) == (("Accept", "y"),)


def test_what_connection_names_is_of_one_hop() -> None:
    """RFC 9110 section 7.6.1."""
    assert forwarded(head(("Connection", "close, X-A"), ("X-A", "1"), ("X-B", "2"))) == (("X-B", "2"),)


def test_answers() -> None:
    """Cookies of the target, and what tells clients where else to go, stay."""
    answer = ResponseHead(1, (("Set-Cookie", "a"), ("Alt-Svc", "x"), ("Content-Type", "b"), ("TE", "c")), 200, "OK")
    assert answered(answer) == (("Content-Type", "b"),)


def test_helpers() -> None:
    """Case does not count in names."""
    assert without((("A", "1"), ("b", "2")), {"a"}) == (("b", "2"),)
    assert grouped((("A", "1"), ("a", "2"))) == {"a": ("1", "2")}
    assert keeps_alive(head())
    assert not keeps_alive(head(("Connection", "Close")))
    assert not keeps_alive(head(version=0))
    assert keeps_alive(head(("Connection", "keep-alive"), version=0))
