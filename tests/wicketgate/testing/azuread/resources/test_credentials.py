"""Federated credentials and passwords, request by request; writes to one application take turns."""

import threading
from typing import Any

import grpc
import pytest

APP = "aaaaaaaa-0000-4000-8000-000000000001"
FIC = "aaaaaaaa-0000-4000-8000-00000000000f"
ID = f"/applications/{APP}"
PATH = f"/v1.0{ID}"
WHERE = f"{PATH}/federatedIdentityCredentials/{FIC}"
GIVEN = {
    "applicationId": ID,
    "displayName": "github",
    "issuer": "https://token.actions.githubusercontent.com",
    "subject": "repo:acme/shop:ref:refs/heads/main",
    "audiences": "api://AzureADTokenExchange",
}
FOUND = {
    "id": FIC,
    "name": "github",
    "issuer": GIVEN["issuer"],
    "subject": GIVEN["subject"],
    "audiences": ["api://AzureADTokenExchange"],
    "description": None,
}
GONE = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}})


def test_a_federated_credential_is_seen_five_times(scripted: Any, script: Any) -> None:
    script.expect((200, {"id": APP}), (201, FOUND), GONE, *[(200, FOUND)] * 5, (200, FOUND))
    state = scripted.create("ApplicationFederatedIdentityCredential", **GIVEN)
    assert state.id == f"{APP}/federatedIdentityCredential/{FIC}"
    assert script.bodies("POST") == [
        {
            "@odata.type": "#microsoft.graph.federatedIdentityCredential",
            "audiences": ["api://AzureADTokenExchange"],
            "description": "",
            "issuer": GIVEN["issuer"],
            "name": "github",
            "subject": GIVEN["subject"],
        }
    ]
    assert script.lines() == [
        f"GET {PATH}",
        f"POST {PATH}/federatedIdentityCredentials",
        *[f"GET {WHERE}"] * 6,
        f"GET {WHERE}",
    ]
    assert state["audiences"] == "api://AzureADTokenExchange"
    assert state["credentialId"] == FIC
    assert scripted.changes(state, **GIVEN) == {}
    # What the SDK shows as one text is a list in Terraform, and may be given as one.
    assert scripted.changes(state, **{**GIVEN, "audiences": ["api://AzureADTokenExchange"]}) == {}
    assert scripted.changes(state, **{**GIVEN, "displayName": "other"}) == {"displayName": "UPDATE_REPLACE"}
    assert scripted.changes(state, **{**GIVEN, "subject": "other"}) == {"subject": "UPDATE"}

    script.expect((204, None), (200, {**FOUND, "subject": "other"}))
    scripted.update(state, **{**GIVEN, "subject": "other"})
    assert script.bodies("PATCH")[0]["id"] == FIC
    assert script.bodies("PATCH")[0]["name"] == "github"
    assert script.lines() == [f"PATCH {WHERE}", f"GET {WHERE}"]

    script.expect((204, None), *[GONE] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {WHERE}", *[f"GET {WHERE}"] * 5]


def test_credentials_of_one_application_are_written_in_turns(scripted: Any, script: Any) -> None:
    for _ in range(2):
        script.expect((200, {"id": APP}), (201, FOUND), *[(200, FOUND)] * 6)
    threads = [
        threading.Thread(target=scripted.create, args=("ApplicationFederatedIdentityCredential", name), kwargs=GIVEN)
        for name in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one = [f"GET {PATH}", f"POST {PATH}/federatedIdentityCredentials", *[f"GET {WHERE}"] * 6]
    assert script.lines() == [*one, *one]


def test_a_credential_is_imported_by_its_older_id(scripted: Any, script: Any) -> None:
    script.expect((200, FOUND))
    state = scripted.bring_in("ApplicationFederatedIdentityCredential", f"{APP}/federatedIdentityCredential/{FIC}")
    assert state is not None
    assert state.inputs == {**GIVEN, "__defaults": []}
    for wrong in (FIC, f"{APP}/password/{FIC}", f"{ID}/federatedIdentityCredentials/{FIC}"):
        assert scripted.bring_in("ApplicationFederatedIdentityCredential", wrong) is None


def test_a_flexible_credential_is_on_beta(scripted: Any, script: Any) -> None:
    expression = "claims['sub'] matches 'repo:acme/shop:ref:refs/heads/*'"
    given = {
        "applicationId": ID,
        "displayName": "flexible",
        "issuer": GIVEN["issuer"],
        "audience": "api://AzureADTokenExchange",
        "claimsMatchingExpression": expression,
    }
    found = {
        "id": FIC,
        "name": "flexible",
        "issuer": GIVEN["issuer"],
        "audiences": ["api://AzureADTokenExchange"],
        "claimsMatchingExpression": {"value": expression, "languageVersion": 1},
    }
    beta = f"/beta{ID}/federatedIdentityCredentials"
    script.expect((200, {"id": APP}), (201, found), (200, found), (200, found))
    state = scripted.create("ApplicationFlexibleFederatedIdentityCredential", **given)
    assert state.id == f"{ID}/federatedIdentityCredentials/{FIC}"
    assert script.bodies("POST")[0]["claimsMatchingExpression"] == {"value": expression, "languageVersion": 1}
    assert "subject" not in script.bodies("POST")[0]
    assert script.lines() == [f"GET /beta{ID}", f"POST {beta}", f"GET {beta}/{FIC}", f"GET {beta}/{FIC}"]
    assert scripted.changes(state, **given) == {}
    script.expect((204, None), *[GONE] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {beta}/{FIC}", *[f"GET {beta}/{FIC}"] * 5]


def test_a_password_is_a_secret_that_only_its_creation_shows(scripted: Any, script: Any, values: Any) -> None:
    made = {"keyId": FIC, "displayName": "p", "secretText": "hush", "startDateTime": "2026-01-01T00:00:00Z"}
    listed = {"id": APP, "passwordCredentials": [{**made, "secretText": None, "endDateTime": "2027-01-01T00:00:00Z"}]}
    script.expect((200, {"id": APP}), (200, made), (200, {"id": APP}), *[(200, listed)] * 6)
    state = scripted.create("ApplicationPassword", applicationId=ID, displayName="p")
    assert state.id == f"{APP}/password/{FIC}"
    assert state.outputs["value"] == values["secret"]("hush")
    assert state["endDate"] == "2027-01-01T00:00:00Z"
    assert script.bodies("POST") == [{"passwordCredential": {"displayName": "p"}}]
    assert script.lines() == [f"GET {PATH}", f"POST {PATH}/addPassword", *[f"GET {PATH}"] * 7]
    assert scripted.changes(state, applicationId=ID, displayName="p") == {}
    rotated = scripted.changes(state, applicationId=ID, displayName="p", rotateWhenChanged={"by": "hand"})
    assert rotated == {"rotateWhenChanged": "ADD_REPLACE"}

    script.expect((200, listed))
    assert scripted.refresh(state)
    assert state["value"] == "hush"
    script.lines()
    script.expect((204, None), (200, listed), *[(200, {"id": APP})] * 5)
    scripted.delete(state)
    assert script.lines() == [f"POST {PATH}/removePassword", *[f"GET {PATH}"] * 6]


def test_no_name_is_made_up_for_a_password(scripted: Any, script: Any) -> None:
    script.expect((200, {"id": APP}), (403, {"error": {"code": "Denied", "message": "no"}}))
    with pytest.raises(grpc.RpcError, match="Adding password for"):
        scripted.create("ApplicationPassword", applicationId=ID)
    assert script.bodies("POST") == [{"passwordCredential": {}}]
