"""Exec, attach and port-forward: streams between a client and a pod, decided before they begin, and on record.

How this works: the client may speak WebSocket or SPDY, by GET or POST; the API server is asked over WebSocket alone. So
there is one way out, and what is forwarded is what was understood. Each piece is recorded as (channel, bytes), also
without a terminal; output is masked by detectors before client and recording see it. A held exec is told on standard
error while it waits, since a client shows nothing else before its command runs. A port-forward is decided again for
each port that the client asks for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets as random
from dataclasses import replace
from struct import Struct
from typing import TYPE_CHECKING, Any

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.session.kubernetes_hold import Approved, ask
from wicketgate_gateway.session.kubernetes_upstream import Upstream, UpstreamError
from wicketgate_gateway.session.redacting import IDLE_SECONDS, Redacting, redacting
from wicketgate_gateway.wire.kubernetes import spdy
from wicketgate_gateway.wire.kubernetes.channels import (
    PORT_FORWARD,
    TUNNEL,
    V4,
    V5,
    Channel,
    ChannelError,
    Channels,
    Closed,
    Over,
    Sent,
    SpdyChannels,
    Tunnel,
    WebSocketChannels,
)
from wicketgate_gateway.wire.kubernetes.record import Kind
from wicketgate_gateway.wire.kubernetes.request import Request, RequestError
from wicketgate_gateway.wire.kubernetes.status import status, warning

if TYPE_CHECKING:
    from wicketgate_gateway.session.kubernetes import KubernetesSession
    from wicketgate_gateway.session.kubernetes_request import Asked, Client

_STREAM = Struct(">I")
MAX_PORTS = 64
_OUTPUT = (Channel.STDOUT, Channel.STDERR)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def connect(session: KubernetesSession, asked: Asked, client: Client) -> None:
    """Serve an exec, attach or port-forward that no rule denies. Raises ConnectionError if the client goes."""
    try:
        handshake = _Handshake(asked)
    except RequestError as error:
        verdict = Verdict(Effect.DENY, "builtin:request", error.message, error.remedy, error.code)
        await session.refuse(client, verdict, asked, code=400)
        return
    if asked.request.subresource == "portforward":
        await _forward(session, asked, handshake, client)
    else:
        await _run(session, asked, handshake, client)


class _Handshake:
    """What the client speaks, and the headers of the 101."""

    def __init__(self, asked: Asked) -> None:
        head, request = asked.head, asked.request
        upgrade = head.listed("upgrade")
        if "upgrade" not in head.listed("connection") or len(upgrade) != 1:
            raise RequestError(f"`{request.subresource}` needs an upgraded connection", code="upgrade-missing")
        forward = request.subresource == "portforward"
        self.websocket = upgrade[0] == "websocket"
        if self.websocket:
            key = head.first("sec-websocket-key")
            if request.method != "GET" or head.first("sec-websocket-version") != "13" or not _is_key(key):
                raise RequestError("the WebSocket handshake is not one", code="upgrade-refused")
            offered = [p.strip() for v in head.all("sec-websocket-protocol") for p in v.split(",")]
            known = (TUNNEL,) if forward else (V5, V4)
            self.protocol = _chosen(known, offered)
            accept = base64.b64encode(_sha1(key.encode() + _GUID)).decode()
            self.headers = [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", accept),
                ("Sec-WebSocket-Protocol", self.protocol),
            ]
        elif upgrade[0] == "spdy/3.1":
            offered = [p.strip() for v in head.all("x-stream-protocol-version") for p in v.split(",")]
            self.protocol = _chosen((PORT_FORWARD,) if forward else (V4,), offered)
            self.headers = [
                ("Upgrade", "SPDY/3.1"),
                ("Connection", "Upgrade"),
                ("X-Stream-Protocol-Version", self.protocol),
            ]
        else:
            raise RequestError("only WebSocket and SPDY/3.1 are spoken here", code="upgrade-refused")

    def channels(self) -> Channels:
        """The client's end."""
        return WebSocketChannels(self.protocol) if self.websocket else SpdyChannels()


# --- exec and attach -------------------------------------------------------------------------------------------------


