"""`Application`, request by request, as the reference's table has it."""

from typing import Any

import grpc
import pytest

APP = "aaaaaaaa-0000-4000-8000-000000000001"
CALLER = "99999999-8888-4777-8666-555555555555"
OTHER = "aaaaaaaa-0000-4000-8000-0000000000ff"
ROLE = "aaaaaaaa-0000-4000-8000-00000000000a"
PATH = f"/v1.0/applications/{APP}"
READ = [
    f"GET {PATH}",
    f"GET /beta/applications/{APP}?%24select=oauth2RequirePostResponse",
    f"GET {PATH}/owners",
]


def graph_app(**more: Any) -> dict[str, Any]:
    """An application as Graph gives it."""
    return {
        "id": APP,
        "appId": "aaaaaaaa-0000-4000-8000-000000000002",
        "displayName": "bot",
        "api": {"acceptMappedClaims": None, "requestedAccessTokenVersion": None, "oauth2PermissionScopes": []},
        "appRoles": [],
        "identifierUris": [],
        "signInAudience": "AzureADMyOrg",
        "publisherDomain": "contoso.example",
        "tags": [],
        "web": {"redirectUris": [], "implicitGrantSettings": {"enableAccessTokenIssuance": False}},
        "spa": {"redirectUris": []},
        "publicClient": {"redirectUris": []},
        "info": {"logoUrl": None},
        "optionalClaims": None,
        "passwordCredentials": [],
        "requiredResourceAccess": [],
        **more,
    }


def answers_of_read(*owners: str, **more: Any) -> list[tuple[Any, ...]]:
    return [
        (200, graph_app(**more)),
        (200, {"oauth2RequirePostResponse": False}),
        (200, {"value": [{"id": owner, "@odata.type": "#microsoft.graph.user"} for owner in owners]}),
    ]


def created(script: Any, scripted: Any, *, owners: tuple[str, ...] = (CALLER,), **news: Any) -> Any:
    """An application that was created with the caller as its owner."""
    remove = [] if CALLER in owners else [(204, None)]
    read = {key: value for key, value in {"appRoles": news.pop("graph_roles", None)}.items() if value}
    script.expect((201, graph_app()), (204, None), (204, None), *remove, *answers_of_read(*owners, **read))
    state = scripted.create("Application", displayName="bot", owners=list(owners), **news)
    return state


def test_creation_names_itself_twice_and_removes_the_caller(scripted: Any, script: Any) -> None:
    script.expect((201, graph_app()), (204, None), (204, None), (204, None), *answers_of_read(OTHER))
    state = scripted.create("Application", displayName="bot", owners=[OTHER])
    first, second = script.bodies("PATCH")
    assert first["displayName"].startswith("TERRAFORM_UPDATE_")
    assert second == {"displayName": "bot", "@odata.type": "#microsoft.graph.application"}
    body = script.bodies("POST")[0]
    assert body["owners@odata.bind"] == [
        f"https://{script.host}/v1.0/directoryObjects/{CALLER}",
        f"https://{script.host}/v1.0/directoryObjects/{OTHER}",
    ]
    assert script.lines() == [
        "POST /v1.0/applications",
        f"PATCH {PATH}",
        f"PATCH {PATH}",
        f"DELETE {PATH}/owners/{CALLER}/$ref",
        *READ,
    ]
    assert state.id == f"/applications/{APP}"
    assert state["owners"] == [OTHER]
    assert state["clientId"] == "aaaaaaaa-0000-4000-8000-000000000002"


def test_the_caller_stays_an_owner_if_it_is_named(scripted: Any, script: Any) -> None:
    created(script, scripted)
    assert f"DELETE {PATH}/owners/{CALLER}/$ref" not in script.lines()


