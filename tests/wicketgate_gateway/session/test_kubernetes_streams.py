"""Exec, attach and port-forward: handshakes and how they end. What passes is tested end to end."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.policy.kubernetes_operation import point_of
from wicketgate_gateway.session import kubernetes_streams as streams
from wicketgate_gateway.session.kubernetes_request import Asked
from wicketgate_gateway.session.redacting import Redacting
from wicketgate_gateway.wire.http.head import parse_request
from wicketgate_gateway.wire.kubernetes.channels import V5, Channel, Sent, SpdyChannels, WebSocketChannels
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


class Pod:
    """An upgraded connection to a pod that prints its frames one by one, with a pause after each that is not the last;
    it is the client's connection as well, which says nothing."""

    def __init__(self, frames: list[tuple[Channel, bytes]]) -> None:
        self._frames = frames
        self._side = WebSocketChannels(V5)
        self._pause = False
        self.written = b""
        self.lost = ""

    async def ready(self, _seconds: float) -> bool:
        """No longer than it takes: the pause is over once somebody has waited in vain."""
        pause, self._pause = self._pause, False
        return not pause

    async def raw(self) -> bytes:
        if not self._frames:
            return b""
        self._side.send(*self._frames.pop(0))
        self._pause = True
        return self._side.out()

    async def send(self, _data: bytes) -> None: ...

    def close(self) -> None: ...

    async def write(self, data: bytes) -> None:
        self.written += data


class Client(Pod):
    async def raw(self) -> bytes:
        await asyncio.Event().wait()
        return b""


@pytest.mark.anyio
@pytest.mark.parametrize("cut", [1, 3, 4, 10])
@pytest.mark.parametrize(
    "secret",
    [b"AKIA" + b"IOSFODNN7EXAMPLE", b"-----BEGIN RSA " + b"PRIVATE KEY-----\nMIIE\nab\n-----END RSA PRIVATE KEY-----"],
)
async def test_a_canary_over_two_frames_with_a_pause_between(cut: int, secret: bytes) -> None:
    """Neither client nor recording gets what comes behind the pause; the status comes last, and whole."""
    done = (Channel.ERROR, b'{"status":"Success"}')
    pod = Pod([(Channel.STDOUT, b"a " + secret[:cut]), (Channel.STDOUT, secret[cut:] + b" b\n"), done])
    client = Client([])
    kept: list[bytes] = []
    session: Any = SimpleNamespace(
        session=SimpleNamespace(bytes_out=0), record=lambda _channel, data, client: kept.append(data)
    )
    masks = Redacting(Detecting.all(Detectors(["api-key", "private-key"]), MaskMethod.REDACT, b"k" * 32))
    near, far = WebSocketChannels(V5), WebSocketChannels(V5, client=True)
    async with asyncio.timeout(60):
        ended = await streams._pump(session, near, far, pod, client, masks)  # type: ignore[arg-type] - as it uses them
    assert ended == ("ok", "0")
    sent = [event for event in WebSocketChannels(V5, client=True).feed(client.written) if isinstance(event, Sent)]
    shown = b"".join(event.data for event in sent if event.channel is Channel.STDOUT)
    assert shown.startswith(b"a ")
    assert shown.endswith(b" b\n")
    assert secret[cut:] not in shown
    assert b"".join(kept) == shown + done[1]
    assert (sent[-1].channel, sent[-1].data) == done
