"""Inputs from outputs: refresh and import."""

from typing import Any

from wicketgate.provider.values import Secret
from wicketgate.testing.azuread.imports import imported, refreshed
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
from wicketgate.testing.azuread.validators import uuid

BLOCK: Block = {
    "name": text(REQUIRED),
    "note": text(OPTIONAL),
    "on": flag(OPTIONAL, default=True),
    "made": text(COMPUTED),
    "template": text(OPTIONAL | COMPUTED, check=uuid),
    "tags": texts(OPTIONAL, conflicts=("features",)),
    "features": texts(OPTIONAL | COMPUTED, conflicts=("tags",)),
    "labels": mapping(OPTIONAL),
    "block": one(OPTIONAL, {"v": whole(OPTIONAL, default=1), "made": text(COMPUTED), "w": text(OPTIONAL)}),
    "roles": objects(OPTIONAL, {"id": text(REQUIRED), "on": flag(OPTIONAL, default=True)}),
}


def test_a_refresh_updates_what_the_program_gave() -> None:
    inputs: dict[str, Any] = {
        "name": "n",
        "on": True,
        "block": {"v": 1, "__defaults": ["v"]},
        "roles": [{"id": "2", "on": True, "__defaults": ["on"]}, {"id": "1", "on": True, "__defaults": ["on"]}],
        "labels": {"a": "1", "b": "2"},
        "__defaults": ["on"],
    }
    outputs: dict[str, Any] = {
        "name": "other",
        "note": "not ours",
        "on": True,
        "made": "m",
        "block": {"v": 2, "made": "m", "w": ""},
        "roles": [{"id": "1", "on": True}, {"id": "2", "on": False}],
        "labels": {"a": "9", "c": "3"},
    }
    assert refreshed(BLOCK, inputs, outputs) == {
        "name": "other",
        "on": True,
        "block": {"v": 2},
        "roles": [{"id": "2", "on": False}, {"id": "1", "on": True, "__defaults": ["on"]}],
        "labels": {"a": "9"},
        "__defaults": ["on"],
    }


def test_an_item_that_went_is_not_an_input() -> None:
    inputs = {"name": "n", "roles": [{"id": "1", "on": True}, {"id": "2", "on": True}], "tags": ["a", "b"]}
    found = refreshed(BLOCK, inputs, {"name": "n", "roles": [{"id": "2", "on": True}], "tags": ["b"]})
    assert len(found["roles"]) == 1
    assert found["tags"] == ["b"]


def test_an_import_takes_what_says_something() -> None:
    outputs: dict[str, Any] = {
        "name": "",
        "note": "",
        "on": True,
        "made": "m",
        "template": "",
        "tags": ["a"],
        "features": ["f"],
        "labels": {"a": "1"},
        "block": {"v": 1, "made": "m", "w": "x"},
        "roles": [{"id": "1", "on": False}],
        "id": "i",
        "__meta": "m",
    }
    assert imported(BLOCK, outputs) == {
        "name": "",  # required
        "features": ["f"],  # and so not `tags`
        "labels": {"a": "1", "__defaults": []},
        "block": {"w": "x", "__defaults": []},
        "roles": [{"id": "1", "on": False, "__defaults": []}],
        "__defaults": [],
    }


def test_what_check_would_refuse_is_left_out_if_it_may_be() -> None:
    assert "template" not in imported(BLOCK, {"name": "n", "template": "no-uuid"})
    assert imported(BLOCK, {"name": "n", "template": "aaaaaaaa-0000-4000-8000-000000000001"})["template"]


def test_secrets_stay_secrets() -> None:
    block: Block = {"key": text(OPTIONAL)}
    assert imported(block, {"key": Secret("x")})["key"] == Secret("x")
    assert imported(block, {"key": Secret("")}) == {"__defaults": []}
