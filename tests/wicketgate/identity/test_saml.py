"""Sign-in by SAML has a registration of its own, with people's roles alone."""

from collections.abc import Callable
from typing import Any

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import roles
from wicketgate.identity.gateway import GatewayIdentity

ARGS: GatewayIdentityArgs = {
    "display_name": "wicketgate-gate",
    "deployer_object_id": "deployer",
    "people": True,
    "saml_replies": ["https://gate.example:8444/ui/saml/acs"],
    "approver_group_ids": {"dba": "id-of-dba"},
}


def test_a_registration_beside_the_gateways(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    application = made.of("Application")["gateway-saml-application"]
    assert application["web"] == {"redirectUris": ARGS.get("saml_replies")}
    assert application["displayName"] == "wicketgate-gate-saml"
    assert {role["value"] for role in application["appRoles"]} == set(roles.PERSON_ROLES)
    assert {role["allowedMemberTypes"][0] for role in application["appRoles"]} == {"User"}
    principal = made.of("ServicePrincipal")["gateway-saml-principal"]
    assert principal["preferredSingleSignOnMode"] == "saml"
    assert principal["appRoleAssignmentRequired"] is True
    (uri,) = made.of("ApplicationIdentifierUri").values()
    assert uri["identifierUri"] == "api://" + made.id_of("client of gateway-saml-application")
    given = made.of("AppRoleAssignment")["gateway-saml-approvers-dba"]
    assert (given["appRoleId"], given["principalObjectId"]) == (roles.role_id("Approval.Decide"), "id-of-dba")
    # The gateway's own registration must not be one of SAML: its tokens would be signed with another key.
    assert "preferredSingleSignOnMode" not in made.of("ServicePrincipal")["gateway-principal"]


def test_without_the_switch_there_is_none(under_mocks: Callable[..., Any]) -> None:
    for args in ({**ARGS, "saml_replies": []}, {**ARGS, "people": False}):
        made = under_mocks(lambda args=args: GatewayIdentity("gateway", args))
        assert "gateway-saml-application" not in made.of("Application")
        assert made.of("ApplicationIdentifierUri") == {}
