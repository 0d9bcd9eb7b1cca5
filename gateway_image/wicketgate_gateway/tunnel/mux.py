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

from wicketgate_gateway.tunnel import frames
from wicketgate_gateway.tunnel.messages import Control
from wicketgate_gateway.tunnel.stream import MAX_MESSAGE, WINDOW, Stream, TooLongError, encode, nothing

__all__ = ["MAX_MESSAGE", "MAX_OPENING", "Mux", "Stream", "TooLongError"]

MAX_OPENING = frames.MAX_PAYLOAD
"""The longest message that opens a stream: one frame."""

TURN_BYTES = 256 * 1024
"""Queued bytes that leave in one loop turn."""
HIGH_WATER = 256 * 1024
"""The transport's buffer above which nothing more is written to it."""
MAX_BACKLOG = 8 * 1024 * 1024
"""Unsent control frames above which the peer counts as not reading."""
MAX_FIRST_MESSAGE = 64 * 1024
"""The longest message before the peer has proved who it is."""
MAX_STREAMS = 10_000
PING_SECONDS = 4.5
DEAD_PINGS = 3
DEAD_SECONDS = 15.0

_DATA, _CONTROL, _PART = frames.DATA, frames.CONTROL, frames.CONTROL_PART


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
        on_connected: Callable[[], None] = nothing,
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
        """A new stream, opened at the peer by `message`, which must fit into one frame.

        Raises ConnectionError if the tunnel is down or worn out, TooLongError for a message that does not fit.
        """
        assert self._opens
        if self.lost is not None or self._reason is not None:
            raise ConnectionError("the tunnel is down")
        if self._last >= 0xFFFF_FFFF or len(self.streams) >= MAX_STREAMS:
            raise ConnectionError("the tunnel has no free stream")
        # Before the number is taken: what cannot be sent must not leave a stream that only this end knows of.
        data = encode(message)
        if len(data) > MAX_OPENING:
            raise TooLongError("the request is too long")
        self._last += 1
        stream = self.streams[self._last] = Stream(self, self._last)
        stream.enqueue(data)
        return stream

    def send_message(self, message: Control) -> bool:
        """Sends one of the tunnel's own messages. False for one over MAX_MESSAGE, which is left out: the peer would end
        the tunnel for it."""
        if self.lost is not None:
            return True
        data = encode(message)
        if len(data) > MAX_MESSAGE:
            return False
        self._root.enqueue(data)
        return True

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
            self._guarded(stream.end, f"the tunnel ended: {self.lost}")
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
                            stream.receive(payload)
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
            message = stream.message(kind, payload, self.max_message)
            if message is not None and stream.closing is None:
                self._guarded(stream.on_control, message, stream=stream)
        elif stream is None:
            self._closed_or_wrong(number)
        elif kind == frames.CREDIT:
            stream.credit += frames.credit_count(payload)
            if stream.credit > WINDOW:
                raise frames.FrameError("more credit than it had taken data")
            if stream.queue:
                self.activate(stream)
            elif stream.unblock():
                self._guarded(stream.on_writable, stream=stream)
        elif kind == frames.CLOSE:
            self.streams.pop(number, None)
            self._guarded(stream.end, payload.decode("utf-8", "replace"))
        else:
            raise frames.FrameError("a frame that does not belong to a stream")

    def _tunnel_frame(self, kind: int, payload: bytes) -> None:
        if kind in (_CONTROL, _PART):
            message = self._root.message(kind, payload, self.max_message)
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
        self._last = number
        if kind == _PART:
            # Its other parts come for a number that is known to be over.
            self.send_raw(frames.frame(frames.CLOSE, number, b"the request is too long"))
            return
        stream = Stream(self, number)
        message = stream.message(kind, payload, self.max_message)
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
                stream.end("internal error")
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
        if not stream.active and stream.ready():
            stream.active = True
            self._waiting.append(stream)
            if not self.paused:
                self.schedule()

    def finish(self, stream: Stream, reason: str) -> None:
        """Sends the end of a stream whose queue is empty, and forgets it."""
        if self.streams.pop(stream.id, None) is not None:
            self.send_raw(frames.frame(frames.CLOSE, stream.id, reason.encode()[: frames.MAX_REASON]))
        stream.end(reason)

    def refuse(self, stream: Stream, reason: str) -> None:
        """Ends a stream at both ends for what was done wrong on it; its owner hears of it in the next loop turn."""
        if self.streams.pop(stream.id, None) is not None:
            self.send_raw(frames.frame(frames.CLOSE, stream.id, reason.encode()[: frames.MAX_REASON]))
        stream.end(reason, soon=True)

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
                stream.active = False
                if not stream.ready():
                    continue
                budget -= stream.take(out)
                if stream.ready():
                    stream.active = True
                    waiting.append(stream)
                elif not stream.queue:
                    drained.append(stream)
        if out:
            data = b"".join(out)
            out.clear()
            self._backlog = 0
            transport.write(data)
        for stream in drained:
            if stream.closing is not None:
                self.finish(stream, stream.closing)
            elif stream.unblock():
                self._guarded(stream.on_writable, stream=stream)
        if waiting and not self.paused:
            self.schedule()
