"""The attacks first: each must be refused, with a code that says why."""

import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jws as joserfc_jws

from wicketgate_gateway.identity import tokens
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.tokens import LEEWAY, MAX_LIFE, TokenVerifier

pytestmark = pytest.mark.anyio
OTHER_TENANT = "11111111-2222-4333-8444-555555555555"
HOST = "https://login.microsoftonline.com"


async def code(tenant: Any, token: str) -> str:
    """Why the token is refused; the refusal must not repeat it."""
    with pytest.raises(Refused) as error:
        await TokenVerifier(tenant.entra, tenant.audience, tenant.fetch).verify(token)
    text = str(error.value) + repr(error.value)
    assert all(len(part) < 12 or part not in text for part in token.split("."))
    assert error.value.reason
    return error.value.code


async def test_a_good_token(tenant: Any) -> None:
    claims = await TokenVerifier(tenant.entra, tenant.audience, tenant.fetch).verify(tenant.token())
    assert claims.object_id == "12345678-1234-4234-8234-123456789abc"
    assert claims.client_id == "99999999-8888-4777-8666-555555555555"
    assert claims.tenant == tenant.entra.tenant
    assert claims.roles == {"Bot.Connect"}
    assert claims.token_id == "abcDEF_-123"
    assert claims.expires_at == claims.issued_at + 3600
    assert not claims.by_secret
    assert tenant.fetched == [f"{HOST}/{tenant.entra.tenant}/discovery/v2.0/keys"]


async def test_no_token(tenant: Any) -> None:
    assert await code(tenant, "") == "token-missing"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": -LEEWAY - 1, "nbf": -7200, "iat": -7200}, "token-expired"),
        ({"nbf": LEEWAY + 5}, "token-not-yet-valid"),
        ({"iat": LEEWAY + 5}, "token-not-yet-valid"),
        ({"exp": MAX_LIFE + 60}, "token-malformed"),
        ({"nbf": 30, "exp": 20}, "token-malformed"),
    ],
)
async def test_times(tenant: Any, changes: dict[str, int], expected: str) -> None:
    now = int(time.time())
    assert await code(tenant, tenant.token(**{k: now + v for k, v in changes.items()})) == expected


async def test_times_within_the_leeway(tenant: Any) -> None:
    now = int(time.time())
    verifier = TokenVerifier(tenant.entra, tenant.audience, tenant.fetch)
    await verifier.verify(tenant.token(exp=now - LEEWAY + 5, iat=now - 3600, nbf=now - 3600))
    await verifier.verify(tenant.token(nbf=now + LEEWAY - 5, iat=now + LEEWAY - 5))
    assert LEEWAY <= 60


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [None, "1900000000", 1.9e9, True, -5, 0, [], 1 << 60, float("inf"), float("nan")])
async def test_times_of_another_kind(tenant: Any, name: str, value: Any) -> None:
    if isinstance(value, float) and value < 2e9:
        value = time.time() + 60.5  # the right time, as a float
    assert await code(tenant, tenant.token(**{name: value})) == "token-malformed"


@pytest.mark.parametrize(
    "audience",
    [
        "00000003-0000-0000-c000-000000000000",
        "https://graph.microsoft.com",
        "api://0a4f3e2d-1c0b-4a99-8877-665544332211",
        "0A4F3E2D-1C0B-4A99-8877-665544332211",
        "0a4f3e2d-1c0b-4a99-8877-665544332211/",
        "",
        None,
        7,
        ["0a4f3e2d-1c0b-4a99-8877-665544332211"],
        ["0a4f3e2d-1c0b-4a99-8877-665544332211", "https://graph.microsoft.com"],
        {"0a4f3e2d-1c0b-4a99-8877-665544332211": 1},
    ],
)
async def test_audiences(tenant: Any, audience: Any) -> None:
    assert await code(tenant, tenant.token(aud=audience)) == "wrong-audience"


