"""The table of entities, compared with the real SDK's models."""

import dataclasses
import importlib
import re

import pytest

from wicketgate.testing.entra.schema import COLLECTIONS, ENTITIES, Entity, Via


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_navigations_lead_somewhere() -> None:
    for entity in ENTITIES.values():
        for name, navigation in entity.navigations.items():
            if navigation.via is Via.CHILD:
                child = ENTITIES[navigation.name]
                assert navigation.key.startswith("_") or navigation.key in child.defaults, (entity.kind, name)
            elif navigation.via is not Via.NOTHING:
                assert navigation.name in ("members", "owners")


def test_sets_name_known_properties() -> None:
    for entity in ENTITIES.values():
        for names in (entity.required, entity.alternate_keys, entity.select_only, entity.beta):
            assert set(names) <= set(entity.defaults), entity.kind
        assert "id" in entity.defaults
    assert set(COLLECTIONS) >= {"applications", "servicePrincipals", "groups", "users"}


@pytest.mark.parametrize(
    "kind",
    ["application", "servicePrincipal", "group", "user", "federatedIdentityCredential", "appRoleAssignment",
     "directoryRole", "unifiedRoleAssignment", "oAuth2PermissionGrant"],
)  # fmt: skip
def test_every_property_is_one_that_the_sdk_knows(kind: str) -> None:
    """A misspelt property would pass unseen through every other test."""
    module = importlib.import_module(f"msgraph.generated.models.{snake(kind).replace('o_auth2', 'o_auth2')}")
    entity: Entity = ENTITIES[kind]
    model = getattr(module, kind[0].upper() + kind[1:])
    known = {field.name for field in dataclasses.fields(model)}
    betas = entity.beta | {"samlMetadataUrl", "isDisabled", "writebackConfiguration"}
    # In answers of the real service, though not in its metadata.
    betas |= {"createdDateTime"} if kind == "servicePrincipal" else set()
    for name in (*entity.defaults, *entity.navigations):
        if name not in betas and name not in ("groupLifecyclePolicies", "settings", "createdByAppId", "_parent"):
            assert snake(name) in known, (kind, name)
