"""Many sessions over one connection, none of which can stall another.

How this works: the gateway opens streams, the agent accepts them. Each direction of a stream has a credit of `WINDOW`
bytes; the receiver gives credit back once it has passed the bytes on, so that a slow client or target stops its own
stream and no other, and memory is bounded at both ends. A peer that sends beyond its credit is cut off.

Everything that is sent within one turn of the event loop leaves by one `transport.write` (and so in as few TLS records
and system calls as can be). Small sends go straight into that write; larger ones, and those without credit, wait in
their stream's queue and are taken in turn, a frame each, up to a budget per loop turn. No task is made per frame.

Both ends send `PING`s. An end that hears nothing for three of them gives the connection up: a half-open tunnel is found
within `DEAD_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from wicketgate_gateway.tunnel import frames
from wicketgate_gateway.tunnel.messages import Control

WINDOW = 256 * 1024
"""Bytes that may be under way on a stream, in each direction."""
CREDIT_STEP = WINDOW // 4
"""Credit is given back in steps: a frame for each small message would double the frames."""
DIRECT_BYTES = 16 * 1024
"""Sends up to this size skip the queue."""
CHUNK_BYTES = 32 * 1024
"""A queued stream's share before the next one has its turn."""
TURN_BYTES = 256 * 1024
"""Queued bytes that leave in one loop turn."""
HIGH_WATER = 256 * 1024
"""The transport's buffer above which nothing more is written to it."""
MAX_BACKLOG = 8 * 1024 * 1024
"""Unsent control frames above which the peer counts as not reading."""
MAX_MESSAGE = 4 * 1024 * 1024
MAX_PARTS = 2 * MAX_MESSAGE // CHUNK_BYTES
MAX_FIRST_MESSAGE = 64 * 1024
"""The longest message before the peer has proved who it is."""
MAX_STREAMS = 10_000
PING_SECONDS = 4.5
DEAD_PINGS = 3
DEAD_SECONDS = 15.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder[Control](Control).decode
_pack = frames.header
_DATA, _CONTROL, _PART = frames.DATA, frames.CONTROL, frames.CONTROL_PART


def _nothing(_: Any = None) -> None: ...


