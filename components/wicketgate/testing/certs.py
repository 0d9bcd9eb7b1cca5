"""A throwaway certificate authority that Go, OpenSSL and Python clients accept.

The authority lives in a folder as `ca.pem` (public) and `ca.key` (0600), so that several servers may share it and a
restart keeps what clients already trust. Leaves carry what strict verifiers ask for (RFC 5280): subject alternative
names, key identifiers, server-auth usage, and a life under 398 days.
"""

import fcntl
import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wicketgate.testing.files import private_folder, write_atomic

_PEM = serialization.Encoding.PEM
_CA_DAYS = 3650
_LEAF_DAYS = 397
_BACKDATE = timedelta(hours=1)  # a client's clock may be a little behind

_DEFAULT_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True)
class LeafFiles:
    """A server's certificate: `cert_file` holds leaf and authority (PEM), `key_file` its private key (PEM, 0600)."""

    cert_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """A TLS server context (1.2 or later) with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True)
class CertificateAuthority:
    """An authority in a folder. Open it with `CertificateAuthority.open`."""

    folder: Path
    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, folder: Path, *, name: str = "Wicketgate throwaway CA") -> "CertificateAuthority":
        """The authority kept in `folder`, made now if there is none; safe when two processes start together."""
        private_folder(folder)
        lock = os.open(folder / ".ca.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return cls._load_or_make(folder, name)
        finally:
            os.close(lock)

    @classmethod
    def _load_or_make(cls, folder: Path, name: str) -> "CertificateAuthority":
        key_file, cert_file = folder / "ca.key", folder / "ca.pem"
        if key_file.exists() and cert_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError(f"`{key_file}` holds no elliptic-curve key; delete the folder to make a new authority")
            return cls(folder, x509.load_pem_x509_certificate(cert_file.read_bytes()), key)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {x509.random_serial_number():x}"[:64])])
        certificate = (
            _builder(subject, subject, key.public_key(), _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_atomic(key_file, _key_pem(key))
        write_atomic(cert_file, certificate.public_bytes(_PEM), mode=0o644)
        return cls(folder, certificate, key)

    @property
    def cert_file(self) -> Path:
        """The authority's certificate (PEM): what a client's `--cacert` takes."""
        return self.folder / "ca.pem"

    def issue(self, names: Iterable[str], *, days: int = _LEAF_DAYS, client: bool = False) -> tuple[bytes, bytes]:
        """A leaf for `names` (DNS names or IP addresses) as (certificate chain PEM, private key PEM).

        The first name is the common name. `client` adds client authentication. Raises ValueError without a name.
        """
        wanted = list(names)
        if not wanted:
            raise ValueError("a certificate needs at least one DNS name or IP address")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted[0][:64])])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(subject, self.certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(_PEM) + self.certificate.public_bytes(_PEM), _key_pem(key)

    def issue_files(self, folder: Path, stem: str, names: Iterable[str], *, client: bool = False) -> LeafFiles:
        """Issues a leaf and writes `folder/stem.pem` (0644) and `folder/stem.key` (0600)."""
        chain, key = self.issue(names, client=client)
        private_folder(folder)
        return LeafFiles(
            write_atomic(folder / f"{stem}.pem", chain, mode=0o644), write_atomic(folder / f"{stem}.key", key)
        )

    def write_bundle(self, path: Path, *, extra: Iterable[Path] = ()) -> Path:
        """Writes the roots this process trusts, `extra` files and this authority to `path`, for `SSL_CERT_FILE`.

        A client that takes one bundle must keep trusting what it trusted, so ours is added and replaces nothing.
        """
        own = self.certificate.public_bytes(_PEM)
        roots = system_roots(but=path)
        sources = [*([roots] if roots else []), *extra]
        parts = [own, *(one.read_bytes().strip() + b"\n" for one in sources if one.resolve() != path.resolve())]
        return write_atomic(path, b"".join(parts), mode=0o644)


def system_roots(*, but: Path | None = None) -> Path | None:
    """The bundle that this process's clients trust: `SSL_CERT_FILE` if set, else the system's; None if neither is.

    `but` is left out: a bundle that is about to be written anew, and that the environment may already name.
    """
    named = os.environ.get("SSL_CERT_FILE")
    for candidate in [*([named] if named else []), *_DEFAULT_ROOTS]:
        if Path(candidate).is_file() and (but is None or Path(candidate).resolve() != but.resolve()):
            return Path(candidate)
    return None


def client_context(*ca_files: Path, system: bool = True) -> ssl.SSLContext:
    """A verifying TLS client context that trusts `ca_files`, and the system's roots unless `system` is false."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if system and (roots := system_roots()):
        context.load_verify_locations(roots)
    for file in ca_files:
        context.load_verify_locations(file)
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - _BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
