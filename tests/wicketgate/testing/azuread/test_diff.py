"""The detailed diff: paths and kinds."""

from typing import Any

from pulumi.runtime.proto import provider_pb2

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.diff import difference
from wicketgate.testing.azuread.plan import plan
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    Block,
    mapping,
    objects,
    one,
    text,
    texts,
)

BLOCK: Block = {
    "name": text(REQUIRED),
    "kind": text(OPTIONAL | FORCE_NEW),
    "made": text(COMPUTED),
    "list": texts(OPTIONAL, ordered=True),
    "set": texts(OPTIONAL),
    "fixed": texts(OPTIONAL | FORCE_NEW),
    "labels": mapping(OPTIONAL),
    "block": one(OPTIONAL, {"a": text(OPTIONAL), "b": texts(OPTIONAL)}),
    "items": objects(OPTIONAL, {"id": text(REQUIRED), "note": text(OPTIONAL)}, ordered=True),
    "roles": objects(OPTIONAL, {"id": text(REQUIRED), "note": text(OPTIONAL)}),
}
PRIOR: dict[str, Any] = {
    "name": "n",
    "kind": "k",
    "made": "m",
    "list": ["a", "b", "c"],
    "set": ["a", "b"],
    "fixed": ["x"],
    "labels": {"a": "1", "b.c": "2"},
    "block": {"a": "1", "b": ["u"]},
    "items": [{"id": "1", "note": ""}],
    "roles": [{"id": "1", "note": ""}, {"id": "2", "note": ""}],
}
SAME = {name: value for name, value in PRIOR.items() if name != "made"}


def changes(**news: Any) -> dict[str, str]:
    inputs = {name: value for name, value in {**SAME, **news}.items() if value is not None}
    found = difference(plan(BLOCK, PRIOR, inputs), inputs)
    return {path: provider_pb2.PropertyDiff.Kind.Name(kind) for path, kind in found.changes.items()}


def test_nothing() -> None:
    assert changes() == {}
    response = difference(plan(BLOCK, PRIOR, SAME), SAME).response()
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert response.hasDetailedDiff
    assert list(response.stables) == ["fixed", "kind"]


def test_plain_values() -> None:
    assert changes(name="x") == {"name": "UPDATE"}
    assert changes(name=UNKNOWN) == {"name": "UPDATE"}
    assert changes(kind="x") == {"kind": "UPDATE_REPLACE"}
    assert changes(kind=None) == {"kind": "DELETE_REPLACE"}
    assert changes(labels={"a": "1", "b.c": "3", "d": "4"}) == {'labels["b.c"]': "UPDATE", "labels.d": "ADD"}


def test_lists_by_their_common_part() -> None:
    assert changes(list=["a", "c"]) == {"list[1]": "DELETE"}
    assert changes(list=["a", "x", "b", "c"]) == {"list[1]": "ADD"}
    assert changes(list=["a", "x", "c"]) == {"list[1]": "UPDATE"}
    assert changes(list=None) == {"list": "DELETE"}


def test_sets_by_content() -> None:
    assert changes(set=["b", "a"]) == {}
    assert changes(set=["c", "a", "b"]) == {"set[0]": "ADD"}
    assert changes(set=["a"]) == {"set[1]": "DELETE"}
    assert changes(set=["a", "c"]) == {"set[1]": "UPDATE"}
    assert changes(fixed=["y"]) == {"fixed[0]": "UPDATE_REPLACE"}


def test_objects() -> None:
    assert changes(block={"a": "2", "b": ["u"]}) == {"block.a": "UPDATE"}
    assert changes(block={"a": "1"}) == {"block.b": "DELETE"}
    assert changes(items=[{"id": "1", "note": "x"}, {"id": "2"}]) == {"items[0].note": "UPDATE", "items[1]": "ADD"}
    assert changes(roles=[{"id": "2"}, {"id": "1"}]) == {}
    assert changes(roles=[{"id": "1"}, {"id": "2", "note": "x"}]) == {"roles[1].note": "UPDATE"}
    assert changes(roles=[{"id": "1"}]) == {"roles[1]": "DELETE"}


def test_replacement_is_named_and_not_stable() -> None:
    inputs = {**SAME, "kind": "x", "name": "y"}
    found = difference(plan(BLOCK, PRIOR, inputs), inputs)
    assert found.replaces == ["kind"]
    assert found.stables == ["fixed"]
    response = found.response()
    assert list(response.diffs) == ["kind", "name"]
    assert not response.deleteBeforeReplace
