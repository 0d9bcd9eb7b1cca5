"""The tenant's signing keys: self-signed certificates as Entra publishes them, with rollover.

Kept in the store, which is 0600. The newest key signs; older ones stay published until retired, and so does the next
one before it signs, as Entra does so that caches are warm.
"""

import base64
import hashlib
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from wicketgate.testing import jws
from wicketgate.testing.entra.store import Store

_KIND = "signingKey"
_NAME = "accounts.accesscontrol.windows.net"


@dataclass(frozen=True)
class SigningKey:
    """A private key with its certificate; `kid` and `x5t` are the certificate's SHA-1 thumbprint, as Entra's are."""

    kid: str
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def jwk(self, issuer: str) -> dict[str, Any]:
        """The published form; Entra adds the issuer that the key is for."""
        chain = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        return jws.rsa_jwk(self.key.public_key(), self.kid, x5t=self.kid, x5c=[chain], issuer=issuer)


class SigningKeys:
    """The keys of one kind in a store: the tenant's, or those of one application."""

    def __init__(self, store: Store, kind: str = _KIND, name: str = _NAME) -> None:
        self._store = store
        self._kind = kind
        self._name = name
        self._keys: list[SigningKey] = [_load(doc) for doc in store.all(kind)]
        if not self._keys:
            self._add()

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        return self._keys[-1]

    @property
    def published(self) -> list[SigningKey]:
        """All keys in the JWKS, newest first."""
        return self._keys[::-1]

    def roll(self, *, retire: bool = False) -> SigningKey:
        """A new key signs from now on; with `retire` the older ones leave the JWKS, and their tokens are void."""
        if retire:
            for doc in list(self._store.all(self._kind)):
                self._store.remove(self._kind, doc["id"])
            self._keys.clear()
        self._add()
        return self.current

    def public_key(self, kid: str) -> rsa.RSAPublicKey | None:
        """The published key with this id, or None."""
        return next((one.key.public_key() for one in self._keys if one.kid == kid), None)

    def _add(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)])
        start = datetime.now(UTC) - timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=5 * 365))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        doc = {
            "id": str(uuid.uuid4()),
            "_created": time.time(),
            "key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
            "certificate": certificate.public_bytes(pem).decode(),
        }
        self._store.put(self._kind, doc)
        self._keys.append(_load(doc))


def _load(doc: dict[str, Any]) -> SigningKey:
    key = serialization.load_pem_private_key(doc["key"].encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the state holds a signing key that is not RSA; delete it to start anew")
    certificate = x509.load_pem_x509_certificate(doc["certificate"].encode())
    return SigningKey(jws.certificate_thumbprint(certificate), key, certificate)


def secret_digest(secret: str) -> str:
    """What the state keeps of a client secret or a refresh token."""
    return hashlib.sha256(secret.encode()).hexdigest()
