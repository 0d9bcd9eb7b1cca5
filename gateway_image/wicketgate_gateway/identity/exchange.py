"""A platform's token for an Entra access token: client credentials with a federated assertion, as pure functions.

How this works: `request` says what to POST, `answer` reads what came back; the gateway and the agent send it with an
asynchronous client (`workload.py`), the CLI's `token` with the standard library alone, because it runs before every
connection of a bot. Sources: RFC 7523 section 2.2; Microsoft identity platform, "client credentials flow, third case".
"""

from __future__ import annotations

import json
import re
import time
from typing import NamedTuple
from urllib.parse import quote, urlencode

from wicketgate_gateway.contract.errors import WicketgateError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION = 64 * 1024
MAX_ANSWER = 256 * 1024

_COMPACT = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\Z")
_AADSTS = re.compile(r"AADSTS(\d+)")

# What Entra's error numbers mean for whoever set the bot up, and whether time alone may heal it (replication).
_ERRORS: dict[str, tuple[str, str, bool]] = {
    "700211": (
        "issuer-unknown",
        "compare the token's `iss` with the issuer of the application's federated credentials, byte for byte",
        True,
    ),
    "700212": (
        "audience-unknown",
        "have the platform issue the token for the audience `api://AzureADTokenExchange`",
        False,
    ),
    "700213": (
        "subject-unknown",
        "compare the token's `sub` with the subject of the application's federated credentials",
        True,
    ),
    "7002138": (
        "subject-case",
        "the subject differs in upper and lower case alone: write it as the token has it",
        False,
    ),
    "70021": ("credential-unknown", "add a federated credential for this issuer and subject to the application", True),
    "700024": ("assertion-expired", "get a fresh token from the platform; check this machine's clock", False),
    "700016": ("client-unknown", "check the client id and the tenant; a new application needs a minute", True),
    "700027": ("assertion-signature", "check that the issuer publishes the key that signs its tokens", True),
    "50027": ("assertion-invalid", "the platform's token is no JWT that Entra reads", False),
    "500011": ("audience-missing", "check `audience`: the gateway's client id, present in this tenant", True),
    "501051": ("role-missing", "assign the role `Bot.Connect` (or `Agent.Connect`) to the service principal", True),
    "7000112": ("bot-disabled", "the application or its service principal is disabled in Entra", False),
    "90002": ("tenant-unknown", "check `tenant`", False),
}


class AccessToken(NamedTuple):
    """A token and its end (seconds since 1970). Its text form shows neither."""

    token: str
    expires_at: float

    def __repr__(self) -> str:
        return "AccessToken(…)"

    __str__ = __repr__


class Request(NamedTuple):
    """What to POST; `body` holds the assertion, so the text form shows the address alone."""

    url: str
    body: bytes
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Request({self.url})"

    __str__ = __repr__


class ExchangeError(WicketgateError):
    """No token. `transient` says whether the same request may succeed later; the text holds no part of any token."""

    code = "token-exchange-failed"

    def __init__(self, message: str, *, code: str = "", remedy: str = "", transient: bool = False) -> None:
        super().__init__(message, code=code or None, remedy=remedy)
        self.transient = transient


def assertion(text: str, source: str) -> str:
    """The platform's token in `text` (of the file or the answer named `source`), checked for shape alone."""
    token = text.strip()
    if not token or len(token) > MAX_ASSERTION or not _COMPACT.match(token):
        what = "is empty" if not token else "does not hold a JWT"
        raise ExchangeError(
            f"the platform's token from `{source}` {what}",
            code="assertion-invalid",
            remedy="check that the platform writes its token there",
        )
    return token


def request(authority: str, tenant: str, client_id: str, scope: str, token: str) -> Request:
    """The token request for `scope` (as `AUDIENCE/.default`), proving `client_id` by the platform's `token`."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": token,
    }
    url = f"{authority.rstrip('/')}/{quote(tenant, safe='')}/oauth2/v2.0/token"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Request(url, urlencode(form).encode(), headers)


def answer(status: int, body: bytes, *, now: float | None = None) -> AccessToken:
    """The access token in Entra's answer; raises ExchangeError with what to do."""
    try:
        data = json.loads(body) if len(body) <= MAX_ANSWER else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ExchangeError(
            f"Entra's answer (HTTP {status}) is not what a token endpoint says",
            remedy="check `authority`",
            transient=status == 429 or status >= 500,
        )
    token, life = data.get("access_token"), data.get("expires_in")
    if status == 200 and isinstance(token, str) and token and isinstance(life, int) and not isinstance(life, bool):
        return AccessToken(token, (time.time() if now is None else now) + life)
    description = data.get("error_description")
    first = description.splitlines()[0][:400] if isinstance(description, str) and description else ""
    number = _AADSTS.search(first)
    code, remedy, transient = _ERRORS.get(number[1] if number else "", ("", "", False))
    word = data.get("error")
    text = first or (word if isinstance(word, str) else "no reason given")
    raise ExchangeError(
        f"Entra gave no token (HTTP {status}): {text}",
        code=code,
        remedy=remedy,
        transient=transient or status == 429 or status >= 500,
    )
