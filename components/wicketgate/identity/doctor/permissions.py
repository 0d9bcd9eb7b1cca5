"""What whoever runs `pulumi up` may do on Graph, what is missing, and the command that grants it.

How this works: what an app may do stands in its own token (`roles`), so this works where Graph refuses everything else.
What a person may do depends on directory roles (`wids`), whatever the program's delegated permissions are.
Sources: Graph's permissions reference; `az rest`; docs/deploy.md, "What the deployer may do".
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from wicketgate.config import StackConfig
from wicketgate.identity import roles
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.graph import Graph, GraphError, quoted
from wicketgate.identity.signin import Cloud, Principal

_APP_ADMINS = {
    "158c047a-c907-4556-b7ef-446551a6b5f7": "Cloud Application Administrator",
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3": "Application Administrator",
    "62e90394-69f5-4237-9190-012177145e10": "Global Administrator",
}
CLOUD_APPLICATION_ADMINISTRATOR = "158c047a-c907-4556-b7ef-446551a6b5f7"
_GROUP_ADMINS = {"fdd7a751-b60b-444a-984c-02652fe8fa1c", "62e90394-69f5-4237-9190-012177145e10"}
_EVERYTHING = frozenset({"Directory.ReadWrite.All"})
_READ = frozenset({"Directory.Read.All"}) | _EVERYTHING
_TOO_WIDE = {
    "Directory.ReadWrite.All": "can change the whole directory",
    "AppRoleAssignment.ReadWrite.All": "can grant any permission to anyone, itself included",
    "RoleManagement.ReadWrite.Directory": "can make anyone an administrator",
    "Application.ReadWrite.All": "can add credentials to any application of the tenant",
    "Group.ReadWrite.All": "can change any group of the tenant",
}
ASSIGN_ROLES = "AppRoleAssignment.ReadWrite.All"


@dataclass(frozen=True, slots=True)
class Needed:
    """A permission: its name and id on Graph, what else includes it, and what it is for."""

    name: str
    id: str
    includes: frozenset[str]
    purpose: str


def needed(config: StackConfig) -> list[Needed]:
    """Application permissions that `pulumi up` of this stack needs."""
    found = [
        Needed(
            "Application.ReadWrite.OwnedBy",
            "18a4783c-866b-4cc7-a460-3d5e5662c884",
            _EVERYTHING | {"Application.ReadWrite.All"},
            "to make and change its own applications and service principals",
        ),
        Needed(
            "Application.Read.All",
            roles.APPLICATION_READ_ALL,
            _READ | {"Application.ReadWrite.All"},
            "to see whether a name is taken, and who is in a group",
        ),
        Needed(
            "Group.Create",
            "bf7b1a76-6e77-406b-b258-bf5c7720e98f",
            _EVERYTHING | {"Group.ReadWrite.All"},
            "to make the bot groups; as their owner it manages members",
        ),
    ]
    by_name = [
        one for part in (config.approvers, config.auditors, config.administrators) for one in part.values() if one.group
    ]
    owners = {bot.owner.partition(":")[0] for bot in config.bots.values()} if config.approvers else set[str]()
    if by_name or "group" in owners:
        found.append(
            Needed(
                "GroupMember.Read.All",
                roles.GROUP_MEMBER_READ_ALL,
                _READ | {"Group.Read.All", "Group.ReadWrite.All", "GroupMember.ReadWrite.All"},
                "to find groups of people by their names",
            )
        )
    if "person" in owners:
        found.append(
            Needed(
                "User.Read.All",
                roles.USER_READ_ALL,
                _READ | {"User.ReadWrite.All"},
                "to find the people who answer for bots",
            )
        )
    return found


def look(config: StackConfig, cloud: Cloud, who: Principal, report: Report) -> None:
    """Findings about the signed-in principal's own permissions; asks nobody."""
    if who.person:
        _person(cloud, who, report)
        return
    for one in needed(config):
        if not who.permissions & (one.includes | {one.name}):
            report.problem(
                "permission-missing",
                "deployer",
                f"`{who.name}` lacks `{one.name}` on Microsoft Graph, {one.purpose}",
                grant_command(cloud.graph, who.object_id, one.id),
            )
    for name in sorted(who.permissions & set(_TOO_WIDE)):
        report.warn(
            "permission-too-wide",
            "deployer",
            f"`{who.name}` holds `{name}`, which {_TOO_WIDE[name]}",
            "take it away, and grant what docs/deploy.md lists instead",
        )


