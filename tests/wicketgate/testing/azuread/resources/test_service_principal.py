"""`ServicePrincipal`, request by request."""

from typing import Any

import grpc
import pytest

from wicketgate.testing.azuread.resources.service_principal import retry_create

SP = "aaaaaaaa-0000-4000-8000-000000000003"
CLIENT = "aaaaaaaa-0000-4000-8000-000000000002"
CALLER = "99999999-8888-4777-8666-555555555555"
PATH = f"/v1.0/servicePrincipals/{SP}"
FIND = f"GET /v1.0/servicePrincipals?%24filter=appId+eq+%27{CLIENT}%27"
READ = [f"GET {PATH}", f"GET /beta/servicePrincipals/{SP}?%24select=samlMetadataUrl", f"GET {PATH}/owners"]


def principal(**more: Any) -> dict[str, Any]:
    return {
        "id": SP,
        "appId": CLIENT,
        "displayName": "bot",
        "accountEnabled": True,
        "appRoleAssignmentRequired": False,
        "servicePrincipalNames": [CLIENT, "api://bot"],
        "servicePrincipalType": "Application",
        "tags": [],
        **more,
    }


def read(*owners: str, **more: Any) -> list[tuple[Any, ...]]:
    return [(200, principal(**more)), (200, {}), (200, {"value": [{"id": owner} for owner in owners]})]


def test_creation_looks_first_and_describes_twice(scripted: Any, script: Any) -> None:
    script.expect((200, {"value": []}), (201, principal()), (204, None), (204, None), *read())
    state = scripted.create("ServicePrincipal", clientId=CLIENT)
    body = script.bodies("POST")[0]
    assert body.pop("description").startswith("TERRAFORM_UPDATE_")
    assert body == {
        "@odata.type": "#microsoft.graph.servicePrincipal",
        "accountEnabled": True,
        "alternativeNames": [],
        "appId": CLIENT,
        "appRoleAssignmentRequired": False,
        "loginUrl": None,
        "notes": None,
        "notificationEmailAddresses": [],
        "owners@odata.bind": [f"https://{script.host}/v1.0/directoryObjects/{CALLER}"],
        "preferredSingleSignOnMode": None,
        "samlSingleSignOnSettings": {},
        "tags": [],
    }
    assert script.bodies("PATCH") == [{"description": None, "@odata.type": "#microsoft.graph.servicePrincipal"}]
    assert script.lines() == [
        FIND,
        "POST /v1.0/servicePrincipals",
        f"PATCH {PATH}",
        f"DELETE {PATH}/owners/{CALLER}/$ref",
        *READ,
    ]
    assert state.id == f"/servicePrincipals/{SP}"
    assert state["servicePrincipalNames"] == ["api://bot"]
    assert scripted.changes(state, clientId=CLIENT) == {}
    assert scripted.changes(state, clientId=SP) == {"clientId": "UPDATE_REPLACE"}
    assert scripted.changes(state, clientId=CLIENT, appRoleAssignmentRequired=True) == {
        "appRoleAssignmentRequired": "UPDATE"
    }


def test_an_existing_principal_is_refused_or_adopted(scripted: Any, script: Any) -> None:
    script.expect((200, {"value": [principal()]}))
    with pytest.raises(grpc.RpcError, match=f'A resource with the ID "{SP}" already exists'):
        scripted.create("ServicePrincipal", clientId=CLIENT)
    script.lines()
    script.expect((200, {"value": [principal()]}), (204, None), *read())
    state = scripted.create("ServicePrincipal", clientId=CLIENT, useExisting=True)
    assert script.lines() == [FIND, f"PATCH {PATH}", *READ]
    # Gone from the state: the real provider asks once, and does not wait.
    script.expect((403, {"error": {"code": "Denied", "message": "no"}}))
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}"]


def test_creation_waits_for_the_application(scripted: Any, script: Any) -> None:
    said = f"The appId '{CLIENT}' of the service principal does not reference a valid application object."
    unknown = (400, {"error": {"code": "Request_BadRequest", "message": said}}, {"Retry-After": "0"})
    script.expect((200, {"value": []}), unknown, (201, principal()), (204, None), *read(CALLER))
    scripted.create("ServicePrincipal", clientId=CLIENT, owners=[CALLER])
    assert script.lines()[1:4] == ["POST /v1.0/servicePrincipals"] * 2 + [f"PATCH {PATH}"]
    assert not retry_create(400, "Request_BadRequest: something else")
    assert not retry_create(404, said)


def test_an_update_sends_all_and_reads(scripted: Any, script: Any) -> None:
    script.expect((200, {"value": []}), (201, principal()), (204, None), *read(CALLER))
    state = scripted.create("ServicePrincipal", clientId=CLIENT, owners=[CALLER])
    script.lines()
    script.expect((204, None), *read(CALLER, tags=["HideApp"]))
    scripted.update(state, clientId=CLIENT, owners=[CALLER], featureTags=[{"hide": True}])
    assert script.bodies("PATCH")[0]["tags"] == ["HideApp"]
    assert script.lines() == [f"PATCH {PATH}", *READ]
    assert state["featureTags"] == [{"customSingleSignOn": False, "enterprise": False, "gallery": False, "hide": True}]
    assert scripted.changes(state, clientId=CLIENT, owners=[CALLER], featureTags=[{"hide": True}]) == {}


def test_deletion_waits(scripted: Any, script: Any) -> None:
    script.expect((200, {"value": []}), (201, principal()), (204, None), *read(CALLER))
    state = scripted.create("ServicePrincipal", clientId=CLIENT, owners=[CALLER])
    script.lines()
    script.expect((204, None), *[(404, {"error": {"code": "x", "message": "y"}})] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}", *[f"GET {PATH}"] * 5]


def test_features_and_tags_exclude_each_other(scripted: Any) -> None:
    reasons = scripted.failures("ServicePrincipal", clientId=CLIENT, tags=["a"], featureTags=[{"hide": True}])
    said = "Conflicting configuration arguments. "
    assert reasons == [
        f"{said}\"feature_tags\": conflicts with tags. Examine values at 'res.featureTags'.",
        f"{said}\"tags\": conflicts with feature_tags. Examine values at 'res.tags'.",
    ]
