"""The body of an answer on its way through the agent: read as the client will read it, and known secrets taken out.

How this works: where there are no secrets to look for, bytes pass as they are. Else what is looked into is the content,
not the bytes on the wire: chunks are undone and made anew, since a border between two could stand within a secret, and
so is a compression, although the agent asked for none. An answer that cannot be undone is refused. With a plain length
the bytes are the content, and each secret becomes as many `*`. What could be the beginning of a secret waits for what
follows it; behind an upgrade, where somebody may be waiting for it, only for a moment.
"""

from __future__ import annotations

from wicketgate_gateway.agent.redact import Redactor
from wicketgate_gateway.masking.decoding import Decoding
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
    response_length,
)

_FRAMING = ("content-length", "transfer-encoding")


class AnswerBody:
    """One answer's. Raises HttpError for one that cannot be looked into."""

    def __init__(self, redactor: Redactor, head: ResponseHead, method: str) -> None:
        self._redactor = redactor
        self._body: Body | None = None
        self._decoding: Decoding | None = None
        self._over = False
        self._chunks = False
        """Whether the content goes on in chunks."""
        self._anew = False
        """Whether the headers say something else than the target did."""
        self._head = head
        codings = [each for each in head.listed("content-encoding") if each != "identity"]
        if not redactor or head.status == 101:
            return
        length = response_length(head, method)
        if codings:
            self._anew = True
            if length == 0:
                return
            if len(codings) > 1 or head.status == 206:
                raise HttpError("its encoding cannot be undone, and it must be looked into", status=502)
            self._decoding = Decoding(codings[0], self)
        self._chunks = length == CHUNKED or self._decoding is not None
        self._body = Body(length, 502)
        redactor.patient = True

    def headers(self, headers: Headers) -> Headers:
        """The answer's headers as they are passed on."""
        if not self._anew:
            return headers
        kept = rules.without(headers, (*rules.VALIDATORS, *_FRAMING))
        if self._body is None:
            return kept
        # What ended with the connection has an end of its own now; that the connection ends is still to be told.
        ends = self._body.length == UNTIL_CLOSE or not rules.keeps_alive(self._head)
        closing = (("Connection", "close"),) if ends else ()
        return (*rules.without(kept, ("connection",)), ("Transfer-Encoding", "chunked"), *closing)

    def pass_on(self, data: bytes) -> bytes:
        """What goes to the gateway of what came. Raises HttpError."""
        body = self._body
        if body is None:
            return self._redactor.feed(data)
        inner = self._decoding or self
        out = [self._written(inner.feed(piece)) for piece in body.feed(data)]
        if body.done and not self._over:
            out.append(self._end())
        if body.rest:
            out.append(body.rest)  # what follows an answer's end: the gateway has to see that there is something
            body.rest = b""
        return b"".join(out)

    def ended(self) -> bytes:
        """The last of it: the target closed the connection. Raises HttpError if that was too early."""
        body = self._body
        if body is None:
            return self._redactor.release()
        if self._over:
            return b""
        body.ended()
        return self._end()

    @property
    def waits(self) -> bool:
        """Whether something is held back that must be let go soon."""
        return self._body is None and self._redactor.holding

    def release(self) -> bytes:
        """What was held back: nothing came behind it for a while."""
        return self._redactor.release() if self._body is None else b""

    def _written(self, content: bytes) -> bytes:
        return chunk(content) if self._chunks else content

    def _end(self) -> bytes:
        self._over = True
        last = self._written((self._decoding or self).finish())
        return last + LAST_CHUNK if self._chunks else last

    # `masking.decoding.Inner`: the content, decoded.

    def feed(self, data: bytes) -> bytes:
        """What may be seen of the content."""
        return self._redactor.feed(data)

    def finish(self) -> bytes:
        """The rest of it."""
        return self._redactor.release()
