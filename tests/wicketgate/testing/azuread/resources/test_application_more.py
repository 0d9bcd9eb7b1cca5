"""Registration, owners one by one, and optional claims, request by request."""

from typing import Any

import grpc
import pytest

APP = "aaaaaaaa-0000-4000-8000-000000000001"
OWNER = "aaaaaaaa-0000-4000-8000-0000000000ff"
ID = f"/applications/{APP}"
PATH = f"/v1.0{ID}"
FOUND = {
    "id": APP,
    "appId": OWNER,
    "displayName": "reg",
    "signInAudience": "AzureADMyOrg",
    "api": {"requestedAccessTokenVersion": 2},
}


def test_a_registration_is_one_post_and_reads_v1_alone(scripted: Any, script: Any) -> None:
    script.expect((201, FOUND), (200, FOUND))
    state = scripted.create("ApplicationRegistration", displayName="reg")
    assert state.id == ID
    assert script.bodies("POST")[0]["api"] == {"requestedAccessTokenVersion": 2}
    assert script.lines() == ["POST /v1.0/applications", f"GET {PATH}"]
    assert scripted.changes(state, displayName="reg") == {}

    script.expect((204, None), (200, {**FOUND, "notes": "n"}))
    scripted.update(state, displayName="reg", notes="n")
    assert script.bodies("PATCH") == [{"notes": "n", "@odata.type": "#microsoft.graph.application"}]
    assert script.lines() == [f"PATCH {PATH}", f"GET {PATH}"]

    script.expect((204, None), *[(404, {"error": {"code": "x", "message": "y"}})] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}", *[f"GET {PATH}"] * 5]


def test_a_registration_changes_only_what_changed(scripted: Any, script: Any) -> None:
    script.expect((201, FOUND), (200, FOUND))
    state = scripted.create("ApplicationRegistration", displayName="reg")
    news = {
        "displayName": "reg",
        "marketingUrl": "https://a.example",
        "homepageUrl": "https://b.example",
        "implicitIdTokenIssuanceEnabled": True,
        "groupMembershipClaims": ["SecurityGroup"],
        "requestedAccessTokenVersion": 1,
    }
    script.expect((204, None), (200, FOUND))
    scripted.update(state, **news)
    assert script.bodies("PATCH") == [
        {
            "@odata.type": "#microsoft.graph.application",
            "api": {"requestedAccessTokenVersion": 1},
            "groupMembershipClaims": "SecurityGroup",
            "info": {"marketingUrl": "https://a.example"},
            "web": {"homePageUrl": "https://b.example", "implicitGrantSettings": {"enableIdTokenIssuance": True}},
        }
    ]


def test_an_owner_is_looked_up_added_and_looked_up(scripted: Any, script: Any) -> None:
    listed = f"GET {PATH}/owners?%24filter=id+eq+%27{OWNER}%27"
    one = {"value": [{"id": OWNER}]}
    script.expect((200, {"value": []}), (204, None), (200, one))
    state = scripted.create("ApplicationOwner", applicationId=ID, ownerObjectId=OWNER)
    assert state.id == f"{ID}/owners/{OWNER}"
    assert script.lines() == [listed, f"POST {PATH}/owners/$ref", listed]
    assert scripted.changes(state, applicationId=ID, ownerObjectId=APP) == {"ownerObjectId": "UPDATE_REPLACE"}
    script.expect((204, None))
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}/owners/{OWNER}/$ref"]

    script.expect((200, one))
    with pytest.raises(grpc.RpcError, match="already exists - to be managed via Terraform"):
        scripted.create("ApplicationOwner", applicationId=ID, ownerObjectId=OWNER)


def test_optional_claims_are_written_together(scripted: Any, script: Any) -> None:
    claims = {"accessToken": [{"name": "idtyp", "essential": False, "additionalProperties": ["use_guid"]}]}
    script.expect((200, FOUND), (204, None), (200, {**FOUND, "optionalClaims": claims}))
    given = [{"name": "idtyp", "additionalProperties": ["use_guid"]}]
    state = scripted.create("ApplicationOptionalClaims", applicationId=ID, accessTokens=given)
    assert state.id == ID
    assert script.bodies("PATCH")[0]["optionalClaims"] == {
        "accessToken": [{"name": "idtyp", "source": "", "essential": False, "additionalProperties": ["use_guid"]}]
    }
    assert script.lines() == [f"GET {PATH}", f"PATCH {PATH}", f"GET {PATH}"]
    assert scripted.changes(state, applicationId=ID, accessTokens=given) == {}

    both = {**claims, "idToken": [{"name": "email"}]}
    script.expect((200, {**FOUND, "optionalClaims": claims}), (204, None), (200, {**FOUND, "optionalClaims": both}))
    scripted.update(state, applicationId=ID, accessTokens=given, idTokens=[{"name": "email"}])
    assert script.bodies("PATCH")[-1]["optionalClaims"]["accessToken"] == claims["accessToken"]
    script.lines()
    script.expect((204, None))
    scripted.delete(state)
    assert script.bodies("PATCH")[0]["optionalClaims"] == {}
    script.lines()
    script.expect((200, FOUND))
    assert not scripted.refresh(state)


def test_claims_must_name_a_token(scripted: Any) -> None:
    (reason, *rest) = scripted.failures("ApplicationOptionalClaims", applicationId=ID)
    assert "one of `access_token,id_token,saml2_token` must be specified" in reason
    assert len(rest) == 2
