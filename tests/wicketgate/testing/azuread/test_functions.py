"""The functions, request by request; their answers have the SDK's names."""

import importlib
import re
from typing import Any

import grpc
import pytest

from wicketgate.testing.azuread.functions import FUNCTIONS

ID = "aaaaaaaa-0000-4000-8000-000000000001"
CLIENT = "aaaaaaaa-0000-4000-8000-000000000002"
CALLER = "99999999-8888-4777-8666-555555555555"
TENANT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
GONE = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}})


def result_names(function: str) -> set[str]:
    """The names on the wire of a function's answer, from the SDK."""
    module = importlib.import_module("pulumi_azuread." + re.sub(r"([A-Z])", r"_\1", function).lower())
    cls = getattr(module, f"{function[0].upper()}{function[1:]}Result")
    return {
        getattr(attribute.fget, "_pulumi_name", attribute.fget.__name__)
        for attribute in vars(cls).values()
        if isinstance(attribute, property) and attribute.fget is not None
    }


def test_the_caller_costs_no_request(scripted: Any, script: Any) -> None:
    assert scripted.invoke("getClientConfig") == {
        "clientId": "11111111-2222-4333-8444-555555555555",
        "tenantId": TENANT,
        "objectId": CALLER,
        "id": f"{TENANT}-11111111-2222-4333-8444-555555555555-{CALLER}",
    }
    assert script.lines() == []


def test_published_applications(scripted: Any) -> None:
    answer = scripted.invoke("getApplicationPublishedAppIds")
    assert answer["result"]["MicrosoftGraph"] == "00000003-0000-0000-c000-000000000000"
    assert set(answer) == result_names("getApplicationPublishedAppIds")


def test_an_application_by_its_client_id(scripted: Any, script: Any) -> None:
    app = {
        "id": ID,
        "appId": CLIENT,
        "displayName": "a",
        "api": {"requestedAccessTokenVersion": 2},
        "web": {"redirectUris": ["https://b/", "https://a/"], "implicitGrantSettings": {}},
        "appRoles": [{"id": ID, "value": "Bot", "isEnabled": True}],
    }
    script.expect((200, {"value": [app]}), (200, {}), (200, {"value": [{"id": CALLER}]}))
    answer = scripted.invoke("getApplication", clientId=CLIENT)
    assert set(answer) == result_names("getApplication")
    assert answer["id"] == f"/applications/{ID}"
    assert answer["apis"][0]["requestedAccessTokenVersion"] == 2
    assert answer["webs"][0]["redirectUris"] == ["https://b/", "https://a/"]
    assert answer["webs"][0]["implicitGrants"] == [
        {"accessTokenIssuanceEnabled": False, "idTokenIssuanceEnabled": False}
    ]
    assert answer["appRoleIds"] == {"Bot": ID}
    assert script.lines() == [
        f"GET /v1.0/applications?%24filter=appId+eq+%27{CLIENT}%27",
        f"GET /beta/applications/{ID}?%24select=oauth2RequirePostResponse",
        f"GET /v1.0/applications/{ID}/owners",
    ]


def test_nothing_found_is_an_error(scripted: Any, script: Any) -> None:
    script.expect(GONE)
    with pytest.raises(grpc.RpcError, match=f'Application with object ID "{ID}" was not found'):
        scripted.invoke("getApplication", objectId=ID)
    script.expect((200, {"value": []}))
    with pytest.raises(grpc.RpcError, match="no applications found matching filter"):
        scripted.invoke("getApplication", displayName="x")
    script.expect((200, {"value": [{"id": ID}, {"id": CLIENT}]}))
    with pytest.raises(grpc.RpcError, match="Multiple applications found"):
        scripted.invoke("getApplication", displayName="x")
    script.expect((200, {"value": []}))
    with pytest.raises(grpc.RpcError, match="No service principal found"):
        scripted.invoke("getServicePrincipal", clientId=CLIENT)
    script.expect((200, {"value": []}))
    with pytest.raises(grpc.RpcError, match="No group found matching specified filter"):
        scripted.invoke("getGroup", displayName="x")


