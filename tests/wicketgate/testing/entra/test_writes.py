"""Bodies: what is refused, how patches merge, references, and that no body whatever makes the server fail."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate.testing.entra.errors import GraphError
from wicketgate.testing.entra.schema import COLLECTIONS, ENTITIES
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.entra.writes import merge, reference_id

ObjectId = Callable[[str, str], str]

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.just(str(uuid.UUID(int=1)))
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ANNOTATIONS = ["owners@odata.bind", "members@odata.bind", "@odata.type", "@odata.id"]
ARGUMENTS = ["passwordCredential", "keyId", "groupIds", "ids"]
PROPERTIES = {name for entity in ENTITIES.values() for name in (*entity.defaults, *entity.also)}
NAMES = sorted({*PROPERTIES, *ANNOTATIONS, *ARGUMENTS})
BODIES = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, collection=st.sampled_from(sorted(COLLECTIONS)), named=st.booleans())
def test_no_body_makes_a_collection_fail(
    graph: httpx2.Client, body: dict[str, Any], collection: str, named: bool
) -> None:
    if named:
        body = {"displayName": "x", "mailNickname": "x", "mailEnabled": False, "securityEnabled": True} | body
    answer = graph.post(f"/v1.0/{collection}", json=body)
    assert answer.status_code in (201, 400, 404, 405, 409), answer.text
    if answer.status_code == 201:
        assert graph.get(f"/beta/{collection}/{answer.json()['id']}").status_code == 200


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=BODIES,
    path=st.sampled_from(
        ["", "/owners/$ref", "/members/$ref", "/federatedIdentityCredentials", "/addPassword", "/removePassword",
         "/checkMemberGroups", "/checkMemberObjects", "/getMemberGroups", "/appRoleAssignedTo", "/appRoleAssignments"]
    ),
    kind=st.sampled_from(["application", "servicePrincipal", "group"]),
)  # fmt: skip
def test_no_body_makes_an_object_fail(
    graph: httpx2.Client, body: dict[str, Any], path: str, kind: str, object_id: ObjectId
) -> None:
    target = object_id(kind, "victim")
    method = "POST" if path else "PATCH"
    answer = graph.request(method, f"/beta/{ENTITIES[kind].collection}/{target}{path}", json=body)
    assert answer.status_code in (200, 201, 204, 400, 404, 405, 409), answer.text
    for version in ("v1.0", "beta"):
        shown = graph.get(f"/{version}/{ENTITIES[kind].collection}/{target}", params={"$expand": "owners"})
        assert shown.status_code == 200, shown.text
    if kind in ("application", "group") and not path:
        graph.patch(f"/beta/{ENTITIES[kind].collection}/{target}", json={"displayName": "victim"})


@pytest.fixture(autouse=True)
def _victims(entra: EntraEmulator) -> None:
    """Objects that may be patched into any shape, found by name; and no waiting for the shape to be written."""
    entra.set_quirks(fic_write_seconds=0)
    entra.seed({"applications": [{"displayName": "victim"}], "groups": [{"displayName": "victim"}]})


def test_merging_complex_properties() -> None:
    assert merge({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "d": 2}
    assert merge([1], [2]) == [2]
    assert merge({"a": 1}, None) is None


def test_a_patch_keeps_what_it_does_not_name(graph: httpx2.Client) -> None:
    body = {"displayName": "merge", "web": {"redirectUris": ["https://a.example/"], "logoutUrl": "https://l.example/"}}
    made = graph.post("/v1.0/applications", json=body).json()
    path = f"/v1.0/applications/{made['id']}"
    assert graph.patch(path, json={"web": {"logoutUrl": None}, "tags": None, "info": None}).status_code == 204
    after = graph.get(path).json()
    assert after["web"]["redirectUris"] == ["https://a.example/"]
    assert (after["web"]["logoutUrl"], after["tags"]) == (None, [])
    assert graph.patch(path, json={"api": {"oauth2PermissionScopes": None}}).status_code == 204
    assert graph.get(path).json()["api"]["oauth2PermissionScopes"] == []


def test_read_only_properties_may_be_sent_back_empty_only(graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "ro", "appId": None, "id": None}).json()
    path = f"/v1.0/applications/{made['id']}"
    assert graph.patch(path, json={"appId": str(uuid.uuid4())}).status_code == 400
    assert graph.patch(path, json={"appId": None}).status_code == 204
    assert graph.get(path).json()["appId"] == made["appId"]


def test_passwords_in_the_first_body_come_back_once(graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "pw", "passwordCredentials": [{"displayName": "p"}]})
    [credential] = made.json()["passwordCredentials"]
    assert len(credential["secretText"]) == 40
    [listed] = graph.get(f"/v1.0/applications/{made.json()['id']}").json()["passwordCredentials"]
    assert listed["secretText"] is None
    assert listed["hint"] == credential["secretText"][:3]


def test_references(graph: httpx2.Client, entra: EntraEmulator, object_id: ObjectId) -> None:
    group, bot, ada = object_id("group", "everyone"), object_id("servicePrincipal", "bot"), object_id("user", "Ada")
    path = f"/beta/groups/{group}/members/$ref"

    def add(key: str, where: str = path) -> httpx2.Response:
        return graph.post(where, json={"@odata.id": f"{entra.graph}/v1.0/directoryObjects/{key}"})

    assert add(bot).status_code == 204
    twice = add(bot)
    assert "already exist" in twice.json()["error"]["message"]
    assert add(group).status_code == 400
    assert add(str(uuid.uuid4())).status_code == 404
    assert add(object_id("application", "bot")).status_code == 400
    assert add(object_id("group", "reviewers"), f"/v1.0/groups/{group}/owners/$ref").status_code == 400
    assert add(ada, f"/v1.0/groups/{group}/owners/$ref").status_code == 204
    last = graph.delete(f"/v1.0/groups/{group}/owners/{ada}/$ref")
    assert "must have at least one owner" in last.json()["error"]["message"]
    assert graph.delete(f"/beta/groups/{group}/members/{bot}/$ref").status_code == 204
    assert graph.delete(f"/beta/groups/{group}/members/{bot}/$ref").status_code == 404
    assert graph.delete(f"/beta/groups/{group}/members/{ada}").status_code == 404


def test_members_by_patch(graph: httpx2.Client, entra: EntraEmulator, object_id: ObjectId) -> None:
    made = graph.post(
        "/v1.0/groups",
        json={"displayName": "bulk", "mailEnabled": False, "mailNickname": "bulk", "securityEnabled": True},
    ).json()
    urls = [f"{entra.graph}/v1.0/directoryObjects/{object_id('user', name)}" for name in ("Ada", "Bob")]
    assert graph.patch(f"/v1.0/groups/{made['id']}", json={"members@odata.bind": urls}).status_code == 204
    assert len(graph.get(f"/v1.0/groups/{made['id']}/members").json()["value"]) == 2
    assert graph.patch(f"/v1.0/groups/{made['id']}", json={"members@odata.bind": urls * 11}).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/v1.0/directoryObjects/0f0e0d0c-0000-4000-8000-00000000000A",
        "https://h/beta/directoryObjects('0f0e0d0c-0000-4000-8000-00000000000a')",
        "https://h/v1.0/users/0f0e0d0c-0000-4000-8000-00000000000a",
    ],
)
def test_reference_urls(url: str) -> None:
    assert reference_id(url) == "0f0e0d0c-0000-4000-8000-00000000000a"


@pytest.mark.parametrize("url", [None, 5, "", "x", "https://h/", "https://[/x", "https://h/v1.0/users/ada"])
def test_bad_reference_urls(url: object) -> None:
    with pytest.raises(GraphError) as refused:
        reference_id(url)
    assert refused.value.status == 400


def test_an_object_may_be_sent_back_whole(graph: httpx2.Client) -> None:
    # The azuread provider names the credential's id in the body of its PATCH.
    application = graph.post("/v1.0/applications", json={"displayName": "sent back"}).json()
    url = f"/v1.0/applications/{application['id']}/federatedIdentityCredentials"
    body = {"name": "main", "issuer": "https://i.example", "subject": "a", "audiences": ["api://AzureADTokenExchange"]}
    credential = graph.post(url, json=body).json()
    assert graph.patch(f"{url}/{credential['id']}", json={**credential, "subject": "b"}).status_code == 204
    assert graph.get(f"{url}/{credential['id']}").json()["subject"] == "b"
    other = graph.patch(f"{url}/{credential['id']}", json={"id": str(uuid.uuid4()), "subject": "c"})
    assert other.status_code == 400
