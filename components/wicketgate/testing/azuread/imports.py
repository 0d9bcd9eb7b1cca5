"""Inputs from outputs: what a refresh and an import record as the program's side.

How this works: a refresh takes new values for the inputs that are there; an import takes every input that is
required or says something, and leaves out what would contradict another. Source: bridge `pkg/tfbridge/schema.go`
(`ExtractInputsFromOutputs`), `deconflict.go`, `defaults.go`.
"""

from collections.abc import Mapping
from typing import Any, cast

from wicketgate.provider.values import Secret
from wicketgate.testing.azuread.check import DEFAULTS
from wicketgate.testing.azuread.schema import Block, Field, Kind, is_zero, tf_name


def refreshed(block: Block, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with the values that Graph has now."""
    return _drop_empty_defaults(_object(block, inputs, outputs))


def _object(block: Block, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    recorded = inputs.get(DEFAULTS)
    defaults = list(cast(list[str], recorded)) if isinstance(recorded, list) else None
    for name, value in inputs.items():
        if name == DEFAULTS:
            continue
        if name not in outputs:
            kept = False
        else:
            out[name] = _value(block.get(name), value, outputs[name])
            kept = out[name] == value
        if not kept and defaults is not None and name in defaults:
            defaults.remove(name)
    if defaults is not None:
        out[DEFAULTS] = sorted(defaults)
    return out


def _value(field: Field | None, given: Any, now: Any) -> Any:
    block = field.block if field is not None else None
    if isinstance(given, list) and isinstance(now, list):
        return _list(field, cast(list[Any], given), cast(list[Any], now))
    if block is not None and isinstance(given, Mapping) and isinstance(now, Mapping):
        return _object(block, cast(Mapping[str, Any], given), cast(Mapping[str, Any], now))
    if isinstance(given, Mapping) and isinstance(now, Mapping):
        values = cast(Mapping[str, Any], now)
        return {name: values[name] for name in cast(Mapping[str, Any], given) if name in values}
    return now


def _list(field: Field | None, given: list[Any], now: list[Any]) -> list[Any]:
    """Items in the order of the inputs as far as the bridge keeps it: lists by place, sets of objects by what
    they share.
    """
    if field is not None and field.kind is Kind.SET and field.block is not None:
        return [_value_item(field, given[at], now[matched]) for at, matched in sorted(_pairs(given, now).items())]
    return [_value_item(field, item, now[index]) for index, item in enumerate(given) if index < len(now)]


def _value_item(field: Field | None, given: Any, now: Any) -> Any:
    block = field.block if field is not None else None
    if block is not None and isinstance(given, Mapping) and isinstance(now, Mapping):
        return _object(block, cast(Mapping[str, Any], given), cast(Mapping[str, Any], now))
    return now


def _pairs(given: list[Any], now: list[Any]) -> dict[int, int]:
    """Which item is which now, the most alike first."""
    scores = sorted(
        ((_shared(item, other), at, place) for at, item in enumerate(given) for place, other in enumerate(now)),
        key=lambda score: -score[0],
    )
    pairs: dict[int, int] = {}
    for _, at, place in scores:
        if at not in pairs and place not in pairs.values():
            pairs[at] = place
    return pairs


def _shared(given: Any, now: Any) -> int:
    if not isinstance(given, Mapping) or not isinstance(now, Mapping):
        return 0
    left, right = cast(Mapping[str, Any], given), cast(Mapping[str, Any], now)
    return sum(1 + 2 * (right[name] == value) for name, value in left.items() if name in right)


def _drop_empty_defaults(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return {name: _drop_empty_defaults(item) for name, item in items if not (name == DEFAULTS and item == [])}
    if isinstance(value, list):
        return [_drop_empty_defaults(item) for item in cast(list[Any], value)]
    return value


def imported(block: Block, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that an import writes into the program."""
    inputs = _extract(block, outputs)
    seen: set[str] = set()
    for name in sorted(inputs):
        if name == DEFAULTS:
            continue
        field = block[name]
        if seen.intersection(field.conflicts):
            del inputs[name]
        else:
            seen.add(tf_name(name, field))
    for name, field in block.items():
        if name in inputs and _refused(field, name, inputs[name]):
            del inputs[name]
    return inputs


def _refused(field: Field, name: str, value: Any) -> bool:
    """Whether Check would refuse what Graph says, where the program need not say it."""
    decided_otherwise = field.computed and not field.required
    return (
        decided_otherwise
        and isinstance(value, str)
        and field.check is not None
        and field.check(value, tf_name(name, field)) is not None
    )


def _extract(block: Block, outputs: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, field in block.items():
        if not field.settable or name not in outputs:
            continue
        value = _extracted(field, outputs[name])
        if field.required or not _says_nothing(field, value):
            out[name] = value
    out[DEFAULTS] = []
    return out


def _extracted(field: Field, value: Any) -> Any:
    if isinstance(value, Secret):
        return Secret(_extracted(field, value.value))
    block = field.block
    if block is not None and isinstance(value, Mapping):
        return _extract(block, cast(Mapping[str, Any], value))
    if block is not None and isinstance(value, list):
        return [
            _extract(block, cast(Mapping[str, Any], item)) if isinstance(item, Mapping) else item
            for item in cast(list[Any], value)
        ]
    if field.kind is Kind.MAP and isinstance(value, Mapping):
        return {**cast(Mapping[str, Any], value), DEFAULTS: []}
    return value


def _says_nothing(field: Field, value: Any) -> bool:
    if isinstance(value, Secret):
        return _says_nothing(field, value.value)
    if field.default is not None:
        return value == field.default
    return is_zero(value) or value == {DEFAULTS: []}
