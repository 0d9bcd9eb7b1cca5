"""One request on a client's connection, as its session sees it (`session.exchange.Exchange`).

How this works: the body is read only as fast as it is asked for, and the answer written only as fast as the client
reads. The framing of the answer is ours: a length, chunks, or the end of the connection for HTTP/1.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http import problem
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import CHUNKED, HttpError, RequestHead, write_response
from wicketgate_gateway.wire.http.target import Target

DRAIN_BYTES = 256 * 1024
"""How much of a body that nobody wants is read, so that the client sees the answer."""
DRAIN_SECONDS = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """What is needed of `http_connection.HttpConnection`."""

    closed: bool
    ending: bool

    async def more(self) -> bool:
        """Wait for further bytes; False at the end of the connection."""
        ...

    def take(self) -> bytes:
        """All that came and was not read."""
        ...

    def put_back(self, data: bytes) -> None:
        """What was read and is not the reader's."""
        ...

    def write(self, data: bytes) -> None:
        """To the client."""
        ...

    async def drained(self) -> None:
        """Wait while the client is behind."""
        ...


class Served:
    """See the module. Raises HttpError for an expectation that is not known."""

    def __init__(self, connection: Connection, head: RequestHead, target: Target, prefix: str, length: int) -> None:
        self.head, self.target, self.prefix, self.length = head, target, prefix, length
        self.answered = False
        self._connection = connection
        self._body = Body(length)
        self._pieces: list[bytes] = []
        expected = head.listed("expect")
        if expected and expected != ["100-continue"]:
            raise HttpError("an expectation that is not known", code="expectation-unknown", status=417)
        self._continue = bool(expected) and head.version == 1
        self._upgraded = False

    @property
    def gone(self) -> bool:
        """See `Exchange`."""
        return self._connection.closed

    async def read(self) -> bytes:
        """See `Exchange`."""
        connection, body = self._connection, self._body
        while not self._pieces:
            if body.done:
                return b""
            if self._continue and not self.answered:
                self._continue = False
                connection.write(_CONTINUE)
            data = connection.take()
            if not data:
                if not await connection.more():
                    body.ended()
                continue
            self._pieces = list(body.feed(data))
            if body.done:
                connection.put_back(body.rest)
                body.rest = b""
                if any(name.lower() in rules.FRAMING_TRAILERS for name, _ in body.trailers):
                    raise HttpError("a trailer that no trailer may be", code="chunk-malformed")
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        return data

    async def body(self, limit: int) -> bytes | None:
        """See `Exchange`."""
        if self.length != CHUNKED and self.length > limit:
            return None
        found = bytearray()
        while data := await self.read():
            found += data
            if len(found) > limit:
                return None
        return bytes(found)

    def respond(self, status: int, reason: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
        """See `Exchange`."""
        framing: list[tuple[str, str]] = []
        if status >= 200 and status not in (204, 304) and self.head.method != "HEAD":
            if length != CHUNKED:
                framing.append(("Content-Length", str(length)))
            elif self.head.version == 1:
                framing.append(("Transfer-Encoding", "chunked"))
            else:
                raise HttpError("the answer has no length, and HTTP/1.0 no chunks", code="http-1.0", status=505)
        if status == 101:
            self._upgraded = True
        elif self._connection.ending:
            framing.append(("Connection", "close"))
        data = write_response(status, reason, [*headers, *framing])
        self._connection.write(data)
        self.answered = True
        return data

    async def write(self, data: bytes) -> None:
        """See `Exchange`."""
        self._connection.write(data)
        await self._connection.drained()

    def end_connection(self) -> None:
        """See `Exchange`."""
        self._connection.ending = True

    def problem(self, status: int, code: str, detail: str, remedy: str = "", **more: Any) -> bytes:
        """See `Exchange`."""
        if not self._body.done and (self._continue or self.length == CHUNKED or self.length > DRAIN_BYTES):
            self._connection.ending = True
        body = problem.document(status, code, detail, remedy, **more)
        headers = [("Content-Type", problem.TYPE), ("Cache-Control", "no-store")]
        if status == 401:
            headers += [("WWW-Authenticate", f'{scheme} realm="wicketgate"') for scheme in ("Bearer", "Basic")]
        if "retryAfter" in more:
            headers.append(("Retry-After", str(more["retryAfter"])))
        data = self.respond(status, problem.REASONS.get(status, "Error"), headers, len(body))
        if self.head.method != "HEAD":
            self._connection.write(body)
            data += body
        return data

    async def raw(self) -> bytes:
        """See `Exchange`."""
        while not (data := self._connection.take()):
            if not await self._connection.more():
                return b""
        return data

    async def settle(self) -> None:
        """The request is over: what is left of its body is read, or the connection ends."""
        connection = self._connection
        if self._upgraded or connection.closed or self._body.done:
            return
        if connection.ending and self._continue:
            return
        left = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._body.done and left > 0:
                    data = connection.take()
                    if not data and not await connection.more():
                        break
                    left -= len(data)
                    for _ in self._body.feed(data):
                        pass
        except (HttpError, TimeoutError):
            connection.ending = True
        if self._body.done:
            connection.put_back(self._body.rest)
            self._body.rest = b""
        else:
            connection.ending = True
