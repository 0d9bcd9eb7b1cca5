"""What a client sends after log-in: bytes in, events out.

How this works: `feed` appends bytes, `next` takes the next whole message off as an event. Every message type of the
protocol is named in `_READERS`; another one is an error, and so is one with trailing bytes, one with a text that is not
UTF-8, or one over its bound. Events carry `raw`, the message's very bytes: what is forwarded is what was looked at,
never built anew. CopyData is not collected: as much of it as has come, even parts of messages, is one `CopyBytes`.
Clients repeat themselves: short messages but Query and Bind are looked up by their bytes before they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

import msgspec

from wicketgate_gateway.wire.postgres.messages import MAX_NAME_BYTES, ProtocolError

_U32 = Struct(">I")
_unpack_u32 = _U32.unpack_from
_U16 = Struct(">H")
_I32 = Struct(">i")
_HEADER = 5

MAX_STATEMENT = 16 * 1024 * 1024
"""Bound for messages that hold a statement, in bytes; whether a shorter one is analysed is for the policy to say."""
MAX_BIND = 32 * 1024 * 1024
"""Bound for Bind and FunctionCall: they hold values."""
MAX_SMALL = 16 * 1024
"""Bound for all others."""
_KNOWN_BYTES = 1024
_KNOWN_MOST = 1024


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message; `raw` is all of its bytes."""

    raw: bytes


class Query(Message, frozen=True, gc=False):
    """A text of any number of statements."""

    text: str


class Parse(Message, frozen=True, gc=False):
    """Prepare `text` as `name` (empty: the unnamed statement)."""

    name: str
    text: str


class Bind(Message, frozen=True):
    """Make the portal `portal` from `statement`. Formats are 0 (text) or 1 (binary): none, one for all, or one each."""

    portal: str
    statement: str
    formats: tuple[int, ...]
    parameters: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


class Describe(Message, frozen=True, gc=False):
    """Ask for the columns of a statement (`what` = `S`) or portal (`P`)."""

    what: str
    name: str


class Execute(Message, frozen=True, gc=False):
    """Run a portal."""

    portal: str
    max_rows: int


class Close(Message, frozen=True, gc=False):
    """Drop a statement (`what` = `S`) or portal (`P`)."""

    what: str
    name: str


class Sync(Message, frozen=True, gc=False):
    """End of a pipeline's unit."""


class Flush(Message, frozen=True, gc=False):
    """Ask for answers now."""


class FunctionCall(Message, frozen=True, gc=False):
    """The old way to call a function by its OID: always refused."""

    function: int


class CopyBytes(Message, frozen=True, gc=False):
    """Bytes of CopyData messages, in whatever parts they came."""


class CopyDone(Message, frozen=True, gc=False):
    """End of COPY data."""


class CopyFail(Message, frozen=True, gc=False):
    """The client gives its COPY up."""


class Terminate(Message, frozen=True, gc=False):
    """Good-bye."""


Event: TypeAlias = (
    Query
    | Parse
    | Bind
    | Describe
    | Execute
    | Close
    | Sync
    | Flush
    | FunctionCall
    | CopyBytes
    | CopyDone
    | CopyFail
    | Terminate
)


