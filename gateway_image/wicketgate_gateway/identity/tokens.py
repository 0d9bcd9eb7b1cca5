"""Verifies Entra's access tokens: v2.0, app-only, of one tenant, for one audience.

How this works: the token is taken apart here, strictly (canonical base64url, no duplicate JSON keys, a short list of
header parameters), before joserfc checks the signature with the tenant's key of that `kid`. RS256 is the only algorithm
there is; the header cannot choose another, nor bring a key or the address of one. Claims are read from the very bytes
that were signed, and compared exactly. Roles are the caller's business (`authenticator.py`).
Source: Microsoft identity platform, "Access tokens"; RFC 7515, RFC 7519, RFC 8725.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from joserfc import jws
from joserfc.errors import JoseError

from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.http import Fetcher
from wicketgate_gateway.identity.keys import KeyCache, KeysUnavailableError, issuer_of

MAX_TOKEN = 16 * 1024
MAX_HEADER = 512
"""Bytes of the encoded header; joserfc refuses longer ones, too."""
LEEWAY = 60
"""Seconds that Entra's clock and ours may differ."""
MAX_LIFE = 24 * 3600
"""The longest life of a token; Entra's are of 60 to 90 minutes, at most a day for managed identities."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_KID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
UTI = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ROLE = re.compile(r"[!-~]{1,120}", re.ASCII)
_HEADER = frozenset({"typ", "alg", "kid", "x5t"})
# Claims that only ID tokens and users' tokens have.
_OF_PEOPLE = ("scp", "nonce", "at_hash", "c_hash", "preferred_username", "upn", "email")
ANOTHER = "get a token for this gateway (`wicketgate token`)"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says of an application's identity."""

    tenant: str
    object_id: str
    client_id: str
    token_id: str
    """`uti`, as in Entra's sign-in log."""
    roles: frozenset[str]
    issued_at: int
    expires_at: int
    """When the token ends, in seconds since 1970."""
    by_secret: bool
    """Whether the application proved itself by a client secret (`azpacr` 1)."""


class TokenVerifier:
    """Verifies tokens of `entra`'s tenant for `audience` (the gateway's client id)."""

    def __init__(self, entra: Entra, audience: str, fetch: Fetcher, *, clock: Callable[[], float] = time.time) -> None:
        self.keys = KeyCache(entra, fetch)
        self._tenant = entra.tenant
        self._issuer = issuer_of(entra)
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """The claims of a good app-only token; raises Refused with the first thing that is wrong.

        Waits only where the tenant's keys must be fetched.
        """
        return self._check_app(await self.proven(token))

    async def proven(self, token: str) -> dict[str, Any]:
        """All claims of a token that this tenant issued for this audience and that is in force. Raises Refused.

        That proves nothing about whom it speaks for: the caller must tell apps' tokens from people's.
        """
        header, payload = _take_apart(token)
        kid = _check_header(header)
        key = self.keys.known(kid)
        if key is None:
            try:
                key = await self.keys.get(kid)
            except KeysUnavailableError as error:
                raise Refused("keys-unavailable", error.message, error.remedy) from None
        if key is None:
            raise Refused("unknown-key", "the token is signed with a key that the tenant does not have", ANOTHER)
        try:
            signed = jws.deserialize_compact(token, key, algorithms=["RS256"])
        except (JoseError, ValueError, TypeError):
            raise Refused("bad-signature", "the token's signature is wrong", ANOTHER) from None
        if signed.payload != payload:
            raise Refused("token-malformed", "the token reads differently to two readers", ANOTHER)
        claims = _json(payload, "payload")
        self._check_common(claims)
        return claims

    def _check_common(self, claims: dict[str, Any]) -> None:
        issuer, tenant, audience = claims.get("iss"), claims.get("tid"), claims.get("aud")
        if issuer != self._issuer:
            raise Refused("wrong-issuer", "the token is from another issuer", ANOTHER)
        if tenant != self._tenant:
            raise Refused("wrong-tenant", "the token is from another tenant", ANOTHER)
        if not isinstance(audience, str) or audience != self._audience:
            raise Refused("wrong-audience", "the token is for another audience", ANOTHER)
        if claims.get("ver") != "2.0":
            raise Refused(
                "wrong-version", "the token is not of version 2.0", "set requestedAccessTokenVersion to 2 on the API"
            )
        issued, starts, ends = (time_claim(claims, name) for name in ("iat", "nbf", "exp"))
        now = self._clock()
        if now >= ends + LEEWAY:
            raise Refused("token-expired", "the token has expired", "get a fresh one for each connection")
        if now < starts - LEEWAY or now < issued - LEEWAY:
            raise Refused("token-not-yet-valid", "the token is not valid yet", "check the clocks")
        if not starts < ends <= issued + MAX_LIFE:
            raise Refused("token-malformed", "the token lives longer than Entra's tokens do", ANOTHER)

    def _check_app(self, claims: dict[str, Any]) -> Claims:
        if claims.get("idtyp") != "app" or any(name in claims for name in _OF_PEOPLE):
            raise Refused(
                "not-an-app-token",
                "the token is not an application's access token",
                "sign in as the bot's application; the gateway's registration needs the optional claim `idtyp`",
            )
        return Claims(
            tenant=self._tenant,
            object_id=text_claim(claims, "oid", UUID),
            client_id=text_claim(claims, "azp", UUID),
            token_id=text_claim(claims, "uti", UTI),
            roles=roles_claim(claims),
            issued_at=time_claim(claims, "iat"),
            expires_at=time_claim(claims, "exp"),
            by_secret=claims.get("azpacr") == "1",
        )


