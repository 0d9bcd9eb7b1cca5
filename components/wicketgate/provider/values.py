"""Property values as they travel between the Pulumi engine and a provider.

How this works: the protocol sends a property map as a `google.protobuf.Struct`. What JSON cannot say is an
object whose key `SIGNATURE_KEY` holds one of the signatures below (secret, output, asset, archive, resource
reference), and a value that is not known yet (during a preview) is a string holding a well-known UUID, one
per expected type.
Source: pulumi `sdk/go/common/resource/plugin/rpc.go` and `sdk/go/common/resource/sig/sig.go`.

Here such a map is a plain Python dict: an unknown is `UNKNOWN`, a secret is `Secret(value)`, wherever it
stands. Whole numbers come back as `int` (the wire knows doubles alone), so that equality and JSON read as
one expects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf import struct_pb2

SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a protocol constant, no secret
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
ASSET_SIGNATURE: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"

UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What we send; the engine reads any of the seven below the same way."""

_UNKNOWN_TEXTS: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        UNKNOWN_TEXT,  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class _Unknown:
    """The one value that is not known before the update runs."""

    _instance: "_Unknown | None" = None

    def __new__(cls) -> "_Unknown":
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value has no truth; compare with `is UNKNOWN`")


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that the engine keeps encrypted in its state. Its text never shows what is inside."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


def decode(struct: struct_pb2.Struct | None) -> dict[str, Any]:
    """A property map from the wire as a dict; an absent one is empty.

    Output values become their value, `UNKNOWN` if they have none, inside `Secret` if they are secret (their
    dependencies are the engine's business). Assets, archives and resource references stay as plain dicts
    with their signature.
    """
    if struct is None:
        return {}
    return {key: decode_value(value) for key, value in struct.fields.items()}


def decode_value(value: struct_pb2.Value) -> Any:
    """One value from the wire; see `decode`."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWN_TEXTS else value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [decode_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_object(value.struct_value)
    return None


def _decode_object(struct: struct_pb2.Struct) -> Any:
    fields = struct.fields
    signature = fields[SIGNATURE_KEY].string_value if SIGNATURE_KEY in fields else ""
    if signature == SECRET_SIGNATURE:
        return Secret(decode_value(fields["value"]))
    if signature == OUTPUT_SIGNATURE:
        inner = decode_value(fields["value"]) if "value" in fields else UNKNOWN
        return Secret(inner) if "secret" in fields and fields["secret"].bool_value else inner
    return {key: decode_value(item) for key, item in fields.items()}


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """A dict as a property map for the wire. Raises TypeError on a value that Pulumi has no form for."""
    return struct_pb2.Struct(fields={key: encode_value(value) for key, value in properties.items()})


def encode_value(value: Any) -> struct_pb2.Value:
    """One value for the wire; see `encode`."""
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_TEXT)
    if isinstance(value, Secret):
        return struct_pb2.Value(
            struct_value=struct_pb2.Struct(
                fields={
                    SIGNATURE_KEY: struct_pb2.Value(string_value=SECRET_SIGNATURE),
                    "value": encode_value(value.value),
                }
            )
        )
    if isinstance(value, bool):  # before int: a bool is one
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(cast(Mapping[str, Any], value)))
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        items = cast(Iterable[Any], value)
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[encode_value(item) for item in items]))
    raise TypeError(f"a property cannot hold a `{type(value).__name__}`")


def reveal(value: Any) -> Any:
    """The same value with every `Secret` opened, at any depth. For requests, never for logs or messages."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in cast(Mapping[str, Any], value).items()}
    if isinstance(value, list):
        return [reveal(item) for item in cast(list[Any], value)]
    return value


def holds_unknown(value: Any) -> bool:
    """Whether something in the value, at any depth, is not known yet."""
    return _holds(value, lambda item: item is UNKNOWN)


def holds_secret(value: Any) -> bool:
    """Whether something in the value, at any depth, is marked secret."""
    return _holds(value, lambda item: isinstance(item, Secret))


def _holds(value: Any, wanted: Any) -> bool:
    if wanted(value):
        return True
    if isinstance(value, Secret):
        return _holds(value.value, wanted)
    if isinstance(value, Mapping):
        return any(_holds(item, wanted) for item in cast(Mapping[str, Any], value).values())
    if isinstance(value, list):
        return any(_holds(item, wanted) for item in cast(list[Any], value))
    return False
