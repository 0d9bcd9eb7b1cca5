"""One session's two directions within a tunnel: credit, queue, callbacks.

How this works: the mux that carries the stream is known here by five things (`Carrier`): the frames of this loop turn,
whether its transport is full, and how to get in line. Sending a small piece with credit left is two list appends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from wicketgate_gateway.tunnel import frames
from wicketgate_gateway.tunnel.messages import Control

WINDOW = 256 * 1024
"""Bytes that may be under way on a stream, in each direction."""
CREDIT_STEP = WINDOW // 4
"""Credit is given back in steps: a frame for each small message would double the frames."""
DIRECT_BYTES = 16 * 1024
"""Sends up to this size skip the queue."""
CHUNK_BYTES = 64 * 1024
"""A queued stream's share before the next one has its turn."""
MAX_MESSAGE = 4 * 1024 * 1024
"""The longest message, over all its parts."""
MAX_PARTS = 2 * MAX_MESSAGE // CHUNK_BYTES
TOO_LONG = "a message over its limit"

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder[Control](Control).decode
_pack = frames.header
_pack_header, _DATA_BITS = frames.HEADER.pack, frames.DATA << 24
_DATA, _CONTROL, _PART = frames.DATA, frames.CONTROL, frames.CONTROL_PART


class TooLongError(ConnectionError):
    """What should open a stream does not fit; nothing was sent, and everything else goes on."""


def nothing(_: Any = None) -> None:
    """The callback of those who do not care."""


class Carrier(Protocol):
    """What a stream needs of its mux."""

    loop: asyncio.AbstractEventLoop
    out: list[bytes | memoryview]
    paused: bool
    scheduled: bool

    def schedule(self) -> None:
        """Has this turn's frames written at its end."""
        ...

    def activate(self, stream: Stream) -> None:
        """Puts a stream with a queue in line."""
        ...

    def send_raw(self, data: bytes) -> None:
        """Sends whole frames ahead of all queues."""
        ...

    def finish(self, stream: Stream, reason: str) -> None:
        """Sends a stream's end and forgets it."""
        ...

    def refuse(self, stream: Stream, reason: str) -> None:
        """Ends a stream at both ends for what was done wrong on it; its owner hears of it in the next loop turn."""
        ...


