"""One request of a client and its answer, as a session sees them: no socket here, and no bytes of heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from wicketgate_gateway.wire.http.head import RequestHead
from wicketgate_gateway.wire.http.target import Target


class Exchange(Protocol):
    """What `server.http_connection` lends to a session for one request."""

    head: RequestHead
    target: Target
    """Path and query within the target: without the prefix that named it."""
    prefix: str
    """The path that named the target, `/t/orders-api`, or empty."""
    length: int
    """The size of the request's body, or CHUNKED."""
    answered: bool
    """Whether a head of an answer went out."""

    @property
    def gone(self) -> bool:
        """Whether the client hung up."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body's content, empty at its end. Raises HttpError."""
        ...

    async def body(self, limit: int) -> bytes | None:
        """The whole body; None if it is longer than that. What was read comes from `read` no more."""
        ...

    def respond(self, status: int, reason: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
        """The head of the answer, with a body of `length` bytes, CHUNKED or UNTIL_CLOSE. Gives the bytes that went."""
        ...

    async def write(self, data: bytes) -> None:
        """Bytes of the answer's body, as they are (framed by the caller); waits while the client is behind."""
        ...

    def end_connection(self) -> None:
        """No further request on this connection: the client is told by `Connection: close` where it still can be."""
        ...

    def problem(self, status: int, code: str, detail: str, remedy: str = "", **more: Any) -> bytes:
        """Answer by a problem document. Gives the bytes that went."""
        ...

    async def raw(self) -> bytes:
        """After an upgrade: the next bytes of the client, empty at the end."""
        ...
