"""Signing and lenient reading of compact tokens, with joserfc as the oracle."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from wicketgate.testing import jws

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = KEY.public_key()


def test_joserfc_verifies_what_is_signed() -> None:
    kid = jws.thumbprint(PUBLIC)
    token = jws.sign_rs256({"sub": "s", "n": 1}, KEY, {"kid": kid})
    keys = KeySet.import_key_set({"keys": [jws.rsa_jwk(PUBLIC, kid)]})  # pyright: ignore[reportArgumentType]
    decoded = jwt.decode(token, keys, algorithms=["RS256"])
    assert decoded.claims == {"sub": "s", "n": 1}
    assert decoded.header == {"typ": "JWT", "alg": "RS256", "kid": kid}


def test_joserfcs_tokens_are_read_and_verified() -> None:
    for alg in ("RS256", "PS256"):
        parsed = jws.parse(jwt.encode({"alg": alg}, {"a": [1]}, RSAKey.import_key(KEY), algorithms=[alg]))
        assert parsed.claims == {"a": [1]}
        assert parsed.verify(PUBLIC)
        assert not parsed.verify(PUBLIC, algorithms=("ES256",))
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        assert not parsed.verify(other)


def test_the_thumbprint_is_rfc_7638() -> None:
    assert jws.thumbprint(PUBLIC) == RSAKey.import_key(PUBLIC).thumbprint()


def test_jwk_round_trip_and_wrong_keys() -> None:
    read = jws.rsa_from_jwk(jws.rsa_jwk(PUBLIC, "k"))
    assert read is not None
    assert read.public_numbers() == PUBLIC.public_numbers()
    for wrong in ({}, {"kty": "EC"}, {"kty": "RSA", "n": 5, "e": "AQAB"}, {"kty": "RSA", "n": "!", "e": "AQAB"},
                  {"kty": "RSA", "n": "AQAB", "e": "AQAB"}):  # fmt: skip
        assert jws.rsa_from_jwk(wrong) is None
    assert not isinstance(PUBLIC, ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "header",
    [{"alg": "none"}, {"alg": "HS256"}, {"alg": ["RS256"]}, {}, {"alg": "RS1"}, {"alg": "RS512"}],
)
def test_only_the_allowed_algorithms_verify(header: dict[str, object]) -> None:
    token = jws.sign_rs256({}, KEY, header)
    parsed = jws.parse(token)
    assert parsed.header["alg"] == header.get("alg", "RS256")
    assert parsed.verify(PUBLIC) is ("alg" not in header)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c.d",
        "e30.e30.é",
        "e30.e30.!",
        "W10.e30.",
        "e30.bnVsbA.",
        "e30.eyJhIjoxLCJhIjoyfQ.",
        "e30.eyJhIjpOYU59.",
        "e30." + jws.b64url(b"[" * 20000) + ".",
        "e30.e30." + "A" * 70000,
    ],
)
def test_malformed_tokens_are_refused(text: str) -> None:
    with pytest.raises(jws.MalformedTokenError):
        jws.parse(text)


@given(st.text(alphabet="abcé.=-_{}", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parsed = jws.parse(text)
    except jws.MalformedTokenError:
        return
    assert isinstance(parsed.claims, dict)


@given(st.binary(max_size=60))
def test_base64url_round_trip_padded_or_not(data: bytes) -> None:
    text = jws.b64url(data)
    assert "=" not in text
    assert jws.unb64url(text) == data
    assert jws.unb64url(text + "=" * (-len(text) % 4)) == data


def test_the_signature_covers_header_and_payload() -> None:
    token = jws.sign_rs256({"a": 1}, KEY, {})
    head, payload, signature = token.split(".")
    changed = jws.b64url(json.dumps({"a": 2}).encode())
    assert not jws.parse(f"{head}.{changed}.{signature}").verify(PUBLIC)
    other_head = jws.b64url(json.dumps({"alg": "RS256", "kid": "x"}).encode())
    assert not jws.parse(f"{other_head}.{payload}.{signature}").verify(PUBLIC)