class Stream:
    """One session's two directions. All methods and callbacks belong to the event loop's thread.

    `on_control` gets messages, `on_close` the reason when the other end (or the tunnel) ended the stream; it is not
    called for one's own `close`. `on_writable` is called once sending makes sense again after `writable` was False.
    """

    __slots__ = (
        "_assembled",
        "_assembly",
        "_blocked",
        "_mux",
        "_on_close",
        "_on_data",
        "_stash",
        "_unreturned",
        "_window",
        "active",
        "closed",
        "closing",
        "credit",
        "id",
        "on_control",
        "on_writable",
        "queue",
    )

    def __init__(self, mux: Carrier, number: int) -> None:
        self.id = number
        self.credit = WINDOW
        """Bytes that the peer still takes."""
        self.closed: str | None = None
        """Why the stream ended, once it has."""
        self.on_control: Callable[[Control], None] = nothing
        self.on_writable: Callable[[], None] = nothing
        self._on_data: Callable[[bytes], None] | None = None
        self._on_close: Callable[[str], None] | None = None
        self._mux = mux
        self._window = WINDOW
        self._unreturned = 0
        self.queue: deque[tuple[int, bytes | memoryview]] = deque()
        self.active = False
        self._blocked = False
        self.closing: str | None = None
        self._assembly: list[bytes] = []
        self._assembled = 0
        self._stash: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.closed or 'open'}>"

    @property
    def on_data(self) -> Callable[[bytes], None] | None:
        """Gets each piece of data. Data that came before it was set (within the window) is delivered at once."""
        return self._on_data

    @on_data.setter
    def on_data(self, callback: Callable[[bytes], None]) -> None:
        self._on_data = callback
        stash, self._stash = self._stash, []
        for piece in stash:
            callback(piece)

    @property
    def on_close(self) -> Callable[[str], None] | None:
        """Gets the reason when the stream ended; soon after it was set if it had ended already."""
        return self._on_close

    @on_close.setter
    def on_close(self, callback: Callable[[str], None]) -> None:
        self._on_close = callback
        if self.closed is not None and self.closing is None:
            self._mux.loop.call_soon(callback, self.closed)

    @property
    def writable(self) -> bool:
        """Whether data would go out now. If not, a source should pause until `on_writable`; `send` still takes it."""
        return not self.queue and self.credit > 0

    def send(self, data: bytes) -> None:
        """Sends `data`, now or when there is credit. Dropped if the stream has ended."""
        size = len(data)
        if self.closed is not None or self.closing is not None or not size:
            return
        mux = self._mux
        if size <= DIRECT_BYTES and size <= self.credit and not self.queue and not mux.paused:
            self.credit -= size
            out = mux.out
            out.append(_pack_header(self.id, _DATA_BITS | size))
            out.append(data)
            if not mux.scheduled:
                mux.schedule()
            if not self.credit:
                self._blocked = True
            return
        self.queue.append((_DATA, data if size <= CHUNK_BYTES else memoryview(data)))
        self._blocked = True
        mux.activate(self)

    def send_control(self, message: Control) -> None:
        """Sends a message in order with the data; messages cost no credit.

        One over MAX_MESSAGE ends this stream, and no other: what would follow has no meaning without it.
        """
        if self.closed is not None or self.closing is not None:
            return
        data = encode(message)
        if len(data) > MAX_MESSAGE:
            self._mux.refuse(self, TOO_LONG)
        else:
            self.enqueue(data)

    def consumed(self, count: int) -> None:
        """Gives `count` bytes of credit back to the peer: they have been passed on."""
        self._unreturned += count
        if self._unreturned >= CREDIT_STEP and self.closed is None:
            self._window += self._unreturned
            self._mux.send_raw(frames.credit(self.id, self._unreturned))
            self._unreturned = 0

    def close(self, reason: str) -> None:
        """Ends the stream once what was sent before has gone out; nothing is delivered from here on."""
        if self.closed is not None or self.closing is not None:
            return
        self.closing = reason
        self._on_data = None
        self._assembly.clear()
        for piece in self._stash:
            self.consumed(len(piece))
        self._stash.clear()
        if self.queue:
            self._mux.activate(self)
        else:
            self._mux.finish(self, reason)

    # For the carrier.

    def enqueue(self, data: bytes) -> None:
        """Sends an encoded message, in parts if it is long."""
        if len(data) <= DIRECT_BYTES and not self.queue and not self._mux.paused:
            self._mux.send_raw(frames.frame(_CONTROL, self.id, data))
            return
        view = memoryview(data)
        while len(view) > CHUNK_BYTES:
            self.queue.append((_PART, view[:CHUNK_BYTES]))
            view = view[CHUNK_BYTES:]
        self.queue.append((_CONTROL, view))
        self._mux.activate(self)

    def ready(self) -> bool:
        """Whether the queue's first frame may go out."""
        return bool(self.queue) and (self.credit > 0 or self.queue[0][0] != _DATA)

    def take(self, out: list[bytes | memoryview]) -> int:
        """Moves one frame of the queue to `out`; its payload's size."""
        kind, data = self.queue[0]
        size = len(data)
        if kind == _DATA:
            share = min(CHUNK_BYTES, self.credit)
            self.credit -= min(size, share)
            if size > share:
                rest = memoryview(data)
                data, self.queue[0] = rest[:share], (_DATA, rest[share:])
                size = share
            else:
                self.queue.popleft()
        else:
            self.queue.popleft()
        out.append(_pack(kind, self.id, size))
        out.append(data)
        return size

    def unblock(self) -> bool:
        """Whether the stream has just become writable again; True once each time."""
        if self._blocked and not self.queue and self.credit > 0:
            self._blocked = False
            return True
        return False

    def message(self, kind: int, payload: bytes, limit: int) -> Control | None:
        """The message that this frame completes, or None. Raises FrameError.

        A session's stream that gets one over the limit is refused; only the tunnel's own stream ends the tunnel.
        """
        if kind == _PART or self._assembly:
            self._assembly.append(payload)
            self._assembled += len(payload)
            if self._assembled > limit or len(self._assembly) > MAX_PARTS:
                return self._over_the_limit()
            if kind == _PART:
                return None
            payload = b"".join(self._assembly)
            self._assembly.clear()
            self._assembled = 0
        if len(payload) > limit:
            return self._over_the_limit()
        try:
            return _decode(payload)
        except msgspec.MsgspecError:
            raise frames.FrameError("a message that is none of ours") from None

    def _over_the_limit(self) -> None:
        if not self.id:
            raise frames.FrameError(TOO_LONG)
        self._mux.refuse(self, TOO_LONG)

    def receive(self, data: bytes) -> None:
        """Takes data from the peer. Raises FrameError beyond its credit."""
        size = len(data)
        self._window -= size
        if self._window < 0:
            raise frames.FrameError("more data than it had credit for")
        if self._on_data is not None:
            self._on_data(data)
        elif self.closing is not None:
            self.consumed(size)
        else:
            self._stash.append(data)

    def end(self, reason: str, *, soon: bool = False) -> None:
        """The stream is over, by whichever end. `soon` has its owner told in the next loop turn."""
        if self.closed is not None:
            return
        self.closed = reason
        self.queue.clear()
        self._assembly.clear()
        if self._on_close is not None and self.closing is None:
            if soon:
                self._mux.loop.call_soon(self._on_close, reason)
            else:
                self._on_close(reason)
