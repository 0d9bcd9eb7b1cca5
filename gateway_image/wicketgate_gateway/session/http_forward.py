"""A request on its way to the target, and the answer on its way back: what streams, is masked, and is recorded.

How this works: the head goes as a message, the body as framed data behind it; the answer is read at the same time,
since a target may answer before it has read all. Each piece goes on only when its receiver and the recorder keep up.
The masks of an answer are made when its head is here; until the first masked byte is there, a refusal can still be told
as a whole answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wicketgate_gateway.masking.decoding import Inner
from wicketgate_gateway.masking.detectors import Detecting, detecting
from wicketgate_gateway.masking.documents import body_filter
from wicketgate_gateway.masking.requests import NotedBody
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.points import Point
from wicketgate_gateway.session.exchange import Exchange
from wicketgate_gateway.session.session import Session
from wicketgate_gateway.session.upstream import Opens, TargetLostError, Upstream
from wicketgate_gateway.tunnel.messages import HttpRequest, Open
from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import (
    CHUNKED,
    LAST_CHUNK,
    UNTIL_CLOSE,
    Headers,
    HttpError,
    ResponseHead,
    chunk,
)

ANSWER_SECONDS = 300.0
"""How long a target may take to begin its answer."""


_REMEDIES = {
    "target-credential-refused": (
        "tell those who run the target: its credential is wrong or has ended; your own token is good"
    ),
}
"""For what the agent finds wrong."""


class Journals(Protocol):
    """What `server.sessions.Sessions` is, as far as this goes."""

    @property
    def agents(self) -> Opens:
        """The agents."""
        ...

    async def journalled(self, events: Sequence[Any]) -> None:
        """Wait until these are durable. Raises WicketgateError."""
        ...


@dataclass(slots=True)
class Understood:
    """A request, understood: what it does, and how it goes out."""

    method: str
    path: str
    """Path and query as they go out."""
    headers: Headers
    """As they go out, without framing, `Host` and credentials."""
    points: Sequence[Point]
    values: Mapping[str, Any]
    """The variables of conditions."""
    shown: str
    """For people: `GET /orders/7?x=1`."""
    objects: Sequence[str] = ()
    """What is touched, for the audit event: the route, a resource."""
    body: bytes | None = None
    """The whole body, if it was read."""
    upgrade: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else changes its meaning, for approvals."""


