"""The package's schema is whole: every reference leads somewhere."""

import json
from typing import Any

from wicketgate.testing.azuread.package_schema import VERSION, package_schema
from wicketgate.testing.azuread.resources.table import RESOURCES

SCHEMA: dict[str, Any] = json.loads(package_schema())


def test_it_is_that_package() -> None:
    assert (SCHEMA["name"], SCHEMA["version"]) == ("azuread", VERSION)
    assert set(SCHEMA["resources"]) == set(RESOURCES)


def test_references_lead_somewhere() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].removeprefix("#/types/") in SCHEMA["types"]
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(SCHEMA)


def test_nested_types_are_the_sdks() -> None:
    import pulumi_azuread.outputs as outputs

    for token in SCHEMA["types"]:
        assert hasattr(outputs, token.rpartition(":")[2]), token


def test_a_resource() -> None:
    group = SCHEMA["resources"]["azuread:index/group:Group"]
    assert group["requiredInputs"] == ["displayName"]
    assert group["inputProperties"]["assignableToRole"] == {"type": "boolean", "willReplaceOnChanges": True}
    assert "objectId" not in group["inputProperties"]
    assert group["properties"]["members"] == {"type": "array", "items": {"type": "string"}}
    password = SCHEMA["resources"]["azuread:index/applicationPassword:ApplicationPassword"]
    assert password["properties"]["value"] == {"type": "string", "secret": True}
