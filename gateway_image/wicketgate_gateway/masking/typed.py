"""Masks of values that are no text: a replacement of the column's own type, in its text or binary format.

How this works: a type's `read` turns the wire form into a Python value, its `mask` chooses another one, its `write`
turns that back. Whatever does not fit (another DateStyle, NaN, an infinite date) comes out as NULL.

Formats: PostgreSQL's `*_send` and `*_out` functions (src/backend/utils/adt). Dates count from 2000-01-01.
"""

from __future__ import annotations

import ipaddress
import json
import struct
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any

from wicketgate_gateway.contract.policy import MaskMethod as M
from wicketgate_gateway.masking import arrays
from wicketgate_gateway.masking.text import REDACTED, format_preserving, masked_text, number, stream

TypedMasker = Callable[[bytes], bytes | None]
_EPOCH = date(2000, 1, 1)
_START = date(1970, 1, 1)
_DAYS = 36525
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Type:
    """How values of one type are read, masked and written; `None` from `mask` is NULL. All may raise ValueError."""

    read: Callable[[bytes, bool], Any]
    mask: Callable[[M, Any, bytes, bytes], Any]
    """Method, value, its wire form, key."""
    write: Callable[[Any, bool], bytes]


def masker(method: M, oid: int, key: bytes, *, binary: bool) -> TypedMasker | None:
    """The function that masks values of this type; None for a type that is not known here. It never raises."""
    element = ARRAYS.get(oid)
    if element is not None:
        one = _text(method, key) if element in arrays.TEXT_ELEMENTS else masker(method, element, key, binary=binary)
        return None if one is None else lambda value: arrays.masked(value, one, binary=binary)
    kind = TYPES.get(oid)
    if kind is None:
        return None

    def mask(value: bytes) -> bytes | None:
        # Struct errors, overflows and decimal errors are no ValueErrors.
        with suppress(ValueError, ArithmeticError, struct.error, IndexError, DecimalException, RecursionError):
            found = kind.mask(method, kind.read(value, binary), value, key)
            return None if found is None else kind.write(found, binary)
        return None

    return mask


def _text(method: M, key: bytes) -> TypedMasker:
    return lambda value: masked_text(method, value, key)


# Numbers.


def _digits(method: M, text: str, wire: bytes, key: bytes) -> str | None:
    """Another number with as many digits, or its last four, as text."""
    if method is M.REDACT:
        return "0"
    whole = text.lstrip("-")
    if not whole.replace(".", "", 1).isdecimal():
        return None
    if method is M.PARTIAL:
        kept = whole.partition(".")[0]
        return kept[-4:] if len(kept) >= 8 else "0"
    return format_preserving(text.encode(), key).decode()


def _integer(size: str, most: int) -> Type:
    def mask(method: M, value: int, wire: bytes, key: bytes) -> int | None:
        if method is M.HASH:
            return number(str(value).encode(), key, most + 1)
        found = _digits(method, str(value), wire, key)
        if found is None:
            return None
        other = int(found)
        return other if -most <= other <= most else int(found[-len(str(most)) + 1 :])  # too large: one digit less

    return Type(
        lambda data, binary: struct.unpack(size, data)[0] if binary else int(data),
        mask,
        lambda value, binary: struct.pack(size, value) if binary else str(value).encode(),
    )


def _float(size: str) -> Type:
    def mask(method: M, value: float, wire: bytes, key: bytes) -> float | None:
        if method is M.HASH:
            return float(number(repr(value).encode(), key, 1 << 24))
        if method is M.PARTIAL:
            return 0.0
        found = _digits(method, repr(value), wire, key)
        return None if found is None else float(found)

    return Type(
        lambda data, binary: struct.unpack(size, data)[0] if binary else float(data),
        mask,
        lambda value, binary: struct.pack(size, value) if binary else repr(value).encode(),
    )


def _read_numeric(data: bytes, binary: bool) -> str:
    if not binary:
        return data.decode()
    count, weight, sign, scale = struct.unpack_from(">HhHH", data)
    if sign not in (0, 0x4000):  # NaN, infinities
        raise ValueError
    groups = struct.unpack_from(f">{count}H", data, 8)
    found = sum((Decimal(group).scaleb(4 * (weight - i)) for i, group in enumerate(groups)), Decimal(0))
    text = f"{found:.{scale}f}"
    return "-" + text if sign else text


