"""A tenant in memory: a key, tokens signed with it, and the JWKS that a fetcher gives."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from wicketgate_gateway.contract.gateway import Entra

TENANT_ID = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
AUDIENCE_ID = "0a4f3e2d-1c0b-4a99-8877-665544332211"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Tenant:
    """Signs what a test asks for, right or wrong."""

    def __init__(self, key: rsa.RSAPrivateKey, other: rsa.RSAPrivateKey) -> None:
        self.entra = Entra(tenant=TENANT_ID)
        self.audience = AUDIENCE_ID
        self.issuer = f"https://login.microsoftonline.com/{TENANT_ID}/v2.0"
        self.key, self.other = key, other
        self.kid = "kid-1_A"
        self.keys: list[dict[str, Any]] = [self.jwk(key, self.kid)]
        self.fetched: list[str] = []
        self.failure: Exception | None = None

    @staticmethod
    def jwk(key: rsa.RSAPrivateKey, kid: str, **more: Any) -> dict[str, Any]:
        public = key.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "kid": kid, "n": number(public.n), "e": number(public.e), **more}

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.failure is not None:
            raise self.failure
        return json.dumps({"keys": self.keys}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A good bot's claims; a change to None takes the claim away."""
        now = int(time.time())
        good: dict[str, Any] = {
            "aud": AUDIENCE_ID,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "aio": "k2BgYA==",
            "azp": "99999999-8888-4777-8666-555555555555",
            "azpacr": "2",
            "idtyp": "app",
            "oid": "12345678-1234-4234-8234-123456789abc",
            "rh": "1.AX.",
            "roles": ["Bot.Connect"],
            "sub": "12345678-1234-4234-8234-123456789abc",
            "tid": TENANT_ID,
            "uti": "abcDEF_-123",
            "ver": "2.0",
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        good = {"typ": "JWT", "alg": "RS256", "kid": self.kid}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def sign(
        self, header: str | dict[str, Any], payload: str | bytes | dict[str, Any], key: rsa.RSAPrivateKey | None = None
    ) -> str:
        """RS256 over the given parts, whatever they hold."""
        head = header if isinstance(header, str) else json.dumps(header)
        body = json.dumps(payload) if isinstance(payload, dict) else payload
        raw = body if isinstance(body, bytes) else body.encode()
        signed = f"{b64(head.encode())}.{b64(raw)}"
        return f"{signed}.{b64((key or self.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def token(self, **changes: Any) -> str:
        """A token with these claims changed."""
        return self.sign(self.header(), self.claims(**changes))

    def hmac_token(self, secret: bytes, alg: str = "HS256") -> str:
        signed = f"{b64(json.dumps(self.header(alg=alg)).encode())}.{b64(json.dumps(self.claims()).encode())}"
        code = hmac.HMAC(secret, hashes.SHA256())
        code.update(signed.encode())
        return f"{signed}.{b64(code.finalize())}"

    def rsa_token(self, alg: str, pad: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> str:
        signed = f"{b64(json.dumps(self.header(alg=alg)).encode())}.{b64(json.dumps(self.claims()).encode())}"
        return f"{signed}.{b64(self.key.sign(signed.encode(), pad, digest))}"

    def public(self, encoding: serialization.Encoding) -> bytes:
        return self.key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="session")
def rsa_keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """Two keys, made once: making one takes long."""
    return tuple(rsa.generate_private_key(65537, 2048) for _ in range(2))  # pyright: ignore[reportReturnType]


@pytest.fixture
def tenant(rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]) -> Tenant:
    """The tenant, with one published key."""
    return Tenant(*rsa_keys)


@pytest.fixture
def clock() -> "Clock":
    """A monotonic clock that a test sets."""
    return Clock()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., str]