@pytest.mark.parametrize(
    "issuer",
    [
        f"{HOST}/{OTHER_TENANT}/v2.0",
        f"{HOST}/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/v2.0/",
        f"{HOST}/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/",
        f"{HOST}/6F1C9A52-7A53-4C0E-9A55-3F2E6B1D8C40/v2.0",
        f"{HOST}/{{tenantid}}/v2.0",
        f"{HOST}/common/v2.0",
        "https://sts.windows.net/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/",
        "http://login.microsoftonline.com/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/v2.0",
        "https://login.microsoftonline.com.evil.example/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/v2.0",
        None,
        [f"{HOST}/6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40/v2.0"],
    ],
)
async def test_issuers(tenant: Any, issuer: Any) -> None:
    assert await code(tenant, tenant.token(iss=issuer)) == "wrong-issuer"


@pytest.mark.parametrize("tid", [OTHER_TENANT, None, "", "6F1C9A52-7A53-4C0E-9A55-3F2E6B1D8C40", 5])
async def test_another_tenant_with_the_right_issuer(tenant: Any, tid: Any) -> None:
    assert await code(tenant, tenant.token(tid=tid)) == "wrong-tenant"


@pytest.mark.parametrize("version", ["1.0", "2", 2.0, None, "3.0"])
async def test_versions(tenant: Any, version: Any) -> None:
    assert await code(tenant, tenant.token(ver=version)) == "wrong-version"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, "RS256 ", "rs256", ["RS256"], 1, "RSA"])
@pytest.mark.parametrize("signed", [False, True])
async def test_no_algorithm_or_none_of_ours(tenant: Any, alg: Any, signed: bool) -> None:
    token = tenant.sign(tenant.header(alg=alg), tenant.claims())
    if not signed:
        assert await code(tenant, token.rpartition(".")[0] + ".") == "token-malformed"
        token = token.rpartition(".")[0] + ".AA"
    assert await code(tenant, token) == "wrong-algorithm"
    assert tenant.fetched == []


async def test_hmac_with_the_public_key(tenant: Any) -> None:
    pem, der = tenant.public(serialization.Encoding.PEM), tenant.public(serialization.Encoding.DER)
    jwk = tenant.keys[0]
    secrets = [pem, pem.strip(), der, json.dumps(jwk).encode(), jwk["n"].encode(), base64.b64encode(der), b""]
    for secret in secrets:
        for alg in ("HS256", "HS384", "HS512"):
            assert await code(tenant, tenant.hmac_token(secret, alg)) == "wrong-algorithm"
    # The same bytes under the name RS256 are a signature like any other wrong one.
    assert await code(tenant, tenant.hmac_token(pem, "RS256")) == "bad-signature"


async def test_other_rsa_algorithms(tenant: Any) -> None:
    for alg, digest in (("RS384", hashes.SHA384()), ("RS512", hashes.SHA512())):
        assert await code(tenant, tenant.rsa_token(alg, padding.PKCS1v15(), digest)) == "wrong-algorithm"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    assert await code(tenant, tenant.rsa_token("PS256", pss, hashes.SHA256())) == "wrong-algorithm"
    assert await code(tenant, tenant.rsa_token("RS256", pss, hashes.SHA256())) == "bad-signature"
    assert await code(tenant, tenant.rsa_token("RS256", padding.PKCS1v15(), hashes.SHA512())) == "bad-signature"


async def test_signed_by_someone_else_under_our_key_id(tenant: Any) -> None:
    assert await code(tenant, tenant.sign(tenant.header(), tenant.claims(), tenant.other)) == "bad-signature"


async def test_any_change_after_signing(tenant: Any) -> None:
    head, body, signature = tenant.token().split(".")
    other = tenant.token(oid="ffffffff-1234-4234-8234-123456789abc").split(".")
    assert await code(tenant, f"{head}.{other[1]}.{signature}") == "bad-signature"
    flipped = ("A" if signature[5] != "A" else "B").join((signature[:5], signature[6:]))
    assert await code(tenant, f"{head}.{body}.{flipped}") == "bad-signature"
    assert await code(tenant, f"{head}.{body}.{signature[:-2]}") == "bad-signature"
    assert await code(tenant, f"{head}.{body}.{'A' * 2000}") == "bad-signature"


