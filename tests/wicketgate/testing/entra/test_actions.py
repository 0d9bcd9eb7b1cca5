"""Graph's actions."""

import uuid
from collections.abc import Callable

import httpx2
import pytest

ObjectId = Callable[[str, str], str]


def test_check_member_groups_is_transitive_for_bots_and_people(graph: httpx2.Client, object_id: ObjectId) -> None:
    both = [object_id("group", "everyone"), object_id("group", "reviewers")]
    for path in (
        f"/v1.0/servicePrincipals/{object_id('servicePrincipal', 'bot')}",
        f"/v1.0/users/{object_id('user', 'Ada')}",
        f"/v1.0/directoryObjects/{object_id('servicePrincipal', 'bot')}",
    ):
        asked = [*both, str(uuid.uuid4()), both[0]]
        for name in ("checkMemberGroups", "microsoft.graph.checkMemberGroups"):
            answer = graph.post(f"{path}/{name}", json={"groupIds": asked})
            assert (answer.status_code, answer.json()["value"]) == (200, both)
    stranger = object_id("servicePrincipal", "stranger")
    answer = graph.post(f"/v1.0/servicePrincipals/{stranger}/checkMemberGroups", json={"groupIds": both})
    assert answer.json()["value"] == []
    reviewers = f"/v1.0/groups/{both[1]}/checkMemberObjects"
    assert graph.post(reviewers, json={"ids": both}).json()["value"] == both[:1]


@pytest.mark.parametrize("ids", [None, "x", [5], ["x"], [str(uuid.UUID(int=n)) for n in range(21)]])
def test_bad_ids(graph: httpx2.Client, object_id: ObjectId, ids: object) -> None:
    path = f"/v1.0/servicePrincipals/{object_id('servicePrincipal', 'bot')}/checkMemberGroups"
    assert graph.post(path, json={"groupIds": ids}).status_code == 400


def test_get_member_groups(graph: httpx2.Client, object_id: ObjectId) -> None:
    bot = object_id("servicePrincipal", "bot")
    for name in ("getMemberGroups", "getMemberObjects"):
        answer = graph.post(f"/v1.0/servicePrincipals/{bot}/{name}", json={"securityEnabledOnly": True})
        assert set(answer.json()["value"]) == {object_id("group", "everyone"), object_id("group", "reviewers")}


def test_get_by_ids(graph: httpx2.Client, object_id: ObjectId) -> None:
    ids = [object_id("user", "Ada"), object_id("servicePrincipal", "bot"), object_id("group", "everyone")]
    body = {"ids": [*ids, str(uuid.uuid4())]}
    found = graph.post("/v1.0/directoryObjects/getByIds", json=body).json()["value"]
    assert [(one["@odata.type"].rsplit(".", 1)[1], one["id"]) for one in found] == [
        ("user", ids[0]),
        ("servicePrincipal", ids[1]),
        ("group", ids[2]),
    ]
    groups = graph.post("/v1.0/directoryObjects/getByIds", json=body | {"types": ["group"]}).json()["value"]
    assert [one["id"] for one in groups] == ids[2:]
    assert graph.post("/v1.0/directoryObjects/getByIds", json={"ids": "x"}).status_code == 400


def test_deleted_items_and_restore(graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "phoenix"}).json()
    graph.delete(f"/v1.0/applications/{made['id']}")
    listed = graph.get("/v1.0/directory/deletedItems/microsoft.graph.application").json()["value"]
    assert made["id"] in [one["id"] for one in listed]
    assert graph.get(f"/v1.0/directory/deletedItems/{made['id']}").json()["deletedDateTime"]
    restored = graph.post(f"/v1.0/directory/deletedItems/{made['id']}/restore")
    assert restored.json()["deletedDateTime"] is None
    assert graph.get(f"/v1.0/applications/{made['id']}").status_code == 200
    graph.delete(f"/v1.0/applications/{made['id']}")
    assert graph.delete(f"/v1.0/directory/deletedItems/{made['id']}").status_code == 204
    assert graph.get(f"/v1.0/directory/deletedItems/{made['id']}").status_code == 404


def test_actions_where_they_do_not_belong(graph: httpx2.Client, object_id: ObjectId) -> None:
    group = object_id("group", "everyone")
    for path in (
        f"groups/{group}/addPassword",
        "applications/getByIds",
        f"groups/{group}/restore",
        "groups/addPassword",
    ):
        assert graph.post(f"/v1.0/{path}", json={}).status_code == 400
    bot = object_id("servicePrincipal", "bot")
    assert graph.get(f"/v1.0/servicePrincipals/{bot}/checkMemberGroups").status_code == 405
    app = object_id("application", "bot")
    assert graph.post(f"/v1.0/applications/{app}/removePassword", json={"keyId": str(uuid.uuid4())}).status_code == 400
    for given in ({"passwordCredential": "x"}, {"passwordCredential": {"endDateTime": "never"}}):
        assert graph.post(f"/v1.0/applications/{app}/addPassword", json=given).status_code == 400