def roles_claim(claims: dict[str, Any]) -> frozenset[str]:
    """The app roles that the claims name. Raises Refused."""
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(r, str) and _ROLE.fullmatch(r) for r in roles):
        _malformed("its roles are not a list of names")
    return frozenset(roles)


def _take_apart(token: str) -> tuple[dict[str, Any], bytes]:
    """Header and payload bytes of a compact JWS, before anything is trusted."""
    if not token:
        raise Refused("token-missing", "there is no token", "give an Entra access token as the password")
    if len(token) > MAX_TOKEN:
        _malformed("it is too long")
    if not _TOKEN.fullmatch(token):
        _malformed("it is no compact JWS")
    header, payload, signature = token.split(".")
    if len(header) > MAX_HEADER:
        _malformed("its header is too long")
    _base64url(signature)
    return _json(_base64url(header), "header"), _base64url(payload)


def _check_header(header: dict[str, Any]) -> str:
    """The key's id; refuses any header that wants something else than RS256 with one of the tenant's keys."""
    if header.get("alg") != "RS256":
        raise Refused("wrong-algorithm", "the token is not signed with RS256", ANOTHER)
    if "nonce" in header:
        raise Refused("wrong-audience", "the token is for Microsoft Graph", ANOTHER)
    if header.get("typ") != "JWT" or not header.keys() <= _HEADER:
        _malformed("its header holds what an Entra access token does not have")
    kid = header.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        _malformed("its header names no key")
    return kid


def _base64url(part: str) -> bytes:
    """Decodes base64url without padding, in its one canonical spelling (RFC 4648 section 3.5)."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        _malformed("it is not base64url")
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        _malformed("it is not canonical base64url")
    return data


def _json(data: bytes, what: str) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            raise ValueError("duplicate key")
        return result

    def constant(_: str) -> NoReturn:
        raise ValueError("no JSON number")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError):
        _malformed(f"its {what} is not plain JSON")
    if not isinstance(value, dict):
        _malformed(f"its {what} is no JSON object")
    return value


def time_claim(claims: dict[str, Any], name: str) -> int:
    """The claim `name`, in seconds since 1970. Raises Refused."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 40:
        _malformed(f"`{name}` is no time")
    return value


def text_claim(claims: dict[str, Any], name: str, shape: re.Pattern[str]) -> str:
    """The claim `name`, which must be of that shape. Raises Refused."""
    value = claims.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        _malformed(f"`{name}` is missing or of another kind")
    return value


def _malformed(why: str) -> NoReturn:
    raise Refused("token-malformed", f"the password is no Entra access token: {why}", ANOTHER)
