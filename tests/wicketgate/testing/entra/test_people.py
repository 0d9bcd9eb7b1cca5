"""What people may sign in to, their tokens, and refresh tokens."""

from collections.abc import Callable

import httpx2

from wicketgate.testing import jws
from wicketgate.testing.entra.server import EntraEmulator

AppId = Callable[[str], str]
ObjectId = Callable[[str, str], str]
GetCode = Callable[..., dict[str, str]]
Redeem = Callable[..., httpx2.Response]
Refused = Callable[[httpx2.Response], int]
PEOPLE_ROLE = "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c41"


def test_disabled_and_unassigned_people(
    web: httpx2.Client,
    entra: EntraEmulator,
    app_id: AppId,
    press: Callable[[httpx2.Response, str], httpx2.Response],
    get_code: GetCode,
    redeem: Redeem,
    refused: Refused,
) -> None:
    query = {
        "client_id": app_id("cli"),
        "response_type": "code",
        "redirect_uri": "http://localhost",
        "scope": "openid",
    }
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    assert "AADSTS50057" in press(page, "Eve").text
    form = get_code(app_id("cli"), scope="openid api://gate/access")
    assert refused(redeem(app_id("cli"), form)) == 50105


def test_a_delegated_token_for_an_api_has_the_roles_of_direct_groups(
    app_id: AppId, object_id: ObjectId, graph: httpx2.Client, get_code: GetCode, redeem: Redeem
) -> None:
    group = object_id("group", "reviewers")
    assignment = {
        "principalId": group,
        "resourceId": object_id("servicePrincipal", "gate"),
        "appRoleId": PEOPLE_ROLE,
    }
    made = graph.post(f"/v1.0/groups/{group}/appRoleAssignments", json=assignment)
    assert made.status_code == 201
    answer = redeem(app_id("cli"), get_code(app_id("cli"), scope="openid api://gate/access"))
    claims = jws.parse(answer.json()["access_token"]).claims
    assert (claims["aud"], claims["scp"], claims["idtyp"]) == (app_id("gate"), "access", "user")
    assert (claims["roles"], claims["azpacr"]) == (["Person"], "0")
    assert claims["sub"] != claims["oid"]
    assert claims["oid"] == object_id("user", "Ada")
    assert answer.json()["scope"] == "openid api://gate/access"
    assert graph.delete(f"/v1.0/groups/{group}/appRoleAssignments/{made.json()['id']}").status_code == 204


def test_graph_knows_me(app_id: AppId, web: httpx2.Client, get_code: GetCode, redeem: Redeem) -> None:
    token = redeem(app_id("cli"), get_code(app_id("cli"))).json()["access_token"]
    me = web.get("/v1.0/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert (me["userPrincipalName"], "accountEnabled" in me) == ("ada@contoso.example", False)


def test_userinfo(entra: EntraEmulator, app_id: AppId, web: httpx2.Client, get_code: GetCode, redeem: Redeem) -> None:
    form = get_code(app_id("cli"), scope="openid profile email User.Read")
    token = redeem(app_id("cli"), form).json()["access_token"]
    told = web.get("/oidc/userinfo", headers={"Authorization": f"Bearer {token}"}).json()
    assert (told["name"], told["email"], set(told)) == ("Ada", "ada@contoso.example", {"sub", "name", "email"})
    for wrong in ("", "x", entra.graph_token(), entra.mint({"scp": "openid"})):
        assert web.get("/oidc/userinfo", headers={"Authorization": f"Bearer {wrong}".strip()}).status_code == 401


def test_refresh_tokens(
    app_id: AppId,
    object_id: ObjectId,
    get_code: GetCode,
    redeem: Redeem,
    ask: Callable[..., httpx2.Response],
    graph: httpx2.Client,
    refused: Refused,
) -> None:
    client = app_id("cli")
    first = redeem(client, get_code(client, "Bob")).json()
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    again = ask(**refresh, client_id=client)
    assert again.status_code == 200
    assert again.json()["refresh_token"] != first["refresh_token"]
    assert refused(ask(**refresh, client_id=app_id("bot"), client_secret="bot-secret")) == 70000
    assert refused(ask(**refresh | {"refresh_token": "guess"}, client_id=client)) == 70000
    bob = object_id("user", "Bob")
    assert graph.patch(f"/v1.0/users/{bob}", json={"accountEnabled": False}).status_code == 204
    assert refused(ask(**refresh, client_id=client)) == 50057
    assert graph.patch(f"/v1.0/users/{bob}", json={"accountEnabled": True}).status_code == 204


def test_without_offline_access_there_is_no_refresh_token(app_id: AppId, get_code: GetCode, redeem: Redeem) -> None:
    answer = redeem(app_id("cli"), get_code(app_id("cli"), scope="User.Read")).json()
    assert set(answer) == {"token_type", "scope", "expires_in", "ext_expires_in", "access_token"}
