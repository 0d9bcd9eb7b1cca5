"""App role assignments, directory roles and their assignments, request by request."""

from typing import Any

import grpc
import pytest

from wicketgate.testing.azuread.resources.assignments import retry_assignment

TARGET = "aaaaaaaa-0000-4000-8000-000000000005"
BOT = "aaaaaaaa-0000-4000-8000-000000000003"
ROLE = "aaaaaaaa-0000-4000-8000-00000000000a"
ASSIGNMENT = "f-1xAFuMH0O_no-uuid"
PATH = f"/v1.0/servicePrincipals/{TARGET}"
FOUND = {
    "id": ASSIGNMENT,
    "appRoleId": ROLE,
    "principalId": BOT,
    "principalDisplayName": "bot",
    "principalType": "ServicePrincipal",
    "resourceId": TARGET,
    "resourceDisplayName": "gate",
}
GIVEN = {"appRoleId": ROLE, "principalObjectId": BOT, "resourceObjectId": TARGET}


def test_an_assignment_hangs_on_its_resource_and_is_deleted_without_a_wait(scripted: Any, script: Any) -> None:
    script.expect((200, {"id": TARGET}), (201, FOUND), (200, FOUND))
    state = scripted.create("AppRoleAssignment", **GIVEN)
    assert state.id == f"/servicePrincipals/{TARGET}/appRoleAssignedTo/{ASSIGNMENT}"
    assert script.bodies("POST") == [
        {
            "@odata.type": "#microsoft.graph.appRoleAssignment",
            "appRoleId": ROLE,
            "principalId": BOT,
            "resourceId": TARGET,
        }
    ]
    one = f"{PATH}/appRoleAssignedTo/{ASSIGNMENT}"
    assert script.lines() == [f"GET {PATH}", f"POST {PATH}/appRoleAssignedTo", f"GET {one}"]
    assert state["principalType"] == "ServicePrincipal"
    for name in GIVEN:
        assert scripted.changes(state, **{**GIVEN, name: "bbbbbbbb-0000-4000-8000-000000000001"}) == {
            name: "UPDATE_REPLACE"
        }
    script.expect((204, None))
    scripted.delete(state)
    assert script.lines() == [f"DELETE {one}"]


def test_an_assignment_is_repeated_until_both_sides_are_known(scripted: Any, script: Any) -> None:
    later = {"Retry-After": "0"}
    unknown = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}}, later)
    invalid = (400, {"error": {"code": "Request_BadRequest", "message": "Not a valid reference update."}}, later)
    script.expect((200, {"id": TARGET}), unknown, invalid, (201, FOUND), (200, FOUND))
    scripted.create("AppRoleAssignment", **GIVEN)
    assert script.lines().count(f"POST {PATH}/appRoleAssignedTo") == 3
    assert not retry_assignment(400, "Permission being assigned already exists on the object")


def test_an_assignment_needs_its_resource(scripted: Any, script: Any) -> None:
    script.expect((404, {"error": {"code": "x", "message": "y"}}))
    with pytest.raises(grpc.RpcError, match="Service principal not found for resource"):
        scripted.create("AppRoleAssignment", **GIVEN)


def test_a_directory_role_is_activated_once(scripted: Any, script: Any) -> None:
    template = {"id": ROLE, "displayName": "Directory Readers"}
    role = {"id": TARGET, "roleTemplateId": ROLE, "displayName": "Directory Readers", "description": "d"}
    listed = f"GET /v1.0/directoryRoles?%24filter=roleTemplateId+eq+%27{ROLE}%27"
    script.expect((200, {"value": [template]}), (200, {"value": []}), (201, role), (200, role))
    state = scripted.create("DirectoryRole", displayName="directory readers")
    assert state.id == f"/directoryRoles/{TARGET}"
    assert script.lines() == [
        "GET /v1.0/directoryRoleTemplates",
        listed,
        "POST /v1.0/directoryRoles",
        f"GET /v1.0/directoryRoles/{TARGET}",
    ]
    assert scripted.changes(state, displayName="directory readers") == {}  # a name in any case
    script.expect((200, template), (200, {"value": [role]}), (200, role))
    scripted.create("DirectoryRole", templateId=ROLE)
    assert script.lines()[0] == f"GET /v1.0/directoryRoleTemplates/{ROLE}"
    scripted.delete(state)
    assert script.lines() == []
    assert len(scripted.failures("DirectoryRole")) == 2
    assert len(scripted.failures("DirectoryRole", displayName="a", templateId=ROLE)) == 2


def test_a_role_assignment_is_seen_three_times(scripted: Any, script: Any) -> None:
    path = "/v1.0/roleManagement/directory/roleAssignments"
    found = {"id": "x1", "principalId": BOT, "roleDefinitionId": ROLE, "directoryScopeId": "/", "appScopeId": None}
    script.expect((201, found), *[(200, found)] * 3, (200, found))
    state = scripted.create("DirectoryRoleAssignment", roleId=ROLE, principalObjectId=BOT)
    assert script.bodies("POST")[0] == {
        "@odata.type": "#microsoft.graph.unifiedRoleAssignment",
        "directoryScopeId": "/",
        "principalId": BOT,
        "roleDefinitionId": ROLE,
    }
    assert script.lines() == [f"POST {path}", *[f"GET {path}/x1"] * 4]
    assert state["directoryScopeId"] == "/"
    assert scripted.changes(state, roleId=ROLE, principalObjectId=BOT) == {}
    script.expect((204, None))
    scripted.delete(state)
    assert script.lines() == [f"DELETE {path}/x1"]
