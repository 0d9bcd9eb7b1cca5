"""Defaults and validation of an application's blocks."""

from typing import Any

import pytest

ROLE = "aaaaaaaa-0000-4000-8000-00000000000a"


def test_defaults_are_filled_in_at_every_depth(scripted: Any) -> None:
    inputs = scripted.check(
        "Application",
        "res",
        {
            "displayName": "a",
            "api": {"oauth2PermissionScopes": [{"id": ROLE}]},
            "appRoles": [{"id": ROLE, "allowedMemberTypes": ["User"], "description": "d", "displayName": "d"}],
            "web": {"implicitGrant": {}},
        },
    )
    assert inputs["__defaults"] == ["signInAudience"]
    assert inputs["api"]["__defaults"] == ["requestedAccessTokenVersion"]
    assert inputs["api"]["oauth2PermissionScopes"] == [
        {"id": ROLE, "enabled": True, "type": "User", "__defaults": ["enabled", "type"]}
    ]
    assert inputs["appRoles"][0]["__defaults"] == ["enabled"]
    assert inputs["web"] == {"implicitGrant": {"__defaults": []}, "__defaults": []}
    # A default that says the same as absence is not filled in.
    assert "preventDuplicateNames" not in inputs


@pytest.mark.parametrize(
    ("news", "reason"),
    [
        (
            {},
            (
                'Missing required argument. The argument "display_name" is required, but no definition was found.. '
                "Examine values at 'res.displayName'."
            ),
        ),
        (
            {"displayName": ""},
            "expected \"display_name\" to not be an empty string, got . Examine values at 'res.displayName'.",
        ),
        (
            {"displayName": "a", "signInAudience": "Mars"},
            (
                'expected sign_in_audience to be one of ["AzureADMyOrg" "AzureADMultipleOrgs" '
                '"AzureADandPersonalMicrosoftAccount" "PersonalMicrosoftAccount"], got Mars. '
                "Examine values at 'res.signInAudience'."
            ),
        ),
        (
            {"displayName": "a", "owners": ["me"]},
            "expected \"owners.0\" to be a valid UUID, got me. Examine values at 'res.owners'.",
        ),
        (
            {"displayName": "a", "api": {"requestedAccessTokenVersion": 3}},
            "Value must be one of: 1, 2. Examine values at 'res.api.requestedAccessTokenVersion'.",
        ),
        ({"displayName": "a", "nickname": "b"}, "Invalid or unknown key. Examine values at 'res.nickname'."),
        (
            {"displayName": "a", "clientId": ROLE},
            (
                'Value for unconfigurable attribute. Can\'t configure a value for "client_id": its value will be '
                "decided automatically based on the result of applying this configuration.. "
                "Examine values at 'res.clientId'."
            ),
        ),
        (
            {"displayName": "a", "web": {"redirectUris": ["https://a.example"]}},
            (
                'URI must have a trailing slash when there is no path segment for "web.0.redirect_uris.0". '
                "Examine values at 'res.web.redirectUris'."
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_real_words(scripted: Any, news: dict[str, Any], reason: str) -> None:
    assert reason in scripted.failures("Application", **news)
