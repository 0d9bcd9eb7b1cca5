"""The issuer's signing key: one RSA key in a file (0600) that outlives restarts."""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wicketgate.testing import jws
from wicketgate.testing.files import write_atomic


@dataclass(frozen=True)
class IssuerKey:
    """Signs the issuer's tokens. `kid` is the key's JWK thumbprint (RFC 7638)."""

    key: rsa.RSAPrivateKey
    kid: str

    @classmethod
    def open(cls, file: Path) -> "IssuerKey":
        """The key in `file`, made now if there is none. Raises ValueError if it holds another kind of key."""
        if not file.exists():
            made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_atomic(file, pem)
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"`{file}` holds no RSA key; delete it to make a new one")
        return cls(key, jws.thumbprint(key.public_key()))

    def jwks(self) -> dict[str, Any]:
        """The published key set."""
        return {"keys": [jws.rsa_jwk(self.key.public_key(), self.kid, alg="RS256")]}

    def token(
        self, issuer: str, subject: str, audience: str, lifetime: float, claims: dict[str, Any] | None = None
    ) -> str:
        """A signed JWT for a workload; `claims` add to or replace the standard ones."""
        now = int(time.time())
        standard = {
            "iss": issuer,
            "sub": subject,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime),
            "jti": str(uuid.uuid4()),
        }
        return jws.sign_rs256(standard | (claims or {}), self.key, {"kid": self.kid})
