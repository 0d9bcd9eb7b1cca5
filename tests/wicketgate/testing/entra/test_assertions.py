"""Client assertions: certificates and federated credentials, from the real SDKs and from an attacker."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientAssertionCredential, WorkloadIdentityCredential
from azure.identity.aio import CertificateCredential as AsyncCertificateCredential
from azure.identity.aio import ClientAssertionCredential as AsyncClientAssertionCredential
from azure.identity.aio import WorkloadIdentityCredential as AsyncWorkloadIdentityCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from wicketgate.testing import jws
from wicketgate.testing.entra.assertions import load_certificate
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.issuer.server import WorkloadIssuer

AUDIENCE = "api://AzureADTokenExchange"
SUBJECT = "repo:acme/shop:ref:refs/heads/main"
BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Codes = Callable[[str], int | None]


def make_certificate(days: int = 30) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bot")])
    end = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def pem_of(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkloadIssuer]:
    with WorkloadIssuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture(scope="module")
def rogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkloadIssuer]:
    """Another issuer, which the tenant can reach as well."""
    with WorkloadIssuer(tmp_path_factory.mktemp("rogue")) as running:
        yield running


CERTIFICATE = make_certificate()
EXPIRED = make_certificate(days=-1)


@pytest.fixture(scope="module")
def entra(issuer: WorkloadIssuer, rogue: WorkloadIssuer) -> Iterator[EntraEmulator]:
    pems = [one[1].public_bytes(serialization.Encoding.PEM).decode() for one in (CERTIFICATE, EXPIRED)]
    untrusted = "https://localhost:1"
    seed = {
        "applications": [
            {"displayName": "api", "identifierUris": ["api://api"], "api": {"requestedAccessTokenVersion": 2}},
            {
                "displayName": "bot",
                "certificates": pems,
                "federatedCredentials": [
                    {"name": "main", "issuer": issuer.url, "subject": SUBJECT},
                    {"name": "down", "issuer": untrusted, "subject": SUBJECT},
                    {
                        "name": "flexible",
                        "issuer": issuer.url,
                        "claimsMatchingExpression": {
                            "value": "claims['sub'] matches 'repo:acme/shop:ref:refs/heads/release-*' and "
                            "claims['job_workflow_ref'] eq 'acme/shop/.github/workflows/a.yml@refs/heads/main'",
                            "languageVersion": 1,
                        },
                    },
                ],
            },
            {
                "displayName": "other",
                "federatedCredentials": [{"name": "rogue", "issuer": rogue.url, "subject": SUBJECT}],
            },
        ]
    }
    with EntraEmulator(trust=[issuer.ca_file, rogue.ca_file], seed=seed) as running:
        yield running


@pytest.fixture
def code(ask: Callable[..., httpx2.Response], app_id: Callable[[str], str]) -> Codes:
    """Presents an assertion for the bot: None if a token comes, else the AADSTS code."""

    def present(assertion: str) -> int | None:
        answer = ask(
            grant_type="client_credentials",
            client_id=app_id("bot"),
            client_assertion=assertion,
            client_assertion_type=BEARER,
            scope="api://api/.default",
        )
        if answer.status_code == 200:
            token = jws.parse(answer.json()["access_token"])
            assert token.claims["azpacr"] == "2"
            return None
        return answer.json()["error_codes"][0]

    return present


# --- federated credentials


def test_client_assertion_credential(
    entra: EntraEmulator, issuer: WorkloadIssuer, app_id: Callable[[str], str]
) -> None:
    credential = ClientAssertionCredential(
        entra.tenant,
        app_id("bot"),
        lambda: issuer.token(SUBJECT, AUDIENCE),
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
    )
    assert jws.parse(credential.get_token("api://api/.default").token).claims["azpacr"] == "2"


def test_workload_identity_credential_reads_the_projected_file(
    entra: EntraEmulator,
    issuer: WorkloadIssuer,
    app_id: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer.project(SUBJECT, AUDIENCE, tmp_path / "token")
    monkeypatch.setenv("AZURE_TENANT_ID", entra.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", app_id("bot"))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.authority)
    credential = WorkloadIdentityCredential(connection_verify=str(entra.ca_file))
    assert credential.get_token("api://api/.default").token


@pytest.mark.anyio
async def test_the_aio_credentials(
    entra: EntraEmulator, issuer: WorkloadIssuer, app_id: Callable[[str], str], tmp_path: Path
) -> None:
    issuer.project(SUBJECT, AUDIENCE, tmp_path / "token")
    common = {"authority": entra.authority, "connection_verify": str(entra.ca_file)}
    by_function = AsyncClientAssertionCredential(
        entra.tenant, app_id("bot"), lambda: issuer.token(SUBJECT, AUDIENCE), **common
    )
    by_file = AsyncWorkloadIdentityCredential(
        tenant_id=entra.tenant, client_id=app_id("bot"), token_file_path=str(tmp_path / "token"), **common
    )
    for credential in (by_function, by_file):
        async with credential:
            assert (await credential.get_token("api://api/.default")).token


def test_a_wrong_subject_raises_entras_code_in_the_sdk(
    entra: EntraEmulator, issuer: WorkloadIssuer, app_id: Callable[[str], str]
) -> None:
    credential = ClientAssertionCredential(
        entra.tenant,
        app_id("bot"),
        lambda: issuer.token("repo:acme/other:ref:refs/heads/main", AUDIENCE),
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
    )
    with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
        credential.get_token("api://api/.default")


@pytest.mark.parametrize(
    ("subject", "claims", "expected"),
    [
        (SUBJECT, {}, None),
        (SUBJECT, {"aud": [AUDIENCE]}, None),
        (SUBJECT, {"exp": time.time() + 300.5, "iat": time.time() - 0.5}, None),
        (SUBJECT.replace("acme", "Acme"), {}, 7002138),
        (SUBJECT + "x", {}, 700213),
        (SUBJECT + "\n", {}, 700213),
        ("", {}, 700213),
        (SUBJECT, {"aud": "api://azureadtokenexchange"}, 700212),
        (SUBJECT, {"aud": []}, 700212),
        (SUBJECT, {"aud": None}, 50027),
        (SUBJECT, {"sub": None}, 50027),
        (SUBJECT, {"sub": [SUBJECT]}, 50027),
        (SUBJECT, {"exp": int(time.time()) - 3600}, 700024),
        (SUBJECT, {"nbf": int(time.time()) + 3600}, 700024),
        (SUBJECT, {"exp": None}, 700024),
        (SUBJECT, {"exp": "9999999999"}, 700024),
    ],
)
def test_issuer_subject_audience_and_times(
    code: Codes, issuer: WorkloadIssuer, subject: str, claims: dict[str, Any], expected: int | None
) -> None:
    assert code(issuer.token(subject, AUDIENCE, claims=claims)) == expected


def test_the_issuer_is_compared_byte_by_byte(code: Codes, issuer: WorkloadIssuer) -> None:
    for spelled in (issuer.url + "/", issuer.url.upper(), issuer.url.replace("localhost", "127.0.0.1"), "", "x"):
        assert code(issuer.token(SUBJECT, AUDIENCE, claims={"iss": spelled})) == 700211


def test_another_issuers_key_does_not_sign_for_this_one(
    code: Codes, issuer: WorkloadIssuer, rogue: WorkloadIssuer
) -> None:
    assert code(rogue.token(SUBJECT, AUDIENCE)) == 700211
    assert code(rogue.token(SUBJECT, AUDIENCE, claims={"iss": issuer.url})) == 700027
    stolen_kid = jws.sign_rs256(
        jws.parse(issuer.token(SUBJECT, AUDIENCE)).claims, rogue.key.key, {"kid": issuer.key.kid}
    )
    assert code(stolen_kid) == 50027


def test_an_issuer_that_does_not_answer(code: Codes, issuer: WorkloadIssuer) -> None:
    assert code(issuer.token(SUBJECT, AUDIENCE, claims={"iss": "https://localhost:1"})) == 50166


def test_unsigned_and_hmac_assertions_are_refused(code: Codes, issuer: WorkloadIssuer) -> None:
    token = issuer.token(SUBJECT, AUDIENCE)
    _, payload, signature = token.split(".")
    for alg in ("none", "HS256", "None", "RS1", "PS256"):
        header = jws.b64url(json.dumps({"alg": alg, "kid": issuer.key.kid}).encode())
        assert code(f"{header}.{payload}.") == 50027
        assert code(f"{header}.{payload}.{signature}") == 50027
    for broken in ("", "a", "a.b", "a.b.c", "a.b.c.d", token + "A", "ä.b.c"):
        assert code(broken) == 50027
    assert code(f"{payload}.{payload}.{signature}") == 700027


def test_an_edited_payload_is_refused(code: Codes, issuer: WorkloadIssuer) -> None:
    header, payload, signature = issuer.token("repo:acme/evil:ref:refs/heads/main", AUDIENCE).split(".")
    claims = json.loads(jws.unb64url(payload)) | {"sub": SUBJECT}
    assert code(f"{header}.{jws.b64url(json.dumps(claims).encode())}.{signature}") == 50027


def test_a_flexible_credential(code: Codes, issuer: WorkloadIssuer) -> None:
    workflow = {"job_workflow_ref": "acme/shop/.github/workflows/a.yml@refs/heads/main"}
    release = "repo:acme/shop:ref:refs/heads/release-7"
    assert code(issuer.token(release, AUDIENCE, claims=workflow)) is None
    assert code(issuer.token(release, AUDIENCE)) == 700213
    assert code(issuer.token("repo:acme/shop:ref:refs/heads/hotfix", AUDIENCE, claims=workflow)) == 700213
    assert code(issuer.token("x" + release, AUDIENCE, claims=workflow)) == 700213


def test_lag_and_stray_failures(code: Codes, entra: EntraEmulator, issuer: WorkloadIssuer, graph: httpx2.Client,
                                object_id: Callable[[str, str], str]) -> None:  # fmt: skip
    entra.set_quirks(stray_700213_next=2)
    assert [code(issuer.token(SUBJECT, AUDIENCE)) for _ in range(3)] == [700213, 700213, None]
    entra.set_quirks(fic_lag=60)
    fresh = {"name": "fresh", "issuer": issuer.url, "subject": "fresh", "audiences": [AUDIENCE]}
    made = graph.post(f"/v1.0/applications/{object_id('application', 'bot')}/federatedIdentityCredentials", json=fresh)
    assert made.status_code == 201
    assert code(issuer.token("fresh", AUDIENCE)) == 700213
    entra.set_quirks(fic_lag=0)
    assert code(issuer.token("fresh", AUDIENCE)) is None


# --- certificates


def test_certificate_credentials(entra: EntraEmulator, app_id: Callable[[str], str]) -> None:
    credential = CertificateCredential(
        entra.tenant,
        app_id("bot"),
        certificate_data=pem_of(*CERTIFICATE),
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
        disable_instance_discovery=True,
    )
    assert jws.parse(credential.get_token("api://api/.default").token).claims["azpacr"] == "2"


@pytest.mark.anyio
async def test_the_aio_certificate_credential_sends_ps256(entra: EntraEmulator, app_id: Callable[[str], str]) -> None:
    credential = AsyncCertificateCredential(
        entra.tenant,
        app_id("bot"),
        certificate_data=pem_of(*CERTIFICATE),
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
    )
    async with credential:
        assert (await credential.get_token("api://api/.default")).token


def test_msal_with_a_certificate(
    entra: EntraEmulator, app_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    key, certificate = CERTIFICATE
    pem = serialization.Encoding.PEM
    client = msal.ConfidentialClientApplication(
        app_id("bot"),
        authority=f"{entra.authority}/{entra.tenant}",
        client_credential={
            "private_key": key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            "thumbprint": certificate.fingerprint(hashes.SHA1()).hex(),
        },
        instance_discovery=False,
        verify=str(entra.ca_file),
    )
    answer: Any = client.acquire_token_for_client(["api://api/.default"])
    assert "access_token" in answer, answer


def certificate_assertion(
    entra: EntraEmulator,
    client: str,
    pair: tuple[rsa.RSAPrivateKey, x509.Certificate],
    *,
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    now = int(time.time())
    standard = {
        "iss": client,
        "sub": client,
        "aud": f"{entra.url}/{entra.tenant}/oauth2/v2.0/token",
        "jti": "j",
        "nbf": now,
        "exp": now + 300,
    }
    return jws.sign_rs256(
        standard | claims, pair[0], header if header is not None else {"x5t": jws.certificate_thumbprint(pair[1])}
    )


def test_certificate_refusals(code: Codes, entra: EntraEmulator, app_id: Callable[[str], str]) -> None:
    bot = app_id("bot")
    unregistered = make_certificate()
    thumbprint = jws.certificate_thumbprint(CERTIFICATE[1])
    assert code(certificate_assertion(entra, bot, CERTIFICATE)) is None
    hex_kid = {"kid": CERTIFICATE[1].fingerprint(hashes.SHA1()).hex().upper()}
    assert code(certificate_assertion(entra, bot, CERTIFICATE, header=hex_kid)) is None
    assert code(certificate_assertion(entra, bot, unregistered)) == 700027
    assert code(certificate_assertion(entra, bot, unregistered, header={"x5t": thumbprint})) == 700027
    assert code(certificate_assertion(entra, bot, CERTIFICATE, header={})) == 700027
    assert code(certificate_assertion(entra, bot, EXPIRED)) == 700027
    assert code(certificate_assertion(entra, bot, CERTIFICATE, sub=app_id("other"))) == 700021
    assert code(certificate_assertion(entra, bot, CERTIFICATE, aud="https://login.example/token")) == 700023
    assert code(certificate_assertion(entra, bot, CERTIFICATE, exp=int(time.time()) - 3600)) == 700024
    assert code(certificate_assertion(entra, app_id("other"), CERTIFICATE)) == 700211


def test_the_sdks_forms_of_base64_and_padding_scheme(
    code: Codes, entra: EntraEmulator, app_id: Callable[[str], str]
) -> None:
    """Padded base64url, PS256 and x5t#S256, by hand."""
    key, certificate = CERTIFICATE
    now = int(time.time())
    bot = app_id("bot")
    audience = f"{entra.url}/{entra.tenant}/oauth2/v2.0/token"
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": jws.certificate_thumbprint(certificate, sha256=True)}
    claims = {"iss": bot, "sub": bot, "aud": audience, "exp": now + 60.25, "iat": now + 0.25}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, claims)]
    signing_input = ".".join(parts)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    signature = key.sign(signing_input.encode(), scheme, hashes.SHA256())
    assert code(f"{signing_input}.{base64.urlsafe_b64encode(signature).decode()}") is None


def test_certificates_come_as_der_or_pem() -> None:
    certificate = CERTIFICATE[1]
    for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM):
        assert load_certificate(base64.b64encode(certificate.public_bytes(encoding)).decode()) == certificate
    for wrong in (None, 5, "", "!!", "AAAA"):
        assert load_certificate(wrong) is None
