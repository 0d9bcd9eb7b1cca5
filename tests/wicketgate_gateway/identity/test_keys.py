import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity import keys
from wicketgate_gateway.identity.keys import KeyCache, KeysUnavailableError, issuer_of

pytestmark = pytest.mark.anyio


def cache(tenant: Any, clock: Any) -> KeyCache:
    return KeyCache(tenant.entra, tenant.fetch, clock=clock)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_issuer_is_exact() -> None:
    entra = Entra(tenant="6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40", authority="https://login.microsoftonline.us/")
    assert issuer_of(entra) == "https://login.microsoftonline.us/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/v2.0"


async def test_fetched_once_and_then_at_hand(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    assert subject.known(tenant.kid) is None
    key = await subject.get(tenant.kid)
    assert key is not None
    assert subject.known(tenant.kid) is key
    assert await subject.get(tenant.kid) is key
    assert len(tenant.fetched) == 1


async def test_concurrent_first_askers_share_a_fetch(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    assert all(await asyncio.gather(*[subject.get(tenant.kid) for _ in range(10)]))
    assert len(tenant.fetched) == 1


async def test_concurrent_unknown_ids_share_a_fetch_and_use_up_the_allowance(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    await subject.get(tenant.kid)
    assert await asyncio.gather(subject.get("x1"), subject.get("x2")) == [None, None]
    assert len(tenant.fetched) == 2
    for n in range(100):
        clock.now += 2.9
        assert await subject.get(f"y{n}") is None
    assert len(tenant.fetched) == 2
    clock.now += keys.UNKNOWN_SECONDS
    await subject.get("z")
    await subject.get("z")
    assert len(tenant.fetched) == 3


async def test_rollover_the_new_key_is_found_at_once(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    await subject.get(tenant.kid)
    tenant.keys.append(tenant.jwk(tenant.other, "new"))
    assert await subject.get("new") is not None
    tenant.keys.pop(0)
    clock.now += keys.REFRESH_SECONDS
    assert await subject.get(tenant.kid) is not None  # refreshed behind its back
    await settle()
    assert await subject.get(tenant.kid) is None  # the old key is withdrawn


async def test_an_old_set_is_refreshed_in_the_background_and_outlives_an_outage(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    await subject.get(tenant.kid)
    tenant.failure = WicketgateError("Entra is away")
    for _ in range(20):
        clock.now += keys.REFRESH_SECONDS
        assert await subject.get(tenant.kid) is not None
        await settle()
    clock.now = 1000.0 + keys.KEEP_SECONDS
    with pytest.raises(KeysUnavailableError):
        await subject.get(tenant.kid)
    tenant.failure = None
    clock.now += keys.RETRY_SECONDS
    assert await subject.get(tenant.kid) is not None


async def test_an_outage_at_the_start_is_not_hammered(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    tenant.failure = WicketgateError("Entra is away")
    for _ in range(50):
        with pytest.raises(KeysUnavailableError):
            await subject.get(tenant.kid)
    assert len(tenant.fetched) == 1


async def test_the_first_asker_hanging_up_harms_no_other(tenant: Any, clock: Any) -> None:
    subject = cache(tenant, clock)
    first = asyncio.ensure_future(subject.get(tenant.kid))
    second = asyncio.ensure_future(subject.get(tenant.kid))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None


async def test_keys_that_may_not_sign_here(tenant: Any, clock: Any) -> None:
    small = rsa.generate_private_key(65537, 1024)
    public = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    good = tenant.keys[0]
    tenant.keys = [
        good,
        tenant.jwk(tenant.other, "enc", use="enc"),
        tenant.jwk(tenant.other, "alg", alg="RS512"),
        tenant.jwk(tenant.other, "foreign", issuer="https://login.microsoftonline.com/other/v2.0"),
        tenant.jwk(tenant.other, "template", issuer="https://login.microsoftonline.com/{tenantid}/v2.0"),
        tenant.jwk(small, "small"),
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": str(public.x), "y": str(public.y)},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "kid": "bare"},
        {"kty": "RSA", "kid": 7, "n": good["n"], "e": good["e"]},
        tenant.jwk(tenant.other, "twice"),
        tenant.jwk(tenant.key, "twice"),
        "text",
        None,
    ]
    subject = cache(tenant, clock)
    await subject.get(tenant.kid)
    assert sorted(subject._keys) == sorted([tenant.kid, "template"])


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"keys": {}}', b'{"keys": []}', b"<html>", b"\xff", b"[" * 99999]
)
async def test_answers_that_are_no_set_keep_the_old_one(tenant: Any, clock: Any, body: bytes) -> None:
    answers = [b'{"keys": []}', body]

    async def fetch(url: str) -> bytes:
        return answers.pop()

    with pytest.raises(KeysUnavailableError):
        await KeyCache(tenant.entra, fetch, clock=clock).get("a")
