"""PostgreSQL's protocol 3 messages: type bytes, how to build them, and how to read those with an inner structure.

How this works: a message is a type byte, a big-endian length (itself included) and a body; texts end with NUL. The
builders return whole messages; the readers take bodies. Anything malformed raises `ProtocolError`. Layouts: PostgreSQL
manual, chapter "Frontend/Backend Protocol", section "Message Formats".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import NamedTuple

from wicketgate_gateway.contract.errors import WicketgateError

_U32 = Struct(">I")
_U16 = Struct(">H")
_I32 = Struct(">i")
_FIELD_TAIL = Struct(">IhIhih")

MAX_NAME_BYTES = 63
"""NAMEDATALEN - 1. The server cuts longer statement and portal names without a word, so two names could be one."""


class ProtocolError(WicketgateError):
    """Bytes that break the protocol; `sqlstate` is what the peer is told."""

    code = "protocol-violation"

    def __init__(self, message: str, *, sqlstate: str = "08P01", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.sqlstate = sqlstate


class FieldDescription(NamedTuple):
    """One column of a RowDescription. `table_oid` and `column_number` are 0 where it is no plain column of a table."""

    name: str
    table_oid: int
    column_number: int
    type_oid: int
    type_size: int = -1
    type_modifier: int = -1
    format: int = 0


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message of type `kind`."""
    return kind + _U32.pack(len(body) + 4) + body


def cstring(text: str) -> bytes:
    """A NUL-ended text; a NUL inside is an error of the caller."""
    data = text.encode()
    if b"\0" in data:
        raise ProtocolError("a text holds a NUL")
    return data + b"\0"


# What a frontend sends.


def query(text: str) -> bytes:
    """Query."""
    return message(b"Q", cstring(text))


def parse(name: str, text: str, types: Sequence[int] = ()) -> bytes:
    """Parse."""
    body = cstring(name) + cstring(text) + _U16.pack(len(types)) + b"".join(_U32.pack(oid) for oid in types)
    return message(b"P", body)


