"""Stand-ins for what a connection is joined to: a stream with credit, and a desk that lets everyone in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


class FakeStream:
    """A tunnel's stream, as far as a connection uses one."""

    def __init__(self) -> None:
        self.sent = b""
        self.returned = 0
        self.writable = True
        self.closed: str | None = None
        self.controls: list[Any] = []
        self.on_data: Callable[[bytes], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None
        self.on_writable: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> None:
        self.sent += data

    def consumed(self, count: int) -> None:
        self.returned += count

    def close(self, reason: str) -> None:
        self.closed = reason

    def send_control(self, message: Any) -> None:
        self.controls.append(message)


class FakeTransport:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 5) if name == "peername" else None

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class FakeDesk:
    """A listener."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.cancels: list[Any] = []
        self.tokens: list[str] = []
        self.gone_count = 0
        self.log_in_with: Callable[[Any], Any] | None = None

    async def log_in(self, start_up: Any, token: str, connection: Any) -> None:
        self.tokens.append(token)
        if self.log_in_with is not None:
            await self.log_in_with(connection)

    def refused(self, connection: Any, code: str, reason: str) -> None:
        self.refusals.append(code)

    def cancel(self, request: Any) -> None:
        self.cancels.append(request)

    def gone(self, connection: Any) -> None:
        self.gone_count += 1


class FakeRecording:
    """A recording that may be behind."""

    def __init__(self) -> None:
        self.backlogged = False
        self.on_drained: Callable[[], None] | None = None


class FakeSession:
    """A session that passes bytes on: flow control is the connection's, not its."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.session = self
        self.recording = FakeRecording()
        self.hungry = True
        self.over = False
        self.got = b""
        self.lost: list[str] = []
        self.pumps = 0
        self.waits = False
        """Whether it waits for people, so that a cancel is for it."""

    def from_client(self, data: bytes) -> None:
        self.got += data

    def from_target(self, data: bytes) -> None:
        self.connection.to_client(data)

    def pump(self) -> None:
        self.pumps += 1

    def cancel(self) -> bool:
        return self.waits

    def client_lost(self) -> None:
        self.lost.append("client")

    def target_lost(self, reason: str) -> None:
        self.lost.append(reason)


@pytest.fixture
def fakes() -> Any:
    """The classes above."""

    class Fakes:
        stream, transport, desk, session = FakeStream, FakeTransport, FakeDesk, FakeSession

    return Fakes