def test_a_plain_application_sends_what_the_real_provider_sends(scripted: Any, script: Any) -> None:
    created(script, scripted)
    body = script.bodies("POST")[0]
    body.pop("owners@odata.bind")
    assert body == {
        "@odata.type": "#microsoft.graph.application",
        "api": {
            "acceptMappedClaims": False,
            "knownClientApplications": [],
            "oauth2PermissionScopes": [],
            "requestedAccessTokenVersion": 1,
        },
        "appRoles": [],
        "description": None,
        "displayName": "bot",
        "groupMembershipClaims": None,
        "identifierUris": [],
        "info": {"marketingUrl": None, "privacyStatementUrl": None, "supportUrl": None, "termsOfServiceUrl": None},
        "isDeviceOnlyAuthSupported": False,
        "isFallbackPublicClient": False,
        "notes": None,
        "optionalClaims": {},
        "publicClient": {"redirectUris": []},
        "requiredResourceAccess": [],
        "serviceManagementReference": None,
        "signInAudience": "AzureADMyOrg",
        "spa": {"redirectUris": []},
        "tags": [],
        "web": {
            "homePageUrl": None,
            "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
            "logoutUrl": None,
            "redirectUris": [],
        },
    }


def test_more_than_twenty_owners_are_added_one_by_one(scripted: Any, script: Any) -> None:
    owners = [f"aaaaaaaa-0000-4000-8000-0000000001{index:02d}" for index in range(21)]
    script.expect((201, graph_app()), *[(204, None)] * 4, (204, None), *answers_of_read(*owners))
    scripted.create("Application", displayName="bot", owners=owners)
    assert len(script.bodies("POST")[0]["owners@odata.bind"]) == 20
    lines = script.lines()
    assert lines.count(f"POST {PATH}/owners/$ref") == 2
    assert lines[5] == f"DELETE {PATH}/owners/{CALLER}/$ref"


def test_post_response_goes_to_beta(scripted: Any, script: Any) -> None:
    script.expect((201, graph_app()), (204, None), (204, None), (204, None), *answers_of_read(CALLER))
    scripted.create("Application", displayName="bot", owners=[CALLER], oauth2PostResponseRequired=True)
    assert script.bodies("PATCH")[2] == {
        "oauth2RequirePostResponse": True,
        "@odata.type": "#microsoft.graph.application",
    }
    assert script.lines()[3] == f"PATCH /beta/applications/{APP}"


def test_mapped_claims_are_set_apart(scripted: Any, script: Any) -> None:
    script.expect((201, graph_app()), (204, None), (204, None), (204, None), *answers_of_read(CALLER))
    scripted.create("Application", displayName="bot", owners=[CALLER], api={"mappedClaimsEnabled": True})
    assert "acceptMappedClaims" not in script.bodies("POST")[0]["api"]
    assert script.bodies("PATCH")[2]["api"]["acceptMappedClaims"] is True


def test_a_change_that_is_not_everywhere_yet_is_repeated(scripted: Any, script: Any) -> None:
    gone = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}}, {"Retry-After": "0"})
    busy = (409, {"error": {"code": "Conflict", "message": "busy"}}, {"Retry-After": "0"})
    script.expect((201, graph_app()), gone, busy, (204, None), (204, None), *answers_of_read(CALLER))
    scripted.create("Application", displayName="bot", owners=[CALLER])
    assert script.lines()[1:5] == [f"PATCH {PATH}"] * 4


def test_a_failure_after_creation_tells_what_exists(scripted: Any, script: Any, details: Any) -> None:
    forbidden = (403, {"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges"}})
    script.expect((201, graph_app()), (204, None), (204, None), forbidden)
    with pytest.raises(grpc.RpcError) as caught:
        scripted.create("Application", displayName="bot")
    assert "Could not remove initial owner from application" in caught.value.details()
    assert (
        "403 (403 Forbidden) with error: Authorization_RequestDenied: Insufficient privileges" in caught.value.details()
    )
    found = details(caught.value)
    assert found is not None
    assert found.id == f"/applications/{APP}"
    assert found.properties.fields["displayName"].string_value == "bot"


