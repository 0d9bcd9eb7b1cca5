"""SFTP version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL), as far as deciding on it needs.

How this works: a packet is u32 length, u8 type and its payload, which but for INIT and VERSION begins with a u32 id.
Requests are parsed into what they are about (paths, a handle, flags) and made anew from that: nothing of a client is
passed on that was not understood. Data in WRITE and DATA packets is passed on as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAX_PACKET = 256 * 1024 + 1024
MAX_PATH = 4096
MAX_HANDLE = 256
VERSION = 3


class Type(IntEnum):
    """Packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
OP_UNSUPPORTED = 8

READ_FLAG, WRITE_FLAG, APPEND_FLAG, CREATE_FLAG, TRUNCATE_FLAG, EXCLUSIVE_FLAG = 1, 2, 4, 8, 16, 32
KNOWN_FLAGS = 63

EXTENSIONS: dict[bytes, bytes] = {
    b"posix-rename@openssh.com": b"pp",
    b"hardlink@openssh.com": b"pp",
    b"statvfs@openssh.com": b"p",
    b"fstatvfs@openssh.com": b"h",
    b"fsync@openssh.com": b"h",
    b"lsetstat@openssh.com": b"pa",
    b"limits@openssh.com": b"",
    b"expand-path@openssh.com": b"p",
}
"""Extended requests that are understood: their arguments are (p)aths, (h)andles, (a)ttributes. No other is offered."""

_ARGUMENTS: dict[int, bytes] = {
    Type.OPEN: b"pua",
    Type.CLOSE: b"h",
    Type.READ: b"hUu",
    Type.LSTAT: b"p",
    Type.FSTAT: b"h",
    Type.SETSTAT: b"pa",
    Type.FSETSTAT: b"ha",
    Type.OPENDIR: b"p",
    Type.READDIR: b"h",
    Type.REMOVE: b"p",
    Type.MKDIR: b"pa",
    Type.RMDIR: b"p",
    Type.REALPATH: b"p",
    Type.STAT: b"p",
    Type.RENAME: b"pp",
    Type.READLINK: b"p",
    Type.SYMLINK: b"pp",
}

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_HEAD = struct.Struct(">IBI")
_WRITE = struct.Struct(">QI")
ATTR_SIZE, ATTR_IDS, ATTR_MODE, ATTR_TIMES, ATTR_EXTENDED = 1, 2, 4, 8, 0x80000000


class SftpError(Exception):
    """The peer broke the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the client. Only what its type has is set."""

    type: int
    id: int
    paths: tuple[bytes, ...] = ()
    handle: bytes = b""
    flags: int = 0
    attributes: bytes = b""
    offset: int = 0
    length: int = 0
    data: bytes = b""
    extension: bytes = b""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is said of a file; what is not said is 0. Times are seconds since 1970."""

    size: int = 0
    mode: int = 0
    accessed: int = 0
    modified: int = 0


class PacketDecoder:
    """Bytes in, (type, payload) out."""

    __slots__ = ("_need", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._need = 5

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The packets that `data` completes. Raises SftpError."""
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, end = 0, len(data)
        while True:
            left = end - at
            if left < 5:
                self._need = 5
                break
            (length,) = _U32.unpack_from(data, at)
            if not 1 <= length <= MAX_PACKET:
                raise SftpError("a packet of wrong length")
            if left < 4 + length:
                self._need = 4 + length
                break
            yield data[at + 4], data[at + 5 : at + 4 + length]
            at += 4 + length
        self._size = end - at
        if self._size:
            self._parts.append(data[at:])


def packet(kind: int, number: int, payload: bytes = b"") -> bytes:
    """A packet with an id."""
    return _HEAD.pack(len(payload) + 5, kind, number) + payload


def string(value: bytes) -> bytes:
    """A string as SSH writes it."""
    return _U32.pack(len(value)) + value


