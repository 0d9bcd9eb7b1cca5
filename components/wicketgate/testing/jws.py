"""JSON Web Signatures (RFC 7515) as Entra signs them and as it takes them.

The reader is lenient where Entra is: padded base64url, float times, PS256 beside RS256, since the Azure SDKs send all
of these. It never trusts the header's algorithm beyond that list, and `none` or an HMAC is no algorithm here.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_MAX_TOKEN = 64 * 1024


class MalformedTokenError(ValueError):
    """The text is no compact JWS with a JSON object in header and payload."""


@dataclass(frozen=True)
class Jws:
    """A parsed, unverified compact JWS."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes

    def verify(self, key: rsa.RSAPublicKey, *, algorithms: tuple[str, ...] = ("RS256", "PS256")) -> bool:
        """Whether the signature is `key`'s, by the header's `alg` if that is one of `algorithms`."""
        alg = self.header.get("alg")
        if not isinstance(alg, str) or alg not in algorithms or alg[2:] not in _HASHES:
            return False
        digest = _HASHES[alg[2:]]
        scheme = padding.PKCS1v15() if alg.startswith("RS") else padding.PSS(padding.MGF1(digest), digest.digest_size)
        try:
            key.verify(self.signature, self.signing_input, scheme, digest)
        except InvalidSignature:
            return False
        return True


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Decodes base64url, padded or not. Raises MalformedTokenError."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedTokenError("the token is not base64url") from error


def sign_rs256(claims: dict[str, Any], key: rsa.RSAPrivateKey, header: dict[str, Any]) -> str:
    """A compact RS256 JWS over `claims`; `header` gets `typ` and `alg` added in front."""
    full = {"typ": "JWT", "alg": "RS256", **header}
    signing_input = f"{_part(full)}.{_part(claims)}"
    signature = key.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signing_input}.{b64url(signature)}"


def parse(token: str) -> Jws:
    """Splits and decodes a compact JWS without verifying it. Raises MalformedTokenError."""
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise MalformedTokenError("the token is too long or not ASCII")
    parts = token.split(".")
    if len(parts) != 3:
        raise MalformedTokenError("the token has not three parts")
    return Jws(_object(parts[0]), _object(parts[1]), f"{parts[0]}.{parts[1]}".encode(), unb64url(parts[2]))


def rsa_jwk(key: rsa.RSAPublicKey, kid: str, **more: Any) -> dict[str, Any]:
    """The public key as a JWK for signatures (RFC 7517)."""
    numbers = key.public_numbers()
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": _uint(numbers.n), "e": _uint(numbers.e), **more}


def rsa_from_jwk(jwk: dict[str, Any]) -> rsa.RSAPublicKey | None:
    """The RSA public key in `jwk`, or None if it holds another kind or is malformed."""
    if jwk.get("kty") != "RSA" or not isinstance(jwk.get("n"), str) or not isinstance(jwk.get("e"), str):
        return None
    try:
        modulus = int.from_bytes(unb64url(jwk["n"]))
        return rsa.RSAPublicNumbers(int.from_bytes(unb64url(jwk["e"])), modulus).public_key()
    except ValueError:
        return None


def thumbprint(key: rsa.RSAPublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638, SHA-256): a `kid` that follows from the key."""
    numbers = key.public_numbers()
    canonical = json.dumps({"e": _uint(numbers.e), "kty": "RSA", "n": _uint(numbers.n)}, separators=(",", ":"))
    return b64url(hashlib.sha256(canonical.encode()).digest())


def certificate_thumbprint(certificate: x509.Certificate, *, sha256: bool = False) -> str:
    """The `x5t` (SHA-1) or `x5t#S256` header value of a certificate (RFC 7515, 4.1.7 and 4.1.8)."""
    # x5t is SHA-1 by definition; it names a certificate and proves nothing.
    return b64url(certificate.fingerprint(hashes.SHA256() if sha256 else hashes.SHA1()))  # noqa: S303


def _part(value: dict[str, Any]) -> str:
    return b64url(json.dumps(value, separators=(",", ":")).encode())


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(unb64url(part), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedTokenError("the token holds no JSON") from error
    if not isinstance(value, dict):
        raise MalformedTokenError("the token holds no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers may take different ones of two equal keys, so there must not be two."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _uint(number: int) -> str:
    return b64url(number.to_bytes((number.bit_length() + 7) // 8))
