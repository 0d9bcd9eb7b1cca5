"""What little is read of Kubernetes' protobuf form: the envelope, and the options of a deletion.

How this works: an object in this form is a magic number and a `runtime.Unknown`, whose `raw` can only be read with the
definition of its kind. So objects are not read here at all: the API server itself says, by a dry run, what one means.
Options of a deletion are no object that a dry run would answer; they are small and fixed, and become JSON.
Source: k8s.io/apimachinery/pkg/runtime/generated.proto and pkg/apis/meta/v1/generated.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from wicketgate_gateway.wire.kubernetes.request import RequestError

FORM: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"
_OPTIONS: Final = {
    1: ("gracePeriodSeconds", "integer"),
    2: ("preconditions", "preconditions"),
    3: ("orphanDependents", "boolean"),
    4: ("propagationPolicy", "text"),
    5: ("dryRun", "texts"),
    6: ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
}
_PRECONDITIONS: Final = {1: ("uid", "text"), 2: ("resourceVersion", "text")}


def delete_options(data: bytes) -> dict[str, Any]:
    """The options of a deletion as JSON has them. Raises RequestError."""
    if not data.startswith(MAGIC):
        raise RequestError("the body is not in Kubernetes' protobuf form")
    envelope = dict(_fields(data[len(MAGIC) :]))
    kind = dict(_fields(_bytes(envelope.get(1, b""))))
    if _bytes(kind.get(2, b"")) != b"DeleteOptions" or not set(envelope) <= {1, 2, 3, 4} or envelope.get(3):
        raise RequestError("the body is no `DeleteOptions`")
    version = _text(kind.get(1, b""))
    return {"kind": "DeleteOptions", "apiVersion": version, **_message(_bytes(envelope.get(2, b"")), _OPTIONS)}


def _message(data: bytes, known: dict[int, tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        if number not in known:
            raise RequestError("the options of the deletion hold what is not known here", remedy="send JSON")
        name, form = known[number]
        if form == "texts":
            found.setdefault(name, []).append(_text(value))
        elif name in found:
            raise RequestError("an option of the deletion stands twice", remedy="send JSON")
        elif form == "preconditions":
            found[name] = _message(_bytes(value), _PRECONDITIONS)
        elif form == "text":
            found[name] = _text(value)
        else:
            number_ = _number(value)
            found[name] = bool(number_) if form == "boolean" else number_
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif key & 7 == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise RequestError("the body is cut short")
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise RequestError("the body holds what is not known here", remedy="send JSON")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value - (1 << 64) if value >= 1 << 63 else value), at
    raise RequestError("the body is cut short")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise RequestError("the body holds a number where there is none")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise RequestError("the body holds no number where there is one")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise RequestError("the body holds what is not UTF-8") from None