def test_a_principal_by_its_client_id(scripted: Any, script: Any) -> None:
    found = {"id": ID, "appId": CLIENT, "displayName": "bot", "servicePrincipalNames": [CLIENT]}
    script.expect((200, {"value": [{"id": CALLER, "appId": "other"}, found]}), (200, {}))
    answer = scripted.invoke("getServicePrincipal", clientId=CLIENT)
    assert set(answer) == result_names("getServicePrincipal")
    assert answer["objectId"] == ID
    assert answer["servicePrincipalNames"] == []
    assert script.lines() == [
        f"GET /v1.0/servicePrincipals?%24filter=appId+eq+%27{CLIENT}%27",
        f"GET /beta/servicePrincipals/{ID}?%24select=samlMetadataUrl",
    ]


def test_a_group_by_its_name_and_kind(scripted: Any, script: Any) -> None:
    group = {"id": ID, "displayName": "g", "securityEnabled": True, "membershipRule": None}
    script.expect((200, {"value": [group]}), (200, {"value": [{"id": CLIENT}]}), (200, {"value": []}))
    answer = scripted.invoke("getGroup", displayName="g", securityEnabled=True, includeTransitiveMembers=True)
    assert set(answer) == result_names("getGroup")
    assert answer["members"] == [CLIENT]
    assert answer["dynamicMemberships"] == [{"enabled": True, "rule": ""}]  # as seen of the real provider
    assert script.lines() == [
        "GET /beta/groups?%24filter=displayName+eq+%27g%27+and+securityEnabled+eq+true",
        f"GET /beta/groups/{ID}/transitiveMembers",
        f"GET /beta/groups/{ID}/owners",
    ]
    script.expect((200, {**group, "securityEnabled": False}))
    with pytest.raises(grpc.RpcError, match="does not have the specified security_enabled setting"):
        scripted.invoke("getGroup", objectId=ID, securityEnabled=True)


def test_a_user_by_its_name(scripted: Any, script: Any) -> None:
    user = {"id": ID, "displayName": "O'Hara", "userPrincipalName": "o'hara@x"}
    script.expect((200, {"value": [user]}), (200, user), GONE)
    answer = scripted.invoke("getUser", userPrincipalName="o'hara@x")
    assert set(answer) == result_names("getUser")
    assert answer["managerId"] == ""
    lines = script.lines()
    assert lines[0] == "GET /v1.0/users?%24filter=userPrincipalName+eq+%27o%27%27hara%40x%27"
    assert lines[1].startswith(f"GET /v1.0/users/{ID}?%24select=accountEnabled%2CageGroup%2CbusinessPhones")
    assert lines[2] == f"GET /v1.0/users/{ID}/manager"


def test_domains_are_filtered_here(scripted: Any, script: Any) -> None:
    domains = [
        {"id": "a.example", "isVerified": True, "isDefault": False},
        {"id": "b.example", "isVerified": True, "isDefault": True, "supportedServices": ["Email"]},
        {"id": "c.example", "isVerified": False, "isDefault": True},
    ]
    script.expect((200, {"value": domains}), (200, {"value": domains}), (200, {"value": domains}))
    answer = scripted.invoke("getDomains", onlyDefault=True)
    assert set(answer) == result_names("getDomains")
    assert [domain["domainName"] for domain in answer["domains"]] == ["b.example"]
    assert len(scripted.invoke("getDomains", includeUnverified=True)["domains"]) == 3
    with pytest.raises(grpc.RpcError, match="no domains found"):
        scripted.invoke("getDomains", supportsServices=["Mars"], onlyDefault=True)


def test_what_is_wrong_is_told_without_a_request(scripted: Any, script: Any) -> None:
    with pytest.raises(
        AssertionError, match="one of `client_id,display_name,identifier_uri,object_id` must be specified"
    ):
        scripted.invoke("getApplication")
    with pytest.raises(AssertionError, match="only one of"):
        scripted.invoke("getGroup", displayName="g", objectId=ID)
    with pytest.raises(AssertionError, match="to be a valid UUID"):
        scripted.invoke("getServicePrincipal", objectId="x")
    assert script.lines() == []


def test_what_is_not_there_is_said_so(scripted: Any) -> None:
    with pytest.raises(grpc.RpcError, match="does not have the function `azuread:index/getUsers:getUsers`"):
        scripted.invoke("getUsers")
    assert len(FUNCTIONS) == 7