class Stream:
    """One session's two directions. All methods and callbacks belong to the event loop's thread.

    `on_control` gets messages, `on_close` the reason when the other end (or the tunnel) ended the stream; it is not
    called for one's own `close`. `on_writable` is called once sending makes sense again after `writable` was False.
    """

    __slots__ = (
        "_active",
        "_assembled",
        "_assembly",
        "_blocked",
        "_closing",
        "_mux",
        "_on_close",
        "_on_data",
        "_queue",
        "_stash",
        "_unreturned",
        "_window",
        "closed",
        "credit",
        "id",
        "on_control",
        "on_writable",
    )

    def __init__(self, mux: Mux, number: int) -> None:
        self.id = number
        self.credit = WINDOW
        """Bytes that the peer still takes."""
        self.closed: str | None = None
        """Why the stream ended, once it has."""
        self.on_control: Callable[[Control], None] = _nothing
        self.on_writable: Callable[[], None] = _nothing
        self._on_data: Callable[[bytes], None] | None = None
        self._on_close: Callable[[str], None] | None = None
        self._mux = mux
        self._window = WINDOW
        self._unreturned = 0
        self._queue: deque[tuple[int, bytes | memoryview]] = deque()
        self._active = False
        self._blocked = False
        self._closing: str | None = None
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
        if self.closed is not None and self._closing is None:
            self._mux.loop.call_soon(callback, self.closed)

    @property
    def writable(self) -> bool:
        """Whether data would go out now. If not, a source should pause until `on_writable`; `send` still takes it."""
        return not self._queue and self.credit > 0

    def send(self, data: bytes) -> None:
        """Sends `data`, now or when there is credit. Dropped if the stream has ended."""
        size = len(data)
        if self.closed is not None or self._closing is not None or not size:
            return
        mux = self._mux
        if size <= DIRECT_BYTES and size <= self.credit and not self._queue and not mux.paused:
            self.credit -= size
            out = mux.out
            out.append(_pack(_DATA, self.id, size))
            out.append(data)
            if not mux.scheduled:
                mux.schedule()
            if not self.credit:
                self._blocked = True
            return
        self._queue.append((_DATA, data if size <= CHUNK_BYTES else memoryview(data)))
        self._blocked = True
        mux.activate(self)

    def send_control(self, message: Control) -> None:
        """Sends a message in order with the data; messages cost no credit."""
        if self.closed is not None or self._closing is not None:
            return
        self._enqueue_message(_encode(message))

    def consumed(self, count: int) -> None:
        """Gives `count` bytes of credit back to the peer: they have been passed on."""
        self._unreturned += count
        if self._unreturned >= CREDIT_STEP and self.closed is None:
            self._window += self._unreturned
            self._mux.send_raw(frames.credit(self.id, self._unreturned))
            self._unreturned = 0

    def close(self, reason: str) -> None:
        """Ends the stream once what was sent before has gone out; nothing is delivered from here on."""
        if self.closed is not None or self._closing is not None:
            return
        self._closing = reason
        self._on_data = None
        self._assembly.clear()
        for piece in self._stash:
            self.consumed(len(piece))
        self._stash.clear()
        if self._queue:
            self._mux.activate(self)
        else:
            self._mux.finish(self, reason)

    # For the Mux.

    def _enqueue_message(self, data: bytes) -> None:
        if len(data) <= DIRECT_BYTES and not self._queue and not self._mux.paused:
            self._mux.send_raw(frames.frame(_CONTROL, self.id, data))
            return
        view = memoryview(data)
        while len(view) > CHUNK_BYTES:
            self._queue.append((_PART, view[:CHUNK_BYTES]))
            view = view[CHUNK_BYTES:]
        self._queue.append((_CONTROL, view))
        self._mux.activate(self)

    def _ready(self) -> bool:
        return bool(self._queue) and (self.credit > 0 or self._queue[0][0] != _DATA)

    def _take(self, out: list[bytes | memoryview]) -> int:
        """Moves one frame of the queue to `out`; its payload's size."""
        kind, data = self._queue[0]
        size = len(data)
        if kind == _DATA:
            share = min(CHUNK_BYTES, self.credit)
            self.credit -= min(size, share)
            if size > share:
                rest = memoryview(data)
                data, self._queue[0] = rest[:share], (_DATA, rest[share:])
                size = share
            else:
                self._queue.popleft()
        else:
            self._queue.popleft()
        out.append(_pack(kind, self.id, size))
        out.append(data)
        return size

    def _unblock(self) -> bool:
        if self._blocked and not self._queue and self.credit > 0:
            self._blocked = False
            return True
        return False

    def _message(self, kind: int, payload: bytes, limit: int) -> Control | None:
        """The message that this frame completes, or None. Raises FrameError."""
        if kind == _PART or self._assembly:
            self._assembly.append(payload)
            self._assembled += len(payload)
            if self._assembled > limit or len(self._assembly) > MAX_PARTS:
                raise frames.FrameError("a message over its limit")
            if kind == _PART:
                return None
            payload = b"".join(self._assembly)
            self._assembly.clear()
            self._assembled = 0
        if len(payload) > limit:
            raise frames.FrameError("a message over its limit")
        try:
            return _decode(payload)
        except msgspec.MsgspecError:
            raise frames.FrameError("a message that is none of ours") from None

    def _receive(self, data: bytes) -> None:
        size = len(data)
        self._window -= size
        if self._window < 0:
            raise frames.FrameError("more data than it had credit for")
        if self._on_data is not None:
            self._on_data(data)
        elif self._closing is not None:
            self.consumed(size)
        else:
            self._stash.append(data)

    def _end(self, reason: str) -> None:
        if self.closed is not None:
            return
        self.closed = reason
        self._queue.clear()
        if self._on_close is not None and self._closing is None:
            self._on_close(reason)