async def _run(session: KubernetesSession, asked: Asked, handshake: _Handshake, client: Client) -> None:
    mask = redacting(session.session.policy, session.session.gate.mask_key)
    near = handshake.channels()
    approved: Approved | None = None
    begun = False
    if asked.verdict.effect is Effect.HOLD:
        # The client is let in before people are asked: it reads on standard error that it waits.
        await client.upgrade(handshake.headers)
        begun = True
        found = await _held(session, asked, near, client)
        if found is None:
            return
        approved = found
    await session.begin(asked, approved)
    outcome, code = "lost", ""
    try:
        upstream = await session.upstream()
        if approved is not None:
            approved.hold.sent()
        far, refused = await _dial(upstream, asked.request, session)
        if far is None:
            code, content = refused
            outcome = "error"
            session.record_status(int(code))
            if begun:
                await _end(near, client, content)
            else:
                await client.answer(int(code), [("Content-Type", "application/json")], content)
            return
        if not begun:
            await client.upgrade(handshake.headers)
        session.record_status(101)
        outcome, code = await _pump(session, near, far, upstream, client, mask)
    except UpstreamError as error:
        outcome = "lost"
        content = status(502, error.message, cause=error.code)
        if begun:
            await _end(near, client, content)
        else:
            await client.answer(502, [("Content-Type", "application/json")], content)
    finally:
        session.finished(asked, outcome, code)
        if approved is not None:
            approved.hold.finished(outcome)


async def _held(session: KubernetesSession, asked: Asked, near: Channels, client: Client) -> Approved | None:
    request = asked.request
    shows = Channel.STDERR if not request.switch("tty") and request.switch("stderr") else Channel.STDOUT
    end = b"\r\n" if request.switch("tty") else b"\n"
    waiting: list[bytes] = []
    lines: asyncio.Queue[str] = asyncio.Queue()

    async def left() -> None:
        # What the client sends meanwhile is kept for the command, up to a bound: more of it is not read.
        size = 0
        while size < 256 * 1024:
            data = await client.raw()
            if not data:
                return
            waiting.append(data)
            size += len(data)
        await asyncio.Event().wait()

    async def tell() -> None:
        while True:
            line = await lines.get()
            near.send(shows, line.encode() + end)
            await client.write(near.out())

    telling = asyncio.ensure_future(tell())
    try:
        outcome = await ask(session, asked, tell=lines.put_nowait, gone=left())
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
    if isinstance(outcome, Approved):
        if outcome.still(session, asked):
            client.unread(b"".join(waiting))
            return outcome
        outcome.hold.abandon()
        outcome = Verdict(
            Effect.HOLD, asked.verdict.rule, "what was approved is not what would be held now",
            "send exactly the same request again: it is decided anew", "hold-void",
        )  # fmt: skip
    content = await session.refused(outcome, asked)
    client.unread(b"".join(waiting))
    await _end(near, client, content)
    return None


async def _end(near: Channels, client: Client, content: bytes) -> None:
    """Tell the client by the error channel, as an API server tells how a command ended."""
    if isinstance(near, SpdyChannels):
        # It opens its streams only now.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while not near.opened(Channel.ERROR):
                    data = await client.raw()
                    if not data:
                        return
                    near.feed(data)
    near.send(Channel.ERROR, content)
    near.close(Channel.ERROR)
    near.end()
    await client.write(near.out())


async def _dial(
    upstream: Upstream, request: Request, session: KubernetesSession
) -> tuple[WebSocketChannels | None, tuple[str, bytes]]:
    """The API server's end, or the status and content of its refusal. Raises UpstreamError."""
    answer = await upstream.ask("GET", request.target, _websocket_headers(f"{V5}, {V4}"))
    if answer.status != 101:
        return None, (str(answer.status), await upstream.whole(1 << 20))
    protocol = answer.first("sec-websocket-protocol")
    try:
        return WebSocketChannels(protocol, client=True), ("", b"")
    except ChannelError:
        raise UpstreamError("the API server chose a protocol that nobody asked for", code="target-broken") from None


