"""Claims of access tokens, and Graph's unverifiable ones."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wicketgate.testing import jws
from wicketgate.testing.entra import tokens
from wicketgate.testing.entra.server import EntraEmulator

AppId = Callable[[str], str]
ObjectId = Callable[[str, str], str]


@pytest.fixture
def token(ask: Callable[..., httpx2.Response], app_id: AppId) -> Callable[..., jws.Jws]:
    def get(scope: str = "api://gate/.default", client: str = "bot") -> jws.Jws:
        answer = ask(
            grant_type="client_credentials", client_id=app_id(client), client_secret=f"{client}-secret", scope=scope
        )
        assert answer.status_code == 200, answer.text
        parsed = jws.parse(answer.json()["access_token"])
        assert parsed.claims["exp"] - parsed.claims["iat"] == answer.json()["expires_in"]
        return parsed

    return get


def test_v1_tokens_where_the_api_asks_for_nothing_else(
    entra: EntraEmulator, token: Callable[..., jws.Jws], app_id: AppId
) -> None:
    parsed = token("api://old/.default", "stranger")
    claims = parsed.claims
    assert claims["iss"] == f"https://sts.windows.net/{entra.tenant}/"
    assert (claims["aud"], claims["ver"], claims["appid"], claims["appidacr"]) == (
        "api://old",
        "1.0",
        app_id("stranger"),
        "1",
    )
    assert parsed.header["x5t"] == parsed.header["kid"]
    assert not {"azp", "azpacr", "idtyp", "roles", "groups", "scp"} & set(claims)
    assert token(f"{app_id('old-api')}/.default", "stranger").claims["aud"] == app_id("old-api")


def test_idtyp_is_there_only_if_the_api_asks_for_it(token: Callable[..., jws.Jws]) -> None:
    assert token().claims["idtyp"] == "app"
    assert "idtyp" not in token("api://old/.default").claims


def test_graph_tokens_verify_for_graph_alone(entra: EntraEmulator, token: Callable[..., jws.Jws]) -> None:
    for scope in (f"{entra.graph}/.default", f"{entra.graph}//.default", "https://graph.microsoft.com/.default",
                  "00000003-0000-0000-c000-000000000000/.default"):  # fmt: skip
        parsed = token(scope)
        key = entra.core.keys.current.key.public_key()
        assert not parsed.verify(key)
        assert parsed.claims["idtyp"] == "app"
        raw = f"{parsed.signing_input.decode()}.{jws.b64url(parsed.signature)}"
        assert tokens.verify_graph_token(entra.core, raw) == parsed.claims


def test_what_graph_does_not_take(entra: EntraEmulator) -> None:
    good = entra.graph_token()
    assert tokens.verify_graph_token(entra.core, good)
    head, payload, signature = good.split(".")
    claims = jws.parse(good).claims
    header = jws.parse(good).header
    key = entra.core.keys.current

    def made(more: dict[str, Any]) -> str:
        return tokens.graph_token(claims | more, {"kid": key.kid}, entra.core)

    assert tokens.verify_graph_token(entra.core, made({}))
    wrong = [
        "",
        "a.b.c",
        f"{head}.{payload}.",
        made({"aud": "api://gate"}),
        made({"tid": "11111111-2222-3333-4444-555555555555"}),
        made({"exp": int(time.time()) - 3600}),
        made({"nbf": int(time.time()) + 3600}),
        made({"exp": None}),
        jws.sign_rs256(claims, key.key, {"kid": key.kid}),
        jws.sign_rs256(claims, key.key, {"kid": key.kid, "nonce": header["nonce"]}),
        jws.sign_rs256(claims, key.key, {"kid": "other", "nonce": "n"}),
    ]
    for alg in ("none", "HS256", "PS256"):
        changed = jws.b64url(json.dumps(header | {"alg": alg}).encode())
        wrong.append(f"{changed}.{payload}.{signature}")
    for one in wrong:
        assert tokens.verify_graph_token(entra.core, one) is None


def test_lifetime_and_skew(entra: EntraEmulator, token: Callable[..., jws.Jws]) -> None:
    entra.set_quirks(token_lifetime=120, clock_skew=-600)
    claims = token().claims
    assert claims["exp"] - claims["iat"] == 120
    assert claims["iat"] <= time.time() - 590


# --- groups


def test_groups_of_bots(entra: EntraEmulator, token: Callable[..., jws.Jws], object_id: ObjectId) -> None:
    assert "groups" not in token().claims
    entra.set_quirks(groups_claim="present")
    both = {object_id("group", "reviewers"), object_id("group", "everyone")}
    assert set(token().claims["groups"]) == both
    entra.set_quirks(groups_claim="overage")
    claims = token().claims
    assert "groups" not in claims
    assert claims["_claim_names"] == {"groups": "src1"}
    assert claims["_claim_sources"]["src1"]["endpoint"].startswith("https://graph.windows.net/")


def test_groups_of_people_follow_the_registration(
    entra: EntraEmulator, app_id: AppId, object_id: ObjectId, get_code: Any, redeem: Any
) -> None:
    directory = entra.core.directory
    application = directory.find_by("application", "appId", app_id("cli"))
    assert application is not None

    def groups(setting: str | None) -> dict[str, Any]:
        directory.save(application | {"groupMembershipClaims": setting})
        answer = redeem(app_id("cli"), get_code(app_id("cli")))
        claims = jws.parse(answer.json()["id_token"]).claims
        return {name: claims[name] for name in ("groups", "_claim_names") if name in claims}

    reviewers, everyone = object_id("group", "reviewers"), object_id("group", "everyone")
    assert groups(None) == groups("None") == groups("DirectoryRole") == {}
    assert set(groups("SecurityGroup")["groups"]) == {reviewers, everyone}
    assert groups("ApplicationGroup") == {}
    entra.set_quirks(groups_claim="none")
    assert groups("All") == {}
    entra.set_quirks(groups_claim="real")
    entra.seed({"groups": [{"displayName": f"many {n}", "members": ["ada@contoso.example"]} for n in range(199)]})
    assert groups("All") == {"_claim_names": {"groups": "src1"}}


def test_subject_is_pairwise_for_people_and_the_oid_for_bots(entra: EntraEmulator, object_id: ObjectId) -> None:
    directory = entra.core.directory
    ada = directory.find("user", object_id("user", "Ada"))
    bot = directory.find("servicePrincipal", object_id("servicePrincipal", "bot"))
    gate = directory.find("servicePrincipal", object_id("servicePrincipal", "gate"))
    assert ada
    assert bot
    assert gate
    assert tokens.subject(bot, gate) == bot["id"]
    assert len({tokens.subject(ada, gate), tokens.subject(ada, bot), ada["id"]}) == 3
