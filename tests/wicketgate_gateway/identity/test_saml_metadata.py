"""Which certificates count, and when they are looked for again."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization

from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.store import Store
from wicketgate_gateway.contract.gateway import Entra, Saml
from wicketgate_gateway.identity.http import UnreachableError
from wicketgate_gateway.identity.saml_metadata import Certificates, CertificatesUnavailableError

pytestmark = pytest.mark.anyio
TENANT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
CLIENT = "0a4f3e2d-1c0b-4a99-8877-665544332211"
FIRST, SECOND = (SigningKeys(Store()).current.certificate for _ in range(2))


class Published:
    """The metadata, and a clock."""

    def __init__(self, *certificates: Any) -> None:
        self.certificates = certificates
        self.entity = f"https://sts.windows.net/{TENANT}/"
        self.fetched: list[str] = []
        self.down = False
        self.now = 1000.0

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.down:
            raise UnreachableError("nobody there")
        listed = "".join(
            '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>'
            f"{base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode()}"
            "</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            for one in self.certificates
        )
        return (
            f'\ufeff<?xml version="1.0" encoding="utf-8"?><EntityDescriptor entityID="{self.entity}" '
            f'xmlns="urn:oasis:names:tc:SAML:2.0:metadata"><IDPSSODescriptor>{listed}</IDPSSODescriptor>'
            "</EntityDescriptor>"
        ).encode()

    def pins(self, **settings: Any) -> Certificates:
        saml = Saml(client=CLIENT, entity_id=f"api://{CLIENT}", **settings)
        return Certificates(saml, Entra(tenant=TENANT), self.fetch, clock=lambda: self.now)


async def test_the_tenants_metadata_for_the_registration_each_hour() -> None:
    published = Published(FIRST)
    pins = published.pins()
    assert await pins.get() == (FIRST,)
    assert await pins.get() == (FIRST,)
    metadata = f"{TENANT}/federationmetadata/2007-06/federationmetadata.xml?appid={CLIENT}"
    assert published.fetched == [f"https://login.microsoftonline.com/{metadata}"]
    published.certificates = (SECOND,)
    published.now += 3601
    assert await pins.get() == (SECOND,)


async def test_a_stranger_causes_one_fetch_in_five_minutes() -> None:
    published = Published(FIRST)
    pins = published.pins()
    known = await pins.get()
    published.certificates = (FIRST, SECOND)
    assert await pins.changed(known)
    assert await pins.get() == (FIRST, SECOND)
    for _ in range(5):
        assert not await pins.changed(await pins.get())
    assert len(published.fetched) == 2
    published.now += 301
    assert not await pins.changed(await pins.get())
    assert len(published.fetched) == 3


async def test_old_certificates_serve_for_a_day_at_most() -> None:
    published = Published(FIRST)
    pins = published.pins()
    await pins.get()
    published.down = True
    published.now += 86_000
    assert await pins.get() == (FIRST,)
    published.now += 500
    with pytest.raises(CertificatesUnavailableError):
        await pins.get()


async def test_fingerprints_are_the_only_ones_that_count() -> None:
    digest = SECOND.fingerprint(hashes.SHA256()).hex()
    assert await Published(FIRST, SECOND).pins(fingerprints=[digest]).get() == (SECOND,)
    with pytest.raises(CertificatesUnavailableError):
        await Published(FIRST).pins(fingerprints=[digest]).get()


async def test_metadata_of_another_tenant_or_none() -> None:
    published = Published(FIRST)
    published.entity = "https://sts.windows.net/other/"
    with pytest.raises(CertificatesUnavailableError):
        await published.pins().get()
    with pytest.raises(CertificatesUnavailableError):
        await Published().pins().get()


async def test_a_file_instead_of_the_metadata(tmp_path: Path) -> None:
    file = tmp_path / "saml.pem"
    file.write_bytes(FIRST.public_bytes(serialization.Encoding.PEM) + SECOND.public_bytes(serialization.Encoding.PEM))
    published = Published()
    pins = published.pins(certificates_file=str(file))
    known = await pins.get()
    assert known == (FIRST, SECOND)
    assert not await pins.changed(known)
    assert published.fetched == []
    file.write_text("no certificate")
    with pytest.raises(CertificatesUnavailableError):
        await pins.get()


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="at most one"):
        Published().pins(certificates_file="x.pem", metadata="https://entra.example/metadata.xml")
