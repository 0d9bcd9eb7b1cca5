"""What no stack may contain: the rules of the policy pack `policies/guardrails`, as pure functions on resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wicketgate.identity import roles
from wicketgate.policy.guardrails_access import ACCESS_GUARDRAILS
from wicketgate_gateway.contract.access import Access

_KEYS = {
    "azuread:index/applicationPassword:ApplicationPassword",
    "azuread:index/applicationCertificate:ApplicationCertificate",
    "azuread:index/servicePrincipalPassword:ServicePrincipalPassword",
    "azuread:index/servicePrincipalCertificate:ServicePrincipalCertificate",
    "azuread:index/servicePrincipalTokenSigningCertificate:ServicePrincipalTokenSigningCertificate",
}
_APPLICATION = "azuread:index/application:Application"
_FEDERATED = "azuread:index/applicationFederatedIdentityCredential:ApplicationFederatedIdentityCredential"
_FLEXIBLE = (
    "azuread:index/applicationFlexibleFederatedIdentityCredential:ApplicationFlexibleFederatedIdentityCredential"
)
_ROLE = "azuread:index/appRoleAssignment:AppRoleAssignment"
_DANGEROUS_ROLES = {
    "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9": "Application.ReadWrite.All",
    "06b708a9-e830-4db3-a914-8e69da51d44f": "AppRoleAssignment.ReadWrite.All",
    "19dbc75e-c2e2-444c-a770-ec69d8559fc7": "Directory.ReadWrite.All",
    "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8": "RoleManagement.ReadWrite.Directory",
    "62a82d76-70ea-41e2-9197-370581804d09": "Group.ReadWrite.All",
    "741f803b-c850-494e-b5df-c7cde7ca1bf5": "User.ReadWrite.All",
}

_BUNDLE = "wicketgate:index:PolicyBundle"

Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One rule; `check` gives a sentence per violation."""

    name: str
    description: str
    check: Callable[[str, Properties], Iterator[str]]
    mandatory: bool = True
    """Whether a violation stops an update; if not, it is told."""


def _no_stored_keys(kind: str, properties: Properties) -> Iterator[str]:
    if kind in _KEYS:
        yield "a stored key; use a federated credential"
    if kind == _APPLICATION and properties.get("password"):
        yield "the application has a password; use a federated credential"


def _exact_subjects(kind: str, properties: Properties) -> Iterator[str]:
    subject = properties.get("subject")
    if kind == _FEDERATED and isinstance(subject, str) and ("*" in subject or not subject):
        yield f"the subject `{subject}` is no exact value; name one workload"
    expression = properties.get("claimsMatchingExpression")
    if kind == _FLEXIBLE and isinstance(expression, str) and "matches '*" in expression:
        yield "the expression begins with a wildcard, which any workload of that platform can meet"


def _secure_issuers(kind: str, properties: Properties) -> Iterator[str]:
    issuer = properties.get("issuer")
    if kind in (_FEDERATED, _FLEXIBLE) and isinstance(issuer, str) and not issuer.startswith("https://"):
        yield f"the issuer `{issuer}` is not https"


def _single_tenant(kind: str, properties: Properties) -> Iterator[str]:
    audience = properties.get("signInAudience")
    if kind == _APPLICATION and audience not in (None, "AzureADMyOrg"):
        yield f"`signInAudience` is `{audience}`: identities of other tenants could sign in; use `AzureADMyOrg`"


def _v2_tokens(kind: str, properties: Properties) -> Iterator[str]:
    api = properties.get("api") or {}
    if kind == _APPLICATION and properties.get("appRoles") and api.get("requestedAccessTokenVersion") != 2:
        yield "an application with app roles must ask for v2 tokens: set `requestedAccessTokenVersion` to 2"


def _no_directory_writers(kind: str, properties: Properties) -> Iterator[str]:
    name = _DANGEROUS_ROLES.get(str(properties.get("appRoleId")))
    if kind == _ROLE and name:
        yield f"grants `{name}`, a way to every right in the tenant; `Application.Read.All` is all the gateway needs"


def _own_service_account(kind: str, properties: Properties) -> Iterator[str]:
    subject = str(properties.get("subject") or "")
    if kind == _FEDERATED and subject.startswith("system:serviceaccount:") and subject.endswith(":default"):
        yield f"`{subject}` is what every pod of the namespace is; make a service account for this workload alone"


def _lasting_names(kind: str, properties: Properties) -> Iterator[str]:
    subject = str(properties.get("subject") or "")
    if kind != _FEDERATED:
        return
    if subject.startswith("repo:") and "@" not in subject:
        yield f"`{subject}` names a repository that may be renamed and its name taken; use the form with ids"
    if subject.startswith("project_path:"):
        yield f"`{subject}` names a project by its path, which may be taken by another; use `project_id`"


def _on_access(check: Callable[[Access], Iterator[str]]) -> Callable[[str, Properties], Iterator[str]]:
    def checked(kind: str, properties: Properties) -> Iterator[str]:
        text = properties.get("access")
        if kind != _BUNDLE or not isinstance(text, str):
            return
        try:
            access = Access.model_validate_json(text)
        except ValidationError:
            yield "who may do what cannot be read; use the version of wicketgate that made it"
            return
        yield from check(access)

    return checked


GUARDRAILS = (
    Guardrail("no-stored-keys", "Identities have no passwords or certificates in Entra.", _no_stored_keys),
    Guardrail("exact-subjects", "A federated credential names one exact workload.", _exact_subjects),
    Guardrail("secure-issuers", "A federated credential's issuer is reached over https.", _secure_issuers),
    Guardrail("single-tenant", "Applications are of this tenant alone.", _single_tenant),
    Guardrail("v2-tokens", "Applications with app roles ask for v2.0 tokens.", _v2_tokens),
    Guardrail("no-directory-writers", "Nothing may change the directory at large.", _no_directory_writers),
    Guardrail("own-service-account", "A workload has a service account of its own.", _own_service_account),
    Guardrail("lasting-names", "A subject names what nobody else can get.", _lasting_names, mandatory=False),
    *(Guardrail(name, said, _on_access(check)) for name, said, check in ACCESS_GUARDRAILS),
)

READ_ONLY_GRANTS = frozenset({roles.APPLICATION_READ_ALL})
"""The Graph permissions that the components themselves grant."""
