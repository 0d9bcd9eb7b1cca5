"""Signing a person in at Entra: authorization code with PKCE and a loopback redirect, or device code.

How this works: with a browser here, one request with the right `state` is taken on a free port of 127.0.0.1, and its
code redeemed with the PKCE verifier that never left this process; a fresh sign-in is asked for (`prompt=login`). The
device code flow is for machines without a browser. Sources: RFC 8252, RFC 7636, RFC 8628; Microsoft identity platform.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx2

from wicketgate_gateway.cli.people import Settings
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import PEOPLE_SCOPE
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError, answer
from wicketgate_gateway.identity.http import tls_context

SECONDS = 15.0
BROWSER_SECONDS = 300.0
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_DONE = b"<!doctype html><meta charset=utf-8><title>Wicketgate</title><p>%s You may close this window."


class SignInError(WicketgateError):
    """No token; the text holds no part of a code or a token."""

    code = "sign-in-failed"


class SignIn:
    """One sign-in at one tenant."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        entra = settings.entra
        self._base = f"{entra.authority.rstrip('/')}/{quote(entra.tenant, safe='')}/oauth2/v2.0"
        self._scope = f"{settings.audience}/{PEOPLE_SCOPE}"
        self._http = httpx2.Client(verify=tls_context(entra.ca_file), timeout=SECONDS, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def by_device(self, tell: Callable[[dict[str, Any]], None]) -> AccessToken:
        """`tell` gets the code and the address that the person must be told. Raises WicketgateError."""
        status, body = self._post("devicecode", {"client_id": self._settings.client, "scope": self._scope})
        made = _json(body)
        code = made.get("device_code")
        if status != 200 or not isinstance(code, str):
            answer(status, body)
            raise SignInError("Entra's answer holds no device code")
        tell(made)
        pause = max(float(made.get("interval", 5)), 1.0)
        end = time.monotonic() + min(float(made.get("expires_in", 900)), 900.0)
        while time.monotonic() < end:
            time.sleep(pause)
            form = {"grant_type": _DEVICE_GRANT, "client_id": self._settings.client, "device_code": code}
            status, body = self._post("token", form)
            match _json(body).get("error"):
                case "authorization_pending":
                    continue
                case "slow_down":
                    pause += 5
                case "authorization_declined" | "access_denied":
                    raise SignInError("the sign-in was declined", code="sign-in-declined")
                case "expired_token" | "code_expired":
                    break
                case _:
                    return self._token(status, body)
        raise SignInError("nobody entered the code in time", code="sign-in-timeout", remedy="try again")

    def by_browser(self, open_page: Callable[[str], object]) -> AccessToken:
        """`open_page` gets the address of the sign-in page. Raises WicketgateError."""
        verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with _Redirect(state) as redirect:
            query = {
                "client_id": self._settings.client,
                "response_type": "code",
                "redirect_uri": redirect.address,
                "response_mode": "query",
                "scope": self._scope,
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                "prompt": "login",
            }
            open_page(f"{self._base}/authorize?{urlencode(query)}")
            code = redirect.code()
            form = {
                "grant_type": "authorization_code",
                "client_id": self._settings.client,
                "code": code,
                "redirect_uri": redirect.address,
                "code_verifier": verifier,
                "scope": self._scope,
            }
            return self._token(*self._post("token", form))

    def _token(self, status: int, body: bytes) -> AccessToken:
        try:
            return answer(status, body)
        except ExchangeError as error:
            raise SignInError(error.message, remedy="ask for a role at this gateway, or try again") from None

    def _post(self, path: str, form: dict[str, str]) -> tuple[int, bytes]:
        try:
            response = self._http.post(f"{self._base}/{path}", data=form)
            return response.status_code, response.content
        except httpx2.HTTPError as error:
            host = urlsplit(self._base).hostname
            raise SignInError(
                f"`{host}` cannot be reached ({type(error).__name__})",
                code="entra-unreachable",
                remedy="check network, proxy and CA",
            ) from None


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


class _Redirect:
    """A port on 127.0.0.1 that takes the one redirect with the right `state`."""

    def __init__(self, state: str) -> None:
        outer = self
        self._state = state
        self._found: dict[str, str] | None = None

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                outer._take(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Nothing: the request line holds the code."""

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._server.timeout = 1.0
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> _Redirect:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def code(self) -> str:
        """The authorization code. Raises SignInError."""
        end = time.monotonic() + BROWSER_SECONDS
        while self._found is None:
            if time.monotonic() >= end:
                raise SignInError("nobody signed in in time", code="sign-in-timeout", remedy="try again")
            self._server.handle_request()
        if "code" not in self._found:
            text = self._found.get("error_description") or self._found.get("error", "no reason given")
            raise SignInError(f"Entra did not sign you in: {text.splitlines()[0][:300]}")
        return self._found["code"]

    def _take(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        values = parse_qs(parts.query)
        once = {name: found[0] for name, found in values.items() if len(found) == 1}
        # Any page and any process here can send something; without the state it is not from this sign-in.
        right = parts.path == "/" and hmac.compare_digest(once.get("state", "").encode(), self._state.encode())
        handler.send_response(200 if right else 400)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Cache-Control", "no-store")
        handler.end_headers()
        handler.wfile.write(_DONE % (b"You are signed in." if right and "code" in once else b"This is no sign-in."))
        if right and self._found is None and ("code" in once or "error" in once):
            self._found = once
