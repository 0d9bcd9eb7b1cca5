"""From a federated credential as Entra has it to the lines of a stack file: the platform, if its form is known.

The lines are right by construction: what the platform's own builder makes of them must be the credential, to the byte;
where it is not, the credential is written as it is (`oidc`, `expression`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from wicketgate.identity.platforms import GITHUB, Credential
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE

_GITHUB = re.compile(r"repo:([^:]+):(?:ref:refs/heads/(.+)|ref:refs/tags/(.+)|environment:(.+)|(pull_request))")
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_GITLAB = re.compile(r"(project_path|project_id):([^:]+):ref_type:(branch|tag):ref:(.+)")
_TERRAFORM = re.compile(r"organization:([^:]+):project:([^:]+):workspace:([^:]+):run_phase:(plan|apply)")
_TENANT = re.compile(r"https://login\.microsoftonline\.com/([0-9a-f-]{36})/v2\.0")


def lines(credential: dict[str, Any]) -> dict[str, Any]:
    """The mapping that stands in a stack file for Graph's `federatedIdentityCredential`, `adopt` included.

    Raises ValueError if the stack's rules forbid it (a wildcard for an owner, another audience).
    """
    issuer, subject = str(credential.get("issuer")), credential.get("subject")
    audience = (credential.get("audiences") or [""])[0]
    expression = (credential.get("claimsMatchingExpression") or {}).get("value")
    wanted = (issuer, subject or expression, audience)
    ways = (
        _ways(issuer, str(subject)) if subject else iter([{"expression": {"issuer": issuer, "matching": expression}}])
    )
    for way in ways:
        try:
            made = Credential.model_validate(way).resolve()
        except ValidationError:
            continue
        if (made["issuer"], made.get("subject") or made.get("expression"), made["audience"]) == wanted:
            return {**way, "adopt": credential["id"]}
    plain = {"issuer": issuer, "subject": subject}
    if audience != TOKEN_EXCHANGE_AUDIENCE:
        plain["audience"] = audience
    try:
        Credential.model_validate({"oidc": plain})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"the federated credential `{credential.get('name')}` cannot be adopted: {reason}") from None
    return {"oidc": plain, "adopt": credential["id"]}


def _ways(issuer: str, subject: str) -> Iterator[dict[str, Any]]:
    if issuer == GITHUB and (found := _GITHUB.fullmatch(subject)):
        repository, branch, tag, environment, pull = found.groups()
        context = {"branch": branch, "tag": tag, "environment": environment, "pullRequest": bool(pull) or None}
        yield {"github": {"repository": repository, **{k: v for k, v in context.items() if v}}}
    if found := _ACCOUNT.fullmatch(subject):
        yield {"kubernetes": {"issuer": issuer, "namespace": found[1], "serviceAccount": found[2]}}
    if found := _GITLAB.fullmatch(subject):
        project = (
            {"projectId": int(found[2])} if found[1] == "project_id" and found[2].isdecimal() else {"project": found[2]}
        )
        host = {} if issuer == "https://gitlab.com" else {"issuer": issuer}
        yield {"gitlab": {**host, **project, found[3]: found[4]}}
    if found := _TERRAFORM.fullmatch(subject):
        host = {} if issuer == "https://app.terraform.io" else {"issuer": issuer}
        names = {"organization": found[1], "project": found[2], "workspace": found[3], "phase": found[4]}
        yield {"terraform": {**host, **names}}
    if issuer == "https://accounts.google.com":
        yield {"google": {"uniqueId": subject}}
    if subject.startswith("spiffe://"):
        yield {"spiffe": {"issuer": issuer, "id": subject}}
    if found := _TENANT.fullmatch(issuer):
        yield {"managedIdentity": {"tenant": found[1], "principal": subject}}
