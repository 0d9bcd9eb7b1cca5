"""What Graph demands of each kind of object."""

import base64
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from wicketgate.testing import jws
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.rules import is_guid
from wicketgate.testing.entra.store import Store

ObjectId = Callable[[str, str], str]


def role(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "value": name,
        "displayName": name,
        "description": name,
        "allowedMemberTypes": ["Application"],
        **more,
    }


def message(answer: httpx2.Response) -> str:
    assert answer.status_code in (400, 404, 409), answer.text
    return answer.json()["error"]["message"]


def test_an_enabled_role_must_be_disabled_before_it_goes(graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "r", "appRoles": [role("a"), role("b")]}).json()
    path = f"/v1.0/applications/{made['id']}"
    refused = graph.patch(path, json={"appRoles": [role("a")]})
    assert refused.json()["error"]["code"] == "CannotDeleteOrUpdateEnabledEntitlement"
    assert graph.patch(path, json={"appRoles": [role("a"), role("b", isEnabled=False)]}).status_code == 204
    assert graph.patch(path, json={"appRoles": [role("a")]}).status_code == 204
    assert [one["value"] for one in graph.get(path).json()["appRoles"]] == ["a"]


@pytest.mark.parametrize(
    "roles",
    [
        [role("a"), role("a")],
        [role("a"), role("b", id=role("a")["id"])],
        [role("a"), role("b", value="a")],
        [role("a", id="x")],
        [role("a", allowedMemberTypes=[])],
        [role("a", allowedMemberTypes="Application")],
        [role("a", value=5)],
    ],
)
def test_roles_are_checked(graph: httpx2.Client, roles: list[dict[str, Any]]) -> None:
    message(graph.post("/v1.0/applications", json={"displayName": "r", "appRoles": roles}))


def test_the_principal_shows_its_applications_roles(graph: httpx2.Client) -> None:
    body = {"displayName": "api", "appRoles": [role("a")], "identifierUris": ["api://shown"]}
    made = graph.post("/v1.0/applications", json=body).json()
    principal = graph.post("/v1.0/servicePrincipals", json={"appId": made["appId"]}).json()
    assert [one["value"] for one in principal["appRoles"]] == ["a"]
    assert principal["servicePrincipalNames"] == [made["appId"], "api://shown"]
    graph.patch(f"/v1.0/applications/{made['id']}", json={"displayName": "renamed"})
    shown = graph.get(f"/v1.0/servicePrincipals/{principal['id']}").json()
    assert (shown["displayName"], shown["appDisplayName"]) == ("renamed", "renamed")


def test_principals_need_an_application_and_are_unique(graph: httpx2.Client, app_id: Callable[[str], str]) -> None:
    missing = str(uuid.uuid4())
    assert f"The appId '{missing}'" in message(graph.post("/v1.0/servicePrincipals", json={"appId": missing}))
    message(graph.post("/v1.0/servicePrincipals", json={"appId": "x"}))
    message(graph.post("/v1.0/servicePrincipals", json={}))
    twice = graph.post("/v1.0/servicePrincipals", json={"appId": app_id("bot")})
    assert (twice.status_code, "already in use" in message(twice)) == (409, True)


def test_groups(graph: httpx2.Client) -> None:
    good = {"displayName": "g", "mailEnabled": False, "mailNickname": "g", "securityEnabled": True}
    made = graph.post("/v1.0/groups", json=good)
    assert made.status_code == 201
    assert made.json()["securityIdentifier"].startswith("S-1-12-1-")
    assert "writebackConfiguration" not in made.json()
    bad: list[dict[str, Any]] = [
        {"displayName": None},
        {"displayName": "x" * 257},
        {"mailNickname": None},
        {"mailNickname": "a b"},
        {"mailNickname": "a@b"},
        {"mailNickname": "x" * 65},
        {"mailEnabled": True},
        {"securityEnabled": False},
        {"mailEnabled": "no"},
        {"groupTypes": [5]},
    ]
    for change in bad:
        message(graph.post("/v1.0/groups", json=good | change))
    unified = graph.post("/v1.0/groups", json=good | {"mailEnabled": True, "groupTypes": ["Unified"]})
    assert unified.json()["mail"] == "g@contoso.onmicrosoft.com"
    path = f"/v1.0/groups/{made.json()['id']}"
    message(graph.patch(path, json={"isAssignableToRole": True}))
    assert graph.patch(path, json={"description": "d"}).status_code == 204


