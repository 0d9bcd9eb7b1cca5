"""Entries of an application's lists: read the application, change one entry, write the list back."""

import base64
from typing import Any

import grpc
import pytest

APP = "aaaaaaaa-0000-4000-8000-000000000001"
ID = f"/applications/{APP}"
PATH = f"/v1.0{ID}"
KEY = "aaaaaaaa-0000-4000-8000-00000000000a"
OTHER = "aaaaaaaa-0000-4000-8000-00000000000b"


def app(**more: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"id": APP, "displayName": "app", **more}


def test_an_app_role_joins_the_others_and_is_disabled_before_it_changes(scripted: Any, script: Any) -> None:
    other = {"id": OTHER, "value": "Other", "isEnabled": True, "displayName": "o", "description": "o"}
    mine = {
        "id": KEY,
        "value": "Mine",
        "isEnabled": True,
        "displayName": "m",
        "description": "m",
        "allowedMemberTypes": ["User"],
    }
    given = {
        "applicationId": ID,
        "roleId": KEY,
        "allowedMemberTypes": ["User"],
        "description": "m",
        "displayName": "m",
        "value": "Mine",
    }
    script.expect(app(appRoles=[other]), (204, None), app(appRoles=[other, mine]))
    state = scripted.create("ApplicationAppRole", **given)
    assert state.id == f"{ID}/appRoles/{KEY}"
    assert script.bodies("PATCH") == [
        {"id": APP, "appRoles": [other, mine], "@odata.type": "#microsoft.graph.application"}
    ]
    assert script.lines() == [f"GET {PATH}", f"PATCH {PATH}", f"GET {PATH}"]
    assert scripted.changes(state, **given) == {}
    assert scripted.changes(state, **{**given, "roleId": OTHER}) == {"roleId": "UPDATE_REPLACE"}

    off, new = {**mine, "isEnabled": False}, {**mine, "description": "n"}
    script.expect(
        app(appRoles=[other, mine]),
        app(appRoles=[other, mine]),
        (204, None),
        app(appRoles=[other, off]),
        (204, None),
        app(appRoles=[other, new]),
    )
    scripted.update(state, **{**given, "description": "n"})
    assert [body["appRoles"] for body in script.bodies("PATCH")] == [[other, off], [other, new]]
    assert script.lines() == [f"{verb} {PATH}" for verb in ("GET", "GET", "PATCH", "GET", "PATCH", "GET")]

    script.expect(
        app(appRoles=[other, new]),
        app(appRoles=[other, new]),
        (204, None),
        app(appRoles=[other, {**new, "isEnabled": False}]),
        (204, None),
    )
    scripted.delete(state)
    assert script.bodies("PATCH")[-1]["appRoles"] == [other]


def test_a_permission_scope_is_under_api(scripted: Any, script: Any) -> None:
    given = {
        "applicationId": ID,
        "scopeId": KEY,
        "adminConsentDescription": "d",
        "adminConsentDisplayName": "n",
        "value": "act",
    }
    made = {
        "id": KEY,
        "isEnabled": True,
        "adminConsentDescription": "d",
        "adminConsentDisplayName": "n",
        "type": "User",
        "userConsentDescription": "",
        "userConsentDisplayName": "",
        "value": "act",
    }
    script.expect(app(api={}), (204, None), app(api={"oauth2PermissionScopes": [made]}))
    state = scripted.create("ApplicationPermissionScope", **given)
    assert state.inputs["__defaults"] == ["type"]
    assert script.bodies("PATCH")[0]["api"] == {"oauth2PermissionScopes": [made]}
    assert scripted.changes(state, **given) == {}
    script.expect(app(api={"oauth2PermissionScopes": []}))
    assert not scripted.refresh(state)


