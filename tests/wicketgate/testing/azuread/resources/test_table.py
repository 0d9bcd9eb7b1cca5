"""The table of resources says what the SDK says: names, what is required, what replaces, what is secret."""

import importlib
import inspect
import re
from typing import Any

import pytest

from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.table import RESOURCES
from wicketgate.testing.azuread.schema import Block, Kind, tf_name

NAMES = sorted(resource.name for resource in RESOURCES.values())


def resource_named(name: str) -> Resource:
    return next(resource for resource in RESOURCES.values() if resource.name == name)


def sdk(name: str) -> Any:
    module = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    return importlib.import_module(f"pulumi_azuread.{module}")


def args(name: str) -> Any:
    """The class of a resource's inputs; it has another name where a nested object took that one."""
    module = sdk(name)
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def wire_names(cls: Any) -> dict[str, Any]:
    """An SDK class's properties by their names on the wire."""
    found: dict[str, Any] = {}
    for attribute in vars(cls).values():
        if isinstance(attribute, property) and attribute.fget is not None:
            wire = getattr(attribute.fget, "_pulumi_name", attribute.fget.__name__)
            found[wire] = attribute.fget
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_type_is_the_sdks(name: str) -> None:
    resource = resource_named(name)
    source = inspect.getsource(getattr(sdk(name), name))
    assert f"'{resource.token}'" in source


@pytest.mark.parametrize("name", NAMES)
def test_properties_are_the_sdks(name: str) -> None:
    outputs = wire_names(getattr(sdk(name), name))
    assert set(resource_named(name).block) == set(outputs)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_sdks(name: str) -> None:
    inputs = wire_names(args(name))
    block = resource_named(name).block
    assert {key for key, field in block.items() if field.settable} == set(inputs)
    required = {
        key for key, getter in inputs.items() if "Optional" not in str(inspect.signature(getter).return_annotation)
    }
    assert {key for key, field in block.items() if field.required} == required


@pytest.mark.parametrize("name", NAMES)
def test_what_forces_a_new_resource_is_documented_so(name: str) -> None:
    said = wire_names(args(name))
    block = resource_named(name).block
    for key, getter in said.items():
        doc = inspect.getdoc(getter) or ""
        if re.search(r"Changing this (field )?forces (a )?new resource", doc):
            assert block[key].forces_new, f"{key} of {name} replaces in the documentation"
        elif block[key].forces_new:
            # The documentation omits it here; the source has it.
            assert (name, key) in UNDOCUMENTED


UNDOCUMENTED = {
    ("ApplicationPassword", "rotateWhenChanged"),
    ("ApplicationPassword", "endDateRelative"),
    ("ServicePrincipal", "clientId"),
    ("DirectoryRole", "displayName"),
    ("DirectoryRole", "templateId"),
    ("DirectoryRoleAssignment", "appScopeId"),
    ("DirectoryRoleAssignment", "directoryScopeId"),
}


@pytest.mark.parametrize("name", NAMES)
def test_nested_objects_are_the_sdks(name: str) -> None:
    outputs = importlib.import_module("pulumi_azuread.outputs")

    def compare(block: Block, owner: str) -> None:
        for key, field in block.items():
            if field.block is None:
                continue
            candidates = [f"{owner}{key[0].upper()}{key[1:]}", f"{owner}{singular(key)}"]
            cls = next(getattr(outputs, candidate) for candidate in candidates if hasattr(outputs, candidate))
            assert set(field.block) == set(wire_names(cls)), f"{key} of {owner}"
            compare(field.block, cls.__name__)

    compare(resource_named(name).block, name)


def singular(key: str) -> str:
    name = key[0].upper() + key[1:]
    return name[:-2] if name.endswith("sses") else name.removesuffix("s")


def test_secrets_are_the_sdks() -> None:
    found = {
        (resource.name, key)
        for resource in RESOURCES.values()
        for key, field in resource.block.items()
        if field.sensitive
    }
    assert found == {("ApplicationPassword", "value")}
    password = resource_named("Application").block["password"].block
    assert password is not None
    assert [key for key, field in password.items() if field.sensitive] == ["value"]


@pytest.mark.parametrize("name", NAMES)
def test_terraform_names_come_back(name: str) -> None:
    """A name on the wire is the camel case of its Terraform name, in the plural for a list of many."""
    for key, field in resource_named(name).block.items():
        words = tf_name(key, field).split("_")
        camel = words[0] + "".join(word[0].upper() + word[1:] for word in words[1:])
        many = field.kind in (Kind.LIST, Kind.SET) and not field.single
        assert key in ({camel, f"{camel}s", f"{camel}es"} if many else {camel})
