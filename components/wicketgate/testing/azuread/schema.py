"""How a resource's properties are described, and what follows from a description alone.

How this works: a `Field` says of one property what the Terraform schema of the real provider says (kind,
required or optional, computed, forces a new resource, default, validation); a `Block` is an object of named
fields. Everything is in Pulumi's shape: camelCase names, and a list or set of at most one item is that item.
A set is a list without duplicates, in the order in which Terraform's `cty` iterates it.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Any, Final, cast

from wicketgate.provider.values import UNKNOWN

Validator = Callable[[Any, str], str | None]
"""Takes a value and its Terraform path; gives what is wrong with it, or None."""


class Kind(StrEnum):
    """The kind of a property's value."""

    TEXT = "text"
    FLAG = "flag"
    WHOLE = "whole"
    LIST = "list"
    SET = "set"
    MAP = "map"


class Mode(IntFlag):
    """Who decides on a property, and what a change of it means."""

    NONE = 0
    REQUIRED = 1
    OPTIONAL = 2
    COMPUTED = 4
    FORCE_NEW = 8
    SENSITIVE = 16


REQUIRED: Final = Mode.REQUIRED
OPTIONAL: Final = Mode.OPTIONAL
COMPUTED: Final = Mode.COMPUTED
FORCE_NEW: Final = Mode.FORCE_NEW
SENSITIVE: Final = Mode.SENSITIVE


