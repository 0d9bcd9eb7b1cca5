"""The permission table, while it is enforced."""

from collections.abc import Callable

import httpx2
import pytest

from wicketgate.testing.entra.server import EntraEmulator

ObjectId = Callable[[str, str], str]
As = Callable[[str, str, str, list[str]], int]
GROUP = {"displayName": "p", "mailEnabled": False, "mailNickname": "p", "securityEnabled": True}


@pytest.fixture
def do(entra: EntraEmulator, web: httpx2.Client, object_id: ObjectId) -> Callable[..., httpx2.Response]:
    """A request as a principal with these permissions."""
    entra.set_quirks(enforce_permissions=True)

    def request(method: str, path: str, roles: list[str], body: object = None, who: str = "bot") -> httpx2.Response:
        token = entra.graph_token(object_id("servicePrincipal", who), roles)
        headers = {"Authorization": f"Bearer {token}"}
        return web.request(method, f"/v1.0/{path}", json=body, headers=headers)

    return request


def test_refusals_tell_nothing(do: Callable[..., httpx2.Response], object_id: ObjectId) -> None:
    there, missing = object_id("application", "gate"), "0f0e0d0c-0000-4000-8000-00000000000a"
    for key in (there, missing):
        answer = do("GET", f"applications/{key}", [])
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "Authorization_RequestDenied"
        assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."


@pytest.mark.parametrize(
    ("method", "path", "roles", "status"),
    [
        ("GET", "applications", ["Application.Read.All"], 200),
        ("GET", "servicePrincipals", ["Application.ReadWrite.OwnedBy"], 200),
        ("GET", "groups", ["Application.Read.All"], 403),
        ("GET", "groups", ["GroupMember.Read.All"], 200),
        ("GET", "users", ["Group.Read.All"], 403),
        ("GET", "users", ["User.Read.All"], 200),
        ("GET", "organization", [], 200),
        ("GET", "directoryRoles", [], 403),
        ("GET", "roleManagement/directory/roleAssignments", ["RoleManagement.Read.Directory"], 200),
        ("POST", "applications", ["Application.Read.All"], 403),
        ("POST", "applications", ["Application.ReadWrite.OwnedBy"], 201),
        ("POST", "groups", ["Group.Read.All"], 403),
        ("POST", "groups", ["Group.Create"], 201),
        ("POST", "roleManagement/directory/roleAssignments", ["RoleManagement.Read.Directory"], 403),
    ],
)
def test_reading_and_creating(
    do: Callable[..., httpx2.Response], method: str, path: str, roles: list[str], status: int
) -> None:
    body = None if method == "GET" else {"applications": {"displayName": "p"}, "groups": GROUP}.get(path, {})
    assert do(method, path, roles, body).status_code == status


def test_owned_applications(do: Callable[..., httpx2.Response], object_id: ObjectId) -> None:
    owned_by = ["Application.ReadWrite.OwnedBy"]
    mine = do("POST", "applications", owned_by, {"displayName": "mine"}).json()
    assert do("PATCH", f"applications/{mine['id']}", owned_by, {"displayName": "still"}).status_code == 204
    assert do("PATCH", f"applications(appId='{mine['appId']}')", owned_by, {"displayName": "x"}).status_code == 204
    assert do("PATCH", f"applications/{mine['id']}", [], {"displayName": "x"}).status_code == 403
    assert do("PATCH", f"applications/{mine['id']}", owned_by, {"displayName": "x"}, who="stranger").status_code == 403
    theirs = object_id("application", "gate")
    assert do("PATCH", f"applications/{theirs}", owned_by, {"displayName": "x"}).status_code == 403
    assert do("POST", f"applications/{theirs}/addPassword", owned_by, {}).status_code == 403
    assert (
        do("PATCH", f"applications/{theirs}", ["Application.ReadWrite.All"], {"displayName": "gate"}).status_code == 204
    )
    assert do("DELETE", f"applications/{mine['id']}", owned_by).status_code == 204


def test_group_owners_need_no_role(
    entra: EntraEmulator, do: Callable[..., httpx2.Response], object_id: ObjectId
) -> None:
    bot = object_id("servicePrincipal", "bot")
    bound = {"owners@odata.bind": [f"{entra.graph}/v1.0/directoryObjects/{bot}"]}
    made = do("POST", "groups", ["Group.Create"], GROUP | bound).json()
    reference = {"@odata.id": f"{entra.graph}/v1.0/directoryObjects/{bot}"}
    path = f"groups/{made['id']}/members/$ref"
    assert do("POST", path, ["Group.Create"], reference, who="stranger").status_code == 403
    assert do("POST", path, ["Group.Create"], reference).status_code == 204
    ownerless = do("POST", "groups", ["Group.Create"], GROUP).json()
    assert do("POST", f"groups/{ownerless['id']}/members/$ref", ["Group.Create"], reference).status_code == 403


def test_assigning_roles_by_permission_or_by_scoped_directory_role(
    entra: EntraEmulator, do: Callable[..., httpx2.Response], object_id: ObjectId
) -> None:
    gate, stranger = object_id("servicePrincipal", "gate"), object_id("servicePrincipal", "stranger")
    path = f"servicePrincipals/{gate}/appRoleAssignedTo"
    body = {"principalId": stranger, "resourceId": gate, "appRoleId": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40"}
    assert do("POST", path, ["Application.ReadWrite.All", "Directory.ReadWrite.All"], body).status_code == 403
    scoped = {
        "principalId": object_id("servicePrincipal", "bot"),
        "roleDefinitionId": "158c047a-c907-4556-b7ef-446551a6b5f7",
        "directoryScopeId": f"/{gate}",
    }
    management = ["RoleManagement.ReadWrite.Directory"]
    assert do("POST", "roleManagement/directory/roleAssignments", management, scoped).status_code == 201
    assert do("POST", path, [], body).status_code == 201
    other = f"servicePrincipals/{object_id('servicePrincipal', 'old-api')}/appRoleAssignedTo"
    assert do("POST", other, [], body).status_code == 403


def test_membership_checks_of_the_gateway(do: Callable[..., httpx2.Response], object_id: ObjectId) -> None:
    bot = object_id("servicePrincipal", "bot")
    body = {"groupIds": [object_id("group", "everyone")]}
    allowed = do("POST", f"servicePrincipals/{bot}/checkMemberGroups", ["Application.Read.All"], body, who="gate")
    assert allowed.json()["value"] == body["groupIds"]
    assert do("POST", f"servicePrincipals/{bot}/checkMemberGroups", [], body, who="gate").status_code == 403
