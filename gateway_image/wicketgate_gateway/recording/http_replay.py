"""The recording of an HTTP session as steps: each request, what was in it, and its answer.

How this works: the recorded bytes are heads that the gateway wrote and bodies as they passed, so the codecs of
`wire.http` read them back. Answers come in the order of requests. Behind a `101` there are raw bytes, told as what they
are. Verdicts come from the audit's operations, in order, matched by method, path and query.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, Record
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output, Step
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import (
    HttpError,
    ResponseHead,
    head_end,
    parse_request,
    parse_response,
    request_length,
    response_length,
)
from wicketgate_gateway.wire.http.target import parse_target

_HOST = b"Host: -\r\n"
"""Recorded requests have no host: that of the target is the agent's."""


class HttpConversation:
    """As `replay.Conversation`: `more` gives the session's next operations in order."""

    def __init__(self, more: Callable[[], Sequence[Operation]] = tuple) -> None:
        self._more = more
        self._unmatched: deque[Operation] = deque()
        self._passed: list[Operation] = []
        self._waiting: deque[Asked] = deque()
        self._methods: deque[str] = deque()
        self._number = 0
        self._client, self._server = bytearray(), bytearray()
        self._request: Body | None = None
        self._answer: tuple[ResponseHead, Body] | None = None
        self._sizes = 0
        self._raw = False
        self._broken = False

    def feed(self, record: Record) -> Iterator[Step]:
        """The steps in a record."""
        if self._broken:
            return
        try:
            if record.direction == CLIENT:
                self._client += record.data
                yield from self._requests(record.time)
            else:
                self._server += record.data
                yield from self._answers(record.time)
        except HttpError as error:
            self._broken = True
            yield Note(record.time, f"the recording cannot be read any further: {error.message}")

    def finish(self) -> Iterator[Step]:
        """What the recording's end leaves open."""
        for asked in self._waiting:
            yield Answered(asked.number, asked.time, complete=False)
        self._waiting.clear()

    def missing(self) -> list[Operation]:
        """Operations that went out according to the journal, but that the recording does not hold."""
        while found := self._more():
            self._unmatched.extend(found)
        return [operation for operation in (*self._passed, *self._unmatched) if operation.effect == "allow"]

    def _requests(self, time: int) -> Iterator[Step]:
        while self._client:
            if self._raw:
                yield Output(self._number, time, "stdin", bytes(self._client))
                self._client.clear()
                return
            if self._request is None:
                end = head_end(self._client)
                if end < 0:
                    return
                line, rest = bytes(self._client[:end]).split(b"\r\n", 1)
                del self._client[:end]
                head = parse_request(line + b"\r\n" + _HOST + rest)
                shown = f"{head.method} {parse_target(head.target).shown}"
                self._number += 1
                asked = Asked(self._number, time, shown, operation=self._match(shown))
                self._waiting.append(asked)
                self._methods.append(head.method)
                self._request = Body(request_length(head))
                yield asked
            yield from self._body(self._client, self._request, time, "stdin")
            if not self._request.done:
                return
            self._request = None

    def _answers(self, time: int) -> Iterator[Step]:
        while self._server:
            if self._raw:
                yield Output(self._number, time, "stdout", bytes(self._server))
                self._server.clear()
                return
            if self._answer is None:
                end = head_end(self._server)
                if end < 0:
                    return
                head = parse_response(bytes(self._server[:end]))
                del self._server[:end]
                method = self._methods[0] if self._methods else "GET"
                self._answer = (head, Body(0 if head.status == 101 else response_length(head, method)))
            head, body = self._answer
            yield from self._body(self._server, body, time, "stdout")
            if not body.done:
                return
            self._answer = None
            if self._methods:
                self._methods.popleft()
            asked = self._waiting.popleft() if self._waiting else None
            number, began = (asked.number, asked.time) if asked is not None else (0, time)
            kind = head.first("content-type")
            tag = f"{head.status} {head.reason}".strip() + (f", {kind}, {body.size} bytes" if body.size else "")
            yield Answered(number, time, max(0, time - began), tag=tag)
            if head.status == 101:
                self._raw = True
                yield Note(time, "the connection became a WebSocket; its frames follow")

    def _body(self, buffer: bytearray, body: Body, time: int, stream: str) -> Iterator[Step]:
        data = bytes(buffer)
        buffer.clear()
        number = self._number if stream == "stdin" or not self._waiting else self._waiting[0].number
        for piece in body.feed(data):
            yield Output(number, time, stream, piece)
        buffer += body.rest
        body.rest = b""

    def _match(self, text: str) -> Operation | None:
        while found := self._more():
            self._unmatched.extend(found)
        for number, operation in enumerate(self._unmatched):
            if operation.statement == text:
                for _ in range(number):
                    self._passed.append(self._unmatched.popleft())
                return self._unmatched.popleft()
        return None