def _write_numeric(value: str, binary: bool) -> bytes:
    if not binary:
        return value.encode()
    sign = 0x4000 if value.startswith("-") else 0
    whole, _, fraction = value.lstrip("-").partition(".")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    padded = whole + fraction + "0" * (-len(fraction) % 4)
    groups = [int(padded[i : i + 4]) for i in range(0, len(padded), 4)]
    weight = len(whole) // 4 - 1
    while groups and not groups[0]:
        del groups[0]
        weight -= 1
    while groups and not groups[-1]:
        del groups[-1]
    if not groups:
        weight = sign = 0
    return struct.pack(f">HhHH{len(groups)}H", len(groups), weight, sign, len(fraction), *groups)


def _mask_numeric(method: M, value: str, wire: bytes, key: bytes) -> str | None:
    if method is M.HASH:
        return str(number(value.encode(), key, 10**15))
    return _digits(method, value, wire, key)


# Dates.


def _read_date(data: bytes, binary: bool) -> date:
    return _EPOCH + timedelta(days=struct.unpack(">i", data)[0]) if binary else date.fromisoformat(data.decode())


def _write_date(value: date, binary: bool) -> bytes:
    return struct.pack(">i", (value - _EPOCH).days) if binary else value.isoformat().encode()


def _mask_date(method: M, value: date, wire: bytes, key: bytes) -> date:
    if method is M.REDACT:
        return _START
    if method is M.PARTIAL:
        return date(value.year, 1, 1)
    return _START + timedelta(days=number(value.isoformat().encode(), key, _DAYS))