def _person(cloud: Cloud, who: Principal, report: Report) -> None:
    if not who.roles & set(_APP_ADMINS):
        report.problem(
            "role-missing",
            "deployer",
            f"`{who.name}` holds no role that lets people make applications and assign app roles for them",
            directory_role_command(cloud.graph, who.object_id, CLOUD_APPLICATION_ADMINISTRATOR),
        )
    if not who.roles & _GROUP_ADMINS:
        report.note(
            "group-creation-unknown",
            "deployer",
            "whether people may make security groups here is a setting of the tenant that was not looked at",
            directory_role_command(cloud.graph, who.object_id, "fdd7a751-b60b-444a-984c-02652fe8fa1c"),
        )


async def assigning(graph: Graph, cloud: Cloud, who: Principal, gateway_object_id: str, report: Report) -> None:
    """Whether the principal can assign the gateway's app roles. `gateway_object_id` may be empty: not there yet."""
    if who.person or who.roles & set(_APP_ADMINS) or ASSIGN_ROLES in who.permissions:
        return
    path = f"roleManagement/directory/roleAssignments?$filter=principalId%20eq%20{quoted(who.object_id)}"
    scopes = {"/", f"/{gateway_object_id}"} if gateway_object_id else {"/"}
    try:
        held = await graph.items(path)
    except GraphError as error:
        if error.status != 403:
            raise
        command = scoped_command(cloud.graph, who.object_id, gateway_object_id)
        report.note(
            "role-assignment-unproven",
            "deployer",
            f"whether `{who.name}` may assign the gateway's app roles cannot be seen "
            "(that needs `RoleManagement.Read.Directory`); if `up` fails with 403 at an AppRoleAssignment, it may not",
            command,
        )
        return
    if any(one.get("roleDefinitionId") in _APP_ADMINS and one.get("directoryScopeId") in scopes for one in held):
        return
    report.problem(
        "role-assignment-missing",
        "deployer",
        f"`{who.name}` has no way to assign app roles on the gateway's service principal",
        scoped_command(cloud.graph, who.object_id, gateway_object_id),
    )


def grant_command(graph: str, object_id: str, role_id: str, resource: str = roles.GRAPH_CLIENT_ID) -> str:
    """The command that grants an application permission of `resource` (a client id); an administrator runs it."""
    found = f"$(az ad sp show --id {resource} --query id --output tsv)"
    body = f'{{"principalId": "{object_id}", "resourceId": "\'"{found}"\'", "appRoleId": "{role_id}"}}'
    url = f"{graph.rstrip('/')}/v1.0/servicePrincipals/{object_id}/appRoleAssignments"
    return f"az rest --method POST --url {url} --headers Content-Type=application/json --body '{body}'"


def directory_role_command(graph: str, object_id: str, role: str, scope: str = "/") -> str:
    """The command that grants a directory role, for the whole tenant or for one object."""
    body = json.dumps({"principalId": object_id, "roleDefinitionId": role, "directoryScopeId": scope})
    url = f"{graph.rstrip('/')}/v1.0/roleManagement/directory/roleAssignments"
    return f"az rest --method POST --url {url} --headers Content-Type=application/json --body '{body}'"


def scoped_command(graph: str, object_id: str, gateway_object_id: str) -> str:
    """Cloud Application Administrator for the gateway's service principal alone."""
    if not gateway_object_id:
        return (
            "the gateway's service principal is not there yet: run `pulumi up --target-dependents --target "
            "'**gateway-principal'` first, then `wicketgate doctor` again for the command"
        )
    return directory_role_command(graph, object_id, CLOUD_APPLICATION_ADMINISTRATOR, f"/{gateway_object_id}")