def test_a_failure_before_creation_leaves_nothing(scripted: Any, script: Any, details: Any) -> None:
    script.expect((403, {"error": {"code": "Authorization_RequestDenied", "message": "no"}}))
    with pytest.raises(grpc.RpcError) as caught:
        scripted.create("Application", displayName="bot")
    assert details(caught.value) is None
    assert caught.value.details() == (
        "1 error occurred:\n\t* Could not create application: unexpected status 403 (403 Forbidden) with error: "
        "Authorization_RequestDenied: no\n\n"
    )


def test_a_duplicate_name_is_found_at_preview(scripted: Any, script: Any) -> None:
    filtered = "GET /v1.0/applications?%24filter=displayName+eq+%27bot%27"
    script.expect((200, {"value": [graph_app()]}))
    with pytest.raises(grpc.RpcError) as caught:
        scripted.preview("Application", "res", displayName="bot", preventDuplicateNames=True)
    assert 'An existing "azuread_application" with name "bot"' in caught.value.details()
    assert script.lines() == [filtered]

    script.expect((200, {"value": []}), (200, {"value": []}), (201, graph_app()), (204, None), (204, None))
    script.expect(*answers_of_read(CALLER))
    state = scripted.create("Application", displayName="bot", owners=[CALLER], preventDuplicateNames=True)
    assert script.lines()[:3] == [filtered, filtered, "POST /v1.0/applications"]
    assert state["preventDuplicateNames"] is True
    # An update of something else does not look again.
    assert scripted.changes(state, displayName="bot", owners=[CALLER], preventDuplicateNames=True, notes="x") == {
        "notes": "UPDATE"
    }
    assert script.lines() == []


def test_preview_knows_what_the_program_knows(scripted: Any, script: Any, values: Any) -> None:
    shown = scripted.preview("Application", "res", displayName="bot", appRoles=[role()])
    unknown = values["unknown"]
    for name in ("id", "clientId", "objectId", "appRoleIds", "oauth2PermissionScopeIds", "tags", "publisherDomain"):
        assert shown[name] is unknown, name
    assert shown["displayName"] == "bot"
    assert shown["description"] is None
    assert shown["appRoles"][0]["value"] == "Bot"
    assert script.lines() == []


def role(**more: Any) -> dict[str, Any]:
    return {
        "id": ROLE,
        "allowedMemberTypes": ["Application"],
        "description": "A bot",
        "displayName": "Bot",
        "value": "Bot",
        **more,
    }


def graph_role(**more: Any) -> dict[str, Any]:
    return {
        "id": ROLE,
        "allowedMemberTypes": ["Application"],
        "description": "A bot",
        "displayName": "Bot",
        "isEnabled": True,
        "origin": "Application",
        "value": "Bot",
        **more,
    }


def test_a_changed_role_is_disabled_first(scripted: Any, script: Any) -> None:
    state = created(script, scripted, appRoles=[role()], graph_roles=[graph_role()])
    assert state["appRoleIds"] == {"Bot": ROLE}
    script.lines()
    news = {"displayName": "bot", "owners": [CALLER], "appRoles": [role(description="The bot")]}
    assert scripted.changes(state, **news) == {"appRoleIds": "UPDATE", "appRoles[0].description": "UPDATE"}
    script.expect(
        (200, graph_app(appRoles=[graph_role()])),
        (204, None),
        (200, graph_app(appRoles=[graph_role()])),
        (200, graph_app(appRoles=[graph_role(isEnabled=False)])),
        (204, None),
        *answers_of_read(CALLER, appRoles=[graph_role(description="The bot")]),
    )
    scripted.update(state, **news)
    disabling, change = script.bodies("PATCH")
    assert disabling["id"] == APP
    assert disabling["appRoles"][0]["isEnabled"] is False
    assert "origin" not in disabling["appRoles"][0]
    assert change["appRoles"][0]["description"] == "The bot"
    assert "oauth2PermissionScopes" not in change["api"]
    assert "identifierUris" not in change
    assert script.lines() == [f"GET {PATH}", f"PATCH {PATH}", f"GET {PATH}", f"GET {PATH}", f"PATCH {PATH}", *READ]


