"""People sign in: code + PKCE by following the page as a browser would, device code, refresh tokens. With real msal."""

import html
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import msal
import pytest
from azure.identity import DeviceCodeCredential
from joserfc import jwt
from joserfc.jwk import KeySet

from wicketgate.testing import jws
from wicketgate.testing.entra import signin
from wicketgate.testing.entra.server import EntraEmulator

AppId = Callable[[str], str]
REDIRECT = "http://localhost:53123"


@pytest.fixture(autouse=True)
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests lets these override `verify`."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)


@pytest.fixture
def public(entra: EntraEmulator, app_id: AppId) -> Any:
    return msal.PublicClientApplication(
        app_id("cli"),
        authority=f"{entra.authority}/{entra.tenant}",
        instance_discovery=False,
        verify=str(entra.ca_file),
    )


def press(web: httpx2.Client, page: httpx2.Response, name: str) -> httpx2.Response:
    """Presses the button of a person on the sign-in page."""
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    action = re.search(r'action="([^"]+)"', page.text)
    assert action is not None
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))
    buttons = dict(re.findall(r'<button name="user" value="([^"]+)">([^<]+)<br>', page.text))
    [user] = [key for key, shown in buttons.items() if html.unescape(shown) == name]
    return web.post(html.unescape(action[1]), data={**hidden, "user": user})


def follow(web: httpx2.Client, flow: dict[str, Any], name: str) -> dict[str, str]:
    """Goes from msal's URL to the redirect; the redirect's parameters."""
    answer = press(web, web.get(flow["auth_uri"]), name)
    assert answer.status_code == 302
    target = urlsplit(answer.headers["location"])
    assert f"{target.scheme}://{target.netloc}" == REDIRECT
    return dict(parse_qsl(target.query))


def test_code_with_pkce(entra: EntraEmulator, web: httpx2.Client, public: Any, app_id: AppId) -> None:
    flow = public.initiate_auth_code_flow(["User.Read"], redirect_uri=REDIRECT, response_mode="query")
    result = public.acquire_token_by_auth_code_flow(flow, follow(web, flow, "Ada"))
    assert "access_token" in result, result
    claims = result["id_token_claims"]
    assert claims["preferred_username"] == "ada@contoso.example"
    assert (claims["aud"], claims["tid"], claims["ver"]) == (app_id("cli"), entra.tenant, "2.0")
    access = jws.parse(result["access_token"])
    assert access.claims["scp"].split()[-1] == "User.Read" or "User.Read" in access.claims["scp"].split()
    assert access.claims["idtyp"] == "user"
    assert "nonce" in access.header
    [account] = public.get_accounts()
    assert account["username"] == "ada@contoso.example"
    again = public.acquire_token_silent(["User.Read"], account, force_refresh=True)
    assert again["access_token"] != result["access_token"]


