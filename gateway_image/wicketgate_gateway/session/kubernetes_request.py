"""A request to Kubernetes under way: what was understood, what was decided, and whom to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.wire.http.head import RequestHead
from wicketgate_gateway.wire.kubernetes.body import Body
from wicketgate_gateway.wire.kubernetes.request import Request


class Client(Protocol):
    """The client's end of a connection, as the server lends it."""

    async def answer(self, code: int, headers: Mapping[str, str] | list[tuple[str, str]], body: bytes) -> None:
        """A whole answer."""
        ...

    async def begin(self, code: int, headers: list[tuple[str, str]]) -> None:
        """The head of an answer that comes in pieces."""
        ...

    async def piece(self, data: bytes) -> None:
        """A piece of it; waits while the client does not take more."""
        ...

    async def finish(self) -> None:
        """Its end."""
        ...

    async def upgrade(self, headers: list[tuple[str, str]]) -> None:
        """101: from now on the bytes are another protocol's."""
        ...

    async def raw(self) -> bytes:
        """Bytes behind an upgrade; empty at the end."""
        ...

    def unread(self, data: bytes) -> None:
        """Have `raw` give these bytes once more."""
        ...

    async def write(self, data: bytes) -> None:
        """Bytes behind an upgrade."""
        ...

    async def gone(self) -> None:
        """Returns once the client hung up."""
        ...


@dataclass(slots=True)
class Asked:
    """A request under way."""

    head: RequestHead
    request: Request
    body: Body | None
    point: KubernetesPoint
    verdict: Verdict
    seq: int = 0
    started: int = 0
    resolved: Any = None
    """The object that a write leads to, where a dry run was asked."""
    raw: bytes = b""
    """The body behind `proxy`, which is the backend's own."""
    reason: str = ""
    """Why the bot asks, in its own words."""

    @property
    def sent(self) -> bytes:
        """The body as it goes out."""
        return self.body.raw if self.body is not None else self.raw


@dataclass(frozen=True, slots=True)
class Refused:
    """What the API server itself refused, when it was asked by a dry run."""

    code: int
    content: bytes