class Mux(asyncio.Protocol):
    """One end of a tunnel. `opens` is True at the gateway, which alone opens streams.

    `on_message` gets the tunnel's own messages (stream 0), `on_open` a stream that the peer opened with its first
    message, `on_lost` the reason once the connection is gone; by then every stream's `on_close` was called.
    """

    def __init__(
        self,
        *,
        opens: bool,
        on_message: Callable[[Control], None],
        on_lost: Callable[[str], None],
        on_open: Callable[[Stream, Control], None] | None = None,
        on_connected: Callable[[], None] = _nothing,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.max_message = MAX_FIRST_MESSAGE
        """Raised to MAX_MESSAGE by the owner once the peer is known."""
        self.streams: dict[int, Stream] = {}
        self.out: list[bytes | memoryview] = []
        self.paused = False
        self.scheduled = False
        self.lost: str | None = None
        """Why the tunnel ended, once it has."""
        self.peer = ""
        self._opens = opens
        self._on_message = on_message
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_connected = on_connected
        self._transport: asyncio.Transport | None = None
        self._decoder = frames.FrameDecoder()
        self._root = Stream(self, 0)
        self._last = 0
        self._backlog = 0
        self._waiting: deque[Stream] = deque()
        self._heard = True
        self._missed = 0
        self._pinger: asyncio.TimerHandle | None = None
        self._reason: str | None = None

    # What the owner calls.

    def open(self, message: Control) -> Stream:
        """A new stream, opened at the peer by `message`. Raises ConnectionError if the tunnel is down or worn out."""
        assert self._opens
        if self.lost is not None or self._reason is not None:
            raise ConnectionError("the tunnel is down")
        if self._last >= 0xFFFF_FFFF or len(self.streams) >= MAX_STREAMS:
            raise ConnectionError("the tunnel has no free stream")
        self._last += 1
        stream = self.streams[self._last] = Stream(self, self._last)
        stream.send_control(message)
        return stream

    def send_message(self, message: Control) -> None:
        """Sends one of the tunnel's own messages."""
        if self.lost is None:
            self._root._enqueue_message(_encode(message))

    def close(self, reason: str) -> None:
        """Ends the tunnel after what is buffered has gone out; the peer has as long as a dead one to take it."""
        if self._reason is not None or self._transport is None:
            return
        self._reason = reason
        self._flush()
        self._transport.close()
        self.loop.call_later(DEAD_SECONDS, self._transport.abort)

    @property
    def ended_here(self) -> bool:
        """Whether this end closed or cut the tunnel, and not the peer or the network."""
        return self._reason is not None

    def abort(self, reason: str) -> None:
        """Ends the tunnel at once."""
        if self._reason is None:
            self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's TLS transport is none of asyncio's classes, but has their methods.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "")
        self._pinger = self.loop.call_later(PING_SECONDS, self._ping)
        self._on_connected()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self.lost = self._reason or (f"the connection broke ({type(exc).__name__})" if exc else "the peer hung up")
        if self._pinger is not None:
            self._pinger.cancel()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            self._guarded(stream._end, f"the tunnel ended: {self.lost}")
        self.out.clear()
        self._waiting.clear()
        self._on_lost(self.lost)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.paused = False
        self.schedule()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard = True
        streams = self.streams
        try:
            for kind, number, payload in self._decoder.feed(data):
                if self._reason is not None:
                    return
                stream = streams.get(number)
                if kind == _DATA:
                    if stream is not None:
                        try:
                            stream._receive(payload)
                        except frames.FrameError:
                            raise
                        except Exception as error:
                            self._broken(stream, error)
                    else:
                        self._closed_or_wrong(number)
                else:
                    self._other(kind, number, stream, payload)
        except frames.FrameError as error:
            self.abort(f"the peer broke the protocol: it sent {error}")

    # Inside.

    def _other(self, kind: int, number: int, stream: Stream | None, payload: bytes) -> None:
        if number == 0:
            self._tunnel_frame(kind, payload)
        elif kind in (_CONTROL, _PART):
            if stream is None:
                self._opened(kind, number, payload)
                return
            message = stream._message(kind, payload, self.max_message)
            if message is not None and stream._closing is None:
                self._guarded(stream.on_control, message, stream=stream)
        elif stream is None:
            self._closed_or_wrong(number)
        elif kind == frames.CREDIT:
            stream.credit += frames.credit_count(payload)
            if stream.credit > WINDOW:
                raise frames.FrameError("more credit than it had taken data")
            if stream._queue:
                self.activate(stream)
            elif stream._unblock():
                self._guarded(stream.on_writable, stream=stream)
        elif kind == frames.CLOSE:
            self.streams.pop(number, None)
            self._guarded(stream._end, payload.decode("utf-8", "replace"))
        else:
            raise frames.FrameError("a frame that does not belong to a stream")

    def _tunnel_frame(self, kind: int, payload: bytes) -> None:
        if kind in (_CONTROL, _PART):
            message = self._root._message(kind, payload, self.max_message)
            if message is not None:
                self._on_message(message)
        elif kind == frames.PING:
            self.send_raw(frames.frame(frames.PONG, 0, payload))
        elif kind != frames.PONG:
            raise frames.FrameError("a frame that belongs to a stream")

    def _opened(self, kind: int, number: int, payload: bytes) -> None:
        if self._opens or self._on_open is None or number <= self._last:
            self._closed_or_wrong(number)
            return
        if kind == _PART:
            raise frames.FrameError("an overlong opening")
        self._last = number
        stream = Stream(self, number)
        message = stream._message(kind, payload, self.max_message)
        assert message is not None
        if len(self.streams) >= MAX_STREAMS:
            self.send_raw(frames.frame(frames.CLOSE, number, b"too many sessions"))
            return
        self.streams[number] = stream
        self._guarded(self._on_open, stream, message, stream=stream)

    def _closed_or_wrong(self, number: int) -> None:
        # What the peer sent before it heard of a stream's end still comes; a number that never was is a breach.
        if number > self._last or number == 0:
            raise frames.FrameError("data for a stream that was never opened")

    def _guarded(self, callback: Callable[..., None], *args: Any, stream: Stream | None = None) -> None:
        try:
            callback(*args)
        except Exception as error:
            self._broken(stream, error)

    def _broken(self, stream: Stream | None, error: Exception) -> None:
        # A fault of one session's code must not end the others'.
        self.loop.call_exception_handler({"message": "a session's callback failed", "exception": error})
        if stream is not None and stream.closed is None:
            self.streams.pop(stream.id, None)
            self.send_raw(frames.frame(frames.CLOSE, stream.id, b"internal error"))
            try:
                stream._end("internal error")
            except Exception as second:
                self.loop.call_exception_handler({"message": "a session's end failed", "exception": second})

    def _ping(self) -> None:
        self._missed = 0 if self._heard else self._missed + 1
        self._heard = False
        if self._missed >= DEAD_PINGS - 1:
            self.abort("nothing was heard from the peer")
            return
        self.send_raw(frames.frame(frames.PING, 0, b"\0" * 8))
        self._pinger = self.loop.call_later(PING_SECONDS, self._ping)

    # For the streams.

    def send_raw(self, data: bytes) -> None:
        """Adds whole frames to this turn's write, ahead of what is queued."""
        self.out.append(data)
        if self.paused:
            self._backlog += len(data)
            if self._backlog > MAX_BACKLOG:
                self.abort("the peer does not read")
        elif not self.scheduled:
            self.schedule()

    def schedule(self) -> None:
        """Has `_flush` run at the end of this loop turn."""
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._flush)

    def activate(self, stream: Stream) -> None:
        """Puts a stream with a queue in the line, if it may send."""
        if not stream._active and stream._ready():
            stream._active = True
            self._waiting.append(stream)
            if not self.paused:
                self.schedule()

    def finish(self, stream: Stream, reason: str) -> None:
        """Sends the end of a stream whose queue is empty, and forgets it."""
        if self.streams.pop(stream.id, None) is not None:
            self.send_raw(frames.frame(frames.CLOSE, stream.id, reason.encode()[: frames.MAX_REASON]))
        stream._end(reason)

    def _flush(self) -> None:
        self.scheduled = False
        transport = self._transport
        if self.paused or transport is None or self.lost is not None:
            return
        out, waiting = self.out, self._waiting
        drained: list[Stream] = []
        if waiting:
            budget = TURN_BYTES
            while waiting and budget > 0:
                stream = waiting.popleft()
                stream._active = False
                if not stream._ready():
                    continue
                budget -= stream._take(out)
                if stream._ready():
                    stream._active = True
                    waiting.append(stream)
                elif not stream._queue:
                    drained.append(stream)
        if out:
            data = b"".join(out)
            out.clear()
            self._backlog = 0
            transport.write(data)
        for stream in drained:
            if stream._closing is not None:
                self.finish(stream, stream._closing)
            elif stream._unblock():
                self._guarded(stream.on_writable, stream=stream)
        if waiting and not self.paused:
            self.schedule()