class FrontendDecoder:
    """The client's half of a session after log-in. After a ProtocolError it must not be used again."""

    __slots__ = ("_buffer", "_copying", "_need", "_parts", "_parts_size", "_position")

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._need = 0  # size of the message that is not complete, once its head has come
        self._parts: list[
            bytes
        ] = []  # joined only when the message is complete: a large one costs no copies on the way
        self._parts_size = 0
        self._copying = 0  # bytes of a CopyData message that are still to come

    def feed(self, data: bytes) -> None:
        """Append what came."""
        if not self._parts and self._position == len(self._buffer):
            self._buffer = data
            self._position = 0
            return
        self._parts.append(data)
        self._parts_size += len(data)

    @property
    def buffered(self) -> int:
        """Bytes that no event has taken yet."""
        return len(self._buffer) - self._position + self._parts_size

    @property
    def empty(self) -> bool:
        """Whether all that came was taken, up to the end of a message."""
        return self._position == len(self._buffer) and not self._parts and not self._copying

    def _join(self) -> bool:
        # Whether there is something new to look at.
        if not self._parts or self.buffered < self._need:
            return False
        rest = self._buffer[self._position :] if self._position < len(self._buffer) else b""
        self._buffer = self._parts[0] if not rest and len(self._parts) == 1 else b"".join((rest, *self._parts))
        self._position = 0
        self._parts.clear()
        self._parts_size = 0
        self._need = 0
        return True

    @property
    def within_copy_data(self) -> bool:
        """Whether what was taken ends inside a CopyData message: nothing else may be sent in between."""
        return self._copying > 0

    def next(self) -> Event | None:
        """The next event, or None until more is fed. Raises ProtocolError."""
        buffer, position = self._buffer, self._position
        size = len(buffer)
        if size - position < _HEADER and not self._copying:
            if self._parts and self._join():
                return self.next()
            if position == size or buffer[position] != 100:
                return None
        kind = buffer[position] if position < size else 0
        if kind == 100 or self._copying:
            event = self._copy_bytes()
            return self.next() if event is None and self._parts and self._join() else event
        entry = _READERS.get(kind)
        if entry is None:
            raise ProtocolError(f"a message of type {kind:#04x} has no place after log-in")
        name, bound, read, repeats = entry
        (length,) = _unpack_u32(buffer, position + 1)
        if length < 4:
            raise ProtocolError(f"a {name} message has an impossible length")
        if length > bound:
            raise ProtocolError(
                f"a {name} message of {length} bytes is over the bound of {bound}",
                sqlstate="54000",
                remedy="send less at once, or use COPY",
            )
        end = position + 1 + length
        if end > size:
            self._need = 1 + length
            return self.next() if self._parts and self._join() else None
        self._position = end
        raw = buffer[position:end] if position or end != size else buffer
        if not repeats or length > _KNOWN_BYTES:
            return read(raw)
        event = _known.get(raw)
        if event is None:
            event = read(raw)
            if len(_known) >= _KNOWN_MOST:
                _known.clear()
            _known[raw] = event
        return event

    def _copy_bytes(self) -> CopyBytes | None:
        buffer, start = self._buffer, self._position
        size = len(buffer)
        position = start + self._copying
        while position < size and buffer[position] == 100:
            if size - position < _HEADER:
                break
            (length,) = _U32.unpack_from(buffer, position + 1)
            if length < 4 or length > 0x3FFFFFFF:
                raise ProtocolError("a CopyData message has an impossible length")
            position += 1 + length
        end = min(position, size)
        self._copying = position - end
        self._position = end
        return CopyBytes(buffer[start:end]) if end > start else None


def _texts(raw: bytes, start: int, count: int) -> tuple[list[str], int]:
    texts: list[str] = []
    for _ in range(count):
        end = raw.find(b"\0", start)
        if end < 0:
            raise ProtocolError("a text does not end")
        try:
            texts.append(raw[start:end].decode())
        except UnicodeDecodeError:
            raise _not_utf8() from None
        start = end + 1
    return texts, start


def _not_utf8() -> ProtocolError:
    return ProtocolError("a text is not UTF-8", sqlstate="22021", remedy="set the client's encoding to UTF8")


def _end(raw: bytes, position: int) -> None:
    if position != len(raw):
        raise ProtocolError("a message has bytes behind its end")


def _name(name: str) -> str:
    # The server cuts names off at 63 bytes without a word: two names that we tell apart could be one to it.
    if len(name) > MAX_NAME_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        raise ProtocolError(
            f"the name of a statement or portal is over {MAX_NAME_BYTES} bytes",
            sqlstate="42622",
            remedy="use a shorter name",
        )
    return name


def _query(raw: bytes) -> Query:
    end = raw.find(b"\0", 5)
    if end < 0 or end + 1 != len(raw):
        _, at = _texts(raw, 5, 1)
        _end(raw, at)
    try:
        return Query(raw, raw[5:end].decode())
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _parse(raw: bytes) -> Parse:
    (name, text), at = _texts(raw, 5, 2)
    _need(raw, at, 2)
    (count,) = _U16.unpack_from(raw, at)
    _end(raw, at + 2 + 4 * count)
    return Parse(raw, _name(name), text)


def _need(raw: bytes, at: int, size: int) -> None:
    if at + size > len(raw):
        raise ProtocolError("a message is cut short")


_TEXT: tuple[int, ...] = (0,)
_BINARY: tuple[int, ...] = (1,)


