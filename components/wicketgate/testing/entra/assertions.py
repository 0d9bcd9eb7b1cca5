"""Client assertions: a certificate's (RFC 7523) and a federated credential's.

A federated assertion is judged as Entra judges it: issuer, subject and audience are compared byte by byte with the
application's federated credentials, and the signature with a key that is really fetched from the issuer's discovery
document. Source: Entra's workload identity federation pages and its error codes.
"""

import base64
import binascii
import re
import time
from typing import Any, NamedTuple

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from wicketgate.testing import jws
from wicketgate.testing.entra import expressions
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.store import Doc

_FETCH_TIMEOUT = 10.0
_MAX_DOCUMENT = 1024 * 1024
_MAX_KEYS = 100
_SKEW = 300


class Proof(NamedTuple):
    """How a client proved itself: `secret` or `certificate`, and by which federated credential (its id)."""

    how: str
    federated: str | None = None


async def authenticate(core: Core, application: Doc, assertion: str) -> Proof:
    """Verifies `client_assertion` for the application. Raises LoginError."""
    try:
        parsed = jws.parse(assertion)
    except jws.MalformedTokenError:
        raise login_error(50027) from None
    issuer = parsed.claims.get("iss")
    if issuer == application["appId"] or parsed.claims.get("sub") == application["appId"] == issuer:
        _certificate(core, application, parsed)
        return Proof("certificate")
    return Proof("certificate", await _federated(core, application, parsed))


# --- certificates


