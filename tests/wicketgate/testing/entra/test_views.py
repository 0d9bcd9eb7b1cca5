"""How objects look in each version."""

from collections.abc import Callable

import pytest

from wicketgate.testing.entra.errors import GraphError
from wicketgate.testing.entra.query import Query, parse_query
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.entra.views import View

ObjectId = Callable[[str, str], str]


def test_nulls_are_there_and_private_keys_are_not(entra: EntraEmulator, object_id: ObjectId) -> None:
    group = entra.core.directory.find("group", object_id("group", "reviewers"))
    assert group
    v1, beta = (View(entra.core, version).object(group, Query(), typed=False) for version in ("v1.0", "beta"))
    assert v1["membershipRule"] is None
    assert "writebackConfiguration" in beta
    assert "writebackConfiguration" not in v1
    assert not [name for name in (*v1, *beta) if name.startswith("_")]
    assert "@odata.type" not in v1


def test_selection_and_type(entra: EntraEmulator, object_id: ObjectId) -> None:
    ada = entra.core.directory.find("user", object_id("user", "Ada"))
    assert ada
    view = View(entra.core, "v1.0")
    shown = view.object(ada, parse_query({"$select": "displayName,accountEnabled"}, eventual=False), typed=True)
    assert shown == {
        "@odata.type": "#microsoft.graph.user",
        "id": ada["id"],
        "displayName": "Ada",
        "accountEnabled": True,
    }
    assert "accountEnabled" not in view.object(ada, Query(), typed=False)


def test_expansion(entra: EntraEmulator, object_id: ObjectId) -> None:
    group = entra.core.directory.find("group", object_id("group", "reviewers"))
    assert group
    view = View(entra.core, "v1.0")
    shown = view.object(group, parse_query({"$expand": "members($select=id)"}, eventual=False), typed=False)
    assert {one["@odata.type"] for one in shown["members"]} == {
        "#microsoft.graph.user",
        "#microsoft.graph.servicePrincipal",
    }
    for name in ("nothing", "transitiveMembers"):
        with pytest.raises(GraphError, match=name):
            view.object(group, parse_query({"$expand": name}, eventual=False), typed=False)


def test_references(entra: EntraEmulator, object_id: ObjectId) -> None:
    ada = entra.core.directory.find("user", object_id("user", "Ada"))
    assert ada
    link = View(entra.core, "beta").reference(ada)["@odata.id"]
    assert link.startswith(f"{entra.graph}/beta/directoryObjects/{ada['id']}/")