async def _pump(
    session: KubernetesSession,
    near: Channels,
    far: WebSocketChannels,
    upstream: Upstream,
    client: Client,
    mask: Redacting | None,
) -> tuple[str, str]:
    """Pass both ways until the command or the client ends; the outcome and the exit code."""
    result: list[Any] = []

    def keep(channel: Channel, data: bytes, *, mine: bool) -> None:
        session.record(channel, data, client=mine)

    async def inward() -> None:
        while True:
            data = await client.raw()
            for event in near.feed(data) if data else [Over()]:
                match event:
                    case Sent(Channel.STDIN | Channel.RESIZE as channel, payload):
                        keep(channel, payload, mine=True)
                        far.send(channel, payload)
                    case Sent():
                        raise ChannelError("a client sends on standard input and resizes, nothing else")
                    case Closed(channel):
                        if channel is Channel.STDIN:
                            far.close(channel)
                    case Over():
                        return
            out = near.out()
            if out:
                await client.write(out)
            out = far.out()
            if out:
                await upstream.send(out)

    async def rest() -> None:
        """What is held back, once nothing came for a moment: a prompt should be seen."""
        for kind, some in mask.idle() if mask is not None else ():
            keep(Channel(kind), some, mine=False)
            near.send(Channel(kind), some)
        await client.write(near.out())

    async def outward() -> None:
        while True:
            if mask is not None and mask.waits and not await upstream.ready(IDLE_SECONDS):
                await rest()
            data = await upstream.raw()
            ended = not data
            for event in far.feed(data) if data else ():
                match event:
                    case Sent(channel, payload):
                        if mask is not None and channel in _OUTPUT:
                            payload = mask.feed(channel, payload)
                        if channel is Channel.ERROR:
                            result.append(payload)
                            _flush(mask, near, keep)
                        if payload:
                            keep(channel, payload, mine=False)
                            session.session.bytes_out += len(payload)
                            near.send(channel, payload)
                    case Closed(channel):
                        near.close(channel)
                    case Over():
                        ended = True
            if ended:
                _flush(mask, near, keep)
                near.end()
            await client.write(near.out())
            answer = far.out()
            if answer and not upstream.lost:
                await upstream.send(answer)
            if ended:
                return

    await _both(inward(), outward())
    upstream.close()
    return _outcome(result)


def _flush(mask: Redacting | None, near: Channels, keep: Any) -> None:
    for kind, rest in mask.flush() if mask is not None else ():
        keep(Channel(kind), rest, mine=False)
        near.send(Channel(kind), rest)


