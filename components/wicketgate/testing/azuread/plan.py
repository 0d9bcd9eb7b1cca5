"""What an update would leave behind: the planned state, from the prior state and the inputs.

How this works: the Terraform SDK's `schemaMap.Diff` seen from Pulumi's side. Absence and the type's zero value
are the same; an absent computed value keeps its prior one, or is unknown for something new; an absent plain
value that was set is removed. Wherever nothing changes the prior value itself is returned, so that "no
change" is plain equality. Source: Terraform plugin SDK `helper/schema/schema.go` (`diffString`, `diffList`,
`diffSet`), bridge `pkg/tfshim/sdk-v2/proposed_new.go`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, cast

from wicketgate.provider.values import UNKNOWN, holds_unknown
from wicketgate.testing.azuread.schema import Block, Field, Kind, holds_defaults_only, is_zero, sort_set, zero


@dataclass
class Plan:
    """A planned change: `prior` is None for something new; `forced` are names that replace this once."""

    block: Block
    prior: Mapping[str, Any] | None
    values: dict[str, Any]
    forced: set[str] = dataclass_field(default_factory=set[str])

    def changed(self, name: str) -> bool:
        """Whether the value differs from the prior one (absence and zero are the same)."""
        before = (self.prior or {}).get(name)
        after = self.values.get(name)
        return before != after and not (is_zero(before) and is_zero(after))

    def known(self, name: str) -> Any:
        """The planned value, its type's zero if it is absent or unknown."""
        value = self.values.get(name)
        return zero(self.block[name]) if value is None or value is UNKNOWN else value

    def replaces(self) -> bool:
        """Whether the change needs a new resource."""
        return self.prior is not None and any(
            self.changed(name) and (field.forces_new or name in self.forced) for name, field in self.block.items()
        )


def plan(
    block: Block,
    prior: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
    *,
    ignored: Callable[[str], bool] = lambda _name: False,
) -> Plan:
    """The planned state for these (checked) inputs."""
    before = prior or {}
    values = {
        name: before.get(name)
        if prior is not None and ignored(name)
        else _field(field, before.get(name), inputs.get(name), fresh=prior is None)
        for name, field in block.items()
    }
    return Plan(block, prior, values)


def _field(field: Field, prior: Any, given: Any, *, fresh: bool) -> Any:
    if given is UNKNOWN:
        return UNKNOWN
    if given is None and field.settable and field.default is not None:
        given = field.default
    if given is None:
        return _absent(field, prior, fresh=fresh)
    if is_zero(given) and is_zero(prior):
        # A new "no" or 0 is planned as such: providers tell it from absence (`GetOkExists`).
        return given if fresh and field.kind in (Kind.FLAG, Kind.WHOLE) else prior
    match field.kind:
        case Kind.LIST | Kind.SET if field.single:
            return _single(field, prior, given)
        case Kind.LIST:
            return _list(field, prior, cast(list[Any], given))
        case Kind.SET:
            return _set(field, prior, cast(list[Any], given))
        case _:
            same = given == prior or (field.any_case and str(given).casefold() == str(prior).casefold())
            return prior if same else given


def _absent(field: Field, prior: Any, *, fresh: bool) -> Any:
    if field.computed:
        return UNKNOWN if fresh else prior
    if is_zero(prior):
        return prior
    if field.quiet and field.block is not None and isinstance(prior, Mapping):
        return prior if holds_defaults_only(field.block, cast(Mapping[str, Any], prior)) else None
    return None


def _single(field: Field, prior: Any, given: Any) -> Any:
    if field.block is None:
        return prior if given == prior else given
    before = cast(Mapping[str, Any], prior) if isinstance(prior, Mapping) else None
    if field.kind is Kind.SET:
        return _element(field.block, [before] if before else [], cast(Mapping[str, Any], given))
    return _object(field.block, before, cast(Mapping[str, Any], given))


def _object(block: Block, prior: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Any:
    before = prior or {}
    out = {name: _field(field, before.get(name), given.get(name), fresh=prior is None) for name, field in block.items()}
    return prior if prior is not None and _same(block, prior, out) else out


def _same(block: Block, prior: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return all(
        prior.get(name) == after.get(name) or (is_zero(prior.get(name)) and is_zero(after.get(name))) for name in block
    )


def _list(field: Field, prior: Any, given: list[Any]) -> Any:
    olds = cast(list[Any], prior) if isinstance(prior, list) else []
    if field.block is None:
        return prior if olds == given else given
    block = field.block
    out = [
        _object(block, olds[index] if index < len(olds) else None, cast(Mapping[str, Any], item))
        if isinstance(item, Mapping)
        else item
        for index, item in enumerate(given)
    ]
    return prior if out == olds else out


def _set(field: Field, prior: Any, given: list[Any]) -> Any:
    olds = cast(list[Any], prior) if isinstance(prior, list) else []
    if field.block is None:
        return prior if sort_set(olds) == sort_set(given) else sort_set(given)
    pool = list(olds)
    out: list[Any] = []
    for item in given:
        if not isinstance(item, Mapping):
            out.append(item)
            continue
        element = _element(field.block, pool, cast(Mapping[str, Any], item))
        if any(element is old for old in pool):
            pool = [old for old in pool if old is not element]
        out.append(element)
    after = sort_set(out)
    return prior if after == sort_set(olds) else after


def _element(block: Block, pool: list[Any], given: Mapping[str, Any]) -> Any:
    """An item of a set: a prior one that says the same as far as the program says anything, or a new one."""
    for old in pool:
        if not holds_unknown(given) and all(
            _agrees(field, old.get(name), given.get(name)) for name, field in block.items()
        ):
            return old
    return {name: _fresh(field, given.get(name)) for name, field in block.items()}


def _agrees(field: Field, old: Any, given: Any) -> bool:
    if given is None:
        if field.settable and field.default is not None:
            return old == field.default
        return field.computed or is_zero(old)
    return _field(field, old, given, fresh=False) == old or (is_zero(old) and is_zero(given))


def _fresh(field: Field, given: Any) -> Any:
    value = _field(field, None, given, fresh=True)
    return zero(field) if value is None else value
