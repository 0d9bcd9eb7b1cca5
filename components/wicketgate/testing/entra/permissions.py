"""A light permission table for Graph, in force while the quirk `enforce_permissions` is on.

Application permissions come from the token's `roles`, delegated ones from `scp`. Ownership counts where Graph lets it:
`Application.ReadWrite.OwnedBy` for owned applications, and owners of a group for that group. A directory role can
stand in for the permission to assign app roles. Refusals say no more than Graph's. Source: Graph's permissions
reference.
"""

from typing import Any

from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import denied
from wicketgate.testing.entra.paths import Segment
from wicketgate.testing.entra.resolve import ACTIONS
from wicketgate.testing.entra.schema import COLLECTIONS

_READ_ALL = {"Directory.Read.All", "Directory.ReadWrite.All"}
_APP_READ = {"Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"} | _READ_ALL
_GROUP_READ = {"Group.Read.All", "Group.ReadWrite.All", "GroupMember.Read.All", "GroupMember.ReadWrite.All"} | _READ_ALL
_USER_READ = {"User.Read.All", "User.ReadWrite.All"} | _READ_ALL
_WRITE_ALL = {"Directory.ReadWrite.All"}
_APP_ADMINS = {
    "158c047a-c907-4556-b7ef-446551a6b5f7",  # Cloud Application Administrator
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",  # Application Administrator
    "62e90394-69f5-4237-9190-012177145e10",  # Global Administrator
}

# first segment: who may read, who may create, who may change any, whether owners may change theirs
_TABLE: dict[str, tuple[set[str], set[str], set[str], set[str]]] = {
    "applications": (
        _APP_READ,
        {"Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"} | _WRITE_ALL,
        {"Application.ReadWrite.All"} | _WRITE_ALL,
        {"Application.ReadWrite.OwnedBy"},
    ),
    "servicePrincipals": (
        _APP_READ,
        {"Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"} | _WRITE_ALL,
        {"Application.ReadWrite.All"} | _WRITE_ALL,
        {"Application.ReadWrite.OwnedBy"},
    ),
    "groups": (
        _GROUP_READ,
        {"Group.Create", "Group.ReadWrite.All"} | _WRITE_ALL,
        {"Group.ReadWrite.All"} | _WRITE_ALL,
        {"*"},
    ),
    "users": (_USER_READ, {"User.ReadWrite.All"} | _WRITE_ALL, {"User.ReadWrite.All"} | _WRITE_ALL, set()),
    "directoryObjects": (_APP_READ | _GROUP_READ | _USER_READ, set(), set(), set()),
    "deletedItems": (_APP_READ | _GROUP_READ | _USER_READ, set(), {"Application.ReadWrite.All"} | _WRITE_ALL, set()),
    "directoryRoles": (
        {"RoleManagement.Read.Directory", "RoleManagement.ReadWrite.Directory"} | _READ_ALL,
        {"RoleManagement.ReadWrite.Directory"},
        {"RoleManagement.ReadWrite.Directory"},
        set(),
    ),
    "oauth2PermissionGrants": (
        _READ_ALL,
        {"DelegatedPermissionGrant.ReadWrite.All"},
        {"DelegatedPermissionGrant.ReadWrite.All"},
        set(),
    ),
}
_TABLE["auditLogs"] = ({"AuditLog.Read.All"}, set(), set(), set())
_TABLE["directoryRoleTemplates"] = _TABLE["roleManagement"] = _TABLE["directoryRoles"]


def check(core: Core, method: str, segments: list[Segment], claims: dict[str, Any]) -> None:
    """Raises GraphError 403 if the caller may not do this; does nothing while permissions are not enforced."""
    if not core.quirks.enforce_permissions or segments[0].text in ("me", "organization", "domains"):
        return
    held = {str(one) for one in claims.get("roles") or []} | set(str(claims.get("scp", "")).split())
    row = _TABLE.get("deletedItems" if segments[0].text == "directory" else segments[0].text)
    if row is None:
        raise denied()
    may_read, may_create, may_change, owners_may = row
    key = _object_id(core, segments)
    owned = key is not None and str(claims["oid"]) in core.directory.store.targets("owners", key)
    last = segments[-1].text.removeprefix("microsoft.graph.").removeprefix("graph.")
    reads = method == "GET" or (last in ACTIONS and last.startswith(("check", "get")))
    if reads:
        if held & (may_read | may_change) or owned:
            return
        raise denied()
    names = [segment.text for segment in segments]
    if "appRoleAssignedTo" in names or "appRoleAssignments" in names:
        if "AppRoleAssignment.ReadWrite.All" in held or _is_app_admin(core, str(claims["oid"]), key):
            return
        raise denied()
    if segments[0].text == "groups" and "members" in names and "GroupMember.ReadWrite.All" in held:
        return
    creates = method == "POST" and key is None and len(segments) == 1
    if held & (may_create if creates else may_change):
        return
    if not creates and owned and (held & owners_may or "*" in owners_may):
        return
    raise denied()


def _object_id(core: Core, segments: list[Segment]) -> str | None:
    first = segments[0]
    entity = COLLECTIONS.get(first.text)
    if entity is None:
        return None
    if first.key is not None:
        doc = core.directory.find_by(entity.kind, first.key_name or "id", first.key)
        return doc["id"] if doc else None
    return segments[1].text.lower() if len(segments) > 1 else None


def _is_app_admin(core: Core, oid: str, resource: str | None) -> bool:
    scopes = {"/", f"/{resource}"}
    return any(
        one["principalId"] == oid and one["roleDefinitionId"] in _APP_ADMINS and one["directoryScopeId"] in scopes
        for one in core.directory.all("unifiedRoleAssignment")
    )