def _certificate(core: Core, application: Doc, parsed: jws.Jws) -> None:
    claims = parsed.claims
    if claims.get("sub") != application["appId"]:
        raise login_error(700021)
    _check_times(core, claims)
    audiences = {
        f"{core.url}/{name}{path}"
        for name in (core.tenant, core.directory.domain)
        for path in ("/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "")
    } | {f"https://sts.windows.net/{core.tenant}/"}
    if claims.get("aud") not in audiences:
        raise login_error(700023)
    named = _named_thumbprint(parsed.header)
    for credential in application["keyCredentials"]:
        certificate = load_certificate(credential.get("key"))
        if certificate is None or named not in _thumbprints(certificate):
            continue
        if certificate.not_valid_after_utc.timestamp() < core.clock():
            raise _bad_key(application, "The key used is expired.", named)
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and parsed.verify(key, algorithms=("RS256", "PS256")):
            return
        raise _bad_key(application, "The signature could not be verified with the key that was found.", named)
    raise _bad_key(application, "The key was not found.", named)


def _bad_key(application: Doc, reason: str, named: str) -> LoginError:
    return login_error(700027, reason=reason, thumbprint=named, app=application["appId"])


def load_certificate(encoded: Any) -> x509.Certificate | None:
    """The certificate in a keyCredential's `key`: base64 of DER, or of PEM as some clients send it; else None."""
    if not isinstance(encoded, str):
        return None
    try:
        data = base64.b64decode(encoded)
        if data.startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except (binascii.Error, ValueError):
        return None


def _thumbprints(certificate: x509.Certificate) -> set[str]:
    sha1, sha256 = (jws.unb64url(jws.certificate_thumbprint(certificate, sha256=one)).hex() for one in (False, True))
    return {sha1, sha256}


def _named_thumbprint(header: dict[str, Any]) -> str:
    """The signer's thumbprint in hex. Clients send `x5t` or `x5t#S256` (base64url), or a hex SHA-1 as `kid`."""
    for name in ("x5t#S256", "x5t"):
        value = header.get(name)
        if isinstance(value, str):
            try:
                return jws.unb64url(value).hex()
            except jws.MalformedTokenError:
                return ""
    kid = str(header.get("kid", ""))
    if re.fullmatch(r"[0-9A-Fa-f]{40}", kid):
        return kid.lower()
    try:
        return jws.unb64url(kid).hex()
    except jws.MalformedTokenError:
        return ""


# --- federated credentials


async def _federated(core: Core, application: Doc, parsed: jws.Jws) -> str:
    claims = parsed.claims
    issuer, audience = claims.get("iss"), claims.get("aud")
    presented = claims.get("sub")
    if not isinstance(issuer, str) or not isinstance(presented, str) or not isinstance(audience, str | list):
        raise login_error(50027)
    credential = _match(core, application, issuer, presented, audience, claims)
    await _verify_signature(core, parsed, issuer)
    _check_times(core, claims)
    if core.quirks.take("stray_700213_next"):
        raise login_error(700213, value=presented)
    return credential


def _match(
    core: Core, application: Doc, issuer: str, presented: str, audience: str | list[Any], claims: dict[str, Any]
) -> str:
    """The id of the federated credential that the assertion matches. Raises LoginError with the code of what
    differs.
    """
    navigation = "federatedIdentityCredential"
    credentials = [one for one in core.directory.all(navigation) if one["_parent"] == application["id"]]
    now = time.time()
    credentials = [one for one in credentials if now - one["_created"] >= core.quirks.fic_lag]
    of_issuer = [one for one in credentials if one["issuer"] == issuer]
    if not of_issuer:
        raise login_error(700211, value=issuer)
    of_subject = [one for one in of_issuer if _subject_matches(one, presented, claims)]
    if not of_subject:
        folded = presented.casefold()
        if any(isinstance(one["subject"], str) and one["subject"].casefold() == folded for one in of_issuer):
            raise login_error(7002138, value=presented)
        raise login_error(700213, value=presented)
    audiences = [audience] if isinstance(audience, str) else audience
    for one in of_subject:
        if one["audiences"][0] in audiences:
            return one["id"]
    raise login_error(700212, value=str(audiences[0] if audiences else ""))


def _subject_matches(credential: Doc, presented: str, claims: dict[str, Any]) -> bool:
    expression = (credential.get("claimsMatchingExpression") or {}).get("value")
    if expression:
        try:
            return expressions.parse_expression(expression)(claims)
        except expressions.ExpressionError:
            return False
    return credential["subject"] == presented


async def _verify_signature(core: Core, parsed: jws.Jws, issuer: str) -> None:
    keys = await _issuer_keys(core, issuer)
    kid = parsed.header.get("kid")
    for jwk in keys[:_MAX_KEYS]:
        if jwk.get("kid") != kid:
            continue
        key = jws.rsa_from_jwk(jwk)
        if key is not None and parsed.verify(key, algorithms=("RS256",)):
            return
        raise login_error(50027)
    raise login_error(
        700027, reason="The key was not found.", thumbprint=str(kid), app=str(parsed.claims.get("sub", ""))
    )


async def _issuer_keys(core: Core, issuer: str) -> list[dict[str, Any]]:
    """The issuer's JWKS by its discovery document, whose `issuer` must be byte-equal. Raises LoginError."""
    if not issuer.startswith("https://"):
        raise login_error(50166)
    try:
        async with httpx2.AsyncClient(verify=core.trust, timeout=_FETCH_TIMEOUT, trust_env=False) as client:
            discovery = await _document(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            jwks_uri = discovery.get("jwks_uri")
            if (
                discovery.get("issuer") != issuer
                or not isinstance(jwks_uri, str)
                or not jwks_uri.startswith("https://")
            ):
                raise login_error(50166)
            keys = (await _document(client, jwks_uri)).get("keys")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        raise login_error(50166) from None
    return [one for one in keys if isinstance(one, dict)] if isinstance(keys, list) else []


async def _document(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    answer = await client.get(url)
    if answer.status_code != 200 or len(answer.content) > _MAX_DOCUMENT:
        raise ValueError("the issuer's answer is no document")
    document = answer.json()
    if not isinstance(document, dict):
        raise ValueError("the issuer's document is no object")
    return document


def _check_times(core: Core, claims: dict[str, Any]) -> None:
    """`exp` must be there and ahead, `nbf` not ahead; both may be floats, which msal sends."""
    now = core.clock()
    end, start = claims.get("exp"), claims.get("nbf", claims.get("iat", now))
    if isinstance(end, int | float) and isinstance(start, int | float) and start - _SKEW <= now <= end + _SKEW:
        return
    raise login_error(700024, now=str(now), start=str(start), end=str(end))
