"""What differs between stack and tenant: owners, members, federated credentials, roles, addresses, switches.

More than the stack says is worse than less: somebody else's federated credential on a bot's application is a way in,
so is an owner that nobody knows, and a member of a bot group that is no bot has what the bots have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wicketgate.identity.doctor.expected import Expected
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.doctor.permissions import grant_command
from wicketgate.identity.doctor.tenant import Doc, Found, FoundGroup, Tenant
from wicketgate.identity.roles import PERSON_ROLES, role_id
from wicketgate.identity.signin import Cloud, Principal
from wicketgate_gateway.contract.gateway import AGENT_ROLE, BOT_ROLE

UP = "`pulumi up --refresh` puts it right"
_ROLES_OF_PEOPLE = {role_id(role): role for role in PERSON_ROLES}
_ROLES_OF_BOTS = {role_id(BOT_ROLE): BOT_ROLE, role_id(AGENT_ROLE): AGENT_ROLE}


def compare(expected: Expected, tenant: Tenant, who: Principal, cloud: Cloud, report: Report) -> None:
    """Findings about every difference; asks nobody."""
    root = cloud.graph.rstrip("/")
    deployers = _deployers(tenant, who)
    for found in tenant.registrations:
        about = found.wanted.about
        if found.application is not None and found.owners is not None and not found.wanted.adopted:
            _owners(about, f"{root}/v1.0/applications/{found.application['id']}", found.owners, deployers, report)
        if found.principal is not None and found.principal_owners is not None and not found.wanted.adopted:
            path = f"{root}/v1.0/servicePrincipals/{found.principal['id']}"
            _owners(about, path, found.principal_owners, deployers, report)
        _credentials(found, root, report)
        _addresses(found, report)
        _enabled(found, report)
        _roles(found, tenant, root, report)
    _gateway(tenant.gateway, report)
    _assigned(expected, tenant, root, report)
    for group in tenant.groups:
        _group(group, tenant, deployers, root, report)
    for stranger in tenant.strangers:
        report.warn(
            "stranger",
            str(stranger["displayName"]),
            "an application is called as this stack's are, and the stack does not know it",
            f"if no other stack has it: az ad app delete --id {stranger['id']}",
        )


def _deployers(tenant: Tenant, who: Principal) -> set[str]:
    """Who should own: the one who is signed in, if it owns the gateway; else whoever does."""
    owners = {str(one["id"]) for one in tenant.gateway.owners or []}
    return {who.object_id} if who.object_id in owners or not owners else owners


def _owners(about: str, url: str, owners: list[Doc], deployers: set[str], report: Report) -> None:
    there = {str(one["id"]): one for one in owners}
    for key in sorted(set(there) - deployers):
        report.problem(
            "owner-unexpected",
            about,
            f"{_named(there[key])} owns it, and could add credentials to it",
            f"az rest --method DELETE --url {url}/owners/{key}/$ref",
        )
    if not deployers & set(there):
        report.problem("owner-missing", about, "the deployer does not own it, so `up` cannot change it", UP)


def _named(doc: Doc) -> str:
    return f"`{doc.get('displayName') or doc.get('id')}` ({doc.get('id')})"


def _key(issuer: Any, subject: Any, expression: Any, audience: Any) -> tuple[str, str, str]:
    return str(issuer), str(subject or expression or ""), str(audience)


def _credentials(found: Found, root: str, report: Report) -> None:
    if found.credentials is None or found.application is None:
        return
    about = found.wanted.about
    wanted = {_key(c["issuer"], c.get("subject"), c.get("expression"), c["audience"]) for c in found.wanted.credentials}
    there: dict[tuple[str, str, str], Doc] = {}
    for one in found.credentials:
        expression = (one.get("claimsMatchingExpression") or {}).get("value")
        there[_key(one.get("issuer"), one.get("subject"), expression, (one.get("audiences") or [""])[0])] = one
    for key in sorted(set(there) - wanted):
        one = there[key]
        url = f"{root}/v1.0/applications/{found.application['id']}/federatedIdentityCredentials/{one['id']}"
        report.problem(
            "federated-unexpected",
            about,
            f"`{key[1]}` of {key[0]} may act as it, and the stack does not say so (credential `{one.get('name')}`)",
            f"write it into the stack file, or: az rest --method DELETE --url {url}",
        )
    for key in sorted(wanted - set(there)):
        other_case = next((k for k in there if k != key and _folded(k) == _folded(key)), None)
        said = f"`{key[1]}` of {key[0]} cannot act as it: the credential is not in Entra"
        if other_case:
            said += f"; one that differs in upper and lower case alone is (`{other_case[1]}`)"
        report.problem("federated-missing", about, said, UP)


def _folded(key: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in key)


def _addresses(found: Found, report: Report) -> None:
    application, wanted = found.application, found.wanted
    if application is None:
        return
    for part, expected in (("web", wanted.web), ("publicClient", wanted.public)):
        there = set((application.get(part) or {}).get("redirectUris") or [])
        for address in sorted(there - set(expected)) if wanted.kind == "gateway" or not wanted.adopted else ():
            report.problem(
                "redirect-unexpected", wanted.about, f"answers of sign-ins may go to `{address}`; the stack says no", UP
            )
        for address in sorted(set(expected) - there):
            report.problem("redirect-missing", wanted.about, f"sign-ins at `{address}` do not work", UP)


def _enabled(found: Found, report: Report) -> None:
    principal, wanted = found.principal, found.wanted
    if principal is None or principal.get("accountEnabled") is wanted.enabled:
        return
    if wanted.enabled:
        remedy = f"if it may work again: {UP}; if it was stopped on purpose, take the bot out of the stack file"
        report.problem("disabled", wanted.about, "its service principal is disabled in Entra", remedy)
    else:
        said = f"expired on {wanted.expires}, and its service principal is still enabled (the gateway refuses it)"
        report.problem("expired", wanted.about, said, "`pulumi up` disables it; then take it out of the stack file")


def _roles(found: Found, tenant: Tenant, root: str, report: Report) -> None:
    wanted, principal, gateway = found.wanted, found.principal, tenant.gateway.principal
    if principal is None or found.roles is None:
        return
    expected: set[tuple[str, str]] = {("Microsoft Graph", role) for role in wanted.graph_roles}
    if wanted.gateway_role and gateway is not None:
        expected.add((str(gateway["id"]), role_id(wanted.gateway_role)))
    there: dict[tuple[str, str], Doc] = {}
    for one in found.roles:
        on_graph = one.get("resourceDisplayName") == "Microsoft Graph"
        resource = "Microsoft Graph" if on_graph else str(one.get("resourceId"))
        there[resource, str(one.get("appRoleId"))] = one
    for key in sorted(set(there) - expected):
        one = there[key]
        url = f"{root}/v1.0/servicePrincipals/{principal['id']}/appRoleAssignments/{one['id']}"
        tell = report.warn if wanted.adopted else report.problem
        tell(
            "role-unexpected",
            wanted.about,
            f"holds the role {key[1]} on `{one.get('resourceDisplayName')}`, and the stack does not say so",
            f"az rest --method DELETE --url {url}",
        )
    for resource, role in sorted(expected - set(there)):
        if resource == "Microsoft Graph":
            said = f"lacks the permission {role} on Microsoft Graph"
            report.problem("role-missing", wanted.about, said, grant_command(root, str(principal["id"]), role))
        else:
            said = f"lacks the role `{wanted.gateway_role}` on the gateway: its tokens are refused"
            report.problem("role-missing", wanted.about, said, UP)


def _gateway(found: Found, report: Report) -> None:
    about = found.wanted.about
    if found.principal is not None and found.principal.get("appRoleAssignmentRequired") is not True:
        said = "any client of the tenant gets a token for it: assignment is not required"
        report.problem("assignment-not-required", about, said, UP)
    application = found.application
    if application is None:
        return
    if (application.get("api") or {}).get("requestedAccessTokenVersion") != 2:
        said = "its tokens are not of version 2.0: the gateway refuses them all"
        report.problem("token-version", about, said, UP)
    claims = ((application.get("optionalClaims") or {}).get("accessToken")) or []
    if not any(one.get("name") == "idtyp" for one in claims):
        report.problem("claim-missing", about, "its tokens have no `idtyp`: the gateway refuses bots and agents", UP)


def _assigned(expected: Expected, tenant: Tenant, root: str, report: Report) -> None:
    """Who holds a role on the gateway and is none of the stack's; which groups of people lack theirs."""
    gateway = tenant.gateway.principal
    if gateway is None or tenant.assigned is None:
        return
    about = expected.gateway.about
    known = {str(f.principal["id"]) for f in tenant.registrations if f.principal is not None}
    lacking = {(role, group) for role, groups in expected.people.items() for group in groups}
    for one in tenant.assigned:
        key, holder = str(one.get("appRoleId")), str(one.get("principalId"))
        role = _ROLES_OF_BOTS.get(key) or _ROLES_OF_PEOPLE.get(key)
        mine = {pair for pair in lacking if pair[0] == role and _is(one, *pair[1])}
        lacking -= mine
        # What the stack's own bots and agents hold too much is told above.
        if role is None or mine or (key in _ROLES_OF_BOTS and holder in known):
            continue
        url = f"{root}/v1.0/servicePrincipals/{gateway['id']}/appRoleAssignedTo/{one['id']}"
        said = f"`{one.get('principalDisplayName')}` ({holder}) holds `{role}`, and is none of this stack's"
        report.problem("role-stranger", about, said, f"az rest --method DELETE --url {url}")
    for role, (name, key) in sorted(lacking, key=str):
        report.problem("role-missing", about, f"the group `{name or key}` of people lacks `{role}`", UP)