def test_the_id_token_verifies_and_carries_the_nonce(web: httpx2.Client, entra: EntraEmulator, app_id: AppId) -> None:
    redirect, code, verifier = get_code(web, entra, app_id("cli"), nonce="n-1")
    answer = redeem(web, entra, app_id("cli"), code=code, redirect_uri=redirect, code_verifier=verifier)
    keys: Any = web.get(f"/{entra.tenant}/discovery/v2.0/keys").json()
    claims = jwt.decode(answer.json()["id_token"], KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert claims["nonce"] == "n-1"
    assert claims["name"] == "Ada"
    info = jws.unb64url(answer.json()["client_info"])
    assert entra.tenant.encode() in info


def get_code(
    web: httpx2.Client,
    entra: EntraEmulator,
    client: str,
    *,
    redirect: str = REDIRECT,
    scope: str = "openid profile offline_access User.Read",
    person: str = "Ada",
    **more: str,
) -> tuple[str, str, str]:
    """Signs in by hand: redirect URI, code, PKCE verifier."""
    verifier = secrets.token_urlsafe(48)
    query = {
        "client_id": client,
        "response_type": "code",
        "redirect_uri": redirect,
        "scope": scope,
        "code_challenge": verifier,
        "code_challenge_method": "plain",
        "state": "s&1",
        **more,
    }
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    answer = press(web, page, person)
    values = parse_qs(urlsplit(answer.headers["location"]).query)
    assert values["state"] == ["s&1"]
    return redirect, values["code"][0], verifier


def redeem(web: httpx2.Client, entra: EntraEmulator, client: str, **form: str) -> httpx2.Response:
    grant = {"grant_type": "authorization_code", "client_id": client}
    return web.post(f"/{entra.tenant}/oauth2/v2.0/token", data=grant | form)


def code_of(answer: httpx2.Response) -> int:
    assert answer.status_code in (400, 401), answer.text
    return answer.json()["error_codes"][0]


def test_codes_are_single_use_and_bound(web: httpx2.Client, entra: EntraEmulator, app_id: AppId) -> None:
    client = app_id("cli")
    redirect, code, verifier = get_code(web, entra, client)
    good = {"code": code, "redirect_uri": redirect, "code_verifier": verifier}
    assert code_of(redeem(web, entra, client, **good | {"code_verifier": "wrong"})) == 501481
    assert code_of(redeem(web, entra, client, code=code, redirect_uri=redirect)) == 501481
    assert code_of(redeem(web, entra, client, **good | {"redirect_uri": "http://localhost:1"})) == 70000
    assert code_of(redeem(web, entra, app_id("bot"), **good)) == 70000
    assert code_of(redeem(web, entra, client, **good | {"code": "1.guess"})) == 70000
    assert redeem(web, entra, client, **good).status_code == 200
    assert code_of(redeem(web, entra, client, **good)) == 54005


def test_a_web_client_must_authenticate(web: httpx2.Client, entra: EntraEmulator, app_id: AppId) -> None:
    client = app_id("cli")
    entra.core.directory.store.put(
        "application",
        (entra.core.directory.find_by("application", "appId", client) or {}) | {"isFallbackPublicClient": False},
    )
    try:
        redirect, code, verifier = get_code(web, entra, client, redirect="https://app.example/callback")
        form = {"code": code, "redirect_uri": redirect, "code_verifier": verifier}
        assert code_of(redeem(web, entra, client, **form)) == 7000218
        assert code_of(redeem(web, entra, client, **form, client_secret="wrong")) == 7000215
        assert redeem(web, entra, client, **form, client_secret="cli-secret").status_code == 200
    finally:
        entra.core.directory.store.put(
            "application",
            (entra.core.directory.find_by("application", "appId", client) or {}) | {"isFallbackPublicClient": True},
        )


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/",
        "https://app.example/callback/..",
        "https://app.example/callback?x=1",
        "https://app.example.evil.example/callback",
        "http://localhost@evil.example/",
        "http://localhost:80@evil.example/",
        "http://localhost/#x",
        "javascript:alert(1)",
        "",
    ],
)
def test_nothing_is_sent_to_an_unregistered_redirect(
    web: httpx2.Client, entra: EntraEmulator, app_id: AppId, redirect: str
) -> None:
    query = {"client_id": app_id("cli"), "response_type": "code", "redirect_uri": redirect, "scope": "openid"}
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    assert page.status_code == 400
    assert "AADSTS50011" in page.text
    assert "location" not in page.headers
    assert "<form" not in page.text


def test_names_are_escaped_in_the_page(web: httpx2.Client, entra: EntraEmulator, app_id: AppId) -> None:
    entra.seed({"users": [{"displayName": '<script>alert("x")</script>', "mail": "mallory@contoso.example"}]})
    query = {"client_id": app_id("cli"), "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid"}
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "invalid_request"),
        ({"scope": "api://nowhere/access"}, "invalid_resource"),
        ({"scope": "api://gate/unknown"}, "invalid_scope"),
        ({"scope": "api://gate/access User.Read"}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
        ({"code_challenge_method": "S512"}, "invalid_request"),
    ],
)
def test_errors_go_back_to_a_registered_redirect(
    web: httpx2.Client, entra: EntraEmulator, app_id: AppId, change: dict[str, str], error: str
) -> None:
    query = {
        "client_id": app_id("cli"),
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "state": "xyz",
    }
    answer = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query | change)
    values = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (values["error"], values["state"]) == ([error], ["xyz"])


def test_disabled_and_unassigned_people(web: httpx2.Client, entra: EntraEmulator, app_id: AppId) -> None:
    query = {"client_id": app_id("cli"), "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid"}
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    assert "AADSTS50057" in press(web, page, "Eve").text
    redirect, code, verifier = get_code(web, entra, app_id("cli"), scope="openid api://gate/access")
    form = {"code": code, "redirect_uri": redirect, "code_verifier": verifier}
    assert code_of(redeem(web, entra, app_id("cli"), **form)) == 50105


