"""`AppRoleAssignment`, `DirectoryRole`, `DirectoryRoleAssignment`.

Source: terraform-provider-azuread `app_role_assignment_resource.go`, `directory_role_resource.go`,
`directory_role_assignment_resource.go`.
"""

from typing import Any, Final
from urllib.parse import quote

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GoneError, OperationError
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.common import required_id, same_text, typed
from wicketgate.testing.azuread.schema import COMPUTED, FORCE_NEW, OPTIONAL, REQUIRED, text

_TIMEOUTS: Final = {"create": 5, "read": 5, "delete": 5}

# App role assignments.

_ASSIGNED_SEGMENTS: Final = ("servicePrincipals", "{servicePrincipalId}", "appRoleAssignedTo", "{appRoleAssignmentId}")


def retry_assignment(status: int, error: str) -> bool:
    """Repeat while one of the two sides is not everywhere yet."""
    return status == 404 or (status == 400 and "Not a valid reference update" in error)


def _create_assigned(op: Operation) -> None:
    target = op.get("resourceObjectId")
    path = f"/servicePrincipals/{target}"
    with op.attempting(f'Could not retrieve service principal for resource (Object ID: "{target}")'):
        if op.graph_find(path) is None:
            raise OperationError(f'Service principal not found for resource (Object ID: "{target}")')
    body = {
        "appRoleId": op.get("appRoleId"),
        "principalId": op.get("principalObjectId"),
        "resourceId": target,
    }
    with op.attempting("Could not create app role assignment"):
        made = op.graph_post(f"{path}/appRoleAssignedTo", typed("appRoleAssignment", body), retry=retry_assignment)
    assignment = required_id(made, "the ID returned for app role assignment is nil")
    if not made.get("resourceId"):
        raise OperationError("Bad API response", "resource ID returned for app role assignment is nil")
    op.id = f"/servicePrincipals/{made['resourceId']}/appRoleAssignedTo/{assignment}"
    _read_assigned(op)


def _assigned_path(identifier: str) -> str:
    parts = v.parse_id(identifier, *_ASSIGNED_SEGMENTS)
    assignment = quote(parts["appRoleAssignmentId"], safe="")
    return f"/servicePrincipals/{parts['servicePrincipalId']}/appRoleAssignedTo/{assignment}"


def _read_assigned(op: Operation) -> None:
    with op.attempting(f"retrieving {named(op.id)}"):
        found = op.graph_find(_assigned_path(op.id))
    if found is None:
        raise GoneError
    op.put("appRoleId", found.get("appRoleId"))
    op.put("principalDisplayName", found.get("principalDisplayName"))
    op.put("principalObjectId", found.get("principalId"))
    op.put("principalType", found.get("principalType"))
    op.put("resourceDisplayName", found.get("resourceDisplayName"))
    op.put("resourceObjectId", found.get("resourceId"))


def _delete_assigned(op: Operation) -> None:
    with op.attempting(f"Deleting {named(op.id)}"):
        op.graph_delete(_assigned_path(op.id))


def _check_assigned_id(identifier: str) -> None:
    _assigned_path(identifier)


APP_ROLE_ASSIGNMENT: Final = Resource(
    name="AppRoleAssignment",
    tf="azuread_app_role_assignment",
    block={
        "appRoleId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "principalObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "resourceObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "principalDisplayName": text(COMPUTED),
        "principalType": text(COMPUTED),
        "resourceDisplayName": text(COMPUTED),
    },
    create=_create_assigned,
    read=_read_assigned,
    delete=_delete_assigned,
    check_id=_check_assigned_id,
    timeouts=_TIMEOUTS,
    version=1,
)

# Directory roles: activated from their template, never deleted.

_ROLE_SEGMENTS: Final = ("directoryRoles", "{directoryRoleId}")
_ONE_OF: Final = ("display_name", "template_id")


def _create_role(op: Operation) -> None:
    name, template = op.get("displayName"), op.get("templateId")
    if name:
        with op.attempting("listing directory role templates"):
            listed = op.graph_list("/directoryRoleTemplates")
        found = next((item for item in listed if same_text(item.get("displayName"), name)), None)
    else:
        with op.attempting(f'retrieving directory role template with object ID "{template}"'):
            found = op.graph_find(f"/directoryRoleTemplates/{template}")
        if found is None:
            raise OperationError(f'no directory role template with object ID "{template}" was found')
    if found is None:
        raise OperationError("no directory role template found")
    missing = "received directory role template with nil ID (API error)"
    template = required_id(found, missing, summary=missing)
    with op.attempting(f'retrieving directory role with template ID "{template}"'):
        roles = op.graph_list("/directoryRoles", filtered=f"roleTemplateId eq '{template}'")
    if roles:
        role = roles[0]
    else:
        with op.attempting(f'activating directory role for template ID "{template}"'):
            role = op.graph_post("/directoryRoles", typed("directoryRole", {"roleTemplateId": template}))
    missing = f'retrieving directory role for template ID "{template}": ID was nil (API error)'
    op.id = f"/directoryRoles/{required_id(role, missing, summary=missing)}"
    _read_role(op)


