"""Graph over HTTP: with the real msgraph-sdk, and the azuread provider's own requests one by one."""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import httpx2
import pytest
from azure.identity import ClientSecretCredential
from kiota_abstractions.api_error import APIError
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph.generated.models.app_role_assignment import AppRoleAssignment
from msgraph.generated.models.application import Application
from msgraph.generated.models.federated_identity_credential import FederatedIdentityCredential
from msgraph.generated.models.group import Group
from msgraph.generated.models.reference_create import ReferenceCreate
from msgraph.generated.models.service_principal import ServicePrincipal
from msgraph.generated.service_principals.item.check_member_groups.check_member_groups_post_request_body import (
    CheckMemberGroupsPostRequestBody,
)
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory

from wicketgate.testing.entra.server import EntraEmulator

pytestmark = pytest.mark.filterwarnings("ignore:This class is deprecated:DeprecationWarning")


@pytest.fixture
async def sdk(entra: EntraEmulator, app_id: Callable[[str], str]) -> AsyncIterator[GraphServiceClient]:
    """The real SDK, signed in as the deployer."""
    credential = ClientSecretCredential(
        entra.tenant,
        app_id("wicketgate-deployer"),
        "deployer-secret",
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
        disable_instance_discovery=True,
    )
    provider = AzureIdentityAuthenticationProvider(
        credential, scopes=[f"{entra.graph}/.default"], allowed_hosts=["localhost"]
    )
    context = ssl.create_default_context(cafile=str(entra.ca_file))
    async with httpx.AsyncClient(verify=context, trust_env=False, http2=False) as client:
        adapter = GraphRequestAdapter(provider, GraphClientFactory.create_with_default_middleware(client=client))
        adapter.base_url = f"{entra.graph}/v1.0"
        yield GraphServiceClient(request_adapter=adapter)


@pytest.mark.anyio
async def test_msgraph_sdk_onboards_a_bot(entra: EntraEmulator, sdk: GraphServiceClient, app_id: Callable[[str], str],
                                          object_id: Callable[[str, str], str]) -> None:  # fmt: skip
    application = await sdk.applications.post(Application(display_name="sdk-bot"))
    assert application
    assert application.id
    assert application.app_id
    principal = await sdk.service_principals.post(ServicePrincipal(app_id=application.app_id))
    assert principal
    assert principal.id
    assert principal.account_enabled is True
    group = await sdk.groups.post(
        Group(display_name="sdk-bots", mail_enabled=False, mail_nickname="sdk-bots", security_enabled=True)
    )
    assert group
    assert group.id
    reference = ReferenceCreate(odata_id=f"{entra.graph}/v1.0/directoryObjects/{principal.id}")
    await sdk.groups.by_group_id(group.id).members.ref.post(reference)

    credentials = sdk.applications.by_application_id(application.id).federated_identity_credentials
    made = await credentials.post(
        FederatedIdentityCredential(
            name="main", issuer="https://issuer.example", subject="s", audiences=["api://AzureADTokenExchange"]
        )
    )
    assert made
    assert made.id
    by_name = await sdk.applications_with_app_id(application.app_id).get()
    assert by_name
    assert by_name.id == application.id

    body = CheckMemberGroupsPostRequestBody(group_ids=[group.id, object_id("group", "reviewers")])
    found = await sdk.service_principals.by_service_principal_id(principal.id).check_member_groups.post(body)
    assert found
    assert found.value == [group.id]
    typed = await sdk.groups.by_group_id(group.id).members.graph_service_principal.get()
    assert typed
    assert typed.value
    assert [one.id for one in typed.value] == [principal.id]
    of = await sdk.service_principals.by_service_principal_id(principal.id).member_of.get()
    assert of
    assert of.value
    assert isinstance(of.value[0], Group)

    gate = object_id("servicePrincipal", "gate")
    assigned = await sdk.service_principals.by_service_principal_id(gate).app_role_assigned_to.post(
        AppRoleAssignment(
            principal_id=uuid.UUID(principal.id),
            resource_id=uuid.UUID(gate),
            app_role_id=uuid.UUID("5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40"),
        )
    )
    assert assigned
    assert assigned.principal_type == "ServicePrincipal"

    owners = await sdk.applications.by_application_id(application.id).owners.get()
    assert owners
    assert owners.value
    assert [one.id for one in owners.value] == [object_id("servicePrincipal", "wicketgate-deployer")]

    await sdk.service_principals.by_service_principal_id(principal.id).patch(ServicePrincipal(account_enabled=False))
    again = await sdk.service_principals.by_service_principal_id(principal.id).get()
    assert again
    assert again.account_enabled is False
    await sdk.applications.by_application_id(application.id).delete()
    with pytest.raises(APIError) as refused:
        await sdk.service_principals.by_service_principal_id(principal.id).get()
    assert refused.value.response_status_code == 404


