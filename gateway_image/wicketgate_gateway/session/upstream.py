"""A session's connection to an HTTP target, through its agent: requests out, answers in, with credit.

How this works: an `Upstream` is one stream of the tunnel, which is one connection of the agent to the target. It is
used for one request after the other, and dropped as soon as anything about it is not certain: bytes that no request
asked for, an answer that ended with the connection, a body that was not read to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from wicketgate_gateway.tunnel.messages import Cancel, HttpRequest, Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import HttpError, ResponseHead, head_end, parse_response, response_length
from wicketgate_gateway.wire.http.headers import keeps_alive


class Opens(Protocol):
    """What `server.agents.AgentRegistry` is, as far as this goes."""

    async def open(self, target: str, opening: Open) -> tuple[Stream, Opened]:
        """A stream to a target. Raises WicketgateError."""
        ...


class Upstream:
    """One connection to a target. `read`, `answer` and `pieces` are for one task at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._more: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._owed = 0
        self.lost = ""
        """Why the connection is over, once it is."""
        self.requests = 0
        self.clean = True
        """Whether the next request may use it."""
        stream.on_close = self._closed
        stream.on_writable = self._writable
        stream.on_data = self._data

    @property
    def usable(self) -> bool:
        """Whether another request may go out on it."""
        return self.clean and not self.lost and not self._chunks

    # To the target.

    def send(self, request: HttpRequest) -> None:
        """A request's head; its body follows by `write`."""
        self.requests += 1
        self.clean = False
        self._stream.send_control(request)

    async def write(self, data: bytes) -> None:
        """A piece of the body, framed; waits until there is room for more. Raises HttpError if the target is lost."""
        if self.lost:
            raise _lost(self.lost)
        self._stream.send(data)
        while not self._stream.writable and not self.lost:
            self._room = self._loop.create_future()
            await self._room

    def cancel(self) -> None:
        """Have the request given up."""
        self._stream.send_control(Cancel())

    def close(self, reason: str = "done") -> None:
        """End it."""
        self.clean = False
        self._stream.close(reason)
        self.lost = self.lost or reason

    # From the target.

    async def read(self) -> bytes:
        """What came, empty at the end of the connection. Give the credit back by `consumed`."""
        while not self._chunks:
            if self.lost:
                return b""
            self._more = self._loop.create_future()
            await self._more
        if len(self._chunks) == 1:
            return self._chunks.popleft()
        joined = b"".join(self._chunks)
        self._chunks.clear()
        return joined

    def consumed(self, count: int) -> None:
        """So many bytes were passed on."""
        self._stream.consumed(count)

    async def answer(self, method: str) -> tuple[ResponseHead, Body]:
        """The next head of an answer to `method`, and its body. Raises HttpError."""
        buffer = bytearray()
        while True:
            end = head_end(buffer)
            if end > 0:
                break
            data = await self.read()
            if not data:
                raise _lost(self.lost, early=not buffer)
            self._owed += len(data)
            buffer += data
        head = parse_response(bytes(buffer[:end]))
        length = 0 if head.status == 101 else response_length(head, method)
        body = Body(length, 502)
        rest = bytes(buffer[end:])
        if rest:
            self._chunks.appendleft(rest)
            self._owed -= len(rest)
        owed, self._owed = max(self._owed, 0), 0
        self._stream.consumed(owed)
        if head.status >= 200 and body.done:
            self.settle(head, body)
        return head, body

    def settle(self, head: ResponseHead, body: Body) -> None:
        """The answer is complete: see whether the connection can be used again."""
        surplus = bool(body.rest) or bool(self._chunks)
        self.clean = keeps_alive(head) and body.length != -2 and not surplus and not self.lost

    # The stream's.

    def _data(self, data: bytes) -> None:
        self._chunks.append(data)
        _wake(self._more)

    def _writable(self) -> None:
        _wake(self._room)

    def _closed(self, reason: str) -> None:
        self.lost = reason or "closed"
        _wake(self._more)
        _wake(self._room)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class TargetLostError(HttpError):
    """The target hung up; `early` if it did before a byte of its answer."""

    def __init__(self, message: str, *, early: bool) -> None:
        super().__init__(message, code="target-lost", status=502, remedy="try again later")
        self.early = early


def _lost(reason: str, *, early: bool = False) -> TargetLostError:
    return TargetLostError(f"the connection to the target is lost: {reason}", early=early)