def _read_role(op: Operation) -> None:
    with op.attempting(f"retrieving {named(op.id)}"):
        found = op.graph_find(op.id)
    if found is None:
        raise GoneError
    op.put("description", found.get("description"))
    op.put("displayName", found.get("displayName"))
    op.put("objectId", found.get("id"))
    op.put("templateId", found.get("roleTemplateId"))


def _delete_role(_op: Operation) -> None:
    pass


def _check_role_id(identifier: str) -> None:
    v.parse_id(identifier, *_ROLE_SEGMENTS)


DIRECTORY_ROLE: Final = Resource(
    name="DirectoryRole",
    tf="azuread_directory_role",
    block={
        "displayName": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.not_empty, one_of=_ONE_OF, any_case=True),
        "templateId": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.uuid, one_of=_ONE_OF),
        "description": text(COMPUTED),
        "objectId": text(COMPUTED),
    },
    create=_create_role,
    read=_read_role,
    delete=_delete_role,
    check_id=_check_role_id,
    timeouts=_TIMEOUTS,
    version=1,
)

# Directory role assignments.

_ROLE_ASSIGNMENT_SEGMENTS: Final = ("roleManagement", "directory", "roleAssignments", "{unifiedRoleAssignmentId}")
_ROLE_ASSIGNMENTS: Final = "/roleManagement/directory/roleAssignments"


def _create_role_assignment(op: Operation) -> None:
    role, principal = op.get("roleId"), op.get("principalObjectId")
    body: dict[str, Any] = {"principalId": principal, "roleDefinitionId": role}
    if op.get("appScopeId"):
        body["appScopeId"] = op.get("appScopeId")
    else:
        body["directoryScopeId"] = op.get("directoryScopeId") or "/"
    with op.attempting(f'Assigning directory role "{role}" to directory principal "{principal}"'):
        made = op.graph_post(_ROLE_ASSIGNMENTS, typed("unifiedRoleAssignment", body))
    op.id = f"{_ROLE_ASSIGNMENTS}/{required_id(made, 'returned role assignment ID was nil', summary='API Error')}"
    path = _role_assignment_path(op.id)
    op.wait_until(
        lambda: op.graph_find(path) is not None,
        f'Waiting for role assignment for "{principal}" to reflect in directory role "{role}"',
        times=3,
        seconds=1.0,
    )
    _read_role_assignment(op)


def _role_assignment_path(identifier: str) -> str:
    found = v.parse_id(identifier, *_ROLE_ASSIGNMENT_SEGMENTS)["unifiedRoleAssignmentId"]
    return f"{_ROLE_ASSIGNMENTS}/{quote(found, safe='')}"


def _read_role_assignment(op: Operation) -> None:
    with op.attempting(f"Retrieving {named(op.id)}"):
        found = op.graph_find(_role_assignment_path(op.id))
    if found is None:
        raise GoneError
    op.put("appScopeId", found.get("appScopeId"))
    op.put("directoryScopeId", found.get("directoryScopeId"))
    op.put("principalObjectId", found.get("principalId"))
    op.put("roleId", found.get("roleDefinitionId"))


def _delete_role_assignment(op: Operation) -> None:
    with op.attempting(f"Deleting {named(op.id)}"):
        op.graph_delete(_role_assignment_path(op.id))


def _check_role_assignment_id(identifier: str) -> None:
    _role_assignment_path(identifier)


DIRECTORY_ROLE_ASSIGNMENT: Final = Resource(
    name="DirectoryRoleAssignment",
    tf="azuread_directory_role_assignment",
    block={
        "roleId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "principalObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "appScopeId": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.not_empty, conflicts=("directory_scope_id",)),
        "directoryScopeId": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.not_empty, conflicts=("app_scope_id",)),
    },
    create=_create_role_assignment,
    read=_read_role_assignment,
    delete=_delete_role_assignment,
    check_id=_check_role_assignment_id,
    timeouts=_TIMEOUTS,
    version=1,
)
