"""GetSchema: the package's schema, as far as the stand-in goes, from the table of resources.

It serves YAML programs, `pulumi import` and the engine's own look-ups; the SDKs carry the real one.
"""

import json
from functools import cache
from typing import Any, Final

from wicketgate.testing.azuread.config import VARIABLES
from wicketgate.testing.azuread.functions import FUNCTIONS
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.table import RESOURCES
from wicketgate.testing.azuread.schema import Block, Field, Kind

VERSION: Final = "6.11.1"
_PLAIN: Final = {Kind.TEXT: "string", Kind.FLAG: "boolean", Kind.WHOLE: "integer"}
_FLAGS: Final = frozenset({"useOidc", "useAksWorkloadIdentity", "useCli", "useMsi", "disableTerraformPartnerId"})


@cache
def package_schema() -> str:
    """The schema as JSON."""
    types: dict[str, Any] = {}
    config = {key: {"type": "boolean" if key in _FLAGS else "string"} for key in VARIABLES}
    document = {
        "name": "azuread",
        "version": VERSION,
        "description": "A stand-in for the azuread plugin, for tests without Entra.",
        "config": {"variables": config},
        "provider": {"inputProperties": config, "properties": config},
        "resources": {token: _resource(resource, types) for token, resource in RESOURCES.items()},
        "functions": {
            token: {"inputs": {"properties": _properties(function.block, function.name, types)}}
            for token, function in FUNCTIONS.items()
        },
        "types": types,
    }
    return json.dumps(document, separators=(",", ":"))


def _resource(resource: Resource, types: dict[str, Any]) -> dict[str, Any]:
    block = resource.block
    inputs = {name: field for name, field in block.items() if field.settable}
    described = _properties(inputs, resource.name, types)
    for name, field in inputs.items():
        if field.forces_new:
            described[name]["willReplaceOnChanges"] = True
    return {
        "inputProperties": described,
        "requiredInputs": [name for name, field in inputs.items() if field.required],
        "properties": _properties(block, resource.name, types),
        "required": [
            name for name, field in block.items() if field.required or field.computed or field.kind is Kind.MAP
        ],
    }


def _properties(block: Block, owner: str, types: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: _property(field, f"{owner}{name[0].upper()}{name[1:]}", types) for name, field in block.items()}


def _property(field: Field, type_name: str, types: dict[str, Any]) -> dict[str, Any]:
    described = _type(field, type_name, types)
    if field.sensitive:
        described["secret"] = True
    if field.default is not None and field.kind in _PLAIN:
        described["default"] = field.default
    if field.deprecated:
        described["deprecationMessage"] = field.deprecated
    return described


def _type(field: Field, type_name: str, types: dict[str, Any]) -> dict[str, Any]:
    if field.kind is Kind.MAP:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if field.kind not in (Kind.LIST, Kind.SET):
        return {"type": _PLAIN[field.kind]}
    block = field.block
    name = type_name if field.single else _singular(type_name)
    item = {"type": _PLAIN[field.item.kind]} if block is None else _object(block, name, types)
    return item if field.single else {"type": "array", "items": item}


def _object(block: Block, name: str, types: dict[str, Any]) -> dict[str, Any]:
    token = f"azuread:index/{name}:{name}"
    types[token] = {
        "type": "object",
        "properties": _properties(block, name, types),
        "required": [key for key, field in block.items() if field.required],
    }
    return {"$ref": f"#/types/{token}"}


def _singular(name: str) -> str:
    return name[:-2] if name.endswith("sses") else name.removesuffix("s")