def status(number: int, code: int, message: str = "") -> bytes:
    """A STATUS packet."""
    return packet(Type.STATUS, number, _U32.pack(code) + string(message.encode("utf-8", "replace")) + string(b""))


def init() -> bytes:
    """The client's first packet."""
    return struct.pack(">IBI", 5, Type.INIT, VERSION)


def version(payload: bytes) -> bytes:
    """The server's VERSION packet, with those extensions alone that are understood. Raises SftpError."""
    reader = _Reader(payload)
    if reader.u32() != VERSION:
        raise SftpError("the server speaks another version")
    out = [_U32.pack(VERSION)]
    while reader.left:
        name, value = reader.string(1024), reader.string(4096)
        if name in EXTENSIONS:
            out += (string(name), string(value))
    body = b"".join(out)
    return _U32.pack(len(body) + 1) + bytes((Type.VERSION,)) + body


def read_id(payload: bytes) -> int:
    """The id that a payload begins with. Raises SftpError."""
    if len(payload) < 4:
        raise SftpError("a packet without an id")
    return _U32.unpack_from(payload)[0]


def read_request(kind: int, payload: bytes) -> Request:
    """A client's request, understood whole. Raises SftpError."""
    reader = _Reader(payload)
    number = reader.u32()
    if kind == Type.WRITE:
        handle = reader.string(MAX_HANDLE)
        offset = reader.u64()
        data = reader.string(MAX_PACKET)
        reader.end()
        return Request(kind, number, handle=handle, offset=offset, data=data, length=len(data))
    extension = b""
    arguments = _ARGUMENTS.get(kind)
    if kind == Type.EXTENDED:
        extension = reader.string(256)
        arguments = EXTENSIONS.get(extension)
        if arguments is None:
            return Request(kind, number, extension=extension)
    if arguments is None:
        return Request(kind, number)
    paths: list[bytes] = []
    handle = attributes = b""
    flags = offset = length = 0
    for argument in arguments:
        match chr(argument):
            case "p":
                paths.append(reader.string(MAX_PATH))
            case "h":
                handle = reader.string(MAX_HANDLE)
            case "a":
                attributes = reader.attributes()
            case "U":
                offset = reader.u64()
            case _:
                flags = length = reader.u32()
    reader.end()
    return Request(kind, number, tuple(paths), handle, flags, attributes, offset, length, b"", extension)


def known(kind: int, extension: bytes = b"") -> bool:
    """Whether a request of this type is understood."""
    if kind == Type.EXTENDED:
        return extension in EXTENSIONS
    return kind == Type.WRITE or kind in _ARGUMENTS


def write_request(request: Request, number: int, paths: tuple[bytes, ...] | None = None) -> bytes:
    """A request as it goes to the server, with another id and perhaps other paths."""
    given = iter(request.paths if paths is None else paths)
    if request.type == Type.WRITE:
        body = string(request.handle) + _U64.pack(request.offset) + string(request.data)
        return packet(Type.WRITE, number, body)
    arguments = EXTENSIONS[request.extension] if request.type == Type.EXTENDED else _ARGUMENTS[request.type]
    parts: list[bytes] = [string(request.extension)] if request.type == Type.EXTENDED else []
    for argument in arguments:
        match chr(argument):
            case "p":
                parts.append(string(next(given)))
            case "h":
                parts.append(string(request.handle))
            case "a":
                parts.append(request.attributes)
            case "U":
                parts.append(_U64.pack(request.offset))
            case _:
                parts.append(_U32.pack(request.flags if request.type == Type.OPEN else request.length))
    return packet(request.type, number, b"".join(parts))


def realpath(number: int, path: bytes) -> bytes:
    """A REALPATH request."""
    return packet(Type.REALPATH, number, string(path))


def read_name(payload: bytes) -> bytes:
    """The one name of a NAME answer to REALPATH (`payload` begins with the id). Raises SftpError."""
    reader = _Reader(payload)
    reader.u32()
    if reader.u32() != 1:
        raise SftpError("an answer with several names")
    return reader.string(MAX_PATH)