def test_owners_change_by_reference_added_first(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    script.lines()
    owner = {"value": [{"id": CALLER}]}
    script.expect((204, None), (200, owner), (204, None), (204, None), *answers_of_read(OTHER))
    scripted.update(state, displayName="bot", owners=[OTHER])
    assert script.bodies("POST") == [{"@odata.id": f"https://{script.host}/v1.0/directoryObjects/{OTHER}"}]
    assert script.lines() == [
        f"PATCH {PATH}",
        f"GET {PATH}/owners",
        f"POST {PATH}/owners/$ref",
        f"DELETE {PATH}/owners/{CALLER}/$ref",
        *READ,
    ]


def test_deletion_waits_until_it_is_gone_five_times(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    script.lines()
    gone = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}})
    script.expect((204, None), gone, gone, (200, graph_app()), *[gone] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}", *[f"GET {PATH}"] * 8]


def test_a_password_of_the_application_is_a_secret_and_keeps_its_value(scripted: Any, script: Any, values: Any) -> None:
    credential = {"keyId": ROLE, "displayName": "p", "startDateTime": "2026-01-01T00:00:00Z", "secretText": "hush"}
    listed = {**credential, "secretText": None}
    script.expect((201, graph_app(passwordCredentials=[credential])), (204, None), (204, None))
    script.expect(*answers_of_read(CALLER, passwordCredentials=[listed]))
    state = scripted.create("Application", displayName="bot", owners=[CALLER], password={"displayName": "p"})
    assert state.outputs["password"]["value"] == values["secret"]("hush")
    assert script.bodies("POST")[0]["passwordCredentials"] == [{"displayName": "p"}]
    assert scripted.changes(state, displayName="bot", owners=[CALLER], password={"displayName": "p"}) == {}
    script.expect(*answers_of_read(CALLER, passwordCredentials=[listed]))
    assert scripted.refresh(state)
    assert state["password"]["value"] == "hush"


def test_what_graph_adds_is_no_change(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    assert state["web"]["redirectUris"] == []
    assert scripted.changes(state, displayName="bot", owners=[CALLER]) == {}
    # But a block that says something and goes is one.
    state.outputs["web"] = {**state.outputs["web"], "homepageUrl": "https://bot.example"}
    assert scripted.changes(state, displayName="bot", owners=[CALLER]) == {"web": "DELETE"}


def test_a_missing_application_is_gone(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    script.expect((404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}}))
    assert not scripted.refresh(state)


def test_import_takes_what_says_something(scripted: Any, script: Any) -> None:
    script.expect(*answers_of_read(CALLER, notes="keep", appRoles=[graph_role()]))
    state = scripted.bring_in("Application", f"/applications/{APP}")
    assert state is not None
    assert state.inputs == {
        "__defaults": [],
        "appRoles": [{**role(), "__defaults": []}],
        "displayName": "bot",
        "featureTags": [{"__defaults": []}],
        "notes": "keep",
        "owners": [CALLER],
    }
    assert scripted.bring_in("Application", APP) is None  # the ID of an older version


@pytest.mark.parametrize(
    ("news", "why"),
    [
        ({"signInAudience": "PersonalMicrosoftAccount"}, "`requested_access_token_version` must be 2"),
        (
            {"appRoles": [role(), role(id=OTHER, description="x")]},
            'duplicate value found: "Bot"',
        ),
        (
            {
                "appRoles": [role()],
                "api": {"oauth2PermissionScopes": [{"id": ROLE, "value": "other"}]},
            },
            f'duplicate ID found: "{ROLE}"',
        ),
    ],
)
def test_what_does_not_go_together_is_refused_at_preview(scripted: Any, news: dict[str, Any], why: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        scripted.preview("Application", "res", displayName="bot", **news)
    assert why in caught.value.details()


def test_what_the_stand_in_lacks_it_says(scripted: Any, script: Any) -> None:
    with pytest.raises(grpc.RpcError, match="stand-in for the azuread plugin does not have applications made from"):
        scripted.create("Application", displayName="bot", templateId=OTHER)
    assert script.lines() == []