def _formats(raw: bytes, at: int) -> tuple[tuple[int, ...], int]:
    if at + 2 > len(raw):
        _need(raw, at, 2)
    (count,) = _U16.unpack_from(raw, at)
    if not count:
        return (), at + 2
    if at + 2 + 2 * count > len(raw):
        _need(raw, at + 2, 2 * count)
    if count == 1 and raw[at + 2] == 0 and raw[at + 3] < 2:
        return (_BINARY if raw[at + 3] else _TEXT), at + 4
    formats: tuple[int, ...] = Struct(f">{count}H").unpack_from(raw, at + 2)
    if max(formats) > 1:
        raise ProtocolError("a format code is neither 0 nor 1", sqlstate="22023")
    return formats, at + 2 + 2 * count


def _bind(raw: bytes) -> Bind:
    portal, statement, at = _portal_and_statement(raw)
    formats, at = _formats(raw, at)
    size = len(raw)
    if at + 2 > size:
        _need(raw, at, 2)
    (count,) = _U16.unpack_from(raw, at)
    at += 2
    parameters: list[bytes | None] = []
    for _ in range(count):
        if at + 4 > size:
            _need(raw, at, 4)
        (length,) = _I32.unpack_from(raw, at)
        at += 4
        if length == -1:
            parameters.append(None)
            continue
        if length < 0 or at + length > size:
            raise ProtocolError("a Bind message's parameter has an impossible length")
        parameters.append(raw[at : at + length])
        at += length
    if len(formats) > 1 and len(formats) != count:
        raise ProtocolError("a Bind message has another number of formats than of parameters")
    result_formats, at = _formats(raw, at)
    _end(raw, at)
    return Bind(raw, portal, statement, formats, tuple(parameters), result_formats)


def _portal_and_statement(raw: bytes) -> tuple[str, str, int]:
    # Bind is never the same twice, but its names are.
    middle = raw.find(b"\0", 5)
    end = raw.find(b"\0", middle + 1) if middle > 0 else -1
    if end > 0 and end - 5 <= MAX_NAME_BYTES:
        try:
            return raw[5:middle].decode(), raw[middle + 1 : end].decode(), end + 1
        except UnicodeDecodeError:
            raise _not_utf8() from None
    (portal, statement), at = _texts(raw, 5, 2)
    return _name(portal), _name(statement), at


def _target(raw: bytes) -> tuple[str, str]:
    _need(raw, 5, 2)
    what = raw[5]
    if what not in b"SP":
        raise ProtocolError("a Describe or Close message names neither a statement nor a portal")
    (name,), at = _texts(raw, 6, 1)
    _end(raw, at)
    return chr(what), _name(name)


def _describe(raw: bytes) -> Describe:
    return Describe(raw, *_target(raw))


def _close(raw: bytes) -> Close:
    return Close(raw, *_target(raw))


def _execute(raw: bytes) -> Execute:
    (portal,), at = _texts(raw, 5, 1)
    _need(raw, at, 4)
    _end(raw, at + 4)
    (max_rows,) = _U32.unpack_from(raw, at)
    return Execute(raw, _name(portal), max_rows)


def _function_call(raw: bytes) -> FunctionCall:
    _need(raw, 5, 4)
    (function,) = _U32.unpack_from(raw, 5)
    return FunctionCall(raw, function)


def _copy_fail(raw: bytes) -> CopyFail:
    _, at = _texts(raw, 5, 1)
    _end(raw, at)
    return CopyFail(raw)


def _bare(make: Callable[[bytes], Event]) -> Callable[[bytes], Event]:
    def read(raw: bytes) -> Event:
        _end(raw, 5)
        return make(raw)

    return read


# Type: its name, the bound of its length, how to read it, and whether the same bytes come again and again.
_READERS: dict[int, tuple[str, int, Callable[[bytes], Event], bool]] = {
    ord("Q"): ("Query", MAX_STATEMENT, _query, False),
    ord("P"): ("Parse", MAX_STATEMENT, _parse, True),
    ord("B"): ("Bind", MAX_BIND, _bind, False),
    ord("D"): ("Describe", MAX_SMALL, _describe, True),
    ord("E"): ("Execute", MAX_SMALL, _execute, True),
    ord("C"): ("Close", MAX_SMALL, _close, True),
    ord("S"): ("Sync", MAX_SMALL, _bare(Sync), True),
    ord("H"): ("Flush", MAX_SMALL, _bare(Flush), True),
    ord("F"): ("FunctionCall", MAX_BIND, _function_call, False),
    ord("c"): ("CopyDone", MAX_SMALL, _bare(CopyDone), False),
    ord("f"): ("CopyFail", MAX_SMALL, _copy_fail, False),
    ord("X"): ("Terminate", MAX_SMALL, _bare(Terminate), False),
}
_known: dict[bytes, Event] = {}
