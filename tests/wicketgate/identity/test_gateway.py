"""The gateway's registration closes the holes that Entra's defaults leave open."""

from collections.abc import Callable
from typing import Any

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import roles
from wicketgate.identity.gateway import GatewayIdentity

ARGS: GatewayIdentityArgs = {"display_name": "wicketgate-gate", "deployer_object_id": "deployer"}


def test_tokens_are_v2_and_say_what_they_are(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    (application,) = made.of("Application").values()
    assert application["api"] == {"requestedAccessTokenVersion": 2}
    assert application["optionalClaims"]["accessTokens"] == [{"name": "idtyp"}]
    assert application["signInAudience"] == "AzureADMyOrg"


def test_assignment_is_required_and_the_deployer_stays_owner(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    (principal,) = made.of("ServicePrincipal").values()
    (application,) = made.of("Application").values()
    assert principal["appRoleAssignmentRequired"] is True
    assert principal["owners"] == application["owners"] == ["deployer"]


def test_bots_and_agents_hold_roles_that_people_cannot(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    (application,) = made.of("Application").values()
    members = {r["value"]: r["allowedMemberTypes"] for r in application["appRoles"]}
    assert members["Bot.Connect"] == members["Agent.Connect"] == ["Application"]
    assert members["Gateway.Admin"] == ["User"]


def test_reading_the_directory_is_granted_unless_another_team_does(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    (grant,) = made.of("AppRoleAssignment").values()
    assert grant["appRoleId"] == roles.APPLICATION_READ_ALL
    assert grant["resourceObjectId"] == made.id_of("graph")
    without = under_mocks(lambda: GatewayIdentity("gateway", {**ARGS, "read_directory": False}))
    assert without.of("AppRoleAssignment") == {}