@dataclass(frozen=True, kw_only=True)
class Field:
    """One property.

    `of` is the element of a list or set: a field for plain values, a block for objects. `tf` is the
    Terraform name where it is not the snake case of ours. `quiet` suppresses the diff of a block that is
    absent from the program and holds nothing but defaults (the provider's `DiffSuppressFunc`); `any_case` does so for
    texts that differ in case alone. `conflicts`, `one_of` and `some_of` are Terraform names, as in messages.
    """

    kind: Kind
    mode: Mode = Mode.NONE
    of: "Field | Block | None" = None
    default: Any = None
    check: Validator | None = None
    max_items: int = 0
    min_items: int = 0
    tf: str = ""
    quiet: bool = False
    plain_hash: bool = False
    any_case: bool = False
    deprecated: str = ""
    conflicts: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    some_of: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether the program must give it."""
        return bool(self.mode & REQUIRED)

    @property
    def settable(self) -> bool:
        """Whether the program may give it."""
        return bool(self.mode & (REQUIRED | OPTIONAL))

    @property
    def computed(self) -> bool:
        """Whether the provider decides where the program does not."""
        return bool(self.mode & COMPUTED)

    @property
    def forces_new(self) -> bool:
        """Whether a change replaces the resource."""
        return bool(self.mode & FORCE_NEW)

    @property
    def sensitive(self) -> bool:
        """Whether its value is a secret in outputs."""
        return bool(self.mode & SENSITIVE)

    @property
    def single(self) -> bool:
        """Whether it is a list or set in Terraform that Pulumi shows as its only item."""
        return self.kind in (Kind.LIST, Kind.SET) and self.max_items == 1

    @property
    def block(self) -> "Block | None":
        """The fields of its items, if they are objects."""
        return self.of if isinstance(self.of, Mapping) else None

    @property
    def item(self) -> "Field":
        """Its items as a field, if they are plain."""
        return self.of if isinstance(self.of, Field) else Field(kind=Kind.TEXT)


Block = Mapping[str, Field]
"""The fields of an object by their Pulumi names."""


def text(mode: Mode, **more: Any) -> Field:
    """A string."""
    return Field(kind=Kind.TEXT, mode=mode, **more)


def flag(mode: Mode, **more: Any) -> Field:
    """A boolean."""
    return Field(kind=Kind.FLAG, mode=mode, **more)


def whole(mode: Mode, **more: Any) -> Field:
    """An integer."""
    return Field(kind=Kind.WHOLE, mode=mode, **more)


def texts(mode: Mode, *, check: Validator | None = None, ordered: bool = False, **more: Any) -> Field:
    """A set of strings, or a list of them."""
    kind = Kind.LIST if ordered else Kind.SET
    return Field(kind=kind, mode=mode, of=Field(kind=Kind.TEXT, check=check), **more)


def mapping(mode: Mode, **more: Any) -> Field:
    """A map of strings."""
    return Field(kind=Kind.MAP, mode=mode, of=Field(kind=Kind.TEXT), **more)


def one(mode: Mode, block: Block, **more: Any) -> Field:
    """At most one object."""
    return Field(kind=Kind.LIST, mode=mode, of=block, max_items=1, **more)


def objects(mode: Mode, block: Block, *, ordered: bool = False, **more: Any) -> Field:
    """A set of objects, or a list of them."""
    return Field(kind=Kind.LIST if ordered else Kind.SET, mode=mode, of=block, **more)


def tf_name(name: str, field: Field | None = None) -> str:
    """The Terraform name of a property."""
    if field is not None and field.tf:
        return field.tf
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def zero(field: Field) -> Any:
    """What Terraform takes an absent value for (`None` for an object)."""
    if field.single:
        return None
    match field.kind:
        case Kind.TEXT:
            return ""
        case Kind.FLAG:
            return False
        case Kind.WHOLE:
            return 0
        case Kind.MAP:
            return {}
        case _:
            return []


def is_zero(value: Any) -> bool:
    """Whether Terraform makes no difference between this value and none."""
    return value is None or (value is not UNKNOWN and value in ("", False, 0, [], {}))


def holds_defaults_only(block: Block, value: Mapping[str, Any]) -> bool:
    """Whether an object says nothing that its absence would not say."""
    for name, field in block.items():
        item = value.get(name)
        if field.single and field.block and isinstance(item, Mapping):
            if not holds_defaults_only(field.block, cast(Mapping[str, Any], item)):
                return False
        elif not is_zero(item) and item != field.default:
            return False
    return True


def sort_set(values: Iterable[Any]) -> list[Any]:
    """Items of a set without duplicates, in cty's order: strings as such, objects by their hash bytes,
    unknown ones last.
    """
    known: dict[bytes, Any] = {}
    unknown: list[Any] = []
    for value in values:
        if value is UNKNOWN:
            unknown.append(value)
        else:
            known.setdefault(_hash_bytes(value), value)
    ordered = sorted(known.items(), key=lambda entry: _order(entry[0], entry[1]))
    return [value for _, value in ordered] + unknown[:1]


def _order(digest: bytes, value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, str) else (1, digest)


def _hash_bytes(value: Any) -> bytes:
    if value is None:
        return b"null"
    if value is UNKNOWN:
        return b"?"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value)
        inner = (_hash_bytes(items[name]) for name in sorted(items, key=tf_name))
        return b"<" + b"".join(part + b";" for part in inner) + b">"
    if isinstance(value, list):
        return b"[" + b"".join(_hash_bytes(item) + b";" for item in cast(list[Any], value)) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


def request_order(field: Field, values: Iterable[Any]) -> list[Any]:
    """Items of a set in the order in which the provider puts them into a request: by the decimal text of
    the CRC-32 of their serialised form (the Terraform SDK's `Set.List`).
    """
    return sorted(values, key=lambda value: _code(field, value))


def _code(field: Field, value: Any) -> str:
    serialised = str(value) if field.plain_hash else _member(field, value)
    return str(zlib.crc32(serialised.encode()))


def _member(field: Field, value: Any) -> str:
    block = field.block
    return _object(block, cast(Mapping[str, Any], value)) if block is not None else _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return ";"
    if isinstance(value, bool):
        return "1;" if value else "0;"
    return f"{value};"


def _object(block: Block, value: Mapping[str, Any]) -> str:
    """The Terraform SDK's `SerializeResourceForHash`: settable fields in the order of their names."""
    everything_computed = not any(field.settable for field in block.values())
    out: list[str] = []
    for name in sorted(block, key=lambda item: tf_name(item, block[item])):
        field = block[name]
        if field.settable or everything_computed:
            out.append(f"{tf_name(name, field)}:{_value(field, value.get(name))}")
    return "".join(out)


def _value(field: Field, value: Any) -> str:
    if field.kind not in (Kind.LIST, Kind.SET):
        return _scalar(value)
    items = [value] if field.single and value is not None else list(cast(list[Any], value or []))
    opening, closing = ("(", ")") if field.kind is Kind.LIST else ("{", "}")
    if field.kind is Kind.SET:
        items = request_order(field, items)
    inner = "".join(f"<{_member(field, item)}>;" if field.block else _member(field, item) for item in items)
    return f"{opening}{inner}{closing};"
