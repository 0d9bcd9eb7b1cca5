"""Diff: which properties a change touches, and which of them need a new resource.

How this works: the prior and the planned state are compared property by property, as deep as both go. Plain lists
are compared by their longest common part, sets by content, and the index of a set's item is its index in the
program's inputs if that can be told, else the whole set counts as changed. Source: bridge
`pkg/tfbridge/detailed_diff.go`.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pulumi.runtime.proto import provider_pb2

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.plan import Plan
from wicketgate.testing.azuread.schema import Block, Field, Kind, sort_set

_KIND = provider_pb2.PropertyDiff
_REPLACING: Final[Mapping[int, int]] = {
    _KIND.ADD: _KIND.ADD_REPLACE,
    _KIND.DELETE: _KIND.DELETE_REPLACE,
    _KIND.UPDATE: _KIND.UPDATE_REPLACE,
}


@dataclass(frozen=True)
class Difference:
    """The answer to Diff: kinds by property path, and the names of what replaces and what is stable."""

    changes: dict[str, int]
    replaces: list[str]
    stables: list[str]

    def response(self) -> provider_pb2.DiffResponse:
        """The same for the wire."""
        tops = sorted({_top(path) for path in self.changes})
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if self.changes else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=self.replaces,
            stables=self.stables,
            deleteBeforeReplace=False,
            diffs=tops,
            detailedDiff={path: provider_pb2.PropertyDiff(kind=cast(Any, kind)) for path, kind in self.changes.items()},
            hasDetailedDiff=True,
        )


def difference(planned: Plan, inputs: Mapping[str, Any]) -> Difference:
    """What the plan changes."""
    prior = planned.prior or {}
    changes: dict[str, int] = {}
    for name in sorted(planned.block):
        if not planned.changed(name):
            continue
        field = planned.block[name]
        found = _value(field, name, prior.get(name), planned.values.get(name), inputs.get(name))
        if field.forces_new or name in planned.forced:
            found = {path: _REPLACING[kind] for path, kind in found.items()}
        changes.update(found)
    if planned.replaces() and not any(kind in _REPLACING.values() for kind in changes.values()):
        changes["__meta"] = _KIND.UPDATE_REPLACE
    replaces = sorted({_top(path) for path, kind in changes.items() if kind in _REPLACING.values()})
    stables = sorted(name for name, field in planned.block.items() if field.forces_new and name not in replaces)
    return Difference(changes, replaces, stables)


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


def _value(field: Field, path: str, old: Any, new: Any, given: Any) -> dict[str, int]:
    if old is None and new is None:
        return {}
    if old is None:
        return {path: _KIND.ADD}
    if new is None:
        return {path: _KIND.DELETE}
    if new is UNKNOWN or old is UNKNOWN:
        return {path: _KIND.UPDATE}
    if field.single:
        return _object(field.block, path, old, new, given) if field.block else _plain(path, old, new)
    if field.kind is Kind.LIST:
        return _list(field, path, old, new, given)
    if field.kind is Kind.SET:
        return _set(field, path, old, new, given)
    if field.kind is Kind.MAP:
        return _map(field, path, old, new)
    return _plain(path, old, new)


def _plain(path: str, old: Any, new: Any) -> dict[str, int]:
    return {} if old == new else {path: _KIND.UPDATE}


def _object(block: Block, path: str, old: Any, new: Any, given: Any) -> dict[str, int]:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return _plain(path, old, new)
    before, after = cast(Mapping[str, Any], old), cast(Mapping[str, Any], new)
    inputs = cast(Mapping[str, Any], given) if isinstance(given, Mapping) else {}
    out: dict[str, int] = {}
    for name in sorted(block):
        out.update(_value(block[name], f"{path}.{name}", before.get(name), after.get(name), inputs.get(name)))
    return out


def _map(field: Field, path: str, old: Any, new: Any) -> dict[str, int]:
    before, after = cast(Mapping[str, Any], old), cast(Mapping[str, Any], new)
    out: dict[str, int] = {}
    for name in sorted({*before, *after}):
        place = f"{path}.{name}" if name.isidentifier() else f"{path}[{json.dumps(name)}]"
        out.update(_value(field.item, place, before.get(name), after.get(name), None))
    return out


def _list(field: Field, path: str, old: Any, new: Any, given: Any) -> dict[str, int]:
    olds, news = cast(list[Any], old), cast(list[Any], new)
    if field.block is None:
        return _plain_list(path, olds, news)
    inputs = cast(list[Any], given) if isinstance(given, list) else []
    out: dict[str, int] = {}
    for index in range(max(len(olds), len(news))):
        before = olds[index] if index < len(olds) else None
        after = news[index] if index < len(news) else None
        item = inputs[index] if index < len(inputs) else None
        place = f"{path}[{index}]"
        if before is None or after is None:
            out[place] = _KIND.ADD if before is None else _KIND.DELETE
        else:
            out.update(_object(field.block, place, before, after, item))
    return out


def _plain_list(path: str, olds: list[Any], news: list[Any]) -> dict[str, int]:
    keys = [[json.dumps(repr(item)) for item in items] for items in (olds, news)]
    out: dict[str, int] = {}

    def mark(index: int, kind: int) -> None:
        place = f"{path}[{index}]"
        out[place] = _KIND.UPDATE if place in out else kind

    for step, low, high, new_low, new_high in difflib.SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if step != "equal":
            for index in range(low, high):
                mark(index, _KIND.DELETE)
            for index in range(new_low, new_high):
                mark(index, _KIND.ADD)
    return out


def _set(field: Field, path: str, old: Any, new: Any, given: Any) -> dict[str, int]:
    olds, news = cast(list[Any], old), cast(list[Any], new)
    removed = [index for index, item in enumerate(olds) if item not in news]
    added = [item for item in news if item not in olds]
    if not removed and not added:
        return {}
    inputs = cast(list[Any], given) if isinstance(given, list) else []
    places = _match(added, inputs)
    if places is None or len(inputs) < len(news):
        return {path: _KIND.UPDATE}
    out: dict[str, int] = {}
    for index in sorted({*removed, *places}):
        place = f"{path}[{index}]"
        if index in removed and index in places:
            before, after = olds[index], places[index]
            both = (
                _object(field.block, place, before, after, inputs[index])
                if field.block
                else _plain(place, before, after)
            )
            out.update(both)
        else:
            out[place] = _KIND.DELETE if index in removed else _KIND.ADD
    return out


def _match(added: list[Any], inputs: list[Any]) -> dict[int, Any] | None:
    """The added items by their index in the inputs; None if one cannot be found there."""
    places: dict[int, Any] = {}
    for item in added:
        index = next((at for at, candidate in enumerate(inputs) if at not in places and _says(candidate, item)), None)
        if index is None:
            return None
        places[index] = item
    return places


def _says(given: Any, planned: Any) -> bool:
    if not isinstance(given, Mapping) or not isinstance(planned, Mapping):
        return given is planned or (given is not UNKNOWN and given == planned)
    inputs, values = cast(Mapping[str, Any], given), cast(Mapping[str, Any], planned)
    return all(_alike(item, values.get(name)) for name, item in inputs.items() if name != "__defaults")


def _alike(given: Any, planned: Any) -> bool:
    if isinstance(given, list) and isinstance(planned, list):
        return sort_set(cast(list[Any], given)) == sort_set(cast(list[Any], planned))
    return given is planned or (given is not UNKNOWN and given == planned)
