"""Signing keys and their rollover."""

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wicketgate.testing import jws
from wicketgate.testing.entra.keys import SigningKeys, secret_digest
from wicketgate.testing.entra.store import Store


def test_the_key_stays_over_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    kid = SigningKeys(store).current.kid
    store.close()
    again = Store(tmp_path / "db")
    assert SigningKeys(again).current.kid == kid
    again.close()


def test_the_published_form() -> None:
    key = SigningKeys(Store()).current
    jwk = key.jwk("https://issuer")
    certificate = x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0]))
    assert jws.unb64url(jwk["x5t"]) == certificate.fingerprint(hashes.SHA1())
    assert (jwk["kid"], jwk["issuer"], jwk["use"]) == (key.kid, "https://issuer", "sig")
    assert "d" not in jwk
    read = jws.rsa_from_jwk(jwk)
    assert read is not None
    assert read.public_numbers() == key.key.public_key().public_numbers()


def test_rollover_keeps_old_keys_until_they_are_retired(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    keys = SigningKeys(store)
    first = keys.current.kid
    second = keys.roll().kid
    assert (keys.current.kid, [one.kid for one in keys.published]) == (second, [second, first])
    assert keys.public_key(first) is not None
    third = keys.roll(retire=True).kid
    assert [one.kid for one in keys.published] == [third]
    assert keys.public_key(first) is None
    assert [one.kid for one in SigningKeys(store).published] == [third]
    store.close()


def test_a_wrong_key_in_the_state_is_told(tmp_path: Path) -> None:
    store = Store()
    keys = SigningKeys(store)
    [doc] = store.all("signingKey")
    store.put("signingKey", doc | {"key": keys.current.certificate.subject.rfc4514_string()})
    with pytest.raises(ValueError, match=r".+"):
        SigningKeys(store)


def test_digests() -> None:
    assert secret_digest("a") == secret_digest("a") != secret_digest("b")
    assert "a" * 8 not in secret_digest("a" * 8)
