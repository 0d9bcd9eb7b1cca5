"""Stored keys, what will expire, and federated credentials that nobody uses.

Nothing of a stack has a password or a key, but for the certificate that Entra itself signs SAML with; one that is there
was put there by hand. Which federated credential was used, Entra's sign-in log says (`federatedCredentialId`; Graph
beta, at most 30 days back); reading it needs `AuditLog.Read.All` and a premium licence.
Source: Graph resources `signIn` (beta), `keyCredential`, `passwordCredential`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wicketgate.config import StackConfig
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.doctor.permissions import grant_command
from wicketgate.identity.doctor.tenant import Doc, Found, Tenant
from wicketgate.identity.graph import Graph, GraphError, quoted
from wicketgate.identity.signin import Cloud, Principal

SOON = timedelta(days=30)
LOG = timedelta(days=30)
"""How far back the sign-in log goes."""
NEW = timedelta(days=7)
"""A registration this young may still wait for its workload."""
AUDIT_LOG_READ_ALL = "b0afded3-3588-46d8-8b3d-9842eff778da"


def stored(tenant: Tenant, cloud: Cloud, now: datetime, report: Report) -> None:
    """Findings about passwords and keys; asks nobody."""
    for found in tenant.registrations:
        for what, doc in (("applications", found.application), ("servicePrincipals", found.principal)):
            if doc is None:
                continue
            url = f"{cloud.graph.rstrip('/')}/v1.0/{what}/{doc['id']}"
            for one in doc.get("passwordCredentials") or []:
                if found.wanted.kind == "saml" and what == "servicePrincipals" and one.get("customKeyIdentifier"):
                    continue  # of the signing certificate below
                _password(found, url, one, now, report)
            for one in doc.get("keyCredentials") or []:
                if found.wanted.kind == "saml" and what == "servicePrincipals":
                    _signing(found, one, now, report)
                else:
                    _key(found, url, one, now, report)


def _password(found: Found, url: str, one: Doc, now: datetime, report: Report) -> None:
    body = f'{{"keyId": "{one.get("keyId")}"}}'
    report.problem(
        "stored-secret",
        found.wanted.about,
        f"has a client secret ({one.get('displayName') or one.get('keyId')}), which {_until(one, now)}; "
        "whoever knows it is the workload",
        f"az rest --method POST --url {url}/removePassword --headers Content-Type=application/json --body '{body}'",
    )


def _key(found: Found, url: str, one: Doc, now: datetime, report: Report) -> None:
    report.problem(
        "stored-key",
        found.wanted.about,
        f"has a certificate ({one.get('displayName') or one.get('keyId')}), which {_until(one, now)}",
        f"az rest --method PATCH --url {url} --headers Content-Type=application/json --body "
        f"'{{\"keyCredentials\": []}}'",
    )


def _signing(found: Found, one: Doc, now: datetime, report: Report) -> None:
    end = _time(one.get("endDateTime"))
    if end is None or end - now > SOON or one.get("usage") == "Verify":
        return
    said = f"the certificate that SAML answers are signed with {_until(one, now)}"
    remedy = "make a new one in Entra (Single sign-on, SAML Certificates), then make it active"
    (report.problem if end <= now else report.warn)("certificate-expiring", found.wanted.about, said, remedy)


def _until(one: Doc, now: datetime) -> str:
    end = _time(one.get("endDateTime"))
    if end is None:
        return "says no end"
    return f"{'expired' if end <= now else 'expires'} on {end:%Y-%m-%d}"


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def expiring(config: StackConfig, now: datetime, report: Report) -> None:
    """Findings about bots whose last day is near; asks nobody."""
    for name, bot in sorted(config.bots.items()):
        last = datetime.fromisoformat(bot.expires).replace(tzinfo=UTC)
        if now.date() <= last.date() <= (now + SOON).date():
            days = (last.date() - now.date()).days
            said = f"its last day is {bot.expires}, " + (f"in {days} days" if days else "today")
            report.warn("expiring", f"bot {name}", said, "ask its owner whether it is still needed; else leave it")


async def unused(graph: Graph, cloud: Cloud, tenant: Tenant, who: Principal, now: datetime, report: Report) -> None:
    """Findings about federated credentials that were not used as long as the log goes back. Raises GraphError."""
    since = f"{now - LOG:%Y-%m-%dT%H:%M:%SZ}"
    for found in tenant.registrations:
        if not found.credentials or found.application is None or not found.wanted.enabled:
            continue
        query = (
            f"auditLogs/signIns?$filter=signInEventTypes/any(t:%20t%20eq%20'servicePrincipal')%20and%20appId%20eq%20"
            f"{quoted(found.application['appId'])}%20and%20createdDateTime%20ge%20{since}"
        )
        try:
            used = await graph.items(query, version="beta")
        except GraphError as error:
            if error.status not in (403, 404, 400):
                raise
            command = grant_command(cloud.graph, who.object_id, AUDIT_LOG_READ_ALL)
            said = f"whether credentials are used was not looked at: the sign-in log is closed to it ({error.status})"
            report.note("use-unknown", "deployer", said, f"a premium licence, and: {command}")
            return
        seen = {str(one.get("federatedCredentialId")).lower() for one in used if _succeeded(one)}
        for one in found.credentials:
            if str(one.get("id")).lower() not in seen:
                _unused(found, one, now, report)


def _succeeded(one: Doc) -> bool:
    return ((one.get("status") or {}).get("errorCode") or 0) == 0


def _unused(found: Found, one: Doc, now: datetime, report: Report) -> None:
    made = _time((found.application or {}).get("createdDateTime"))
    what = one.get("subject") or (one.get("claimsMatchingExpression") or {}).get("value")
    name = f"the federated credential `{one.get('name')}` (`{what}` of {one.get('issuer')})"
    if made is not None and now - made < NEW:
        said, remedy = f"{name} was not used yet", "nothing, if the workload is still to come"
        report.note("credential-new", found.wanted.about, said, remedy)
        return
    days = LOG.days if made is None else min(LOG.days, (now - made).days)
    said, remedy = f"{name} was not used for {days} days", "if the workload is gone, take it out of the stack file"
    report.warn("credential-unused", found.wanted.about, said, remedy)