def test_application_as_the_azuread_provider_creates_it(graph: httpx2.Client, entra: EntraEmulator) -> None:
    body = {
        "displayName": "shop-bot",
        "api": {"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [], "knownClientApplications": []},
        "owners@odata.bind": [],
        "web": {"implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False}},
    }
    made = graph.post("/v1.0/applications", json=body)
    assert made.status_code == 201
    assert made.headers["content-type"].startswith("application/json")
    path = f"/v1.0/applications/{made.json()['id']}"
    for name in (f"TERRAFORM_UPDATE_{uuid.uuid4()}", "shop-bot"):
        patched = graph.patch(path, json={"displayName": name})
        assert (patched.status_code, patched.content) == (204, b"")
    full = graph.get(path).json()
    assert full["displayName"] == "shop-bot"
    assert full["web"]["redirectUris"] == []
    assert "oauth2RequirePostResponse" not in full
    extra = graph.get(path.replace("v1.0", "beta"), params={"$select": "oauth2RequirePostResponse"}).json()
    assert extra["oauth2RequirePostResponse"] is False
    assert set(extra) == {"@odata.context", "oauth2RequirePostResponse"}
    assert graph.delete(path).status_code == 204
    for _ in range(5):
        gone = graph.get(path)
        assert gone.status_code == 404
        assert gone.json()["error"]["code"] == "Request_ResourceNotFound"


def test_caller_becomes_owner_and_can_leave(
    entra: EntraEmulator, web: httpx2.Client, object_id: Callable[[str, str], str]
) -> None:
    deployer = object_id("servicePrincipal", "wicketgate-deployer")
    web.headers["Authorization"] = f"Bearer {entra.graph_token(deployer)}"
    ada = object_id("user", "Ada")
    bound = f"{entra.graph}/v1.0/directoryObjects/{ada}"
    made = web.post("/v1.0/applications", json={"displayName": "owned", "owners@odata.bind": [bound]}).json()
    path = f"/v1.0/applications/{made['id']}/owners"
    listed = web.get(path).json()["value"]
    assert {(one["@odata.type"], one["id"]) for one in listed} == {
        ("#microsoft.graph.servicePrincipal", deployer),
        ("#microsoft.graph.user", ada),
    }
    assert web.delete(f"{path}/{deployer}/$ref").status_code == 204
    assert web.delete(f"{path}/{deployer}/$ref").status_code == 404
    references = web.get(f"{path}/$ref").json()["value"]
    assert [ada in one["@odata.id"] for one in references] == [True]
    again = web.post(f"{path}/$ref", json={"@odata.id": bound})
    assert again.status_code == 400
    assert "already exist" in again.json()["error"]["message"]


def test_group_as_the_azuread_provider_creates_it(
    graph: httpx2.Client, entra: EntraEmulator, object_id: Callable[[str, str], str]
) -> None:
    bot = object_id("servicePrincipal", "bot")
    for _ in range(3):
        assert graph.get(f"/v1.0/directoryObjects/{bot}").json()["@odata.type"] == "#microsoft.graph.servicePrincipal"
    made = graph.post(
        "/beta/groups",
        json={
            "displayName": "tf-group",
            "mailEnabled": False,
            "mailNickname": "1234-tf",
            "securityEnabled": True,
            "groupTypes": [],
            "owners@odata.bind": [f"{entra.graph}/v1.0/directoryObjects/{bot}"],
        },
    )
    assert made.status_code == 201
    group = made.json()
    assert group["membershipRule"] is None
    assert "membershipRule" in group
    path = f"/beta/groups/{group['id']}"
    for name in ("TERRAFORM_UPDATE_x", "tf-group"):
        assert graph.patch(path, json={"displayName": name}).status_code == 204
    assert [one["id"] for one in graph.get(f"{path}/owners").json()["value"]] == [bot]
    reference = {"@odata.id": f"{entra.graph}/beta/directoryObjects/{bot}"}
    assert graph.post(f"{path}/members/$ref", json=reference).status_code == 204
    listed = graph.get(f"{path}/members", params={"$filter": f"id eq '{bot}'"}).json()["value"]
    assert [(one["id"], one["@odata.type"]) for one in listed] == [(bot, "#microsoft.graph.servicePrincipal")]
    assert graph.get(f"{path}/memberOf").json()["value"] == []
    # v1.0 does not show service principals as members, but for a cast or $expand.
    assert graph.get(f"/v1.0/groups/{group['id']}/members").json()["value"] == []
    expanded = graph.get(f"/v1.0/groups/{group['id']}", params={"$expand": "members($select=id,displayName)"}).json()
    assert [one["id"] for one in expanded["members"]] == [bot]
    assert "appId" not in expanded["members"][0]
    entra.set_quirks(hide_service_principals=False)
    assert [one["id"] for one in graph.get(f"/v1.0/groups/{group['id']}/members").json()["value"]] == [bot]
    assert graph.delete(f"{path}/members/{bot}/$ref").status_code == 204
    assert graph.delete(path).status_code == 204
    assert graph.get(path).status_code == 404


def test_federated_credential_and_password(graph: httpx2.Client, object_id: Callable[[str, str], str]) -> None:
    base = f"/v1.0/applications/{object_id('application', 'bot')}"
    body = {
        "name": "gh-main",
        "issuer": "https://i.example",
        "subject": "s",
        "audiences": ["api://AzureADTokenExchange"],
    }
    made = graph.post(f"{base}/federatedIdentityCredentials", json=body | {"description": None})
    assert made.status_code == 201
    credential = made.json()
    assert uuid.UUID(credential["id"])
    assert {name: credential[name] for name in body} == body
    path = f"{base}/federatedIdentityCredentials/{credential['id']}"
    assert graph.patch(path, json={"subject": "t"}).status_code == 204
    assert graph.get(path).json()["subject"] == "t"
    assert graph.get(f"{base}/federatedIdentityCredentials/gh-main").json()["id"] == credential["id"]
    twice = graph.post(f"{base}/federatedIdentityCredentials", json=body)
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "Request_MultipleObjectsWithSameKeyValue")
    assert graph.delete(path).status_code == 204
    assert graph.get(path).status_code == 404

    added = graph.post(f"{base}/addPassword", json={"passwordCredential": {"displayName": "ci"}}).json()
    assert added["secretText"].startswith(added["hint"])
    listed = graph.get(base).json()["passwordCredentials"]
    assert added["keyId"] in [one["keyId"] for one in listed]
    assert added["secretText"] not in json.dumps(listed)
    assert all(one["secretText"] is None and "_digest" not in one for one in listed)
    assert graph.post(f"{base}/removePassword", json={"keyId": added["keyId"]}).status_code == 204
    assert added["keyId"] not in [one["keyId"] for one in graph.get(base).json()["passwordCredentials"]]


def test_flexible_credential_is_betas(graph: httpx2.Client, object_id: Callable[[str, str], str]) -> None:
    path = f"/beta/applications/{object_id('application', 'bot')}/federatedIdentityCredentials"
    expression = {"value": "claims['sub'] matches 'repo:a/b:*'", "languageVersion": 1}
    body = {"name": "flex", "issuer": "https://i.example", "audiences": ["a"], "claimsMatchingExpression": expression}
    made = graph.post(path, json=body)
    assert made.status_code == 201
    assert made.json()["claimsMatchingExpression"] == expression
    assert "claimsMatchingExpression" not in graph.get(f"{path.replace('beta', 'v1.0')}/{made.json()['id']}").json()
    wrong = body | {"name": "wrong", "claimsMatchingExpression": {"value": "claims['sub'] = 'x'"}}
    assert graph.post(path, json=wrong).status_code == 400
    assert graph.delete(f"{path}/{made.json()['id']}").status_code == 204


def test_app_role_assignment(graph: httpx2.Client, object_id: Callable[[str, str], str]) -> None:
    gate, stranger = object_id("servicePrincipal", "gate"), object_id("servicePrincipal", "stranger")
    assert graph.get(f"/v1.0/servicePrincipals/{gate}").json()["appRoleAssignmentRequired"] is True
    body = {"principalId": stranger, "resourceId": gate, "appRoleId": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40"}
    made = graph.post(f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo", json=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    path = f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo/{made.json()['id']}"
    assert graph.get(path).json()["principalDisplayName"] == "stranger"
    held = graph.get(f"/v1.0/servicePrincipals/{stranger}/appRoleAssignments").json()["value"]
    assert [one["id"] for one in held] == [made.json()["id"]]
    twice = graph.post(f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo", json=body)
    assert "already exists" in twice.json()["error"]["message"]
    people_only = body | {"appRoleId": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c41"}
    assert graph.post(f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo", json=people_only).status_code == 400
    missing = body | {"principalId": str(uuid.uuid4())}
    refused = graph.post(f"/v1.0/servicePrincipals/{gate}/appRoleAssignedTo", json=missing)
    assert refused.json()["error"]["message"] == "Not a valid reference update."
    assert graph.delete(path).status_code == 204
    assert graph.get(path).status_code == 404


def test_directory_roles(graph: httpx2.Client, object_id: Callable[[str, str], str]) -> None:
    role = "158c047a-c907-4556-b7ef-446551a6b5f7"
    assert graph.get(f"/v1.0/directoryRoleTemplates/{role}").json()["displayName"] == "Cloud Application Administrator"
    assert graph.get("/v1.0/directoryRoles", params={"$filter": f"roleTemplateId eq '{role}'"}).json()["value"] == []
    active = graph.post("/v1.0/directoryRoles", json={"roleTemplateId": role})
    assert active.status_code == 201
    assert graph.get(f"/v1.0/directoryRoles/{active.json()['id']}").json()["roleTemplateId"] == role
    body = {
        "principalId": object_id("servicePrincipal", "bot"),
        "roleDefinitionId": role,
        "directoryScopeId": f"/{object_id('servicePrincipal', 'gate')}",
    }
    made = graph.post("/v1.0/roleManagement/directory/roleAssignments", json=body)
    assert made.status_code == 201
    path = f"/v1.0/roleManagement/directory/roleAssignments/{made.json()['id']}"
    assert {name: graph.get(path).json()[name] for name in body} == body
    assert graph.get(f"/v1.0/roleManagement/directory/roleDefinitions/{role}").json()["templateId"] == role
    assert graph.delete(path).status_code == 204


def test_paging_counting_and_selecting(graph: httpx2.Client) -> None:
    for number in range(5):
        graph.post("/v1.0/applications", json={"displayName": f"page-{number}"})
    options = {
        "$filter": "startswith(displayName,'page-')",
        "$top": "2",
        "$select": "displayName",
        "$orderby": "displayName desc",
    }
    names: list[str] = []
    url: str | None = "/v1.0/applications"
    answer = graph.get(url, params=options)
    for _ in range(4):
        body = answer.json()
        names += [one["displayName"] for one in body["value"]]
        url = body.get("@odata.nextLink")
        if url is None:
            break
        answer = graph.get(url)
    assert names == [f"page-{number}" for number in (4, 3, 2, 1, 0)]
    plain = graph.get("/v1.0/applications/$count")
    assert plain.status_code == 400
    counted = graph.get("/v1.0/applications/$count", params={"$filter": "startswith(displayName,'page-')"},
                        headers={"ConsistencyLevel": "eventual"})  # fmt: skip
    assert (counted.text, counted.headers["content-type"].split(";")[0]) == ("5", "text/plain")
    with_count = graph.get(
        "/v1.0/applications", params=options | {"$count": "true"}, headers={"ConsistencyLevel": "eventual"}
    )
    assert with_count.json()["@odata.count"] == 5


def test_errors_are_graphs(graph: httpx2.Client, web: httpx2.Client) -> None:
    missing = str(uuid.uuid4())
    sent = str(uuid.uuid4())
    answer = graph.get(f"/v1.0/groups/{missing}", headers={"client-request-id": sent})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "Request_ResourceNotFound")
    assert error["message"].startswith(f"Resource '{missing}' does not exist")
    assert error["innerError"]["client-request-id"] == sent
    assert answer.headers["request-id"] == error["innerError"]["request-id"]
    for method, path, status in (
        ("GET", "/v1.0/unknown", 400),
        ("GET", "/v1.0/applications?$filter=displayName%20like%20'x'", 400),
        ("GET", "/v1.0/applications?$top=0", 400),
        ("GET", "/v1.0/applications?$top=5&$top=6", 400),
        ("GET", "/v1.0/applications?$skiptoken=%C3%A4", 400),
        ("GET", "/v1.0/applications/x/y/z", 404),
        ("GET", "/v1.0//", 400),
        ("GET", "/v1.0/me", 400),
        ("PATCH", "/v1.0/applications", 405),
        ("DELETE", "/v1.0/applications", 405),
        ("PUT", "/v1.0/applications", 405),
        ("POST", "/v1.0/domains", 405),
    ):
        assert graph.request(method, path).status_code == status, (method, path)
    for body in (b"{", b"[]", b"\xff", b'"x"', b'{"displayName": NaN}', b"[" * 100_000):
        assert graph.post("/v1.0/applications", content=body).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"displayName": None},
        {"displayName": ""},
        {"displayName": 5},
        {"displayName": "x", "unknownThing": 1},
        {"displayName": "x", "id": str(uuid.uuid4())},
        {"displayName": "x", "appRoles": "many"},
        {"displayName": "x", "appRoles": [{"id": "no guid"}]},
        {"displayName": "x", "api": {"requestedAccessTokenVersion": 3}},
        {"displayName": "x", "keyCredentials": [{"key": "AAAA"}]},
        {"displayName": "x", "keyCredentials": ["x"]},
        {"displayName": "x", "appRoles": ["x"]},
        {"displayName": "x", "identifierUris": ["api://gate"]},
        {"displayName": "x", "owners@odata.bind": "x"},
        {"displayName": "x", "owners@odata.bind": ["x"]},
        {"displayName": "x", "owners@odata.bind": [None]},
    ],
)
def test_bad_applications_are_refused_and_leave_nothing(graph: httpx2.Client, body: dict[str, Any]) -> None:
    before = graph.get("/v1.0/applications/$count", headers={"ConsistencyLevel": "eventual"}).text
    answer = graph.post("/v1.0/applications", json=body)
    assert answer.status_code == 400, answer.text
    assert graph.get("/v1.0/applications/$count", headers={"ConsistencyLevel": "eventual"}).text == before


def test_tokens_are_checked(entra: EntraEmulator, web: httpx2.Client) -> None:
    good = entra.graph_token()
    head, payload, signature = good.split(".")
    not_graph = entra.mint({"aud": "00000003-0000-0000-c000-000000000000"})
    for header in ("", "Bearer", f"Basic {good}", f"Bearer {head}.{payload}.", f"Bearer {payload}",
                   f"Bearer {head}.{payload}.{signature[:-4]}AAAA", f"Bearer {not_graph}", "Bearer ä"):  # fmt: skip
        answer = web.get("/v1.0/applications", headers={"Authorization": header.encode()})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "InvalidAuthenticationToken"
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert web.get("/v1.0/applications", headers={"Authorization": f"Bearer {good}"}).status_code == 200
    entra.roll_keys(retire=True)
    assert web.get("/v1.0/applications", headers={"Authorization": f"Bearer {good}"}).status_code == 401


# --- quirks


def test_throttling_and_failures(entra: EntraEmulator, graph: httpx2.Client) -> None:
    entra.set_quirks(throttle_next=2, retry_after=3)
    answers = [graph.get("/v1.0/applications") for _ in range(3)]
    assert [one.status_code for one in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    entra.set_quirks(fail_next=1, fail_status=503)
    assert [graph.get("/v1.0/groups").status_code for _ in range(2)] == [503, 200]


def test_replication_lag(entra: EntraEmulator, graph: httpx2.Client) -> None:
    entra.set_quirks(replication_lag=60)
    made = graph.post("/v1.0/applications", json={"displayName": "late"})
    assert made.status_code == 201
    path = f"/v1.0/applications/{made.json()['id']}"
    assert graph.get(path).status_code == 404
    assert graph.get("/v1.0/applications", params={"$filter": "displayName eq 'late'"}).json()["value"] == []
    principal = graph.post("/v1.0/servicePrincipals", json={"appId": made.json()["appId"]})
    assert "does not reference a valid application object" in principal.json()["error"]["message"]
    entra.set_quirks(replication_lag=0)
    assert graph.get(path).status_code == 200


@pytest.mark.anyio
async def test_concurrent_federated_writes_conflict(entra: EntraEmulator, object_id: Callable[[str, str], str]) -> None:
    entra.set_quirks(fic_write_seconds=0.5)
    context = ssl.create_default_context(cafile=str(entra.ca_file))
    headers = {"Authorization": f"Bearer {entra.graph_token()}"}
    path = f"/v1.0/applications/{object_id('application', 'stranger')}/federatedIdentityCredentials"
    async with httpx2.AsyncClient(base_url=entra.url, verify=context, headers=headers, trust_env=False) as client:
        bodies = [{"name": f"c-{n}", "issuer": "https://i", "subject": f"{n}", "audiences": ["a"]} for n in range(3)]
        answers = await asyncio.gather(*(client.post(path, json=body) for body in bodies))
        assert sorted(one.status_code for one in answers) == [201, 409, 409]
        refused = next(one for one in answers if one.status_code == 409)
        assert refused.json()["error"]["code"] == "Directory_ConcurrencyViolation"
        assert (await client.post(path, json=bodies[0] | {"name": "later", "subject": "l"})).status_code == 201


def test_batch(graph: httpx2.Client, object_id: Callable[[str, str], str]) -> None:
    bot = object_id("servicePrincipal", "bot")
    requests = [
        {"id": "1", "method": "GET", "url": f"/servicePrincipals/{bot}?$select=id,accountEnabled"},
        {
            "id": "2",
            "method": "POST",
            "url": f"/servicePrincipals/{bot}/checkMemberGroups",
            "body": {"groupIds": [object_id("group", "everyone")]},
            "headers": {"Content-Type": "application/json"},
        },
        {"id": "3", "method": "GET", "url": f"/users/{bot}"},
    ]
    answers = {one["id"]: one for one in graph.post("/v1.0/$batch", json={"requests": requests}).json()["responses"]}
    assert answers["1"]["body"]["accountEnabled"] is True
    assert answers["2"]["body"]["value"] == [object_id("group", "everyone")]
    assert answers["3"]["status"] == 404
    assert graph.post("/v1.0/$batch", json={"requests": requests * 7}).status_code == 400


def test_a_user_without_a_manager_is_as_graph_says_it(graph: httpx2.Client, entra: EntraEmulator) -> None:
    entra.seed({"users": [{"displayName": "Unmanaged", "mail": "unmanaged@contoso.example"}]})
    user = entra.core.directory.find_by("user", "displayName", "Unmanaged")
    assert user is not None
    answer = graph.get(f"/v1.0/users/{user['id']}/manager")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "Request_ResourceNotFound"
