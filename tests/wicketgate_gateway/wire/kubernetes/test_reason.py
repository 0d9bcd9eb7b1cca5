"""Why a bot asks, behind its token or in a header."""

from __future__ import annotations

import base64

import pytest

from wicketgate_gateway.wire.http.head import RequestHead, parse_request
from wicketgate_gateway.wire.kubernetes import reason
from wicketgate_gateway.wire.kubernetes.request import RequestError


def head(*lines: str) -> RequestHead:
    text = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: x", *lines))
    return parse_request(f"{text}\r\n".encode())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("text", ["ticket 4711", "ü€😀", "a~b/c+d?e=f", "x" * 1000, "😀" * 1000])
def test_behind_the_token(text: str) -> None:
    """It comes back as it was said, and the token as it was."""
    credential = reason.written("a.b.c", text)
    assert reason.split(credential)[0] == "a.b.c"
    assert reason.given(head(f"Authorization: Bearer {credential}")) == text


def test_without() -> None:
    """A plain token, and lines that become one."""
    assert reason.written("a.b.c", " \n") == "a.b.c"
    assert reason.split("a.b.c") == ("a.b.c", "")
    assert reason.given(head("Authorization: Bearer a.b.c")) == ""
    assert reason.given(head()) == ""
    assert reason.given(head("Authorization: Bearer " + reason.written("a", " one\n two "))) == "one two"


def test_by_a_header() -> None:
    """As HTTP targets take it, for libraries."""
    assert reason.given(head("X-Wicketgate-Reason: ticket ü")) == "ticket ü"


@pytest.mark.parametrize(
    "lines",
    [
        ["Authorization: Bearer a~"],
        ["Authorization: Bearer a~YQ=="],
        ["Authorization: Bearer a~YR"],
        ["Authorization: Bearer a~Y"],
        ["Authorization: Bearer a~Y Q"],
        ["Authorization: Bearer a~YQ~YQ"],
        ["Authorization: Bearer a~YQ+/"],
        [f"Authorization: Bearer a~{encoded(b'x' * 1001)}"],
        [f"Authorization: Bearer a~{encoded(b'x' * 20000)}"],
        [f"Authorization: Bearer a~{encoded(bytes([0xFF]))}"],
        [f"Authorization: Bearer a~{encoded(b'a' + bytes([10]) + b'b')}"],
        [f"Authorization: Bearer a~{encoded(bytes([27]) + b'[2J')}"],
        [f"Authorization: Bearer a~{encoded(bytes([0]))}"],
        ["Authorization: Bearer a~" + encoded("a\u202eb".encode())],
        ["X-Wicketgate-Reason: a", "X-Wicketgate-Reason: b"],
        ["X-Wicketgate-Reason: a", "Authorization: Bearer a~YQ"],
        [f"X-Wicketgate-Reason: {'x' * 1001}"],
        ["X-Wicketgate-Reason: a\tb"],
    ],
)
def test_what_has_not_one_certain_reading_is_refused(lines: list[str]) -> None:
    """Overlong, not base64url in its one form, no UTF-8, characters that do not show themselves, given twice."""
    with pytest.raises(RequestError) as caught:
        reason.given(head(*lines))
    assert caught.value.code == "reason-unclear"
