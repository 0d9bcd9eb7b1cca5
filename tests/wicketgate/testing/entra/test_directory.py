"""Relations, visibility and deletion in the directory, without a server."""

from typing import Any

import pytest

from wicketgate.testing.entra.builtin import stable_id
from wicketgate.testing.entra.directory import GRAPH_APP_ID, Directory
from wicketgate.testing.entra.schema import ENTITIES, Navigation, Via
from wicketgate.testing.entra.seed import apply_seed

ROLE = {"id": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40", "value": "Bot", "displayName": "Bot", "description": "b",
        "allowedMemberTypes": ["Application", "User"]}  # fmt: skip
SEED: dict[str, Any] = {
    "users": [{"displayName": "Ada", "mail": "ada@contoso.example"}],
    "groups": [
        {"displayName": "inner", "members": ["ada@contoso.example"]},
        {"displayName": "middle", "members": ["inner"]},
        {"displayName": "outer", "members": ["middle"]},
    ],
    "applications": [
        {"displayName": "gate", "identifierUris": ["api://gate/"], "appRoles": [ROLE]},
        {"displayName": "bot", "groups": ["inner"]},
    ],
}


@pytest.fixture
def seeded(directory: Directory) -> Directory:
    apply_seed(directory, SEED)
    return directory


def named(directory: Directory, kind: str, name: str) -> dict[str, Any]:
    found = directory.find_by(kind, "displayName", name)
    assert found is not None
    return found


def assign(directory: Directory, principal: str, role: str = ROLE["id"]) -> None:
    gate = named(directory, "servicePrincipal", "gate")
    properties = {"principalId": principal, "resourceId": gate["id"], "appRoleId": role}
    directory.save(directory.new(ENTITIES["appRoleAssignment"], properties))


def test_nesting_and_cycles(seeded: Directory) -> None:
    bot = named(seeded, "servicePrincipal", "bot")
    assert [one["displayName"] for one in seeded.groups_of(bot["id"])] == ["inner", "middle", "outer"]
    inner, outer = named(seeded, "group", "inner"), named(seeded, "group", "outer")
    seeded.store.link("members", inner["id"], outer["id"])
    assert len(seeded.groups_of(bot["id"])) == 3
    found = seeded.related(outer, Navigation(Via.CLOSURE, "members"))
    assert {one["displayName"] for one in found} == {"middle", "inner", "Ada", "bot"}


def test_an_api_is_found_by_its_names(seeded: Directory) -> None:
    gate = named(seeded, "servicePrincipal", "gate")
    for name in ("api://gate", "api://gate/", "API://GATE", gate["appId"], gate["appId"].upper()):
        found = seeded.resource_named(name)
        assert found is not None
        assert found["id"] == gate["id"]
    assert seeded.resource_named("api://gat") is None
    graph = seeded.principal_of(GRAPH_APP_ID)
    assert graph is not None
    assert seeded.application_of(graph) is None


def test_roles_reach_people_by_direct_groups_and_bots_never(seeded: Directory) -> None:
    gate = named(seeded, "servicePrincipal", "gate")
    bot, ada = named(seeded, "servicePrincipal", "bot"), named(seeded, "user", "Ada")
    assign(seeded, named(seeded, "group", "inner")["id"])
    assert seeded.role_values(ada, gate) == ["Bot"]
    assert seeded.role_values(bot, gate) == []
    assert (seeded.assigned(ada, gate), seeded.assigned(bot, gate)) == (True, False)
    assign(seeded, bot["id"])
    assert seeded.role_values(bot, gate) == ["Bot"]


def test_a_role_by_an_outer_group_does_not_count(seeded: Directory) -> None:
    assign(seeded, named(seeded, "group", "middle")["id"])
    assert seeded.role_values(named(seeded, "user", "Ada"), named(seeded, "servicePrincipal", "gate")) == []


def test_a_disabled_role_still_flows_until_it_is_unassigned(seeded: Directory) -> None:
    bot = named(seeded, "servicePrincipal", "bot")
    assign(seeded, bot["id"])
    application = named(seeded, "application", "gate")
    application["appRoles"][0]["isEnabled"] = False
    seeded.save(application)
    assert seeded.role_values(bot, named(seeded, "servicePrincipal", "gate")) == ["Bot"]


def test_an_assignment_without_a_role_only_lets_in(seeded: Directory) -> None:
    bot, gate = named(seeded, "servicePrincipal", "bot"), named(seeded, "servicePrincipal", "gate")
    assign(seeded, bot["id"], "00000000-0000-0000-0000-000000000000")
    assert (seeded.assigned(bot, gate), seeded.role_values(bot, gate)) == (True, [])


def test_assignment_lag(seeded: Directory) -> None:
    bot, gate = named(seeded, "servicePrincipal", "bot"), named(seeded, "servicePrincipal", "gate")
    seeded.quirks.update({"assignment_lag": 60})
    assign(seeded, bot["id"])
    assert seeded.role_values(bot, gate) == []
    seeded.quirks.update({"assignment_lag": 0})
    assert seeded.role_values(bot, gate) == ["Bot"]


def test_deletion_takes_the_principal_and_restoring_brings_the_links_back(seeded: Directory) -> None:
    application, bot = named(seeded, "application", "bot"), named(seeded, "servicePrincipal", "bot")
    inner = named(seeded, "group", "inner")
    seeded.delete(application)
    assert seeded.find("application", application["id"]) is None
    assert seeded.find("servicePrincipal", bot["id"]) is None
    members = [one["displayName"] for one in seeded.related(inner, ENTITIES["group"].navigations["members"])]
    assert members == ["Ada"]
    deleted = seeded.deleted(bot["id"])
    assert deleted is not None
    assert deleted["deletedDateTime"]
    seeded.restore(deleted)
    assert next(one["displayName"] for one in seeded.groups_of(bot["id"])) == "inner"
    seeded.purge(application)
    assert seeded.deleted(application["id"]) is None


def test_ids_follow_from_tenant_and_name(directory: Directory) -> None:
    assert stable_id(directory.tenant, "group", "a") == stable_id(directory.tenant, "group", "a")
    assert stable_id(directory.tenant, "group", "a") != stable_id(directory.tenant, "user", "a")
