"""The emulator's own API."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from wicketgate.testing import jws
from wicketgate.testing.entra.server import EntraEmulator

Call = Callable[..., httpx2.Response]


@pytest.fixture
def call(entra: EntraEmulator, web: httpx2.Client) -> Call:
    key = entra.admin_key_file.read_text()

    def request(method: str, name: str, body: Any = None, authorization: str | None = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}" if authorization is None else authorization}
        return web.request(method, f"/_emulator/{name}", json=body, headers=headers)

    return request


def test_the_key_is_needed_for_all_but_health(call: Call, web: httpx2.Client) -> None:
    assert web.get("/_emulator/health").json()["status"] == "ok"
    for name in ("quirks", "state", "requests", "nothing"):
        for authorization in ("", "Bearer", "Bearer wrong", "wrong"):
            assert call("GET", name, authorization=authorization).status_code == 401
    assert call("GET", "nothing").status_code == 404
    assert call("POST", "token", {"claims": {}}, authorization="Bearer x").status_code == 401


def test_quirks(call: Call, entra: EntraEmulator) -> None:
    assert call("PATCH", "quirks", {"throttle_next": 3}).json()["throttle_next"] == 3
    assert entra.core.quirks.throttle_next == 3
    assert call("GET", "quirks").json()["throttle_next"] == 3
    refused = call("PATCH", "quirks", {"throttle": 3})
    assert (refused.status_code, "no quirk `throttle`" in refused.json()["error"]) == (400, True)


def test_seed_and_state(call: Call) -> None:
    state = call("POST", "seed", {"groups": [{"displayName": "by-admin"}]}).json()
    assert "by-admin" in [one["name"] for one in state["group"]]
    assert "Microsoft Graph" not in json.dumps(state)
    assert call("POST", "seed", {"grops": []}).status_code == 400
    assert call("POST", "seed", [1]).status_code == 400


def test_requests_are_listed_without_bodies(call: Call, graph: httpx2.Client) -> None:
    admin = graph.headers.pop("Authorization")
    call("DELETE", "requests")
    graph.post("/v1.0/applications", json={"displayName": "seen"}, headers={"Authorization": admin})
    graph.get("/beta/groups?$top=1", headers={"Authorization": admin})
    [one, two] = call("GET", "requests").json()["requests"]
    assert (one["method"], one["path"], one["status"]) == ("POST", "/v1.0/applications", 201)
    assert (two["path"].startswith("/beta/groups?"), two["status"]) == (True, 200)
    assert "seen" not in json.dumps([one, two])


def test_tokens_of_any_make(call: Call, entra: EntraEmulator, web: httpx2.Client) -> None:
    keys: Any = web.get(f"/{entra.tenant}/discovery/v2.0/keys").json()

    def minted(**body: Any) -> str:
        return call("POST", "token", body).json()["access_token"]

    good = jwt.decode(minted(claims={"aud": "a", "oid": None}), KeySet.import_key_set(keys), algorithms=["RS256"])
    assert good.claims["aud"] == "a"
    assert "oid" not in good.claims
    assert jws.parse(minted(alg="none")).signature == b""
    confused = jws.parse(minted(alg="HS256"))
    assert (confused.header["alg"], len(confused.signature)) == ("HS256", 32)
    assert "kid" not in jws.parse(minted(header={"kid": None})).header
    assert call("POST", "token", {"alg": "ES256"}).status_code == 400
    assert call("POST", "token", {"unknown": 1}).status_code == 400
    token = minted(graph=True)
    assert web.get("/v1.0/applications", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_rollover_and_devices(
    call: Call, entra: EntraEmulator, web: httpx2.Client, app_id: Callable[[str], str]
) -> None:
    kid = call("POST", "rollover", {"retire": True}).json()["kid"]
    assert [key.kid for key in entra.core.keys.published] == [kid]
    form = {"client_id": app_id("cli"), "scope": "User.Read"}
    flow = web.post(f"/{entra.tenant}/oauth2/v2.0/devicecode", data=form).json()
    assert call("POST", "device", {"user_code": flow["user_code"], "user": "nobody"}).status_code == 400
    approved = {"user_code": flow["user_code"], "user": "ada@contoso.example"}
    assert call("POST", "device", approved).status_code == 200
    assert call("POST", "device", {"user": "x"}).status_code == 400
    disabled = web.post(f"/{entra.tenant}/oauth2/v2.0/devicecode", data=form).json()
    refused = call("POST", "device", {"user_code": disabled["user_code"], "user": "eve@contoso.example"})
    assert (refused.status_code, "AADSTS50057" in refused.json()["error"]) == (400, True)