def test_api_access_lists_roles_then_scopes(scripted: Any, script: Any) -> None:
    access = {
        "resourceAppId": KEY,
        "resourceAccess": [{"id": OTHER, "type": "Role"}, {"id": KEY, "type": "Scope"}],
    }
    script.expect(app(requiredResourceAccess=[]), (204, None), app(requiredResourceAccess=[access]))
    state = scripted.create("ApplicationApiAccess", applicationId=ID, apiClientId=KEY, roleIds=[OTHER], scopeIds=[KEY])
    assert state.id == f"{ID}/apiAccess/{KEY}"
    assert script.bodies("PATCH")[0]["requiredResourceAccess"] == [access]
    assert state["roleIds"] == [OTHER]
    assert scripted.failures("ApplicationApiAccess", applicationId=ID, apiClientId=KEY) == [
        f'Missing required argument. "{name}": one of `role_ids,scope_ids` must be specified. '
        f"Examine values at 'res.{wire}'."
        for name, wire in (("role_ids", "roleIds"), ("scope_ids", "scopeIds"))
    ]


def test_an_identifier_uri_is_in_its_id(scripted: Any, script: Any) -> None:
    segment = base64.b64encode(b"api://gate").decode()
    script.expect(app(identifierUris=["api://old"]), (204, None), app(identifierUris=["api://old", "api://gate"]))
    state = scripted.create("ApplicationIdentifierUri", applicationId=ID, identifierUri="api://gate")
    assert state.id == f"{ID}/identifierUris/{segment}"
    assert script.bodies("PATCH")[0]["identifierUris"] == ["api://old", "api://gate"]
    script.lines()
    script.expect(app(identifierUris=["api://old", "api://gate"]), (204, None))
    scripted.delete(state)
    assert script.bodies("PATCH")[0]["identifierUris"] == ["api://old"]
    script.lines()
    script.expect(app(identifierUris=["api://gate"]))
    found = scripted.bring_in("ApplicationIdentifierUri", f"{ID}/identifierUris/{segment}")
    assert found is not None
    assert found["identifierUri"] == "api://gate"


def test_a_pre_authorized_application_keeps_its_older_id(scripted: Any, script: Any) -> None:
    entry = {"appId": KEY, "delegatedPermissionIds": [OTHER]}
    given = {"applicationId": ID, "authorizedClientId": KEY, "permissionIds": [OTHER]}
    script.expect(app(api={}), (204, None), app(api={"preAuthorizedApplications": [entry]}))
    state = scripted.create("ApplicationPreAuthorized", **given)
    assert state.id == f"{APP}/preAuthorizedApplication/{KEY}"
    assert script.bodies("PATCH")[0]["api"] == {"preAuthorizedApplications": [entry]}
    script.lines()
    both = {**entry, "delegatedPermissionIds": sorted([OTHER, KEY])}
    script.expect(
        app(api={"preAuthorizedApplications": [entry]}), (204, None), app(api={"preAuthorizedApplications": [both]})
    )
    scripted.update(state, **{**given, "permissionIds": [OTHER, KEY]})
    assert script.lines() == [f"GET {PATH}", f"PATCH {PATH}", f"GET {PATH}"]
    script.expect(app(api={"preAuthorizedApplications": [both]}), (204, None))
    scripted.delete(state)
    assert script.bodies("PATCH")[0]["api"] == {"preAuthorizedApplications": []}


def test_an_entry_that_exists_has_to_be_imported(scripted: Any, script: Any, details: Any) -> None:
    script.expect(app(appRoles=[{"id": KEY}]))
    with pytest.raises(grpc.RpcError, match="already exists") as caught:
        scripted.create(
            "ApplicationAppRole",
            applicationId=ID,
            roleId=KEY,
            allowedMemberTypes=["User"],
            description="d",
            displayName="d",
        )
    assert details(caught.value) is None


@pytest.mark.parametrize("identifier", [KEY, f"{ID}/appRoles/x", f"{ID}/approles/{KEY}", f"{ID}/appRoles/{KEY}/x"])
def test_what_is_no_id_is_not_imported(scripted: Any, identifier: str) -> None:
    assert scripted.bring_in("ApplicationAppRole", identifier) is None
