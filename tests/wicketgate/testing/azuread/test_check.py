"""Check: coercion, defaults, and failures with their places."""

from typing import Any

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.check import check, coerce
from wicketgate.testing.azuread.schema import (
    COMPUTED,
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
from wicketgate.testing.azuread.validators import not_empty

BLOCK: Block = {
    "name": text(REQUIRED, check=not_empty),
    "on": flag(OPTIONAL, default=True),
    "off": flag(OPTIONAL, default=False),
    "count": whole(OPTIONAL, default=2),
    "left": text(OPTIONAL, conflicts=("right",)),
    "right": text(OPTIONAL, conflicts=("left",), default="r"),
    "only": texts(OPTIONAL, ordered=True, max_items=1),
    "many": texts(OPTIONAL, ordered=True, check=not_empty, min_items=1),
    "some": texts(OPTIONAL, check=not_empty, max_items=2),
    "block": one(OPTIONAL, {"size": whole(REQUIRED), "kind": text(OPTIONAL, default="k")}),
    "items": objects(OPTIONAL, {"id": text(REQUIRED, check=not_empty)}, ordered=True, tf="item"),
    "labels": mapping(OPTIONAL),
    "made": text(COMPUTED),
}


def inputs(olds: dict[str, Any] | None = None, **news: Any) -> dict[str, Any]:
    found, failures = check(BLOCK, {"name": "n", **news}, olds or {})
    assert failures == []
    return found


def reasons(**news: Any) -> list[str]:
    return [failure.text("res") for failure in check(BLOCK, {"name": "n", **news}, {})[1]]


def test_defaults_are_named_and_zero_ones_left_out() -> None:
    assert inputs() == {
        "name": "n",
        "on": True,
        "count": 2,
        "right": "r",
        "__defaults": ["count", "on", "right"],
    }
    assert inputs(block={"size": 1})["block"] == {"size": 1, "kind": "k", "__defaults": ["kind"]}
    assert inputs(items=[{"id": "a"}])["items"] == [{"id": "a", "__defaults": []}]


def test_a_conflict_keeps_a_default_out() -> None:
    assert "right" not in inputs(left="l")


def test_what_was_a_default_stays_one() -> None:
    olds = inputs()
    assert inputs({**olds, "count": 1})["count"] == 1  # the default of an older version
    assert inputs({**olds, "count": 1, "__defaults": []})["count"] == 2  # it was the program's then


def test_texts_become_what_the_schema_says() -> None:
    found = inputs(on="false", count="3", left=4, labels={"a": True})
    assert (found["on"], found["count"], found["left"], found["labels"]) == (False, 3, "4", {"a": "true"})
    assert coerce(BLOCK["on"], "maybe") == "maybe"
    assert coerce(BLOCK["count"], 2.0) == 2


def test_what_pulumi_shows_as_one_may_be_a_list_of_one() -> None:
    assert inputs(only=["a"])["only"] == "a"
    assert inputs(only="a")["only"] == "a"
    assert inputs(block=[{"size": 1}])["block"]["size"] == 1
    assert "only" not in inputs(only=[])
    assert inputs(many="a")["many"] == ["a"]


def test_nulls_and_reserved_names_vanish() -> None:
    assert "left" not in inputs(left=None)
    assert inputs(__defaults=["on"], __meta="x")["__defaults"] == ["count", "on", "right"]


def test_unknown_values_pass() -> None:
    assert inputs(many=UNKNOWN)["many"] is UNKNOWN
    assert inputs(items=[{"id": UNKNOWN}])["items"][0]["id"] is UNKNOWN
    assert check(BLOCK, {"name": UNKNOWN}, {})[1] == []


def test_types_are_checked() -> None:
    assert reasons(left=["a"]) == ["Attribute must be a single value, not a list. Examine values at 'res.left'."]
    assert reasons(left={"a": 1}) == ["Attribute must be a single value, not a map. Examine values at 'res.left'."]
    assert reasons(labels="a") == ["Attribute must be a map. Examine values at 'res.labels'."]
    assert reasons(items=["a"]) == ["Expected Object Type. Examine values at 'res.items[0]'."]
    assert reasons(on="maybe") == [
        "'' cannot parse '' as bool: strconv.ParseBool: parsing \"maybe\": invalid syntax. Examine values at 'res.on'."
    ]
    assert reasons(count="many") == ["Attribute must be a whole number, got many. Examine values at 'res.count'."]


def test_places_are_pulumis_and_names_terraforms() -> None:
    assert reasons(items=[{"id": "a"}, {"id": ""}]) == [
        "expected \"item.1.id\" to not be an empty string, got . Examine values at 'res.items[1].id'."
    ]
    assert reasons(some=[""]) == ["expected \"some.0\" to not be an empty string, got . Examine values at 'res.some'."]
    assert reasons(many=["a", ""]) == [
        "expected \"many.1\" to not be an empty string, got . Examine values at 'res.many[1]'."
    ]
    assert reasons(block={}) == [
        (
            'Missing required argument. The argument "block.0.size" is required, but no definition was found.. '
            "Examine values at 'res.block.size'."
        )
    ]


def test_lengths_are_checked() -> None:
    assert reasons(only=["a", "b"]) == [
        (
            "Too many list items. Attribute only supports 1 item maximum, but config has 2 declared.. "
            "Examine values at 'res.only'."
        )
    ]
    assert reasons(many=[]) == [
        (
            "Not enough list items. Attribute many requires 1 item minimum, but config has only 0 declared.. "
            "Examine values at 'res.many'."
        )
    ]


def test_conflicts_are_told_on_both_sides() -> None:
    assert reasons(left="l", right="r") == [
        "Conflicting configuration arguments. \"left\": conflicts with right. Examine values at 'res.left'.",
        "Conflicting configuration arguments. \"right\": conflicts with left. Examine values at 'res.right'.",
    ]
    assert reasons(left="l", right=UNKNOWN) == []


def test_unknown_and_computed_names_are_refused() -> None:
    assert reasons(other=1) == ["Invalid or unknown key. Examine values at 'res.other'."]
    assert reasons(block={"size": 1, "other": 1}) == ["Invalid or unknown key. Examine values at 'res.block.other'."]
    (made,) = reasons(made="x")
    assert made.startswith("Value for unconfigurable attribute.")
