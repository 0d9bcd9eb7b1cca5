"""The planned state: absence, zero, computed values, blocks and sets."""

from typing import Any

import pytest

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.plan import Plan, plan
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    Block,
    flag,
    mapping,
    objects,
    one,
    text,
    texts,
    whole,
)

BLOCK: Block = {
    "name": text(REQUIRED),
    "kind": text(OPTIONAL | FORCE_NEW),
    "note": text(OPTIONAL),
    "on": flag(OPTIONAL, default=False),
    "made": text(COMPUTED),
    "tags": texts(OPTIONAL | COMPUTED),
    "list": texts(OPTIONAL, ordered=True),
    "labels": mapping(OPTIONAL),
    "block": one(OPTIONAL, {"v": whole(OPTIONAL, default=1), "u": texts(OPTIONAL)}, quiet=True),
    "loud": one(OPTIONAL, {"v": text(OPTIONAL)}),
    "roles": objects(
        OPTIONAL, {"id": text(REQUIRED), "key": text(OPTIONAL | COMPUTED), "on": flag(OPTIONAL, default=True)}
    ),
    "any": text(OPTIONAL, any_case=True),
}
PRIOR: dict[str, Any] = {
    "name": "n",
    "kind": "k",
    "note": "",
    "on": False,
    "made": "m",
    "tags": ["a", "b"],
    "list": ["x", "y"],
    "labels": {"a": "1"},
    "block": {"v": 1, "u": []},
    "loud": None,
    "roles": [{"id": "1", "key": "k1", "on": True}],
    "any": "Ab",
}
SAME = {
    "name": "n",
    "kind": "k",
    "list": ["x", "y"],
    "labels": {"a": "1"},
    "roles": [{"id": "1", "on": True}],
    "any": "aB",
}


def changed(**news: Any) -> set[str]:
    planned = plan(BLOCK, PRIOR, {**SAME, **news})
    return {name for name in BLOCK if planned.changed(name)}


def test_nothing_changes_and_the_prior_values_are_kept() -> None:
    planned = plan(BLOCK, PRIOR, SAME)
    assert planned.values == PRIOR
    assert not planned.replaces()


def test_something_new_has_unknown_computed_values() -> None:
    planned = plan(BLOCK, None, {"name": "n", "roles": [{"id": "1"}]})
    assert planned.values["made"] is UNKNOWN
    assert planned.values["tags"] is UNKNOWN
    assert planned.values["note"] is None
    assert planned.values["on"] is False  # its default
    assert planned.values["block"] is None
    assert planned.values["roles"] == [{"id": "1", "key": UNKNOWN, "on": True}]
    assert not planned.replaces()


def test_absence_and_zero_are_the_same() -> None:
    assert changed(note="") == set()
    assert changed(on=False) == set()
    assert changed(block={}) == set()


def test_what_goes_is_removed_unless_the_provider_decides() -> None:
    assert plan(BLOCK, {**PRIOR, "note": "x"}, SAME).values["note"] is None
    assert plan(BLOCK, PRIOR, {**SAME, "labels": None}).values["labels"] is None
    assert changed(tags=["b", "a", "a"]) == set()
    assert changed(tags=["a"]) == {"tags"}
    assert plan(BLOCK, PRIOR, {**SAME, "tags": []}).values["tags"] == []


def test_a_quiet_block_goes_only_if_it_says_something() -> None:
    assert changed() == set()
    loud = plan(BLOCK, {**PRIOR, "loud": {"v": ""}}, SAME)
    assert loud.values["loud"] is None
    said = plan(BLOCK, {**PRIOR, "block": {"v": 2, "u": []}}, SAME)
    assert said.values["block"] is None


def test_a_block_changes_inside() -> None:
    planned = plan(BLOCK, PRIOR, {**SAME, "block": {"u": ["b", "a"]}})
    assert planned.values["block"] == {"v": 1, "u": ["a", "b"]}


def test_an_item_keeps_what_was_computed() -> None:
    both = plan(BLOCK, PRIOR, {**SAME, "roles": [{"id": "2", "on": True}, {"id": "1", "on": True}]})
    assert sorted(both.values["roles"], key=lambda item: item["id"]) == [
        {"id": "1", "key": "k1", "on": True},
        {"id": "2", "key": UNKNOWN, "on": True},
    ]
    assert changed(roles=[{"id": "1", "on": False}]) == {"roles"}


def test_unknown_values_are_a_change() -> None:
    assert changed(name=UNKNOWN) == {"name"}
    assert changed(list=["x", UNKNOWN]) == {"list"}
    assert plan(BLOCK, PRIOR, {**SAME, "name": UNKNOWN}).known("name") == ""


def test_case_may_not_matter() -> None:
    assert changed(any="AB") == set()
    assert changed(any="c") == {"any"}


def test_replacement() -> None:
    assert plan(BLOCK, PRIOR, {**SAME, "kind": "other"}).replaces()
    assert not plan(BLOCK, PRIOR, {**SAME, "note": "other"}).replaces()
    forced = plan(BLOCK, PRIOR, {**SAME, "note": "other"})
    forced.forced.add("note")
    assert forced.replaces()


def test_what_is_ignored_stays() -> None:
    planned = plan(BLOCK, PRIOR, {**SAME, "note": "x", "kind": "y"}, ignored=lambda name: name == "kind")
    assert planned.values["kind"] == "k"
    assert planned.changed("note")


@pytest.mark.parametrize("value", [None, UNKNOWN])
def test_known_gives_the_zero_value(value: Any) -> None:
    assert Plan(BLOCK, None, {"tags": value, "on": value}).known("tags") == []
