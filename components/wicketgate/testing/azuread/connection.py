"""Where to sign in and where Graph is, and the tokens for it.

How this works: one GET of the metadata document (https always), then the client-credentials request of the
real provider, to the letter: a plain form POST, nothing before it. (azure-identity asks for the OpenID
configuration first, adds parameters and refuses http, so it cannot make precisely this request.) A token
is used until twenty minutes before it expires. Sources: go-azure-sdk `sdk/internal/metadata/client.go`,
`sdk/environments/from_endpoint.go`, `sdk/auth/client_credentials.go`, `sdk/claims/claims.go`.
"""

import base64
import binascii
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2

from wicketgate.testing.azuread.config import ConfigError, Credentials

API_VERSION: Final = "2022-09-01"
RENEW_BEFORE_SECONDS: Final = 20 * 60
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TIMEOUT: Final = httpx2.Timeout(120.0, connect=30.0)
_LOOPBACK: Final = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_MICROSOFT: Final = (
    "microsoft.com",
    "microsoft.us",
    "microsoftonline.com",
    "microsoftonline.us",
    "azure.com",
    "azure.cn",
)


def http_client() -> httpx2.Client:
    """A client as the real plugin's: TLS 1.2, roots from `SSL_CERT_FILE` or the system, proxies from the
    environment but for loopback.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    direct: dict[str, httpx2.BaseTransport | None] = {
        pattern: httpx2.HTTPTransport(verify=context) for pattern in _LOOPBACK
    }
    return httpx2.Client(verify=context, timeout=_TIMEOUT, mounts=direct)


@dataclass(frozen=True)
class Endpoints:
    """The parts of a cloud that the plugin needs, without a slash at the end of `graph`."""

    graph: str
    login: str


def discover(host: str, http: httpx2.Client) -> Endpoints:
    """The endpoints of the cloud that `host` (with a port, if need be) describes.

    Raises ConfigError if the document cannot be had, lacks something, or describes Microsoft's own cloud.
    """
    endpoint = f"https://{host}"
    url = f"{endpoint}/metadata/endpoints?api-version={API_VERSION}"
    prefix = f'retrieving metadata from endpoint "{endpoint}": '
    try:
        answer = http.get(url)
    except httpx2.HTTPError as error:
        raise ConfigError(f"{prefix}performing request: {error}") from None
    if answer.status_code != 200:
        raise ConfigError(f"{prefix}performing request: expected 200 OK but got {answer.status_code}")
    try:
        document: Any = json.loads(answer.content.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise ConfigError(f"{prefix}unmarshaling response: {error}") from None
    found = cast(dict[str, Any], document) if isinstance(document, dict) else {}
    for key in ("name", "resourceManager", "microsoftGraphResourceId"):
        if not isinstance(found.get(key), str) or not found[key]:
            raise ConfigError(f"retrieving metadata from endpoint: no `{key}` was returned")
    authentication = found.get("authentication")
    login = authentication.get("loginEndpoint") if isinstance(authentication, dict) else None
    if not isinstance(login, str) or not login:
        raise ConfigError("retrieving metadata from endpoint: no `authentication.loginEndpoint` was returned")
    graph = str(found["microsoftGraphResourceId"]).removesuffix("/")
    for address in (graph, login):
        name = urlsplit(address).hostname or ""
        if any(name == domain or name.endswith(f".{domain}") for domain in _MICROSOFT):
            raise ConfigError(f"the stand-in never talks to Microsoft's own cloud, and `{host}` names `{name}`")
    return Endpoints(graph=graph, login=login)


class Tokens:
    """Access tokens for Graph, renewed when due. Safe to use from several threads."""

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        http: httpx2.Client,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoints = endpoints
        self._credentials = credentials
        self._http = http
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def get(self) -> str:
        """A token. Raises ConfigError with the server's answer if none is given."""
        with self._lock:
            if not self._token or self._now() >= self._renew_at:
                self._token, lifetime = self._ask()
                self._renew_at = self._now() + lifetime - RENEW_BEFORE_SECONDS
            return self._token

    def _ask(self) -> tuple[str, float]:
        credentials = self._credentials
        form = {
            "client_id": credentials.client,
            "grant_type": "client_credentials",
            "scope": f"{self.endpoints.graph}/.default",
        }
        if credentials.secret:
            form["client_secret"] = credentials.secret
        else:
            form |= {"client_assertion": credentials.assertion, "client_assertion_type": ASSERTION_TYPE}
        url = f"{self.endpoints.login}/{credentials.tenant}/oauth2/v2.0/token"
        try:
            answer = self._http.post(url, data=form, headers={"Accept": "application/json"})
        except httpx2.HTTPError as error:
            raise ConfigError(f"clientCredentialsToken: cannot request token: {error}") from None
        if not answer.is_success:
            raise ConfigError(
                f"clientCredentialsToken: received HTTP status {answer.status_code} with response: {answer.text}"
            )
        try:
            document: Any = answer.json()
            return str(document["access_token"]), float(document.get("expires_in") or 0)
        except (ValueError, KeyError, TypeError, AttributeError):
            # Never the parser's own words: they would quote the token.
            raise ConfigError("clientCredentialsToken: cannot unmarshal response") from None


def object_id(token: str) -> str:
    """The object ID of the one who signed in, from the token's claims (the signature is not looked at).

    Raises ConfigError if the token cannot be read or has no `oid`.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise ConfigError("unable to parse claims in access token: unexpected token format: does not have 3 parts")
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        raise ConfigError("unable to parse claims in access token: it is not base64url JSON") from None
    oid = payload.get("oid") if isinstance(payload, dict) else None
    if not isinstance(oid, str) or not oid:
        # The real provider then lists service principals, and always fails for want of a deadline.
        raise ConfigError(
            "attempting to discover object ID for authenticated service principal: the access token has no `oid`"
        )
    return oid
