"""One connection to an API server by way of its agent: requests out, answers in, and raw bytes once it is upgraded.

How this works: a stream of the tunnel is one connection at the agent. `ask` sends a head and a whole body and gives the
answer's head; `body` gives its content piece by piece, `raw` what comes on an upgraded connection. Reading gives the
stream's credit back, so that a slow client slows its own target and no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.tunnel.messages import HttpRequest
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import HttpError, ResponseHead, head_end, parse_response, response_length

MAX_WHOLE = 64 * 1024 * 1024
"""Bytes of an answer that is looked at as a whole."""


class UpstreamError(WicketgateError):
    """The API server or its agent did not answer as it should."""

    code = "target-lost"


class Upstream:
    """See the module."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._pieces: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._rest = b""
        self._body: Body | None = None
        self.lost = ""
        """Why it is over, once it is."""
        stream.on_data = self._data
        stream.on_close = self._closed
        stream.on_writable = self._writable.set

    # The stream's callbacks.

    def _data(self, data: bytes) -> None:
        self._pieces.append(data)
        self._came.set()

    def _closed(self, reason: str) -> None:
        self.lost = self.lost or reason or "the connection ended"
        self._came.set()
        self._writable.set()

    # Requests.

    @property
    def idle(self) -> bool:
        """Whether another request can be asked."""
        return not self.lost and not self._pieces and not self._rest and (self._body is None or self._body.done)

    async def ask(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> ResponseHead:
        """Send a request, and wait for the head of its answer. Raises UpstreamError."""
        told = list(headers)
        if body or method in ("POST", "PUT", "PATCH"):
            told.append(("Content-Length", str(len(body))))
        self._stream.send_control(HttpRequest(method=method, path=target, headers=told))
        if body:
            await self.send(body)
        try:
            while True:
                head = await self._head()
                if head.status == 101 or head.status >= 200:
                    break
            self._body = Body(0 if head.status == 101 else response_length(head, method), 502)
        except HttpError as error:
            raise UpstreamError(f"the answer cannot be understood: {error.message}", code="target-broken") from None
        return head

    async def _head(self) -> ResponseHead:
        buffer = bytearray(self._rest)
        self._rest = b""
        while (end := head_end(buffer)) < 0:
            data = await self.raw()
            if not data:
                raise UpstreamError(f"the target did not answer: {self.lost}")
            buffer += data
        self._rest = bytes(buffer[end:])
        return parse_response(bytes(buffer[:end]))

    async def body(self) -> AsyncIterator[bytes]:
        """The content of the answer. Raises UpstreamError if it is cut short."""
        body = self._body
        assert body is not None
        try:
            while not body.done:
                data = await self.raw()
                if not data:
                    body.ended()
                    return
                for piece in body.feed(data):
                    yield piece
        except HttpError as error:
            raise UpstreamError(error.message, code=error.code) from None
        self._rest = body.rest
        body.rest = b""

    async def whole(self, most: int = MAX_WHOLE) -> bytes:
        """The whole content. Raises UpstreamError, also if it is over `most` bytes."""
        pieces: list[bytes] = []
        size = 0
        async for piece in self.body():
            size += len(piece)
            if size > most:
                raise UpstreamError(
                    f"the answer is over {most} bytes", code="answer-too-large", remedy="ask for less, by `limit`"
                )
            pieces.append(piece)
        return b"".join(pieces)

    # Raw.

    async def raw(self) -> bytes:
        """The bytes that came; empty at the end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        while not self._pieces:
            if self.lost:
                return b""
            self._came.clear()
            await self._came.wait()
        data = self._pieces.popleft()
        self._stream.consumed(len(data))
        return data

    async def ready(self, seconds: float) -> bool:
        """Whether `raw` gives something within that time."""
        if not self._rest and not self._pieces and not self.lost:
            self._came.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._came.wait()
            except TimeoutError:
                return False
        return True

    async def send(self, data: bytes) -> None:
        """Bytes out, waiting while there is no credit. Raises UpstreamError."""
        if self.lost:
            raise UpstreamError(f"the connection to the target is lost: {self.lost}")
        self._stream.send(data)
        while not self._stream.writable and not self.lost:
            self._writable.clear()
            await self._writable.wait()

    def close(self) -> None:
        """Nothing more of it is wanted."""
        if not self.lost:
            self.lost = "closed here"
            self._stream.close("the session ended")
            self._came.set()
            self._writable.set()
