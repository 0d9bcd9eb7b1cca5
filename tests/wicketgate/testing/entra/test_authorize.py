"""The authorization code flow, by following the page as a browser would; with msal and with an attacker."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from wicketgate.testing import jws
from wicketgate.testing.entra.server import EntraEmulator

AppId = Callable[[str], str]
Press = Callable[[httpx2.Response, str], httpx2.Response]
GetCode = Callable[..., dict[str, str]]
Redeem = Callable[..., httpx2.Response]
Refused = Callable[[httpx2.Response], int]
REDIRECT = "http://localhost:53123"


def test_msal_code_with_pkce(
    entra: EntraEmulator, web: httpx2.Client, public: Any, app_id: AppId, press: Press
) -> None:
    flow = public.initiate_auth_code_flow(["User.Read"], redirect_uri=REDIRECT, response_mode="form_post")
    page = press(web.get(flow["auth_uri"]), "Ada")
    assert f'action="{REDIRECT}"' in page.text
    values = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))
    result = public.acquire_token_by_auth_code_flow(flow, values)
    assert "access_token" in result, result
    claims = result["id_token_claims"]
    assert claims["preferred_username"] == "ada@contoso.example"
    assert (claims["aud"], claims["tid"], claims["ver"]) == (app_id("cli"), entra.tenant, "2.0")
    access = jws.parse(result["access_token"])
    assert "User.Read" in access.claims["scp"].split()
    assert access.claims["idtyp"] == "user"
    assert "nonce" in access.header
    [account] = public.get_accounts()
    assert account["username"] == "ada@contoso.example"
    again = public.acquire_token_silent(["User.Read"], account, force_refresh=True)
    assert again["access_token"] != result["access_token"]


def test_the_id_token_verifies_and_carries_the_nonce(
    web: httpx2.Client, entra: EntraEmulator, app_id: AppId, get_code: GetCode, redeem: Redeem
) -> None:
    answer = redeem(app_id("cli"), get_code(app_id("cli"), nonce="n-1"))
    keys: Any = web.get(f"/{entra.tenant}/discovery/v2.0/keys").json()
    claims = jwt.decode(answer.json()["id_token"], KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert (claims["nonce"], claims["name"]) == ("n-1", "Ada")
    assert entra.tenant.encode() in jws.unb64url(answer.json()["client_info"])


def test_codes_are_single_use_and_bound(app_id: AppId, get_code: GetCode, redeem: Redeem, refused: Refused) -> None:
    client = app_id("cli")
    good = get_code(client)
    assert refused(redeem(client, good | {"code_verifier": "wrong"})) == 501481
    assert refused(redeem(client, {name: good[name] for name in ("code", "redirect_uri")})) == 501481
    assert refused(redeem(client, good | {"redirect_uri": "http://localhost:1"})) == 70000
    assert refused(redeem(app_id("bot"), good)) == 70000
    assert refused(redeem(client, good | {"code": "1.guess"})) == 70000
    assert redeem(client, good).status_code == 200
    assert refused(redeem(client, good)) == 54005


def test_a_web_client_must_authenticate(app_id: AppId, get_code: GetCode, redeem: Redeem, refused: Refused) -> None:
    client = app_id("portal")
    form = get_code(client, redirect_uri="https://portal.example/callback")
    assert refused(redeem(client, form)) == 7000218
    assert refused(redeem(client, form, client_secret="wrong")) == 7000215
    assert redeem(client, form, client_secret="portal-secret").status_code == 200


def test_the_fragment_mode(web: httpx2.Client, entra: EntraEmulator, app_id: AppId, press: Press) -> None:
    query = {
        "client_id": app_id("cli"),
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "response_mode": "fragment",
    }
    answer = press(web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query), "Bob")
    target = urlsplit(answer.headers["location"])
    assert target.query == ""
    assert "code" in dict(parse_qsl(target.fragment))


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/",
        "https://app.example/callback/..",
        "https://app.example/callback?x=1",
        "https://app.example.evil.example/callback",
        "http://localhost@evil.example/",
        "http://localhost:80@evil.example/",
        "http://evil@localhost/",
        "http://localhost/#x",
        "http://localhost/other",
        "https://localhost/",
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


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "invalid_request"),
        ({"response_mode": "web_message"}, "invalid_request"),
        ({"scope": ""}, "invalid_request"),
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


def test_a_sign_in_page_works_once(web: httpx2.Client, entra: EntraEmulator, app_id: AppId, press: Press) -> None:
    query = {"client_id": app_id("cli"), "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid"}
    page = web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query)
    assert press(page, "Ada").status_code == 302
    assert "AADSTS90023" in press(page, "Ada").text


def test_signing_out_redirects_to_registered_addresses_only(web: httpx2.Client, entra: EntraEmulator) -> None:
    path = f"/{entra.tenant}/oauth2/v2.0/logout"
    good = web.get(path, params={"post_logout_redirect_uri": "https://app.example/callback"})
    assert good.headers["location"] == "https://app.example/callback"
    bad = web.get(path, params={"post_logout_redirect_uri": "https://evil.example/"})
    assert "location" not in bad.headers
