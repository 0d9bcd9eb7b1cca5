"""Check: the program's inputs with defaults filled in, or what is wrong with them.

How this works: values are first brought to the types of the schema as the Terraform bridge does (`coerce`),
then validated without defaults, then defaults are added; each object lists the defaulted names under
`__defaults`. Failures read as the bridge prints them: the Terraform SDK's words, then the place in Pulumi's
names. Sources: pulumi-terraform-bridge `pkg/tfbridge/{provider,schema,check_failures}.go`, Terraform plugin SDK
`helper/schema/schema.go`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from wicketgate.provider.values import UNKNOWN, holds_unknown
from wicketgate.testing.azuread.schema import Block, Field, Kind, is_zero, tf_name

DEFAULTS: Final = "__defaults"
RESERVED: Final = frozenset({DEFAULTS, "__meta", "__pulumi_raw_state_delta", "__name", "id"})
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True)
class Failure:
    """Something wrong with an input: what, and the Pulumi path of the value."""

    reason: str
    path: str

    def text(self, resource: str) -> str:
        """As the engine shows it for the resource of that name."""
        return f"{self.reason}. Examine values at '{resource}.{self.path}'."


def check(block: Block, news: Mapping[str, Any], olds: Mapping[str, Any]) -> tuple[dict[str, Any], list[Failure]]:
    """The inputs to record, and the failures (with any, the inputs do not matter)."""
    given = coerce_object(block, news)
    failures = list(_object_failures(block, given, "", ""))
    return with_defaults(block, given, olds), failures


def coerce(field: Field, value: Any) -> Any:
    """A value in the type of its schema where one text says both, else as it is."""
    if value is None or value is UNKNOWN:
        return value
    if field.kind in (Kind.LIST, Kind.SET):
        return _coerce_items(field, value)
    if field.kind is Kind.MAP:
        if not isinstance(value, Mapping):
            return value
        items = cast(Mapping[str, Any], value)
        return {name: coerce(field.item, item) for name, item in items.items() if name != DEFAULTS}
    return _coerce_plain(field.kind, value)


def _coerce_items(field: Field, value: Any) -> Any:
    def item(element: Any) -> Any:
        if field.block is None:
            return coerce(field.item, element)
        if isinstance(element, Mapping):
            return coerce_object(field.block, cast(Mapping[str, Any], element))
        return element

    if field.single:
        # A list is accepted for what is shown as its only item.
        if isinstance(value, list):
            items = cast(list[Any], value)
            return [item(element) for element in items] if len(items) > 1 else item(items[0]) if items else None
        return item(value)
    elements = cast(list[Any], value) if isinstance(value, list) else [value]
    return [item(element) for element in elements]


def _coerce_plain(kind: Kind, value: Any) -> Any:
    if kind is Kind.TEXT and isinstance(value, bool):
        return "true" if value else "false"
    if kind is Kind.TEXT and isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else repr(value)
    if kind is Kind.FLAG and isinstance(value, str):
        return True if value in _TRUE else False if value in _FALSE else value
    if kind is Kind.FLAG and isinstance(value, int | float) and not isinstance(value, bool):
        return bool(value)
    if kind is Kind.WHOLE and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    if kind is Kind.WHOLE and isinstance(value, float):
        return int(value)
    return value


def coerce_object(block: Block, value: Mapping[str, Any]) -> dict[str, Any]:
    """An object with its values coerced; nulls and reserved names are left out, unknown names stay."""
    out: dict[str, Any] = {}
    for name, item in value.items():
        if name in RESERVED and name not in block:
            continue
        coerced = coerce(block[name], item) if name in block else item
        if coerced is not None:
            out[name] = coerced
    return out


def with_defaults(block: Block, given: Mapping[str, Any], olds: Mapping[str, Any]) -> dict[str, Any]:
    """The object with defaults, and the list of the names that came from them.

    A default recorded before is kept, so that a new default does not change what exists. A default that
    says the same as absence is not filled in (bridge issue 2618).
    """
    out = {name: _nested(block.get(name), item, olds.get(name)) for name, item in given.items()}
    old_names = olds.get(DEFAULTS)
    was_default = frozenset(cast(list[str], old_names)) if isinstance(old_names, list) else None
    present = {tf_name(name, block.get(name)) for name in given}
    filled: list[str] = []
    for name, field in block.items():
        if name in given or field.default is None or (field.deprecated and not field.required):
            continue
        if present.intersection((*field.conflicts, *field.one_of)):
            continue
        if name in olds and (was_default is None or name in was_default):
            out[name] = olds[name]
        elif is_zero(field.default):
            continue
        else:
            out[name] = field.default
        filled.append(name)
    out[DEFAULTS] = sorted(filled)
    return out


def _nested(field: Field | None, value: Any, old: Any) -> Any:
    if field is None or field.block is None:
        return value
    if isinstance(value, Mapping):
        return with_defaults(field.block, cast(Mapping[str, Any], value), _as_object(old))
    if not isinstance(value, list):
        return value
    olds = cast(list[Any], old) if isinstance(old, list) else []
    out: list[Any] = []
    for index, item in enumerate(cast(list[Any], value)):
        if isinstance(item, Mapping):
            previous = _as_object(olds[index]) if index < len(olds) else {}
            out.append(with_defaults(field.block, cast(Mapping[str, Any], item), previous))
        else:
            out.append(item)
    return out


def _as_object(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _object_failures(block: Block, given: Mapping[str, Any], tf: str, path: str) -> Iterator[Failure]:
    present = {tf_name(name, block.get(name)): item for name, item in given.items()}
    for name, field in block.items():
        key = f"{tf}.{tf_name(name, field)}" if tf else tf_name(name, field)
        place = f"{path}.{name}" if path else name
        yield from _field_failures(field, given.get(name), present, key, place)
    for name in given:
        if name not in block:
            yield Failure("Invalid or unknown key", f"{path}.{name}" if path else name)


def _field_failures(field: Field, value: Any, present: Mapping[str, Any], key: str, path: str) -> Iterator[Failure]:
    combination = _combination(field, present, key)
    if combination:
        yield Failure(combination, path)
    elif value is None:
        if field.required:
            detail = f'The argument "{key}" is required, but no definition was found.'
            yield Failure(f"Missing required argument. {detail}", path)
    elif not field.settable:
        detail = (
            f'Can\'t configure a value for "{key}": its value will be decided automatically based on the '
            "result of applying this configuration."
        )
        yield Failure(f"Value for unconfigurable attribute. {detail}", path)
    elif not holds_unknown(value):
        clash = next((other for other in field.conflicts if other in present), None)
        if clash is not None and present[clash] is not UNKNOWN:
            yield Failure(f'Conflicting configuration arguments. "{key}": conflicts with {clash}', path)
        else:
            yield from _value_failures(field, value, key, path)


def _combination(field: Field, present: Mapping[str, Any], key: str) -> str | None:
    if field.one_of:
        names = sorted({*field.one_of, key})
        chosen = [name for name in names if name in present and present[name] is not UNKNOWN]
        unknown = any(present.get(name) is UNKNOWN for name in names)
        listed = ",".join(names)
        if not chosen and not unknown:
            return f'Invalid combination of arguments. "{key}": one of `{listed}` must be specified'
        if len(chosen) > 1:
            return (
                f'Invalid combination of arguments. "{key}": only one of `{listed}` can be specified, '
                f"but `{','.join(chosen)}` were specified."
            )
    if field.some_of and not any(name in present for name in (*field.some_of, key)):
        listed = ",".join(sorted({*field.some_of, key}))
        return f'Missing required argument. "{key}": one of `{listed}` must be specified'
    return None


def _value_failures(field: Field, value: Any, key: str, path: str) -> Iterator[Failure]:
    if field.kind in (Kind.LIST, Kind.SET):
        yield from _items_failures(field, value, key, path)
    elif field.kind is Kind.MAP:
        if not isinstance(value, Mapping):
            yield Failure("Attribute must be a map", path)
    elif isinstance(value, list):
        yield Failure("Attribute must be a single value, not a list", path)
    elif isinstance(value, Mapping):
        yield Failure("Attribute must be a single value, not a map", path)
    elif field.kind is Kind.FLAG and not isinstance(value, bool):
        reason = f"'' cannot parse '' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax"
        yield Failure(reason, path)
    elif field.kind is Kind.WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
        yield Failure(f"Attribute must be a whole number, got {value}", path)
    elif field.check is not None:
        wrong = field.check(value, key)
        if wrong:
            yield Failure(wrong, path)


def _items_failures(field: Field, value: Any, key: str, path: str) -> Iterator[Failure]:
    listed = isinstance(value, list)
    items = cast(list[Any], value) if listed else [value]
    if field.max_items and len(items) > field.max_items:
        detail = f"Attribute {key} supports {field.max_items} item maximum, but config has {len(items)} declared."
        yield Failure(f"Too many list items. {detail}", path)
        return
    if len(items) < field.min_items:
        detail = f"Attribute {key} requires {field.min_items} item minimum, but config has only {len(items)} declared."
        yield Failure(f"Not enough list items. {detail}", path)
        return
    for index, item in enumerate(items):
        item_key = f"{key}.{index}"
        item_path = path if field.single else f"{path}[{index}]"
        if field.block is None:
            found = _value_failures(field.item, item, item_key, item_path)
        elif isinstance(item, Mapping):
            found = _object_failures(field.block, cast(Mapping[str, Any], item), item_key, item_path)
        else:
            found = iter([Failure("Expected Object Type", item_path)])
        for failure in found:
            # Terraform cannot point into a set.
            yield Failure(failure.reason, path) if field.kind is Kind.SET else failure
