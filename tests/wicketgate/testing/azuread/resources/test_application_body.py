"""An application's shape in both directions."""

from wicketgate.testing.azuread.resources.application_body import (
    claims_body,
    flat_api,
    flat_claims,
    flat_group_claims,
    flat_optional_claims,
    flat_redirects,
    flat_resource_access,
    flat_web,
    password_body,
    passwords,
    roles_body,
    scopes_body,
)

ROLE = {
    "id": "r",
    "allowedMemberTypes": ["User", "Application"],
    "description": "d",
    "displayName": "n",
    "enabled": True,
    "value": "",
}


def test_roles_go_out_with_an_empty_value_and_ordered_member_types() -> None:
    (role,) = roles_body([ROLE])
    assert role["isEnabled"] is True
    assert role["value"] == ""
    assert sorted(role["allowedMemberTypes"]) == ["Application", "User"]
    assert roles_body([{**ROLE, "allowedMemberTypes": ["Application", "User"]}]) == [role]


def test_scopes_go_out_whole() -> None:
    (scope,) = scopes_body([{"id": "s", "enabled": False, "value": "act"}])
    assert scope == {
        "adminConsentDescription": "",
        "adminConsentDisplayName": "",
        "id": "s",
        "isEnabled": False,
        "type": "",
        "userConsentDescription": "",
        "userConsentDisplayName": "",
        "value": "act",
    }


def test_claims_without_a_source_have_none() -> None:
    assert claims_body({}) == {}
    body = claims_body({"accessTokens": [{"name": "a", "source": ""}, {"name": "b", "source": "user"}]})
    assert body["accessToken"] == [
        {"name": "a", "essential": False, "additionalProperties": []},
        {"name": "b", "essential": False, "additionalProperties": [], "source": "user"},
    ]
    assert body["idToken"] == []


def test_a_password_sends_only_the_dates_it_has() -> None:
    assert password_body({"displayName": "p", "startDate": "", "endDate": "2027-01-01T00:00:00Z"}) == {
        "displayName": "p",
        "endDateTime": "2027-01-01T00:00:00Z",
    }
    assert passwords(None) == []
    assert passwords([{"keyId": "k", "secretText": None}])[0] == {
        "keyId": "k",
        "displayName": "",
        "startDate": "",
        "endDate": "",
        "value": "",
    }


def test_null_parts_are_absent_and_empty_parts_are_not() -> None:
    assert flat_api(None) is None
    assert flat_api({}) == {
        "knownClientApplications": [],
        "mappedClaimsEnabled": False,
        "oauth2PermissionScopes": [],
        "requestedAccessTokenVersion": 1,
    }
    assert flat_optional_claims(None) is None
    assert flat_optional_claims({}) == {"accessTokens": [], "idTokens": [], "saml2Tokens": []}
    assert flat_redirects(None) is None
    assert flat_redirects({"redirectUris": ["b", "a"]}) == {"redirectUris": ["a", "b"]}
    assert flat_web(None) is None
    web = flat_web({"implicitGrantSettings": None})
    assert web is not None
    assert web["implicitGrant"] is None


def test_lists_of_an_answer() -> None:
    assert flat_claims([{"name": "a", "source": None, "essential": None}]) == [
        {"name": "a", "essential": False, "source": "", "additionalProperties": []}
    ]
    assert flat_group_claims("SecurityGroup, DirectoryRole") == ["SecurityGroup", "DirectoryRole"]
    assert flat_group_claims(None) == []
    assert flat_resource_access([{"resourceAppId": "g", "resourceAccess": [{"id": "p", "type": "Role"}]}]) == [
        {"resourceAppId": "g", "resourceAccesses": [{"id": "p", "type": "Role"}]}
    ]