def read_handle(payload: bytes) -> bytes:
    """The handle of a HANDLE answer. Raises SftpError."""
    reader = _Reader(payload)
    reader.u32()
    return reader.string(MAX_HANDLE)


def read_status(payload: bytes) -> int:
    """The code of a STATUS answer. Raises SftpError."""
    reader = _Reader(payload)
    reader.u32()
    return reader.u32()


def read_message(payload: bytes) -> str:
    """The text of a STATUS answer; empty if it has none."""
    reader = _Reader(payload)
    reader.u32()
    reader.u32()
    return reader.string(MAX_PATH).decode("utf-8", "replace") if reader.left >= 4 else ""


def read_names(payload: bytes) -> list[bytes]:
    """The file names of a NAME answer to READDIR. Raises SftpError."""
    reader = _Reader(payload)
    reader.u32()
    found: list[bytes] = []
    for _ in range(min(reader.u32(), MAX_PACKET)):
        found.append(reader.string(MAX_PATH))
        reader.string(MAX_PACKET)
        reader.attributes()
    return found


def read_attributes(raw: bytes) -> Attributes:
    """Attributes as ATTRS has them behind its id. Raises SftpError."""
    reader = _Reader(raw)
    flags = reader.u32()
    size = reader.u64() if flags & ATTR_SIZE else 0
    for _ in range(2 if flags & ATTR_IDS else 0):
        reader.u32()
    mode = reader.u32() if flags & ATTR_MODE else 0
    accessed, modified = (reader.u32(), reader.u32()) if flags & ATTR_TIMES else (0, 0)
    return Attributes(size, mode, accessed, modified)


def data_length(payload: bytes) -> int:
    """The length of a DATA answer's data, which begins at byte 8. Raises SftpError."""
    if len(payload) < 8:
        raise SftpError("a DATA packet without data")
    (length,) = _U32.unpack_from(payload, 4)
    if length != len(payload) - 8:
        raise SftpError("a DATA packet of wrong length")
    return length


def plain_attributes(attributes: bytes) -> bool:
    """Whether attributes are what anyone who writes a file gives it: size, times, and permissions without set-uid,
    set-gid and sticky bits; no owner."""
    if len(attributes) < 4:
        return True
    reader = _Reader(attributes)
    flags = reader.u32()
    if flags & (ATTR_IDS | ATTR_EXTENDED):
        return False
    if flags & ATTR_SIZE:
        reader.u64()
    return not flags & ATTR_MODE or not reader.u32() & 0o7000


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def u32(self) -> int:
        if self.left < 4:
            raise SftpError("a packet that ends too soon")
        (value,) = _U32.unpack_from(self._data, self._at)
        self._at += 4
        return value

    def u64(self) -> int:
        if self.left < 8:
            raise SftpError("a packet that ends too soon")
        (value,) = _U64.unpack_from(self._data, self._at)
        self._at += 8
        return value

    def string(self, most: int) -> bytes:
        length = self.u32()
        if length > most or length > self.left:
            raise SftpError("a string that is too long")
        self._at += length
        return self._data[self._at - length : self._at]

    def attributes(self) -> bytes:
        start = self._at
        flags = self.u32()
        if flags & ~(ATTR_SIZE | ATTR_IDS | ATTR_MODE | ATTR_TIMES | ATTR_EXTENDED):
            raise SftpError("attributes that are not known")
        if flags & ATTR_SIZE:
            self.u64()
        for flag, count in ((ATTR_IDS, 2), (ATTR_MODE, 1), (ATTR_TIMES, 2)):
            if flags & flag:
                for _ in range(count):
                    self.u32()
        if flags & ATTR_EXTENDED:
            for _ in range(min(self.u32(), 64)):
                self.string(1024)
                self.string(4096)
        return self._data[start : self._at]

    def end(self) -> None:
        if self.left:
            raise SftpError("a packet with more than it should have")
