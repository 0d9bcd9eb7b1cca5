"""The certificates that SAML answers of the tenant are signed with: pinned from its metadata, or from a file.

How this works: the metadata is fetched over verified https, from the authority that is configured, never from an
address that came with an answer; its own signature would prove nothing more. It is fetched at the first use, and again
when it is an hour old. An answer whose signature fits none of the certificates causes one more fetch (Entra may just
have changed them), but at most one in 5 minutes: answers come from strangers. Without a successful fetch for a day, the
certificates are no longer used. Where fingerprints are configured, no other certificate counts, whatever the metadata
lists.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra, Saml
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.http import Fetcher
from wicketgate_gateway.identity.saml import DS
from wicketgate_gateway.identity.saml_xml import content, parse

REFRESH_SECONDS = 3600.0
KEEP_SECONDS = 86400.0
AGAIN_SECONDS = 300.0
RETRY_SECONDS = 5.0
MAX_CERTIFICATES = 6
MIN_BITS = 2048
MAX_METADATA = 512 * 1024
_MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"

log = structlog.get_logger("wicketgate.identity")


class CertificatesUnavailableError(WicketgateError):
    """There is no certificate that may be used."""

    code = "saml-certificates-unavailable"


class Certificates:
    """The pinned certificates, for one event loop. Times are seconds of `clock`."""

    def __init__(
        self, settings: Saml, entra: Entra, fetch: Fetcher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._issuer = f"https://sts.windows.net/{entra.tenant}/"
        authority = f"{entra.authority.rstrip('/')}/{quote(entra.tenant, safe='')}"
        self.url = settings.metadata or (
            f"{authority}/federationmetadata/2007-06/federationmetadata.xml?appid={settings.client}"
        )
        self._fetch = fetch
        self._clock = clock
        self._found: tuple[x509.Certificate, ...] = ()
        self._fetched = self._tried = self._asked_again = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> tuple[x509.Certificate, ...]:
        """The certificates that count now. Raises CertificatesUnavailableError."""
        if self._settings.certificates_file is not None:
            return await asyncio.to_thread(self._from_file, self._settings.certificates_file)
        async with self._lock:
            now = self._clock()
            if now - self._fetched >= REFRESH_SECONDS and now - self._tried >= RETRY_SECONDS:
                await self._load()
        if self._clock() - self._fetched >= KEEP_SECONDS:
            raise CertificatesUnavailableError(
                "Entra's SAML certificates cannot be fetched", remedy="check network, proxy and CA"
            )
        return self._found

    async def changed(self, known: tuple[x509.Certificate, ...]) -> bool:
        """Whether there are others than `known`, fetched anew if the last such fetch is some minutes ago."""
        if self._settings.certificates_file is not None:
            return False
        async with self._lock:
            if self._found == known and self._clock() - self._asked_again >= AGAIN_SECONDS:
                self._asked_again = self._clock()
                await self._load()
        return self._found != known

    async def _load(self) -> None:
        self._tried = self._clock()
        try:
            found = self._pinned(self._read(await self._fetch(self.url)))
        except WicketgateError as error:
            log.warning("SAML certificates not fetched", url=self.url, reason=str(error))
        else:
            self._found, self._fetched = found, self._clock()

    def _read(self, body: bytes) -> list[x509.Certificate]:
        try:
            # Entra's metadata begins with a byte order mark at times.
            root = parse(body.removeprefix(b"\xef\xbb\xbf"), limit=MAX_METADATA, elements=10_000)
            if root.tag != f"{_MD}EntityDescriptor" or root.get("entityID") != self._issuer:
                raise CertificatesUnavailableError("the metadata is of another tenant", remedy="check `tenant`")
            providers = [child for child in root if child.tag == f"{_MD}IDPSSODescriptor"]
            return [
                _certificate(content(element, "X509Certificate", 16 * 1024))
                for provider in providers
                for key in provider
                if key.tag == f"{_MD}KeyDescriptor" and key.get("use", "signing") == "signing"
                for element in key.iterfind(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
            ]
        except Refused as error:
            raise CertificatesUnavailableError(
                f"the metadata cannot be read: {error.reason}", remedy="check `metadata`"
            ) from None

    def _from_file(self, path: str) -> tuple[x509.Certificate, ...]:
        try:
            return self._pinned(x509.load_pem_x509_certificates(Path(path).read_bytes()))
        except (OSError, ValueError):
            raise CertificatesUnavailableError(
                f"the certificates in `{path}` cannot be read", remedy="give a PEM file: `people.saml.certificatesFile`"
            ) from None

    def _pinned(self, certificates: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        wanted = set(self._settings.fingerprints)
        found = {c.fingerprint(hashes.SHA256()).hex(): c for c in certificates if _usable(c)}
        kept = {digest: c for digest, c in found.items() if not wanted or digest in wanted}
        if not kept:
            raise CertificatesUnavailableError(
                "there is no SAML certificate that counts", remedy="check `people.saml.fingerprints`"
            )
        return tuple(kept.values())[:MAX_CERTIFICATES]


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        raise CertificatesUnavailableError("the metadata has a certificate that is none") from None


def _usable(certificate: x509.Certificate) -> bool:
    try:
        key: Any = certificate.public_key()
    except ValueError:
        return False
    return isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_BITS
