"""Tokens that open no session: each with a reason that its client is shown, and on record without the token."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from wicketgate_gateway.audit.events import SessionRefused

pytestmark = pytest.mark.slow
NOW = int(time.time())


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _edited(cloud: Any, **claims: Any) -> str:
    """A good token with other claims under the old signature."""
    head, body, signature = cloud.bot_token().split(".")
    old = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{_part({**old, **claims})}.{signature}"


def _headed(cloud: Any, **header: Any) -> str:
    """A good token under another header, with the old signature."""
    head, body, signature = cloud.bot_token().split(".")
    old = json.loads(base64.urlsafe_b64decode(head + "=="))
    return f"{_part({**old, **header})}.{body}.{signature}"


def _minted(**claims: Any) -> Callable[[Any], str]:
    return lambda cloud: cloud.mint(**claims)


# (code of the refusal, or several that may come first; the token)
TOKENS: dict[str, tuple[set[str], Callable[[Any], str]]] = {
    "expired": ({"token-expired"}, _minted(exp=NOW - 1000, iat=NOW - 5000, nbf=NOW - 5000)),
    "not valid yet": ({"token-not-yet-valid"}, _minted(nbf=NOW + 5000, exp=NOW + 9000)),
    "wrong audience": ({"wrong-audience"}, _minted(aud="00000003-0000-0000-c000-000000000000")),
    "audience with a slash": ({"wrong-audience"}, lambda cloud: cloud.mint(aud=f"api://{cloud.audience}/")),
    "audience in a list": ({"wrong-audience", "token-malformed"}, lambda cloud: cloud.mint(aud=[cloud.audience, "x"])),
    "no audience": ({"wrong-audience", "token-malformed"}, _minted(aud=None)),
    "wrong issuer": ({"wrong-issuer"}, _minted(iss="https://login.example/x/v2.0")),
    "issuer of another tenant": (
        {"wrong-issuer"},
        lambda cloud: cloud.mint(iss=f"{cloud.entra.authority}/99999999-9999-4999-8999-999999999999/v2.0"),
    ),
    "wrong tenant": ({"wrong-tenant"}, _minted(tid="99999999-9999-4999-8999-999999999999")),
    "no tenant": ({"wrong-tenant", "token-malformed"}, _minted(tid=None)),
    "no algorithm": ({"token-malformed", "wrong-algorithm"}, _minted(alg="none")),
    "HS256 with the public key": ({"wrong-algorithm"}, _minted(alg="HS256")),
    "ID token": ({"not-an-app-token"}, _minted(idtyp=None, nonce="x")),
    "a person's token": ({"not-an-app-token"}, _minted(idtyp="user", scp="Gateway.Use", roles=["Bot.Connect"])),
    "token for Graph": (
        {"wrong-audience", "wrong-issuer", "role-missing", "not-an-app-token"},
        lambda cloud: cloud.entra.graph_token(),
    ),
    "without the role": ({"role-missing"}, _minted(roles=None)),
    "with an empty role": ({"role-missing"}, _minted(roles=[])),
    "with the agent's role": ({"role-missing"}, _minted(roles=["Agent.Connect"])),
    "with the role in another case": ({"role-missing"}, _minted(roles=["bot.connect"])),
    "with the role as a text": ({"role-missing", "token-malformed"}, _minted(roles="Bot.Connect")),
    "out of the group": ({"no-policy"}, lambda cloud: cloud.bot_token("stranger")),
    "the agent's own": ({"role-missing"}, lambda cloud: cloud.bot_token("agent")),
    "edited": ({"bad-signature"}, lambda cloud: _edited(cloud, oid="20000000-0000-4000-8000-000000000009")),
    "without a signature": (
        {"bad-signature", "token-malformed"},
        lambda cloud: cloud.bot_token().rpartition(".")[0] + ".",
    ),
    "with a signature of zeros": (
        {"bad-signature"},
        lambda cloud: cloud.bot_token().rpartition(".")[0] + "." + "A" * 342,
    ),
    "with a path as its key": ({"token-malformed"}, lambda cloud: _headed(cloud, kid="../../etc/passwd")),
    "with an unknown key": ({"unknown-key"}, lambda cloud: _headed(cloud, kid="0123456789abcdef")),
    "with a key's address": (
        {"bad-signature", "token-malformed"},
        lambda cloud: _headed(cloud, jku="https://127.0.0.1/"),
    ),
    "with its own key": (
        {"bad-signature", "token-malformed"},
        lambda cloud: _headed(cloud, jwk={"kty": "oct", "k": "AA"}),
    ),
    "with a critical header": ({"bad-signature", "token-malformed"}, lambda cloud: _headed(cloud, crit=["x"], x=1)),
    "none in mixed case": (
        {"wrong-algorithm", "token-malformed"},
        lambda cloud: _headed(cloud, alg="nOnE").rpartition(".")[0] + ".",
    ),
    "in five parts": ({"token-malformed"}, lambda cloud: cloud.bot_token() + ".AAAA.AAAA"),
    "with a blank": ({"token-malformed", "bad-signature"}, lambda cloud: cloud.bot_token() + " "),
    "with a line end": ({"token-malformed", "bad-signature"}, lambda cloud: cloud.bot_token() + "\n"),
    "with an end that is no number": ({"token-malformed", "token-expired"}, _minted(exp="9999999999")),
    "with an end beyond all": ({"token-malformed", "token-expired", "token-lifetime"}, _minted(exp=10**30)),
    "without an end": ({"token-malformed", "token-expired"}, _minted(exp=None)),
    "not a token": ({"token-malformed"}, lambda cloud: "hunter2"),
    "three dots": ({"token-malformed"}, lambda cloud: "..."),
    "a password of SQL": ({"token-malformed"}, lambda cloud: "' OR 1=1 --"),
}  # fmt: skip


@pytest.mark.parametrize("attack", TOKENS)
def test_refused(ground: Any, attack: str) -> None:
    codes, make = TOKENS[attack]
    token = make(ground.gateway.cloud)
    known = len(ground.events())
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(ground.gateway.dsn(password=False), password=token)
    said = str(caught.value)
    assert "FATAL" in said
    refusals = lambda: [e for e in ground.events()[known:] if isinstance(e, SessionRefused)]  # noqa: E731
    ground.gateway.wait(refusals)
    (event,) = refusals()
    assert event.code in codes
    assert event.reason
    assert event.target == "orders-db"
    for text in (said, repr(event)):
        assert len(token) < 12 or token[-12:] not in text


def test_no_token(ground: Any) -> None:
    known = len(ground.events())
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(ground.gateway.dsn(password=False), password="")
    wire = ground.tls()
    wire.close()
    ground.gateway.wait(lambda: [e for e in ground.events()[known:] if isinstance(e, SessionRefused)])


def test_a_disabled_bot(ground: Any) -> None:
    entra = ground.gateway.cloud.entra
    bot = entra.store.get("servicePrincipal", ground.gateway.cloud.principal("stranger"))
    token = ground.gateway.cloud.bot_token("stranger")
    known = len(ground.events())
    bot["accountEnabled"] = False
    entra.core.directory.save(bot)
    try:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(ground.gateway.dsn(password=False), password=token)
        ground.gateway.wait(lambda: [e for e in ground.events()[known:] if isinstance(e, SessionRefused)])
    finally:
        bot["accountEnabled"] = True
        entra.core.directory.save(bot)
