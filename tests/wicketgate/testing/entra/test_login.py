"""Client credentials at the token endpoint: what comes, and which code refuses what."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from joserfc import jwt
from joserfc.jwk import KeySet

from wicketgate.testing.entra.server import EntraEmulator

Ask = Callable[..., httpx2.Response]
AppId = Callable[[str], str]


def code_of(answer: httpx2.Response) -> int:
    """The AADSTS code of a refusal, whose document must be as Entra's is."""
    body = answer.json()
    assert set(body) == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }
    [code] = body["error_codes"]
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert body["error_uri"].endswith(f"/error?code={code}")
    assert answer.status_code in (400, 401)
    return code


def test_azure_identity_gets_a_v2_token_that_verifies_with_the_published_keys(
    entra: EntraEmulator, app_id: AppId, web: httpx2.Client, object_id: Callable[[str, str], str]
) -> None:
    credential = ClientSecretCredential(
        entra.tenant,
        app_id("bot"),
        "bot-secret",
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
        disable_instance_discovery=True,
    )
    token = credential.get_token("api://gate/.default")
    assert 3590 <= token.expires_on - time.time() <= 5400
    keys: Any = web.get(f"/{entra.tenant}/discovery/v2.0/keys").json()
    decoded = jwt.decode(token.token, KeySet.import_key_set(keys), algorithms=["RS256"])
    claims = decoded.claims
    principal = object_id("servicePrincipal", "bot")
    assert claims["iss"] == f"{entra.url}/{entra.tenant}/v2.0"
    assert claims["aud"] == app_id("gate")
    assert (claims["oid"], claims["sub"], claims["tid"]) == (principal, principal, entra.tenant)
    assert (claims["azp"], claims["azpacr"], claims["idtyp"]) == (app_id("bot"), "1", "app")
    assert (claims["roles"], claims["ver"]) == (["Bot"], "2.0")
    assert claims["exp"] - claims["iat"] in range(3600, 5401)
    assert "scp" not in claims
    assert "groups" not in claims


@pytest.mark.anyio
async def test_azure_identity_aio(entra: EntraEmulator, app_id: AppId) -> None:
    credential = AsyncClientSecretCredential(
        entra.tenant,
        app_id("bot"),
        "bot-secret",
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
    )
    async with credential:
        assert (await credential.get_token("api://gate/.default")).token.count(".") == 2


BOT = {"grant_type": "client_credentials", "client_secret": "bot-secret", "scope": "api://gate/.default"}


def test_a_bot_may_spell_the_audience_as_client_id(ask: Ask, app_id: AppId) -> None:
    answer = ask(**BOT | {"scope": f"{app_id('gate')}/.default"}, client_id=app_id("bot"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"token_type", "expires_in", "ext_expires_in", "access_token"}


@pytest.mark.parametrize(
    ("client", "change", "code", "status", "error"),
    [
        ("bot", {"client_secret": "wrong"}, 7000215, 401, "invalid_client"),
        ("bot", {"client_secret": "bot-old-secret"}, 7000222, 401, "invalid_client"),
        ("bot", {"client_secret": None}, 7000216, 400, "invalid_request"),
        ("bot", {"scope": "api://nowhere/.default"}, 500011, 400, "invalid_resource"),
        ("bot", {"scope": "api://gate/access"}, 1002012, 400, "invalid_scope"),
        ("bot", {"scope": "api://gate/.default api://old/.default"}, 1002012, 400, "invalid_scope"),
        ("bot", {"scope": None}, 900144, 400, "invalid_request"),
        ("bot", {"grant_type": None}, 900144, 400, "invalid_request"),
        ("bot", {"grant_type": "password"}, 70003, 400, "unsupported_grant_type"),
        ("bot", {"tenant": "11111111-2222-3333-4444-555555555555"}, 90002, 400, "invalid_request"),
        ("bot", {"tenant": "elsewhere.example"}, 90002, 400, "invalid_request"),
        ("bot", {"tenant": "nonsense"}, 900023, 400, "invalid_request"),
        ("bot", {"tenant": "common"}, 900023, 400, "invalid_request"),
        ("bot", {"client_id": "11111111-2222-3333-4444-555555555555"}, 700016, 400, "unauthorized_client"),
        ("bot", {"client_id": None}, 900144, 400, "invalid_request"),
        ("disabled", {"client_secret": "disabled-secret"}, 7000112, 400, "unauthorized_client"),
        ("stranger", {"client_secret": "stranger-secret"}, 501051, 400, "invalid_grant"),
        ("bot", {"client_assertion": "x.y.z", "client_assertion_type": "other"}, 900144, 400, "invalid_request"),
    ],
)
def test_refusals(
    ask: Ask, app_id: AppId, client: str, change: dict[str, str | None], code: int, status: int, error: str
) -> None:
    form = {name: value for name, value in (BOT | {"client_id": app_id(client)} | change).items() if value is not None}
    answer = ask(**form)
    assert code_of(answer) == code
    assert answer.status_code == status
    assert answer.json()["error"] == error
    secret = form.get("client_secret", "none was sent")
    assert secret not in answer.text


def test_a_disabled_api_gives_no_tokens(ask: Ask, app_id: AppId, graph: httpx2.Client) -> None:
    made = graph.post("/v1.0/applications", json={"displayName": "off", "identifierUris": ["api://off"]}).json()
    principal = graph.post("/v1.0/servicePrincipals", json={"appId": made["appId"], "accountEnabled": False}).json()
    assert principal["accountEnabled"] is False
    assert code_of(ask(**{**BOT, "scope": "api://off/.default"}, client_id=app_id("bot"))) == 500014


def test_a_parameter_that_comes_twice_is_malformed(entra: EntraEmulator, web: httpx2.Client) -> None:
    body = "grant_type=client_credentials&client_id=a&client_id=b"
    answer = web.post(
        f"/{entra.tenant}/oauth2/v2.0/token",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert code_of(answer) == 9002313


def test_the_client_request_id_comes_back(entra: EntraEmulator, web: httpx2.Client) -> None:
    sent = "a3c5fa3e-6b8e-4f4e-9a0a-0d2f3f6c1f11"
    answer = web.post(f"/{entra.tenant}/oauth2/v2.0/token", data={}, headers={"client-request-id": sent})
    assert answer.json()["correlation_id"] == sent


def test_the_v1_endpoint_takes_a_resource(entra: EntraEmulator, web: httpx2.Client, app_id: AppId) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": app_id("bot"),
        "client_secret": "bot-secret",
        "resource": "api://old",
    }
    assert web.post(f"/{entra.tenant}/oauth2/token", data=form).status_code == 200


def test_throttled_logins_say_when_to_come_back(entra: EntraEmulator, ask: Ask, app_id: AppId) -> None:
    entra.set_quirks(throttle_login_next=1, retry_after=7)
    first = ask(**BOT, client_id=app_id("bot"))
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert ask(**BOT, client_id=app_id("bot")).status_code == 200
