"""Values as people read them: a column's bytes in text or binary format.

How this works: text format is what the server would print. Binary format is decoded for the common types; all else is
shown in hexadecimal. Source: PostgreSQL's `*_send` functions (`src/backend/utils/adt`).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_SHOWN = 4096


def _integer(data: bytes) -> str:
    return str(int.from_bytes(data, "big", signed=True))


def _float4(data: bytes) -> str:
    return f"{struct.unpack('>f', data)[0]:.7g}"


def _float8(data: bytes) -> str:
    return repr(struct.unpack(">d", data)[0])


def _text(data: bytes) -> str:
    return data.decode()


def _timestamp(data: bytes) -> str:
    moment = _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
    return moment.replace(tzinfo=None).isoformat(" ")


def _timestamptz(data: bytes) -> str:
    return _timestamp(data) + "+00"


def _date(data: bytes) -> str:
    return (date(2000, 1, 1) + timedelta(days=int.from_bytes(data, "big", signed=True))).isoformat()


def _numeric(data: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">hhHH", data)
    if sign & 0xC000 == 0xC000:
        return {0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign, "NaN")
    digits = struct.unpack_from(f">{count}h", data, 8)
    if abs(weight) > 2500:
        raise ValueError("too long to be shown")
    number = [digits[i] if 0 <= i < count else 0 for i in range(weight + 1)]
    whole = "".join(f"{digit:04d}" for digit in number).lstrip("0") or "0"
    after = -(-scale // 4)
    fraction = [digits[i] if 0 <= i < count else 0 for i in range(weight + 1, weight + 1 + after)]
    text = "".join(f"{digit:04d}" for digit in fraction)[:scale]
    return ("-" if sign == 0x4000 else "") + whole + (f".{text}" if text else "")


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\x01":
        raise ValueError("an unknown version of jsonb")
    return data[1:].decode()


_BINARY: dict[int, Callable[[bytes], str]] = {
    16: lambda data: "t" if data != b"\0" else "f",
    18: _text,
    19: _text,
    20: _integer,
    21: _integer,
    23: _integer,
    25: _text,
    26: lambda data: str(int.from_bytes(data, "big")),
    114: _text,
    700: _float4,
    701: _float8,
    1042: _text,
    1043: _text,
    1082: _date,
    1114: _timestamp,
    1184: _timestamptz,
    1700: _numeric,
    2950: lambda data: str(uuid.UUID(bytes=data)),
    3802: _jsonb,
}


def show_parameters(parameters: Sequence[bytes | None], formats: Sequence[int]) -> list[str | None]:
    """Bound parameters as text. Binary ones are in hexadecimal: what Bind says does not name their types."""
    shown: list[str | None] = []
    for number, value in enumerate(parameters):
        code = formats[0] if len(formats) == 1 else formats[number] if number < len(formats) else 0
        shown.append(None if value is None else show(value, 0, code))
    return shown


def show(value: bytes, type_oid: int, format_: int) -> str:
    """`value` as text: never an error, whatever the bytes; cut after 4,096 characters."""
    try:
        text = _BINARY[type_oid](value) if format_ else value.decode()
    except (KeyError, ValueError, OverflowError, struct.error):
        text = "\\x" + value[:_MAX_SHOWN].hex()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"
