"""The first messages of a client, before and within TLS: bytes in, events out.

How this works: until log-in a client's messages have no type byte. `FirstMessage` reads one of them: SSLRequest,
GSSENCRequest, CancelRequest or StartupMessage, told apart by a number. `PasswordMessage` is the answer to our request
for the password. Everything is bounded, since it comes from strangers. Source: PostgreSQL manual, "Message Flow",
"Start-up" and "Message Formats"; bounds as in the server's own backend_startup.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TypeAlias

from wicketgate_gateway.wire.postgres.messages import ProtocolError, read_cstring

_U32 = Struct(">I")
MAX_START_UP = 10_000
MAX_PASSWORD = 20_000
_MAX_CANCEL = 12 + 256
_CANCEL, _SSL, _GSSENC = 80877102, 80877103, 80877104
MAJOR = 3


@dataclass(frozen=True, slots=True)
class SslRequest:
    """May we speak TLS?"""


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    """May we encrypt by Kerberos? (No.)"""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel what the session with this key runs; the only message of its connection."""

    pid: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartUp:
    """A session begins. `options` are the `_pq_.` ones, which are protocol extensions."""

    minor: int
    parameters: dict[str, str]
    options: tuple[str, ...]


First: TypeAlias = SslRequest | GssEncRequest | CancelRequest | StartUp


class FirstMessage:
    """One message without a type byte. `rest` is what came behind it."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""

    @property
    def wanted(self) -> int:
        """Bytes that the message still needs, as far as is known: who reads no more than that reads nothing else."""
        have = len(self._buffer)
        return 8 - have if have < 8 else _U32.unpack_from(self._buffer)[0] - have

    def feed(self, data: bytes) -> First | None:
        """The message, once it is complete. Raises ProtocolError."""
        buffer = self._buffer = self._buffer + data
        if len(buffer) < 8:
            return None
        length, code = _U32.unpack_from(buffer)[0], _U32.unpack_from(buffer, 4)[0]
        limit = {_SSL: 8, _GSSENC: 8, _CANCEL: _MAX_CANCEL}.get(code, MAX_START_UP)
        if not 8 <= length <= limit:
            raise ProtocolError("the first message has an impossible length: this port speaks PostgreSQL's protocol")
        if len(buffer) < length:
            return None
        self.rest = buffer[length:]
        self._buffer = b""
        body = buffer[8:length]
        if code == _SSL:
            return SslRequest()
        if code == _GSSENC:
            return GssEncRequest()
        if code == _CANCEL:
            if len(body) < 5:
                raise ProtocolError("a CancelRequest is too short")
            return CancelRequest(_U32.unpack_from(body)[0], body[4:])
        return _start_up(code, body)


def _start_up(code: int, body: bytes) -> StartUp:
    if code >> 16 != MAJOR:
        raise ProtocolError(
            f"protocol {code >> 16}.{code & 0xFFFF} is not supported", sqlstate="0A000", remedy="use protocol 3.0"
        )
    parameters: dict[str, str] = {}
    options: list[str] = []
    position = 0
    while position < len(body) and body[position]:
        name, position = read_cstring(body, position)
        value, position = read_cstring(body, position)
        if name in parameters:
            raise ProtocolError(f"the start-up parameter `{name[:63]}` stands twice")
        if name.startswith("_pq_."):
            options.append(name)
        else:
            parameters[name] = value
    if position != len(body) - 1:
        raise ProtocolError("the start-up message does not end where it says")
    return StartUp(code & 0xFFFF, parameters, tuple(options))


class Password:
    """The one message that answers AuthenticationCleartextPassword. Holds a secret: never log or keep it."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""

    def feed(self, data: bytes) -> str | None:
        """The password, once it is complete. Raises ProtocolError, whose text does not hold it."""
        buffer = self._buffer = self._buffer + data
        if not buffer:
            return None
        if buffer[0] != ord("p"):
            raise ProtocolError("expected a password message")
        if len(buffer) < 5:
            return None
        (length,) = _U32.unpack_from(buffer, 1)
        if not 5 <= length <= MAX_PASSWORD:
            raise ProtocolError("the password message has an impossible length", remedy="the password is a token")
        if len(buffer) < length + 1:
            return None
        self._buffer, self.rest = b"", buffer[length + 1 :]
        body = buffer[5 : length + 1]
        if body.find(b"\0") != len(body) - 1 or not body.isascii():
            raise ProtocolError("the password message is malformed")
        return body[:-1].decode("ascii")
