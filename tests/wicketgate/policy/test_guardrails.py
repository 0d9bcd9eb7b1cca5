"""Each guardrail stops what it names, and nothing that the components make."""

from collections.abc import Callable
from typing import Any

import pytest

from wicketgate.identity.bot import Bot
from wicketgate.identity.gateway import GatewayIdentity
from wicketgate.policy.guardrails import GUARDRAILS, READ_ONLY_GRANTS

FEDERATED = "azuread:index/applicationFederatedIdentityCredential:ApplicationFederatedIdentityCredential"
FLEXIBLE = "azuread:index/applicationFlexibleFederatedIdentityCredential:ApplicationFlexibleFederatedIdentityCredential"
APPLICATION = "azuread:index/application:Application"
ROLE = "azuread:index/appRoleAssignment:AppRoleAssignment"


def violations(kind: str, properties: dict[str, Any]) -> dict[str, list[str]]:
    found = {g.name: list(g.check(kind, properties)) for g in GUARDRAILS}
    return {name: said for name, said in found.items() if said}


@pytest.mark.parametrize(
    ("guardrail", "kind", "properties"),
    [
        ("no-stored-keys", "azuread:index/applicationPassword:ApplicationPassword", {}),
        ("no-stored-keys", "azuread:index/servicePrincipalCertificate:ServicePrincipalCertificate", {}),
        ("no-stored-keys", APPLICATION, {"password": {"displayName": "x"}}),
        ("exact-subjects", FEDERATED, {"subject": "acme/*", "issuer": "https://i"}),
        ("exact-subjects", FLEXIBLE, {"claimsMatchingExpression": "claims['sub'] matches '*'"}),
        ("secure-issuers", FEDERATED, {"subject": "s", "issuer": "http://i"}),
        ("single-tenant", APPLICATION, {"signInAudience": "AzureADMultipleOrgs"}),
        ("v2-tokens", APPLICATION, {"appRoles": [{"value": "x"}]}),
        ("v2-tokens", APPLICATION, {"appRoles": [{"value": "x"}], "api": {"requestedAccessTokenVersion": 1}}),
        ("no-directory-writers", ROLE, {"appRoleId": "06b708a9-e830-4db3-a914-8e69da51d44f"}),
        ("own-service-account", FEDERATED, {"subject": "system:serviceaccount:shop:default", "issuer": "https://i"}),
        ("lasting-names", FEDERATED, {"subject": "repo:acme/shop:ref:refs/heads/main", "issuer": "https://i"}),
        ("lasting-names", FEDERATED, {"subject": "project_path:acme/shop:ref_type:branch", "issuer": "https://i"}),
        ("owner-and-last-day", "wicketgate:index:PolicyBundle", {"access": "{}"}),
    ],
)
def test_what_a_guardrail_names_is_stopped(guardrail: str, kind: str, properties: dict[str, Any]) -> None:
    assert guardrail in violations(kind, properties)
    if properties.get("access") is None:
        assert list(violations(kind, properties)) == [guardrail]


def test_what_the_components_make_passes(under_mocks: Callable[..., Any]) -> None:
    def program() -> None:
        GatewayIdentity("gateway", {"display_name": "gate", "deployer_object_id": "d"})
        Bot(
            "bot-x",
            {
                "display_name": "x",
                "owner": "group:x",
                "deployer_object_id": "d",
                "gateway_object_id": "g",
                "credentials": [],
            },
        )

    made = under_mocks(program)
    assert len(made.resources) >= 6
    for resource in made.resources:
        assert violations(resource.typ, resource.inputs) == {}, resource.name
        if resource.typ == ROLE and resource.inputs["resourceObjectId"] == made.id_of("graph"):
            assert resource.inputs["appRoleId"] in READ_ONLY_GRANTS
