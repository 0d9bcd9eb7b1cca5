"""What may stand in a policy, from its own JSON Schema: keys, what each is, and what it means.

The schema is made of the models that read policies (`contract.policy`), so the help cannot say anything else than what
is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wicketgate_gateway.contract.policy import Policy

_TITLES = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false", "null": ""}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `parts` are ids of sections that say what stands below it."""

    name: str
    kind: str
    means: str
    needed: bool
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """What may stand at one place: keys, or a choice of words."""

    id: str
    means: str
    keys: tuple[Key, ...]
    words: tuple[str, ...]


@lru_cache
def sections() -> tuple[Section, ...]:
    """The policy itself first, then each part in the order in which it is named."""
    schema: dict[str, Any] = Policy.model_json_schema(by_alias=True)
    parts: dict[str, Any] = schema.get("$defs", {})
    done: dict[str, Section] = {}
    waiting = [("Policy", schema)]
    while waiting:
        name, part = waiting.pop(0)
        if name in done:
            continue
        done[name] = section = _section(name, part)
        waiting += [(each, parts[each]) for key in section.keys for each in key.parts if each in parts]
    return tuple(done.values())


def _section(name: str, part: dict[str, Any]) -> Section:
    needed = part.get("required", ())
    keys = tuple(_key(key, value, key in needed) for key, value in part.get("properties", {}).items())
    return Section(name, str(part.get("description", "")), keys, tuple(str(word) for word in part.get("enum", ())))


def _key(name: str, value: dict[str, Any], needed: bool) -> Key:
    parts = tuple(dict.fromkeys(_references(value)))
    return Key(name, _kind(value), str(value.get("description", "")), needed, parts)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield str(each).rpartition("/")[2]
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _kind(value: dict[str, Any]) -> str:
    """A schema's type in a few words."""
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "enum" in value:
        return " or ".join(str(word) for word in value["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in value:
            return " or ".join(dict.fromkeys(found for each in value[union] if (found := _kind(each))))
    if value.get("type") == "array":
        inner = _kind(value.get("items", {}))
        return f"list of {inner}" if inner else "list"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"names to {_kind(inner)}" if isinstance(inner, dict) and _kind(inner) else "mapping"
    return _TITLES.get(str(value.get("type", "")), str(value.get("type", "")))