class Forwarding:
    """The part of a session that passes requests and answers on."""

    def __init__(self, session: Session, gateway: Journals) -> None:
        self.session = session
        self.over = False
        self._gateway = gateway
        self._upstream: Upstream | None = None
        self._detected: tuple[TargetPolicy, Detecting | None] | None = None

    def filter_for(self, head: ResponseHead) -> Inner | None:
        """What masks the answer's body; None if nothing must be. Raises HttpError for what cannot be masked."""
        if not self.masks:
            return None
        policy, key = self.session.policy, self.session.gate.mask_key
        return body_filter(policy.data_masks, self._detecting(), key, head)

    def _detecting(self) -> Detecting | None:
        policy = self.session.policy
        if self._detected is None or self._detected[0] is not policy:
            self._detected = (policy, detecting(policy, self.session.gate.mask_key))
        return self._detected[1]

    @property
    def masks(self) -> bool:
        """Whether answers are looked into."""
        return bool(self.session.policy.data_masks)

    def _recorded(self, data: bytes) -> None:
        self.session.bytes_out += len(data)
        if self.session.recording is not None:
            self.session.recording.server(data)

    async def _open(self) -> Upstream:
        upstream = self._upstream
        if upstream is not None and upstream.usable:
            return upstream
        if upstream is not None:
            upstream.close()
        session = self.session
        opening = Open(
            target=session.opening.target_name, bot=session.bot, session=session.id, parameters=self.parameters()
        )
        stream, _ = await self._gateway.agents.open(session.opening.target_name, opening)
        self._upstream = upstream = Upstream(stream)
        if self.over:
            upstream.close()
            raise HttpError("the session ended", code="session-over", status=403)
        return upstream

    def parameters(self) -> dict[str, str]:
        """What the agent is told of the session."""
        return {}

    async def _exchange(self, exchange: Exchange, request: Understood, upstream: Upstream) -> int:
        while True:
            reused = upstream.requests > 0
            upstream.send(self._outgoing(exchange, request))
            upload = asyncio.get_running_loop().create_task(self._upload(exchange, request, upstream))
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    head, body = await self._first_answer(exchange, request, upstream)
                return await self._answer(exchange, request, upstream, head, body)
            except TargetLostError as error:
                # A connection that the target gave up while it was idle: nothing was done yet, for certain only where
                # nothing can be.
                if not (
                    error.early and reused and request.method in ("GET", "HEAD", "OPTIONS") and not exchange.length
                ):
                    raise
                upstream = await self._open()
            except TimeoutError:
                raise HttpError("the target did not answer in time", code="target-timeout", status=504) from None
            finally:
                if not upload.done():
                    upload.cancel()
                    exchange.end_connection()  # the rest of the body is nobody's
                    upstream.clean = False
                await asyncio.gather(upload, return_exceptions=True)

    def _outgoing(self, exchange: Exchange, request: Understood) -> HttpRequest:
        headers = list(request.headers)
        if self.masks:
            headers = [(n, v) for n, v in headers if n.lower() not in rules.RANGES and n.lower() != "accept-encoding"]
            headers.append(("Accept-Encoding", "identity"))
        if request.upgrade:
            # No compression: what passes could not be read on record.
            headers = [(n, v) for n, v in headers if n.lower() != "sec-websocket-extensions"]
            headers += [("Connection", "Upgrade"), ("Upgrade", request.upgrade)]
        elif request.body is not None:
            if request.body or request.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
                headers.append(("Content-Length", str(len(request.body))))
        elif exchange.length == CHUNKED:
            headers.append(("Transfer-Encoding", "chunked"))
        elif exchange.length or request.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            headers.append(("Content-Length", str(exchange.length)))
        return HttpRequest(method=request.method, path=request.path, headers=headers)

    async def _upload(self, exchange: Exchange, request: Understood, upstream: Upstream) -> None:
        if request.body is not None:
            if request.body:
                await upstream.write(request.body)
            return
        chunked = exchange.length == CHUNKED
        recording, looks = self.session.recording, self.session.detecting
        noted = None if recording is None or looks is None else NotedBody(looks, request.headers)
        while data := await exchange.read():
            framed = chunk(data) if chunked else data
            self.session.bytes_in += len(framed)
            if recording is not None:
                kept = data if noted is None else noted.feed(data)
                recording.client((framed if kept is data else chunk(kept)) if chunked else kept)
                await self._recorder()
            await upstream.write(framed)
        if recording is not None and noted is not None and (kept := noted.flush()):
            recording.client(chunk(kept) if chunked else kept)
        if chunked:
            if recording is not None:
                recording.client(LAST_CHUNK)
            await upstream.write(LAST_CHUNK)

    async def _first_answer(
        self, exchange: Exchange, request: Understood, upstream: Upstream
    ) -> tuple[ResponseHead, Body]:
        while True:
            head, body = await upstream.answer(request.method)
            if head.status == 101 or head.status >= 200:
                return head, body

    async def _answer(
        self, exchange: Exchange, request: Understood, upstream: Upstream, head: ResponseHead, body: Body
    ) -> int:
        if trouble := head.first(rules.TROUBLE):
            code, _, words = trouble.partition(" ")
            raise HttpError(words, code=code, status=502, remedy=_REMEDIES.get(code, ""))
        if head.status == 101:
            await self._upgraded(exchange, request, upstream, head)
            return 101
        masker = self.filter_for(head) if not body.done else None
        headers = list(rules.answered(head))
        if masker is not None or (self.masks and request.method == "HEAD"):
            headers = list(rules.without(headers, rules.VALIDATORS))
        if exchange.prefix:
            headers = [(n, _prefixed(n.lower(), v, exchange.prefix)) for n, v in headers]
        length = body.length if masker is None else CHUNKED
        if body.done and request.method == "HEAD" and masker is None and not self.masks:
            headers += [("Content-Length", v) for v in head.all("content-length")[:1]]
        client_length = CHUNKED if length == UNTIL_CLOSE else length
        pending: bytes | None = None
        if masker is not None:
            pending = await self._masked_start(upstream, body, masker)
        self._recorded(exchange.respond(head.status, head.reason, headers, client_length))
        if pending:
            await self._pass(exchange, chunk(pending))
        # A body that is empty is done before it began.
        while not body.done:
            data = await upstream.read()
            if not data:
                body.ended()
                break
            for piece in body.feed(data):
                content = piece if masker is None else masker.feed(piece)
                if content:
                    await self._pass(exchange, chunk(content) if client_length == CHUNKED else content)
            upstream.consumed(len(data))
            if exchange.gone or self.over:
                upstream.clean = False
                return head.status
        if masker is not None and (last := masker.finish()):
            await self._pass(exchange, chunk(last))
        if client_length == CHUNKED and request.method != "HEAD" and head.status not in (204, 304):
            await self._pass(exchange, LAST_CHUNK)
        upstream.settle(head, body)
        return head.status

    async def _masked_start(self, upstream: Upstream, body: Body, masker: Inner) -> bytes:
        """The first of what a masker lets through: until then a refusal can still be a whole answer of its own."""
        found = b""
        while not body.done and not found:
            data = await upstream.read()
            if not data:
                body.ended()
                break
            found = b"".join(masker.feed(piece) for piece in body.feed(data))
            upstream.consumed(len(data))
        if body.done:
            found += masker.finish()
            masker.finish = bytes  # type: ignore[method-assign]
        return found

    async def _recorder(self) -> None:
        """Wait while the recorder is behind."""
        recording = self.session.recording
        while recording is not None and recording.backlogged and not self.over:
            caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # Two directions may wait: both are woken.
            before = recording.on_drained

            def drained(before: Callable[[], None] | None = before, done: asyncio.Future[None] = caught_up) -> None:
                if before is not None:
                    before()
                if not done.done():
                    done.set_result(None)

            recording.on_drained = drained
            try:
                async with asyncio.timeout(1.0):
                    await caught_up
            except TimeoutError:
                continue
            finally:
                recording.on_drained = before

    async def _pass(self, exchange: Exchange, data: bytes) -> None:
        session = self.session
        session.bytes_out += len(data)
        recording = session.recording
        if recording is not None:
            recording.server(data)
            await self._recorder()
        await exchange.write(data)

    async def _upgraded(self, exchange: Exchange, request: Understood, upstream: Upstream, head: ResponseHead) -> None:
        if not request.upgrade or head.first("upgrade").lower() != request.upgrade:
            raise HttpError("the target changed the protocol unasked", code="upgrade-unasked", status=502)
        headers = [*rules.answered(head), ("Connection", "Upgrade"), ("Upgrade", request.upgrade)]
        self._recorded(exchange.respond(101, head.reason, headers, 0))
        exchange.end_connection()
        await self.relay(exchange, upstream)

    async def relay(self, exchange: Exchange, upstream: Upstream) -> None:
        """An upgraded connection: bytes both ways, recorded, until one side ends."""

        async def outward() -> None:
            while data := await exchange.raw():
                self.session.bytes_in += len(data)
                if self.session.recording is not None:
                    self.session.recording.client(data)
                await upstream.write(data)

        loop = asyncio.get_running_loop()
        out = loop.create_task(outward())
        try:
            while not self.over and not exchange.gone:
                reading = loop.create_task(upstream.read())
                await asyncio.wait({out, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    break
                data = reading.result()
                if not data:
                    break
                await self._pass(exchange, data)
                upstream.consumed(len(data))
        finally:
            out.cancel()
            await asyncio.gather(out, return_exceptions=True)
            upstream.close("the upgraded connection ended")


_LINKED_PATH = re.compile(r"<(?=/(?!/))")


def _prefixed(name: str, value: str, prefix: str) -> str:
    if name == "link":
        return _LINKED_PATH.sub(f"<{prefix}", value)
    if name in ("location", "content-location") and value.startswith("/") and not value.startswith("//"):
        return prefix + value
    return value
