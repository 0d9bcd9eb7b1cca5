"""Signing a browser in: authorization code with PKCE, redeemed by the gateway as the confidential client that it is.

How this works: the gateway holds no secret; it proves itself at the token endpoint by its platform's token, as it does
for Graph (RFC 7523). What comes back is an ID token for the gateway itself, with the nonce of this very sign-in; it is
verified as strictly as any token, and says who, with which app roles, and when they signed in (`auth_time`). What must
be remembered between the two requests is kept here, under a cookie of its own that only this browser has: a code that
somebody else obtained cannot be smuggled in (log-in CSRF). Sources: OpenID Connect Core 1.0 section 3.1; RFC 7636;
RFC 9700 section 4.7; Microsoft identity platform, "OAuth 2.0 authorization code flow".
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.identity import exchange
from wicketgate_gateway.identity.http import UnreachableError, send
from wicketgate_gateway.identity.people import PeopleAuthenticator, Person

COOKIE = "__Host-wicketgate-signin"
CALLBACK = "/ui/signed-in"
SECONDS = 600.0
MAX_PENDING = 1000
_LOCAL = re.compile(r"/ui(?:/[A-Za-z0-9._~/-]*)?(?:\?[A-Za-z0-9._~%&=+:-]*)?\Z", re.ASCII)


class SignInError(WicketgateError):
    """Nobody was signed in; the text holds no part of a code or a token."""

    code = "sign-in-failed"


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that began here."""

    state: str
    nonce: str
    verifier: str
    to: str
    """Where the person wanted to go."""
    ends: float


class SignIn:
    """The sign-ins of one process."""

    def __init__(
        self,
        config: GatewayConfig,
        people: PeopleAuthenticator,
        http: httpx2.AsyncClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert config.people is not None
        self._config = config
        self._people = people
        self._http = http
        self._clock = clock
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._base = f"{config.entra.authority.rstrip('/')}/{quote(config.entra.tenant, safe='')}/oauth2/v2.0"
        self.redirect = config.people.url.rstrip("/") + CALLBACK

    def begin(self, to: str, *, again: bool = False) -> tuple[str, str]:
        """The address of Entra's page, and the value of the cookie that remembers this sign-in.

        `again` asks for a fresh sign-in, although Entra may know the person yet.
        """
        pending = Pending(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(64),
            to=local(to),
            ends=self._clock() + SECONDS,
        )
        cookie = secrets.token_urlsafe(32)
        self._pending[hashlib.sha256(cookie.encode()).hexdigest()] = pending
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": self._config.audience,
            "response_type": "code",
            "response_mode": "query",
            "redirect_uri": self.redirect,
            "scope": "openid profile",
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if again:
            query["prompt"] = "login"
        return f"{self._base}/authorize?{urlencode(query)}", cookie

    async def finish(self, cookie: str, values: dict[str, str]) -> tuple[Person, str]:
        """The person that came back, and where they wanted to go. Raises SignInError, Refused.

        `values` are the parameters of the redirect.
        """
        pending = self._pending.pop(hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest(), None)
        if pending is None or self._clock() > pending.ends:
            raise SignInError("this sign-in did not begin here, or took too long", remedy="begin again")
        if not hmac.compare_digest(values.get("state", "").encode("utf-8", "replace"), pending.state.encode()):
            raise SignInError("this answer belongs to another sign-in", remedy="begin again")
        if "error" in values:
            said = " ".join((values.get("error_description") or values["error"]).split())[:300]
            raise SignInError(f"Entra did not sign you in: {said}", remedy="ask for a role at this gateway")
        code = values.get("code", "")
        if not code:
            raise SignInError("Entra's answer holds no code", remedy="begin again")
        token = await self._redeem(code, pending)
        return await self._people.signed_in(token, pending.nonce), pending.to

    async def _redeem(self, code: str, pending: Pending) -> str:
        form = {
            "grant_type": "authorization_code",
            "client_id": self._config.audience,
            "code": code,
            "redirect_uri": self.redirect,
            "code_verifier": pending.verifier,
            "scope": "openid profile",
            "client_assertion_type": exchange.ASSERTION_TYPE,
            "client_assertion": await asyncio.to_thread(self._assertion),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            found = await send(
                self._http, "POST", f"{self._base}/token", content=urlencode(form).encode(), headers=headers
            )
        except UnreachableError as error:
            raise SignInError(error.message, code=error.code, remedy="try again") from None
        body = _json(found.body)
        token = body.get("id_token")
        if found.status != 200 or not isinstance(token, str):
            said = " ".join(str(body.get("error_description") or f"HTTP {found.status}").split())[:300]
            raise SignInError(f"Entra gave no ID token: {said}", remedy="tell the gateway's operator")
        return token

    def _assertion(self) -> str:
        path = self._config.workload.token_file
        try:
            text = Path(path).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            raise SignInError(
                "the gateway cannot prove itself to Entra", remedy="tell its operator: `workload.tokenFile`"
            ) from None
        return exchange.assertion(text, path)


def local(to: str) -> str:
    """`to` if it is an address of ours, else the first page: nobody is sent elsewhere after signing in."""
    return to if _LOCAL.match(to) and "//" not in to and "/.." not in to and len(to) <= 500 else "/ui/"


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
