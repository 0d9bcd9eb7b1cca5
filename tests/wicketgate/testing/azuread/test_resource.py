"""A row's outputs: the ID, metadata, secrets."""

import json

from wicketgate.provider.values import UNKNOWN, Secret
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.schema import COMPUTED, OPTIONAL, SENSITIVE, objects, one, text


def nothing(_operation: Operation) -> None:
    pass


def row(version: int = 0, **timeouts: int) -> Resource:
    inner = {"key": text(COMPUTED | SENSITIVE), "name": text(OPTIONAL)}
    return Resource(
        name="FancyThing",
        tf="azuread_fancy_thing",
        block={
            "name": text(OPTIONAL),
            "key": text(COMPUTED | SENSITIVE),
            "one": one(OPTIONAL, inner),
            "many": objects(OPTIONAL, inner),
        },
        create=nothing,
        read=nothing,
        delete=nothing,
        timeouts=timeouts,
        version=version,
    )


def test_the_token() -> None:
    assert row().token == "azuread:index/fancyThing:FancyThing"


def test_metadata_is_the_bridges() -> None:
    assert "__meta" not in row().outputs({}, "i")
    assert json.loads(row(2, read=5, create=10).outputs({}, "i")["__meta"]) == {
        "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0": {"create": 600 * 10**9, "read": 300 * 10**9},
        "schema_version": "2",
    }
    assert "schema_version" not in row(0, read=5).meta


def test_secrets_are_marked_at_every_depth() -> None:
    item = {"key": "k", "name": "n"}
    marked = {"key": Secret("k"), "name": "n"}
    outputs = row().outputs({"name": "n", "key": "k", "one": item, "many": [item]}, "i")
    assert outputs == {"name": "n", "key": Secret("k"), "one": marked, "many": [marked], "id": "i"}
    assert row().outputs({"one": None, "key": None}, "i")["key"] is None
    assert row().outputs({"key": UNKNOWN}, "")["key"] == Secret(UNKNOWN)


def test_something_new_has_an_unknown_id() -> None:
    assert row().outputs({}, "")["id"] is UNKNOWN
