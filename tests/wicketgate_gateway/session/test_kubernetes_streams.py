"""Exec, attach and port-forward: handshakes and how they end. What passes is tested end to end."""

from __future__ import annotations

import json

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.kubernetes_operation import point_of
from wicketgate_gateway.session import kubernetes_streams as streams
from wicketgate_gateway.session.kubernetes_request import Asked
from wicketgate_gateway.wire.http.head import parse_request
from wicketgate_gateway.wire.kubernetes.channels import SpdyChannels, WebSocketChannels
from wicketgate_gateway.wire.kubernetes.request import RequestError, understand

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WS = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


def handshake(method: str, sub: str, headers: dict[str, str]) -> streams._Handshake:
    target = f"/api/v1/namespaces/a/pods/x/{sub}?command=ls"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = parse_request(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    request = understand(method, target)
    return streams._Handshake(Asked(head, request, None, point_of(request, None), Verdict(Effect.ALLOW, "r")))


def test_websocket() -> None:
    """The newest protocol that both speak; the accept key of RFC 6455's example."""
    found = handshake("GET", "exec", {**WS, "Sec-WebSocket-Protocol": "v4.channel.k8s.io, v5.channel.k8s.io"})
    assert ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in found.headers
    assert found.protocol == "v5.channel.k8s.io"
    assert isinstance(found.channels(), WebSocketChannels)
    tunnel = handshake("GET", "portforward", {**WS, "Sec-WebSocket-Protocol": "SPDY/3.1+portforward.k8s.io"})
    assert tunnel.websocket


def test_spdy() -> None:
    """For clients from before WebSocket."""
    found = handshake("POST", "exec", {**SPDY, "X-Stream-Protocol-Version": "v4.channel.k8s.io"})
    assert isinstance(found.channels(), SpdyChannels)
    assert ("X-Stream-Protocol-Version", "v4.channel.k8s.io") in found.headers


@pytest.mark.parametrize(
    ("method", "sub", "headers"),
    [
        ("GET", "exec", {}),
        ("GET", "exec", WS),
        ("POST", "exec", {**WS, "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}),
        ("GET", "exec", {**WS, "Sec-WebSocket-Protocol": "channel.k8s.io"}),
        ("GET", "portforward", {**WS, "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}),
        ("GET", "exec", {**WS, "Sec-WebSocket-Key": "x", "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}),
        ("POST", "exec", {**SPDY, "X-Stream-Protocol-Version": "channel.k8s.io"}),
        ("POST", "exec", {"Connection": "Upgrade", "Upgrade": "h2c"}),
        ("POST", "exec", {"Upgrade": "SPDY/3.1"}),
    ],
)
def test_other_handshakes_are_none(method: str, sub: str, headers: dict[str, str]) -> None:
    """Refused before anything is opened."""
    with pytest.raises(RequestError):
        handshake(method, sub, headers)


def test_how_a_command_ended() -> None:
    """By the error channel."""
    assert streams._outcome([b'{"status":"Success"}']) == ("ok", "0")
    failed = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}}
    assert streams._outcome([json.dumps(failed).encode()]) == ("error", "7")
    assert streams._outcome([]) == ("lost", "")