def _is(assignment: Doc, name: str | None, key: str | None) -> bool:
    """Whether the holder is the group of that name, or of that id."""
    if name is None:
        return assignment.get("principalId") == key
    return assignment.get("principalType") == "Group" and assignment.get("principalDisplayName") == name


def _group(found: FoundGroup, tenant: Tenant, deployers: set[str], root: str, report: Report) -> None:
    about, group = found.wanted.about, found.group
    if group is None:
        return
    if "DynamicMembership" in (group.get("groupTypes") or []):
        said = "who is in it follows from a rule of Entra's, so the stack cannot say who"
        report.problem("group-dynamic", about, said, "use a group with assigned members")
    if found.owners is not None and found.wanted.object_id is None:
        _owners(about, f"{root}/v1.0/groups/{group['id']}", found.owners, deployers, report)
    if found.members is None:
        return
    there = {str(one["id"]): one for one in found.members}
    bots = {name: tenant.of("bot", name) for name in found.wanted.members}
    wanted = {str(f.principal["id"]): name for name, f in bots.items() if f is not None and f.principal is not None}
    for key in sorted(set(there) - set(wanted)):
        report.problem(
            "member-unexpected",
            about,
            f"{_named(there[key])} is a member, has what its bots have, and is none of them",
            f"az rest --method DELETE --url {root}/v1.0/groups/{group['id']}/members/{key}/$ref",
        )
    for key in sorted(set(wanted) - set(there)):
        said = f"the bot `{wanted[key]}` is no member: its policies do not apply"
        report.problem("member-missing", about, said, UP)