def test_a_delegated_token_for_an_api(
    web: httpx2.Client, entra: EntraEmulator, app_id: AppId, object_id: Callable[[str, str], str], graph: httpx2.Client
) -> None:
    assignment = {
        "principalId": object_id("group", "reviewers"),
        "resourceId": object_id("servicePrincipal", "gate"),
        "appRoleId": "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c41",
    }
    made = graph.post(f"/v1.0/groups/{assignment['principalId']}/appRoleAssignments", json=assignment)
    assert made.status_code == 201
    redirect, code, verifier = get_code(web, entra, app_id("cli"), scope="openid api://gate/access")
    answer = redeem(web, entra, app_id("cli"), code=code, redirect_uri=redirect, code_verifier=verifier)
    claims = jws.parse(answer.json()["access_token"]).claims
    assert (claims["aud"], claims["scp"], claims["idtyp"]) == (app_id("gate"), "access", "user")
    assert claims["roles"] == ["Person"]
    assert claims["azpacr"] == "0"
    assert claims["sub"] != claims["oid"] == object_id("user", "Ada")
    graph.delete(f"/v1.0/groups/{assignment['principalId']}/appRoleAssignments/{made.json()['id']}")


# --- device code


def test_device_code_with_msal(
    entra: EntraEmulator, public: Any, ask: Callable[..., httpx2.Response], app_id: AppId
) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    assert flow["user_code"] in flow["message"]
    pending = ask(
        grant_type="urn:ietf:params:oauth:grant-type:device_code",
        client_id=app_id("cli"),
        device_code=flow["device_code"],
    )
    assert pending.json()["error"] == "authorization_pending"
    entra.approve_device(flow["user_code"], "ada@contoso.example")
    result = public.acquire_token_by_device_flow(flow)
    assert result["id_token_claims"]["preferred_username"] == "ada@contoso.example"
    once = ask(grant_type="device_code", client_id=app_id("cli"), device_code=flow["device_code"])
    assert code_of(once) == 70018


def test_device_code_with_azure_identity(entra: EntraEmulator, app_id: AppId) -> None:
    credential = DeviceCodeCredential(
        client_id=app_id("cli"),
        tenant_id=entra.tenant,
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
        disable_instance_discovery=True,
        prompt_callback=lambda uri, code, expires: entra.approve_device(code, "bob@contoso.example"),
    )
    token = credential.get_token("User.Read")
    assert jws.parse(token.token).claims["name"] == "Bob"


def test_device_code_by_the_page(entra: EntraEmulator, web: httpx2.Client, public: Any) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    form = web.get(flow["verification_uri"])
    assert 'name="user_code"' in form.text
    people = web.get(flow["verification_uri"], params={"user_code": flow["user_code"].lower()})
    assert "You have signed in" in press(web, people, "Ada").text
    assert "access_token" in public.acquire_token_by_device_flow(flow)


def test_device_refusals(entra: EntraEmulator, public: Any, web: httpx2.Client, ask: Callable[..., httpx2.Response],
                         app_id: AppId) -> None:  # fmt: skip
    flow = public.initiate_device_flow(["User.Read"])
    for code, person in (("WRONGCODE", "ada@contoso.example"), (flow["user_code"], "nobody")):
        with pytest.raises(ValueError, match=r"not known|there is no person"):
            entra.approve_device(code, person)
    signin.decide_device(entra.core, flow["user_code"], "", approve=False)
    declined = ask(grant_type="device_code", client_id=app_id("cli"), code=flow["device_code"])
    assert declined.json()["error"] == "authorization_declined"
    other = ask(grant_type="device_code", client_id=app_id("bot"), device_code=flow["device_code"])
    assert code_of(other) == 7000218
    answer = web.post(f"/{entra.tenant}/oauth2/v2.0/devicecode", data={"client_id": app_id("cli")})
    assert code_of(answer) == 900144


# --- refresh tokens


def test_refresh_tokens(
    web: httpx2.Client, entra: EntraEmulator, app_id: AppId, ask: Callable[..., httpx2.Response]
) -> None:
    redirect, code, verifier = get_code(web, entra, app_id("cli"))
    first = redeem(web, entra, app_id("cli"), code=code, redirect_uri=redirect, code_verifier=verifier).json()
    again = ask(grant_type="refresh_token", client_id=app_id("cli"), refresh_token=first["refresh_token"])
    assert again.status_code == 200
    assert again.json()["refresh_token"] != first["refresh_token"]
    stolen = ask(
        grant_type="refresh_token",
        client_id=app_id("bot"),
        client_secret="bot-secret",
        refresh_token=first["refresh_token"],
    )
    assert code_of(stolen) == 70000
    assert code_of(ask(grant_type="refresh_token", client_id=app_id("cli"), refresh_token="guess")) == 70000


def test_signing_out_redirects_to_registered_addresses_only(web: httpx2.Client, entra: EntraEmulator) -> None:
    path = f"/{entra.tenant}/oauth2/v2.0/logout"
    good = web.get(path, params={"post_logout_redirect_uri": "https://app.example/callback"})
    assert good.headers["location"] == "https://app.example/callback"
    bad = web.get(path, params={"post_logout_redirect_uri": "https://evil.example/"})
    assert "location" not in bad.headers