def test_federated_credentials(graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "fic"}).json()
    path = f"/v1.0/applications/{made['id']}/federatedIdentityCredentials"
    good = {"name": "name-0", "issuer": "https://i", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
    bad: list[dict[str, Any]] = [
        {"name": "ab"},
        {"name": "a b c"},
        {"name": "x" * 121},
        {"name": None},
        {"issuer": ""},
        {"issuer": None},
        {"subject": None},
        {"subject": ""},
        {"subject": "x" * 601},
        {"audiences": []},
        {"audiences": ["a", "b"]},
        {"audiences": "a"},
    ]
    for change in bad:
        message(graph.post(path, json=good | change))
    first = graph.post(path, json=good)
    assert first.status_code == 201
    same_subject = graph.post(path, json=good | {"name": "other"})
    assert (same_subject.status_code, "issuer https://i and subject s already" in message(same_subject)) == (409, True)
    message(graph.patch(f"{path}/{first.json()['id']}", json={"name": "renamed"}))
    for number in range(1, 20):
        assert graph.post(path, json=good | {"name": f"name-{number}", "subject": f"{number}"}).status_code == 201
    full = graph.post(path, json=good | {"name": "name-20", "subject": "20"})
    assert full.json()["error"]["code"] == "Directory_QuotaExceeded"


def test_keys(graph: httpx2.Client) -> None:
    certificate: x509.Certificate = SigningKeys(Store()).current.certificate
    encoded = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    made = graph.post("/v1.0/applications", json={"displayName": "keys"}).json()
    path = f"/v1.0/applications/{made['id']}"
    key = {"type": "AsymmetricX509Cert", "usage": "Verify", "key": encoded, "displayName": "c"}
    assert graph.patch(path, json={"keyCredentials": [key]}).status_code == 204
    [shown] = graph.get(path).json()["keyCredentials"]
    assert shown["key"] is None
    assert base64.b64decode(shown["customKeyIdentifier"]) == certificate.fingerprint(hashes.SHA1())
    assert datetime.fromisoformat(shown["endDateTime"]) == certificate.not_valid_after_utc.replace(microsecond=0)
    [with_key] = graph.get(path, params={"$select": "keyCredentials"}).json()["keyCredentials"]
    assert with_key["key"] == encoded
    # Clients send known entries back without the key when they add another.
    assert graph.patch(path, json={"keyCredentials": [shown, key | {"keyId": str(uuid.uuid4())}]}).status_code == 204
    both = graph.get(path, params={"$select": "keyCredentials"}).json()["keyCredentials"]
    assert [one["key"] for one in both] == [encoded, encoded]
    message(graph.patch(path, json={"keyCredentials": [{"key": "AAAA"}]}))


def test_assignments_need_what_they_name(graph: httpx2.Client, object_id: ObjectId) -> None:
    bot, gate = object_id("servicePrincipal", "bot"), object_id("servicePrincipal", "gate")
    old = object_id("servicePrincipal", "old-api")
    path = f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo"
    zero = "00000000-0000-0000-0000-000000000000"
    good = {"principalId": bot, "resourceId": gate, "appRoleId": role("x")["id"]}
    assert message(graph.post(path, json=good)) == "Permission being assigned was not found on application"
    assert message(graph.post(path, json=good | {"appRoleId": zero})).startswith("Permission being assigned was not")
    message(graph.post(path, json=good | {"resourceId": old}))
    message(graph.post(path, json=good | {"principalId": "x"}))
    other = f"/v1.0/servicePrincipals/{old}/appRoleAssignedTo"
    made = graph.post(other, json={"principalId": bot, "resourceId": old, "appRoleId": zero})
    assert made.status_code == 201
    assert graph.patch(f"{other}/{made.json()['id']}", json={"appRoleId": zero}).status_code == 405


def test_users(graph: httpx2.Client) -> None:
    body = {
        "displayName": "New",
        "userPrincipalName": "new@contoso.example",
        "mailNickname": "new",
        "accountEnabled": True,
        "passwordProfile": {"password": "p4ss-w0rd"},
    }
    made = graph.post("/v1.0/users", json=body)
    assert made.status_code == 201
    assert "p4ss-w0rd" not in made.text
    assert "already exists" in message(graph.post("/v1.0/users", json=body))
    assert graph.get("/v1.0/users/new@contoso.example").json()["id"] == made.json()["id"]


def test_guids() -> None:
    assert is_guid(str(uuid.uuid4()).upper())
    for wrong in (None, 5, "", "x" * 36, uuid.uuid4().hex, "{" + str(uuid.uuid4())[:34] + "}"):
        assert not is_guid(wrong)
    assert jws.b64url(b"x")
