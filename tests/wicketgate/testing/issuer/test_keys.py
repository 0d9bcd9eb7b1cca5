"""The issuer's key outlives restarts, privately."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wicketgate.testing import jws
from wicketgate.testing.issuer.keys import IssuerKey


def test_the_key_stays(tmp_path: Path) -> None:
    first = IssuerKey.open(tmp_path / "k")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    again = IssuerKey.open(tmp_path / "k")
    assert again.kid == first.kid
    token = first.token("https://i", "s", "a", 60, {"exp": 5})
    assert jws.parse(token).verify(again.key.public_key())
    assert jws.parse(token).claims["exp"] == 5
    assert again.jwks()["keys"][0]["kid"] == jws.parse(token).header["kid"]


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "k").write_bytes(pem)
    with pytest.raises(ValueError, match="no RSA key"):
        IssuerKey.open(tmp_path / "k")