def _timestamp(zone: bool) -> Type:
    start = datetime(2000, 1, 1, tzinfo=UTC)

    def read(data: bytes, binary: bool) -> datetime:
        if binary:
            return start + timedelta(microseconds=struct.unpack(">q", data)[0])
        found = datetime.fromisoformat(data.decode())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)

    def mask(method: M, value: datetime, wire: bytes, key: bytes) -> datetime:
        if method is M.REDACT:
            return datetime(1970, 1, 1, tzinfo=UTC)
        if method is M.PARTIAL:
            return datetime(value.year, 1, 1, tzinfo=UTC)
        seconds = number(value.isoformat().encode(), key, _DAYS * 86400)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    def write(value: datetime, binary: bool) -> bytes:
        if binary:
            return struct.pack(">q", (value - start) // timedelta(microseconds=1))
        return (value.strftime("%Y-%m-%d %H:%M:%S").zfill(19) + ("+00" if zone else "")).encode()

    return Type(read, mask, write)


# Identifiers, networks, bytes, documents.


def _mask_uuid(method: M, value: uuid.UUID, wire: bytes, key: bytes) -> uuid.UUID:
    if method is M.REDACT:
        return uuid.UUID(int=0)
    if method is M.PARTIAL:
        return uuid.UUID(int=value.int & 0xFFFF)
    return uuid.UUID(int=number(value.bytes, key, 1 << 128), version=4)


_Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _network(cidr: bool) -> Type:
    def read(data: bytes, binary: bool) -> _Network:
        if binary:  # family (PGSQL_AF_INET is 2, PGSQL_AF_INET6 is 3), bits, whether a cidr, size, address
            return ipaddress.ip_interface((data[4:], data[1]))
        return ipaddress.ip_interface(data.decode())

    def mask(method: M, value: _Network, wire: bytes, key: bytes) -> _Network:
        v4, bits = value.version == 4, value.max_prefixlen
        address = 0
        if method is M.PARTIAL:
            kept = 24 if v4 else 48
            address = int(value.ip) >> (bits - kept) << (bits - kept)
        elif method is not M.REDACT:
            address = (
                (10 << 24 | number(value.packed, key, 1 << 24))
                if v4
                else 0xFD << 120 | number(value.packed, key, 1 << 120)
            )
        return ipaddress.ip_interface((address.to_bytes(bits // 8, "big"), bits))

    def write(value: _Network, binary: bool) -> bytes:
        size = value.max_prefixlen // 8
        if binary:
            return bytes((2 if size == 4 else 3, value.max_prefixlen, cidr, size)) + value.packed
        return f"{value.ip}/{value.max_prefixlen}".encode() if cidr else str(value.ip).encode()

    return Type(read, mask, write)


def _read_bytea(data: bytes, binary: bool) -> bytes:
    if binary:
        return data
    if data[:2] != b"\\x":  # bytea_output = escape
        raise ValueError
    return bytes.fromhex(data[2:].decode())


def _mask_bytea(method: M, value: bytes, wire: bytes, key: bytes) -> bytes:
    if method is M.REDACT:
        return REDACTED
    if method is M.PARTIAL:
        return value[-4:] if len(value) >= 8 else b""
    drawn = stream(b"bytes:" + value, key)
    return bytes(next(drawn) for _ in range(16 if method is M.HASH else len(value)))


def _json(jsonb: bool) -> Type:
    def read(data: bytes, binary: bool) -> bytes:
        if binary and jsonb:
            if data[:1] != b"\1":
                raise ValueError
            return data[1:]
        return data

    def mask(method: M, value: bytes, wire: bytes, key: bytes) -> bytes:
        if method is M.FORMAT:
            found = _mapped(json.loads(value, parse_float=str, parse_int=str, parse_constant=str), key)
        else:
            found = masked_text(method, value, key).decode()
            if method is M.PARTIAL:  # the last characters of a document are brackets
                found = REDACTED.decode()
        return json.dumps(found, ensure_ascii=False).encode(errors="replace")

    return Type(read, mask, lambda value, binary: b"\1" + value if binary and jsonb else value)


def _mapped(value: Any, key: bytes) -> Any:
    """A document with each text and number replaced; numbers come out as texts, since their digits are not numbers."""
    if isinstance(value, dict):
        return {name: _mapped(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, key) for inner in value]
    if isinstance(value, str):
        return format_preserving(value.encode(errors="replace"), key).decode()
    return None


def _mask_bool(method: M, value: bool, wire: bytes, key: bytes) -> bool | None:
    return False if method is M.REDACT else None  # of two values, each replacement tells which it was


TYPES: Mapping[int, Type] = {
    16: Type(
        lambda data, binary: data in (b"\1", b"t"),
        _mask_bool,
        lambda value, binary: (b"\1" if value else b"\0") if binary else (b"t" if value else b"f"),
    ),
    21: _integer(">h", 2**15 - 1),
    23: _integer(">i", 2**31 - 1),
    20: _integer(">q", 2**63 - 1),
    26: _integer(">I", 2**32 - 1),
    700: _float(">f"),
    701: _float(">d"),
    1700: Type(_read_numeric, _mask_numeric, _write_numeric),
    1082: Type(_read_date, _mask_date, _write_date),
    1114: _timestamp(zone=False),
    1184: _timestamp(zone=True),
    2950: Type(
        lambda data, binary: uuid.UUID(bytes=data) if binary else uuid.UUID(data.decode()),
        _mask_uuid,
        lambda value, binary: value.bytes if binary else str(value).encode(),
    ),
    869: _network(cidr=False),
    650: _network(cidr=True),
    17: Type(_read_bytea, _mask_bytea, lambda value, binary: value if binary else b"\\x" + value.hex().encode()),
    114: _json(jsonb=False),
    3802: _json(jsonb=True),
}
"""By OID (src/include/catalog/pg_type.dat)."""

ARRAYS: Mapping[int, int] = {
    1000: 16,
    1005: 21,
    1007: 23,
    1016: 20,
    1028: 26,
    1021: 700,
    1022: 701,
    1231: 1700,
    1182: 1082,
    1115: 1114,
    1185: 1184,
    2951: 2950,
    1041: 869,
    651: 650,
    1001: 17,
    199: 114,
    3807: 3802,
    1009: 25,
    1015: 1043,
    1014: 1042,
    1003: 19,
}
"""Array types and the types of their elements."""
