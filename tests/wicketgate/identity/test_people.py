"""People's way in: one public client for one delegated permission, and roles for their groups."""

from collections.abc import Callable
from typing import Any

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import roles
from wicketgate.identity.gateway import GatewayIdentity

ARGS: GatewayIdentityArgs = {
    "display_name": "wicketgate-gate",
    "deployer_object_id": "deployer",
    "people": True,
    "approver_group_ids": {"dba": "id-of-dba"},
    "administrator_group_ids": {"admins": "id-of-admins"},
}


def test_one_public_client_authorised_for_one_permission(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    gateway, cli = (made.of("Application")[f"gateway-{name}"] for name in ("application", "cli-application"))
    (scope,) = gateway["api"]["oauth2PermissionScopes"]
    assert (scope["value"], scope["type"], scope["id"]) == ("Gateway.Use", "Admin", roles.SCOPE_ID)
    assert {claim["name"] for claim in gateway["optionalClaims"]["accessTokens"]} == {"idtyp", "auth_time"}
    assert cli["publicClient"] == {"redirectUris": ["http://127.0.0.1/"]}
    assert cli["fallbackPublicClientEnabled"] is True
    assert cli["displayName"] == "wicketgate-gate-cli"
    (access,) = cli["requiredResourceAccesses"]
    assert [each["id"] for each in access["resourceAccesses"]] == [roles.SCOPE_ID]
    (authorised,) = made.of("ApplicationPreAuthorized").values()
    assert authorised["permissionIds"] == [roles.SCOPE_ID]
    assert authorised["authorizedClientId"] == made.id_of("client of gateway-cli-application")


def test_groups_of_people_get_their_roles_and_the_gateway_may_ask_of_people(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", ARGS))
    given = {name: (one["appRoleId"], one["principalObjectId"]) for name, one in made.of("AppRoleAssignment").items()}
    assert given["gateway-approvers-dba"] == (roles.role_id("Approval.Decide"), "id-of-dba")
    assert given["gateway-administrators-admins"] == (roles.role_id("Gateway.Admin"), "id-of-admins")
    assert given["gateway-read-users"][0] == roles.USER_READ_ALL
    assert given["gateway-read-members"][0] == roles.GROUP_MEMBER_READ_ALL
    without = under_mocks(lambda: GatewayIdentity("gateway", {**ARGS, "read_people": False}))
    assert not {"gateway-read-users", "gateway-read-members"} & set(without.of("AppRoleAssignment"))


def test_without_people_there_is_no_client_and_no_permission(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: GatewayIdentity("gateway", {**ARGS, "people": False}))
    assert set(made.of("Application")) == {"gateway-application"}
    assert made.of("ApplicationPreAuthorized") == {}
    assert set(made.of("AppRoleAssignment")) == {"gateway-read-directory"}