def bind(
    portal: str,
    statement: str,
    parameters: Sequence[bytes | None] = (),
    formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    """Bind."""
    body = [cstring(portal), cstring(statement), _U16.pack(len(formats)), *(_U16.pack(f) for f in formats)]
    body.append(_U16.pack(len(parameters)))
    body += [_I32.pack(-1) if value is None else _I32.pack(len(value)) + value for value in parameters]
    body += [_U16.pack(len(result_formats)), *(_U16.pack(f) for f in result_formats)]
    return message(b"B", b"".join(body))


def describe(what: bytes, name: str) -> bytes:
    """Describe; `what` is `S` for a statement or `P` for a portal."""
    return message(b"D", what + cstring(name))


def close(what: bytes, name: str) -> bytes:
    """Close; `what` is `S` for a statement or `P` for a portal."""
    return message(b"C", what + cstring(name))


def execute(portal: str, max_rows: int = 0) -> bytes:
    """Execute."""
    return message(b"E", cstring(portal) + _U32.pack(max_rows))


def password(secret: str) -> bytes:
    """PasswordMessage."""
    return message(b"p", cstring(secret))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def copy_data(data: bytes) -> bytes:
    """CopyData, of either direction."""
    return message(b"d", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail."""
    return message(b"f", cstring(reason))


# What a backend sends.

AUTHENTICATION_OK = message(b"R", _U32.pack(0))
AUTHENTICATION_CLEARTEXT = message(b"R", _U32.pack(3))
PARSE_COMPLETE = message(b"1")
BIND_COMPLETE = message(b"2")
CLOSE_COMPLETE = message(b"3")
NO_DATA = message(b"n")
EMPTY_QUERY = message(b"I")
PORTAL_SUSPENDED = message(b"s")


def backend_key_data(pid: int, secret: bytes) -> bytes:
    """BackendKeyData."""
    return message(b"K", _U32.pack(pid) + secret)


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return message(b"S", cstring(name) + cstring(value))


def ready_for_query(status: bytes = b"I") -> bytes:
    """ReadyForQuery; `status` is `I` (idle), `T` (in a transaction) or `E` (in a failed one)."""
    return message(b"Z", status)


def negotiate_protocol_version(minor: int, unknown: Sequence[str]) -> bytes:
    """NegotiateProtocolVersion: the newest minor version that we speak, and the options that we don't."""
    body = _U32.pack(minor) + _U32.pack(len(unknown)) + b"".join(cstring(name) for name in unknown)
    return message(b"v", body)


def command_complete(tag: str) -> bytes:
    """CommandComplete."""
    return message(b"C", cstring(tag))


def row_description(fields: Sequence[FieldDescription]) -> bytes:
    """RowDescription."""
    body = [_U16.pack(len(fields))]
    for f in fields:
        tail = _FIELD_TAIL.pack(f.table_oid, f.column_number, f.type_oid, f.type_size, f.type_modifier, f.format)
        body.append(cstring(f.name) + tail)
    return message(b"T", b"".join(body))


def parameter_description(types: Sequence[int] = ()) -> bytes:
    """ParameterDescription."""
    return message(b"t", _U16.pack(len(types)) + b"".join(_U32.pack(oid) for oid in types))


def data_row(values: Sequence[bytes | None]) -> bytes:
    """DataRow."""
    body = [_U16.pack(len(values))]
    body += [_I32.pack(-1) if value is None else _I32.pack(len(value)) + value for value in values]
    return message(b"D", b"".join(body))


def copy_response(kind: bytes, columns: int = 1, format: int = 0) -> bytes:  # noqa: A002 - the protocol's word
    """CopyInResponse (`G`) or CopyOutResponse (`H`)."""
    return message(kind, bytes([format]) + _U16.pack(columns) + _U16.pack(format) * columns)


def report(kind: bytes, fields: Mapping[str, str]) -> bytes:
    """ErrorResponse (`E`) or NoticeResponse (`N`) from fields by their code letters, in the given order."""
    return message(kind, b"".join(code.encode() + cstring(text) for code, text in fields.items() if text) + b"\0")


# Readers.


def read_copy_response(body: bytes) -> tuple[bool, int]:
    """Of a CopyOutResponse whether it is binary, and the number of columns. Raises ProtocolError."""
    if len(body) < 3:
        raise ProtocolError("a CopyOutResponse is too short")
    (columns,) = _U16.unpack_from(body, 1)
    formats = body[3:]
    if body[0] > 1 or len(formats) != 2 * columns or any(format_ != body[0] for format_ in formats[1::2]):
        raise ProtocolError("a CopyOutResponse does not fit its columns")
    return body[0] == 1, columns


def read_cstring(body: bytes, start: int) -> tuple[str, int]:
    """The text at `start` and the offset behind its NUL."""
    end = body.find(b"\0", start)
    if end < 0:
        raise ProtocolError("a text does not end")
    try:
        return body[start:end].decode(), end + 1
    except UnicodeDecodeError:
        raise ProtocolError("a text is not UTF-8", sqlstate="22021") from None


def read_row_description(body: bytes) -> tuple[FieldDescription, ...]:
    """The fields of a RowDescription. A label that is not UTF-8 keeps its bytes as surrogates."""
    if len(body) < 2:
        raise ProtocolError("a RowDescription is too short")
    (count,) = _U16.unpack_from(body)
    position = 2
    fields: list[FieldDescription] = []
    for _ in range(count):
        end = body.find(b"\0", position)
        if end < 0 or end + 1 + _FIELD_TAIL.size > len(body):
            raise ProtocolError("a RowDescription is cut short")
        name = body[position:end].decode(errors="surrogateescape")
        fields.append(FieldDescription(name, *_FIELD_TAIL.unpack_from(body, end + 1)))
        position = end + 1 + _FIELD_TAIL.size
    if position != len(body):
        raise ProtocolError("a RowDescription is too long")
    return tuple(fields)


def read_data_row(body: bytes) -> list[bytes | None]:
    """The values of a DataRow."""
    if len(body) < 2:
        raise ProtocolError("a DataRow is too short")
    (count,) = _U16.unpack_from(body)
    position, size = 2, len(body)
    values: list[bytes | None] = []
    for _ in range(count):
        if position + 4 > size:
            raise ProtocolError("a DataRow is cut short")
        (length,) = _I32.unpack_from(body, position)
        position += 4
        if length == -1:
            values.append(None)
            continue
        if length < 0 or position + length > size:
            raise ProtocolError("a DataRow is cut short")
        values.append(body[position : position + length])
        position += length
    if position != size:
        raise ProtocolError("a DataRow is too long")
    return values


def read_report(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their code letters; what is not UTF-8 is replaced."""
    fields: dict[str, str] = {}
    for part in body.split(b"\0"):
        if not part:
            break
        fields[chr(part[0])] = part[1:].decode(errors="replace")
    return fields


def read_parameter_status(body: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus."""
    name, at = read_cstring(body, 0)
    value, _ = read_cstring(body, at)
    return name, value


def read_command_tag(body: bytes) -> str:
    """The tag of a CommandComplete."""
    return body.rstrip(b"\0").decode(errors="replace")


def rows_of(tag: str) -> int | None:
    """The row count that a command tag ends with, if it has one."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdecimal() and " " in tag else None
