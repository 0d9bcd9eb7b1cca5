"""What no stack may contain: the rules of the policy pack `policies/guardrails`, as pure functions on resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wicketgate.identity import roles

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
}

Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One rule; `check` gives a sentence per violation."""

    name: str
    description: str
    check: Callable[[str, Properties], Iterator[str]]


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


GUARDRAILS = (
    Guardrail("no-stored-keys", "Identities have no passwords or certificates in Entra.", _no_stored_keys),
    Guardrail("exact-subjects", "A federated credential names one exact workload.", _exact_subjects),
    Guardrail("secure-issuers", "A federated credential's issuer is reached over https.", _secure_issuers),
    Guardrail("single-tenant", "Applications are of this tenant alone.", _single_tenant),
    Guardrail("v2-tokens", "Applications with app roles ask for v2.0 tokens.", _v2_tokens),
    Guardrail("no-directory-writers", "Nothing may change the directory at large.", _no_directory_writers),
)

READ_ONLY_GRANTS = frozenset({roles.APPLICATION_READ_ALL})
"""The Graph permissions that the components themselves grant."""
