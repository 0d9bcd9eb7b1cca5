"""What the tenant really has of a stack: each registration and group, as Graph says it. Reads alone.

What cannot be looked at (403, or an outage) is a finding and stays None; the rest of the visit goes on. Members and
federated credentials are read from Graph's beta: v1.0 hides service principals among members, and expressions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from wicketgate.identity.doctor.expected import BotGroup, Expected, Registration
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.graph import Graph, GraphError, quoted

T = TypeVar("T")
Doc = dict[str, Any]

_APPLICATION = (
    "id,appId,displayName,passwordCredentials,keyCredentials,web,publicClient,api,optionalClaims,appRoles,"
    "signInAudience,createdDateTime"
)
_PRINCIPAL = (
    "id,appId,displayName,accountEnabled,appRoleAssignmentRequired,passwordCredentials,keyCredentials,"
    "preferredTokenSigningKeyThumbprint"
)


@dataclass
class Found:
    """A registration as the tenant has it; None is what could not be looked at or is not there."""

    wanted: Registration
    application: Doc | None = None
    principal: Doc | None = None
    owners: list[Doc] | None = None
    principal_owners: list[Doc] | None = None
    credentials: list[Doc] | None = None
    roles: list[Doc] | None = None
    """App roles assigned to it, on whatever resource."""


@dataclass
class FoundGroup:
    """A group as the tenant has it."""

    wanted: BotGroup
    group: Doc | None = None
    owners: list[Doc] | None = None
    members: list[Doc] | None = None


@dataclass
class Tenant:
    """All of a stack."""

    registrations: list[Found] = field(default_factory=list[Found])
    groups: list[FoundGroup] = field(default_factory=list[FoundGroup])
    assigned: list[Doc] | None = None
    """App roles assigned on the gateway."""
    strangers: list[Doc] = field(default_factory=list[Doc])
    """Applications whose names begin as the stack's own, and that the stack does not know."""

    def of(self, kind: str, name: str) -> Found | None:
        """The registration of that kind and name."""
        return next((f for f in self.registrations if (f.wanted.kind, f.wanted.name) == (kind, name)), None)

    @property
    def gateway(self) -> Found:
        """The gateway's."""
        return next(f for f in self.registrations if f.wanted.kind == "gateway")


async def read(graph: Graph, expected: Expected, report: Report) -> Tenant:
    """Look at everything; what goes wrong is in `report`. Raises GraphError if Graph cannot be reached at all,
    SignInError.
    """
    look = Look(graph, report)
    tenant = Tenant()
    for wanted in expected.registrations:
        tenant.registrations.append(await look.registration(wanted))
    for group in expected.groups:
        tenant.groups.append(await look.group(group))
    principal = tenant.gateway.principal
    if principal is not None:
        path = f"servicePrincipals/{principal['id']}/appRoleAssignedTo?$top=999"
        tenant.assigned = await look.at(tenant.gateway.wanted.about, lambda: graph.items(path))
    known = {found.application["id"] for found in tenant.registrations if found.application}
    for prefix in expected.prefixes:
        query = f"applications?$filter=startswith(displayName,{quoted(prefix)})&$select=id,appId,displayName"
        listed = await look.at("stack", lambda query=query: graph.items(query))
        tenant.strangers += [one for one in listed or [] if one["id"] not in known]
    return tenant


class Look:
    """Takes looks, and reports those that could not be taken."""

    def __init__(self, graph: Graph, report: Report) -> None:
        self._graph = graph
        self._report = report

    async def at(self, about: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What `ask` gives, or None with a finding. An outage ends the visit: it is raised."""
        try:
            return await ask()
        except GraphError as error:
            if error.status == 0:
                raise
            self._report.failed(about, error)
            return None

    async def registration(self, wanted: Registration) -> Found:
        """A registration with all that hangs on it."""
        graph, found = self._graph, Found(wanted)
        found.application = await self._one(
            wanted.about, "applications", _APPLICATION, wanted.display_name, wanted.client_id, "application"
        )
        if found.application is None:
            return found
        path, about = f"applications/{found.application['id']}", wanted.about
        owners = "owners?$select=id,displayName"
        found.owners = await self.at(about, lambda: graph.items(f"{path}/{owners}"))
        found.credentials = await self.at(
            about, lambda: graph.items(f"{path}/federatedIdentityCredentials", version="beta")
        )
        client_id = found.application["appId"]
        query = f"servicePrincipals?$filter=appId%20eq%20{quoted(client_id)}&$select={_PRINCIPAL}"
        listed = await self.at(about, lambda: graph.items(query))
        if listed is None:
            return found
        if not listed:
            self._report.problem("principal-missing", about, "its service principal is not there", _UP)
            return found
        found.principal = listed[0]
        path = f"servicePrincipals/{found.principal['id']}"
        found.principal_owners = await self.at(about, lambda: graph.items(f"{path}/{owners}"))
        found.roles = await self.at(about, lambda: graph.items(f"{path}/appRoleAssignments"))
        return found

    async def group(self, wanted: BotGroup) -> FoundGroup:
        """A group with its owners and members."""
        graph, found = self._graph, FoundGroup(wanted)
        select = "id,displayName,securityEnabled,groupTypes"
        found.group = await self._one(
            wanted.about, "groups", select, wanted.display_name, wanted.object_id, "group", key="id"
        )
        if found.group is None:
            return found
        path, about = f"groups/{found.group['id']}", wanted.about
        found.owners = await self.at(about, lambda: graph.items(f"{path}/owners?$select=id,displayName"))
        found.members = await self.at(about, lambda: graph.items(f"{path}/members?$top=999", version="beta"))
        return found

    async def _one(
        self, about: str, collection: str, select: str, name: str, given: str | None, what: str, key: str = "appId"
    ) -> Doc | None:
        """The one object by its id, or by its name; a finding if there is none, or more than one."""
        condition = f"{key}%20eq%20{quoted(given)}" if given else f"displayName%20eq%20{quoted(name)}"
        listed = await self.at(about, lambda: self._graph.items(f"{collection}?$filter={condition}&$select={select}"))
        if listed is None:
            return None
        if not listed:
            called = f"`{given}`" if given else f"`{name}`"
            self._report.problem("missing", about, f"the {what} {called} is not in the tenant", _UP)
            return None
        if len(listed) > 1:
            ids = ", ".join(str(one["id"]) for one in listed)
            said = f"{len(listed)} of the tenant's {collection} are called `{name}`: {ids}"
            self._report.problem("ambiguous", about, said, "find out whose the others are, and rename or delete them")
            return None
        return listed[0]


_UP = "`pulumi up` makes it; if it is there by another name, `adopt` it"