@pytest.mark.parametrize(
    "kid", [None, "", 7, ["kid-1_A"], "../../keys", "https://evil.example/k", "a/b", "k" * 129, "ä"]
)
async def test_key_ids_that_are_none(tenant: Any, kid: Any) -> None:
    assert await code(tenant, tenant.sign(tenant.header(kid=kid), tenant.claims())) == "token-malformed"
    assert tenant.fetched == []


async def test_an_unknown_key_id(tenant: Any) -> None:
    verifier = TokenVerifier(tenant.entra, tenant.audience, tenant.fetch)
    await verifier.verify(tenant.token())
    for kid in ("new-1", "new-2", "new-3"):
        with pytest.raises(Refused) as error:
            await verifier.verify(tenant.sign(tenant.header(kid=kid), tenant.claims(), tenant.other))
        assert error.value.code == "unknown-key"
    assert len(tenant.fetched) == 2  # the first, and one for all unknown ones


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://evil.example/keys"),
        ("x5u", "https://evil.example/cert"),
        ("jwk", {"kty": "RSA"}),
        ("x5c", ["MIIB"]),
        ("crit", ["exp"]),
        ("crit", []),
        ("cty", "JWT"),
        ("b64", False),
        ("zip", "DEF"),
        ("enc", "A128GCM"),
        ("anything", "else"),
    ],
)
async def test_headers_that_bring_a_key_or_change_the_rules(tenant: Any, name: str, value: Any) -> None:
    if name == "jwk":
        value = tenant.jwk(tenant.other, tenant.kid)
    token = tenant.sign(tenant.header(**{name: value}), tenant.claims(), tenant.other)
    assert await code(tenant, token) == "token-malformed"
    assert tenant.fetched == []


@pytest.mark.parametrize("typ", [None, "jwt", "at+jwt", "JOSE", "", 1])
async def test_other_types(tenant: Any, typ: Any) -> None:
    assert await code(tenant, tenant.sign(tenant.header(typ=typ), tenant.claims())) == "token-malformed"


async def test_a_graph_token(tenant: Any) -> None:
    token = tenant.sign(tenant.header(nonce="abc"), tenant.claims(aud="https://graph.microsoft.com"))
    assert await code(tenant, token) == "wrong-audience"


async def test_duplicate_keys(tenant: Any) -> None:
    payload = json.dumps(tenant.claims())
    twice = payload[:-1] + ', "oid": "12345678-1234-4234-8234-123456789abc"}'
    assert await code(tenant, tenant.sign(tenant.header(), twice)) == "token-malformed"
    nested = payload[:-1] + ', "x": {"a": 1, "a": 2}}'
    assert await code(tenant, tenant.sign(tenant.header(), nested)) == "token-malformed"
    header = json.dumps(tenant.header())
    for more in ('"alg": "none"', '"kid": "other"', '"alg": "RS256"', '"\\u0061lg": "none"'):
        assert await code(tenant, tenant.sign(f"{header[:-1]}, {more}}}", tenant.claims())) == "token-malformed"


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        '"text"',
        "{",
        "{}x",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        "[" * 3000,
        '{"a":' * 2000,
        b"\xff\xfe{}",
        b'{"a": "\xc3"}',
        "\ufeff{}",
        '{"exp": ' + "9" * 5000 + "}",
    ],
)
async def test_payloads_that_are_no_object(tenant: Any, payload: str | bytes) -> None:
    assert await code(tenant, tenant.sign(tenant.header(), payload)) == "token-malformed"


async def test_a_token_within_a_token(tenant: Any) -> None:
    # CVE-2025-55241's shape: a signed wrapper around an unsigned token of another tenant.
    inner = tenant.sign({"alg": "none"}, tenant.claims(tid=OTHER_TENANT))
    assert await code(tenant, tenant.sign(tenant.header(cty="JWT"), inner)) == "token-malformed"
    assert await code(tenant, tenant.sign(tenant.header(), json.dumps(inner))) == "token-malformed"
    for name in ("actor", "nested", "assertion"):
        good = await TokenVerifier(tenant.entra, tenant.audience, tenant.fetch).verify(tenant.token(**{name: inner}))
        assert good.tenant == tenant.entra.tenant  # what it carries along is not read