async def _both(inward: Any, outward: Any) -> None:
    """Until the target ends. A client that ends cuts what runs."""
    tasks = [asyncio.ensure_future(inward), asyncio.ensure_future(outward)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _outcome(result: list[Any]) -> tuple[str, str]:
    try:
        told = json.loads(b"".join(result))
    except ValueError:
        return "lost", ""
    if told.get("status") == "Success":
        return "ok", "0"
    causes = (told.get("details") or {}).get("causes") or ()
    code = next((str(c.get("message", "")) for c in causes if c.get("reason") == "ExitCode"), "")
    return "error", code[:10] or str(told.get("code", ""))


# --- port-forward ----------------------------------------------------------------------------------------------------


async def _forward(session: KubernetesSession, asked: Asked, handshake: _Handshake, client: Client) -> None:
    if asked.verdict.effect is Effect.HOLD:
        found = await session.held(asked, client)
        if found is None:
            return
        approved: Approved | None = found[0]
    else:
        approved = None
    await session.begin(asked, approved)
    outcome = "lost"
    try:
        upstream = await session.upstream()
        if approved is not None:
            approved.hold.sent()
        answer = await upstream.ask("GET", asked.request.target, _websocket_headers(TUNNEL))
        if answer.status != 101:
            outcome = "error"
            content = await upstream.whole(1 << 20)
            await client.answer(answer.status, [("Content-Type", "application/json")], content)
            return
        told = handshake.headers
        if approved is not None:
            told = [*told, ("Warning", warning(f"`{approved.handle}` was approved"))]
        await client.upgrade(told)
        session.record_status(101)
        await _Ports(session, asked, upstream, client, Tunnel() if handshake.websocket else None).run()
        outcome = "ok"
    except UpstreamError as error:
        await client.answer(502, [("Content-Type", "application/json")], status(502, error.message, cause=error.code))
    finally:
        session.finished(asked, outcome)
        if approved is not None:
            approved.hold.finished(outcome)


class _Ports:
    """The SPDY connection of a port-forward, read and written anew in both directions."""

    def __init__(
        self, session: KubernetesSession, asked: Asked, upstream: Upstream, client: Client, near: Tunnel | None
    ) -> None:
        self._session = session
        self._asked = asked
        self._upstream = upstream
        self._client = client
        self._near = near
        self._far = Tunnel(client=True)
        self._from_client, self._to_client = spdy.Reader(), spdy.Writer()
        self._from_target, self._to_target = spdy.Reader(), spdy.Writer()
        self._decided: dict[int, bool] = {}
        self._streams: dict[int, int] = {}

    async def run(self) -> None:
        """Until either side ends."""
        await _both(self._inward(), self._outward())
        self._upstream.close()

    async def _inward(self) -> None:
        while True:
            data = await self._client.raw()
            if not data:
                return
            pieces: list[bytes | None] = [data] if self._near is None else self._near.feed(data)
            for piece in pieces:
                if piece is None:
                    return
                for event in self._from_client.feed(piece):
                    if not await self._client_event(event):
                        return
            if self._near is not None and (out := self._near.out()):
                await self._client.write(out)

    async def _client_event(self, event: spdy.Event) -> bool:
        match event:
            case spdy.Opened(stream, headers, fin):
                port = headers.get("port", "")
                if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                    raise ChannelError("a stream without a port")
                if headers.get("streamtype") not in ("data", "error") or stream in self._streams:
                    raise ChannelError("a stream of an unknown type, or one that is open already")
                if not await self._allowed(int(port)):
                    await self._out(self._to_client.reset(stream, 3))
                    return True
                self._streams[stream] = int(port)
                kept = {name: headers[name] for name in ("streamtype", "port", "requestid") if name in headers}
                await self._on(self._to_target.open(stream, kept, fin=fin))
            case spdy.Data(stream, payload, fin):
                if stream in self._streams:
                    self._keep(stream, payload, mine=True)
                    await self._on(self._to_target.data(stream, payload, fin=fin))
            case spdy.Reset(stream, code):
                if self._streams.pop(stream, None) is not None:
                    await self._on(self._to_target.reset(stream, code))
            case spdy.Ping(number):
                if number % 2:
                    await self._out(self._to_client.ping(number))
            case spdy.GoAway():
                return False
            case spdy.Replied():
                raise ChannelError("a reply to a stream that nobody opened")
        return True

    async def _outward(self) -> None:
        while True:
            data = await self._upstream.raw()
            if not data:
                return
            for piece in self._far.feed(data):
                if piece is None:
                    return
                for event in self._from_target.feed(piece):
                    match event:
                        case spdy.Replied(stream):
                            await self._out(self._to_client.reply(stream))
                        case spdy.Data(stream, payload, fin):
                            self._keep(stream, payload, mine=False)
                            self._session.session.bytes_out += len(payload)
                            await self._out(self._to_client.data(stream, payload, fin=fin))
                        case spdy.Reset(stream, code):
                            await self._out(self._to_client.reset(stream, code))
                        case spdy.Ping(number):
                            if not number % 2:
                                await self._on(self._to_target.ping(number))
                        case spdy.GoAway():
                            return
                        case spdy.Opened():
                            raise ChannelError("the API server opened a stream")
            if out := self._far.out():
                await self._upstream.send(out)

    async def _allowed(self, port: int) -> bool:
        """Whether this port may be connected to: an operation of its own, on record before it is."""
        found = self._decided.get(port)
        if found is None:
            if len(self._decided) >= MAX_PORTS:
                return False
            point = replace(self._asked.point, ports=(port,))
            verdict = self._session.decided(point)
            # What was held is approved for the whole of it.
            found = verdict.effect is not Effect.DENY and (
                verdict.effect is Effect.ALLOW or self._asked.verdict.effect is Effect.HOLD
            )
            self._decided[port] = found
            await self._session.noted(verdict, point)
        return found

    def _keep(self, stream: int, data: bytes, *, mine: bool) -> None:
        if data:
            self._session.record(Kind.PORT, _STREAM.pack(stream) + data, client=mine)

    async def _on(self, data: bytes) -> None:
        self._far.send(data)
        await self._upstream.send(self._far.out())

    async def _out(self, data: bytes) -> None:
        if self._near is None:
            await self._client.write(data)
        else:
            self._near.send(data)
            await self._client.write(self._near.out())


def _websocket_headers(protocols: str) -> list[tuple[str, str]]:
    return [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(random.token_bytes(16)).decode()),
        ("Sec-WebSocket-Protocol", protocols),
        ("User-Agent", "wicketgate"),
    ]


def _chosen(known: tuple[str, ...], offered: list[str]) -> str:
    for protocol in known:
        if protocol in offered:
            return protocol
    raise RequestError(
        f"the client offers no protocol that is spoken here ({', '.join(known)})", code="upgrade-refused"
    )


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


def _sha1(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha1(data, usedforsecurity=False).digest()