async def test_sizes(tenant: Any) -> None:
    big = tenant.header()
    big["x5t"] = "x" * 500
    assert await code(tenant, tenant.sign(big, tenant.claims())) == "token-malformed"
    assert await code(tenant, tenant.token(pad="x" * tokens.MAX_TOKEN)) == "token-malformed"
    assert tenant.fetched == []


async def test_spellings_of_base64(tenant: Any) -> None:
    head, body, signature = tenant.token().split(".")
    standard = signature.replace("-", "+").replace("_", "/")
    variants = [f"{head}.{body}.{signature}=", f"{head}=.{body}.{signature}", f"{head}.{body}==.{signature}"]
    variants += [f"{head}.{body}.{standard}"] if standard != signature else []
    for change in (" {}", "{} ", "{}\n", "\n{}", "{}\r\n", "{}\0", "Bearer {}", '"{}"', "{}ä", "{}\u2028", "{}."):
        variants.append(change.format(f"{head}.{body}.{signature}"))
    variants += [
        f"{head}.{body}",
        f"{head}..{signature}",
        f".{body}.{signature}",
        f"{head}.{body}.{signature}.x",
        "..",
        ".",
    ]
    variants += [f"{head}. {body}.{signature}", f"{head}.{body}\n.{signature}", "a.b.c", "x" * 100, "A.A.A", "..", "."]
    for token in variants:
        assert await code(tenant, token) == "token-malformed", token[-20:]


async def test_spare_bits_of_base64(tenant: Any) -> None:
    # The last character of 256 bytes in base64url has 4 spare bits: 16 spellings, of which one is canonical.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = tenant.token()
    last = alphabet.index(token[-1])
    assert await code(tenant, token[:-1] + alphabet[last | 1 if not last & 1 else last ^ 1]) == "token-malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"idtyp": None},
        {"idtyp": "user"},
        {"idtyp": "APP"},
        {"idtyp": ["app"]},
        {"idtyp": "user", "scp": "access"},
        {"scp": "access"},
        {"nonce": "n", "idtyp": None},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"preferred_username": "ada@contoso.example"},
    ],
)
async def test_tokens_of_people_and_id_tokens(tenant: Any, changes: dict[str, Any]) -> None:
    assert await code(tenant, tenant.token(**changes)) == "not-an-app-token"


async def test_an_id_token_of_another_application(tenant: Any) -> None:
    token = tenant.token(aud="77777777-7777-4777-8777-777777777777", nonce="n", idtyp=None)
    assert await code(tenant, token) == "wrong-audience"


@pytest.mark.parametrize("name", ["oid", "azp", "uti"])
@pytest.mark.parametrize("value", [None, "", 5, ["12345678-1234-4234-8234-123456789abc"], {}, True, "x\n", "ä", "a b"])
async def test_claims_of_another_kind(tenant: Any, name: str, value: Any) -> None:
    assert await code(tenant, tenant.token(**{name: value})) == "token-malformed"


@pytest.mark.parametrize("roles", ["Bot.Connect", {"Bot.Connect": 1}, [["Bot.Connect"]], [1], [""], ["a b"], 5, True])
async def test_roles_of_another_kind(tenant: Any, roles: Any) -> None:
    assert await code(tenant, tenant.token(roles=roles)) == "token-malformed"


async def test_no_roles_is_an_empty_set(tenant: Any) -> None:
    claims = await TokenVerifier(tenant.entra, tenant.audience, tenant.fetch).verify(tenant.token(roles=None))
    assert claims.roles == frozenset()


async def test_a_secret_shows(tenant: Any) -> None:
    claims = await TokenVerifier(tenant.entra, tenant.audience, tenant.fetch).verify(tenant.token(azpacr="1"))
    assert claims.by_secret


async def test_without_keys_nobody_gets_in(tenant: Any) -> None:
    tenant.keys = []
    assert await code(tenant, tenant.token()) == "keys-unavailable"


async def test_the_signature_is_checked_by_joserfc_over_the_bytes_that_we_read(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = joserfc_jws.deserialize_compact

    def differently(*args: Any, **more: Any) -> Any:
        result = real(*args, **more)
        result.payload = b"{}"
        return result

    monkeypatch.setattr(joserfc_jws, "deserialize_compact", differently)
    assert await code(tenant, tenant.token()) == "token-malformed"
