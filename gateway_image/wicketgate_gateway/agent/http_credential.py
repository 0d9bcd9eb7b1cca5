"""What the agent proves itself by to an HTTP or Kubernetes target: read from files, asked for, or logged in for.

How this works: `headers` gives what is added to a request, after all of `names` were taken out of it; `secrets` gives
the bytes that must not be seen in an answer. Files are read again when they change. Tokens and cookies that were asked
for are kept in memory until they end, or until the target answers 401 (`refused`). No text of an error names a value.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2

from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.gateway import HttpTarget, KubernetesTarget
from wicketgate_gateway.contract.targets import HttpAuth
from wicketgate_gateway.identity.http import send

SPARE_SECONDS = 30.0
"""A token is asked for anew this long before it ends."""
MAX_FILE = 256 * 1024


def read_file(folder: str, name: str) -> str:
    """One file of a credential. Raises TargetError."""
    try:
        value = (Path(folder) / name).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TargetError(
            f"the credential file `{name}` cannot be read: {reason}",
            code="credential-unreadable",
            remedy="check `credential` and its permissions",
        ) from None
    if not value or len(value) > MAX_FILE or any(c in value for c in "\0\r\n"):
        raise TargetError(f"the credential file `{name}` is empty or broken", code="credential-unreadable")
    return value


class Credential:
    """Of one target. `names` are the headers that are its alone, in lower case."""

    def __init__(self, config: HttpTarget | KubernetesTarget, context: Callable[[], ssl.SSLContext]) -> None:
        self._folder = config.credential or ""
        self._config = config
        self._context = context
        self._auth = _auth_of(config)
        self._lock = asyncio.Lock()
        self._got: tuple[str, float] | None = None
        self._known: dict[str, tuple[tuple[int, int], str]] = {}
        header = config.header if isinstance(config, HttpTarget) else None
        self.names = frozenset(
            {"authorization", "cookie", "proxy-authorization"} | ({header.lower()} if header else set())
        )

    @property
    def certificate(self) -> tuple[str, str] | None:
        """The files of a client certificate and its key, if that is what proves it."""
        if self._auth is not HttpAuth.CLIENT_CERTIFICATE:
            return None
        return str(Path(self._folder) / "tls.crt"), str(Path(self._folder) / "tls.key")

    async def headers(self) -> list[tuple[str, str]]:
        """What is added to a request. Raises TargetError."""
        match self._auth:
            case HttpAuth.BEARER:
                return [("Authorization", f"Bearer {self._file('token')}")]
            case HttpAuth.BASIC:
                return [("Authorization", f"Basic {self._basic()}")]
            case HttpAuth.HEADER:
                assert isinstance(self._config, HttpTarget)
                return [(self._config.header or "", self._file("value"))]
            case HttpAuth.OAUTH_CLIENT:
                return [("Authorization", f"Bearer {await self._fetched(self._ask_token)}")]
            case HttpAuth.COOKIE:
                return [("Cookie", await self._fetched(self._log_in))]
            case _:
                return []

    def secrets(self) -> list[bytes]:
        """What must not be seen in an answer, as it would stand there: plain, and in quotes of URL and JSON."""
        values: list[str] = []
        match self._auth:
            case HttpAuth.BEARER:
                values = [self._file("token")]
            case HttpAuth.BASIC:
                values = [self._basic(), self._file("password")]
            case HttpAuth.HEADER:
                values = [self._file("value")]
            case HttpAuth.OAUTH_CLIENT:
                values = [self._file("client_secret"), *([self._got[0]] if self._got else [])]
            case HttpAuth.COOKIE:
                parts = self._got[0].split("; ") if self._got else []
                values = [self._file("password"), *(part.partition("=")[2] for part in parts)]
            case _:
                pass
        return [each.encode() for value in values for each in {value, quote(value, safe=""), json.dumps(value)[1:-1]}]

    def refused(self) -> None:
        """The target answered 401: what was asked for is of no use any more."""
        self._got = None

    def _file(self, name: str) -> str:
        try:
            status = (Path(self._folder) / name).stat()
        except OSError:
            return read_file(self._folder, name)
        stamp = (status.st_mtime_ns, status.st_ino)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = self._known[name] = (stamp, read_file(self._folder, name))
        return known[1]

    def _basic(self) -> str:
        return base64.b64encode(f"{self._file('username')}:{self._file('password')}".encode()).decode()

    async def _fetched(self, fetch: Callable[[], Coroutine[Any, Any, tuple[str, float]]]) -> str:
        async with self._lock:
            got = self._got
            if got is None or got[1] <= time.monotonic():
                got = self._got = await fetch()
            return got[0]

    async def _ask_token(self) -> tuple[str, float]:
        config = self._config
        assert isinstance(config, HttpTarget)
        client = quote(self._file("client_id"), safe=""), quote(self._file("client_secret"), safe="")
        basic = base64.b64encode(":".join(client).encode()).decode()
        form = {"grant_type": "client_credentials", **({"scope": config.scope} if config.scope else {})}
        async with httpx2.AsyncClient(verify=self._context(), timeout=10.0, follow_redirects=False) as http:
            answer = await send(
                http, "POST", str(config.token_url), data=form, headers={"Authorization": f"Basic {basic}"}
            )
        try:
            found: Any = json.loads(answer.body) if answer.status == 200 else {}
            token, kind = found["access_token"], found.get("token_type", "bearer")
            seconds = float(found.get("expires_in", 300))
        except (ValueError, TypeError, KeyError, AttributeError):
            token, kind, seconds = None, "", 0.0
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or kind.lower() != "bearer":
            raise TargetError(
                f"the token endpoint gave no bearer token (HTTP {answer.status})",
                code="target-login-failed",
                remedy="check `tokenUrl`, `scope` and the client's credential",
            )
        return token, time.monotonic() + max(0.0, seconds - SPARE_SECONDS)

    async def _log_in(self) -> tuple[str, float]:
        config = self._config
        assert isinstance(config, HttpTarget)
        base = urlsplit(config.address)
        url = f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{config.login_path}"
        form = urlencode({"username": self._file("username"), "password": self._file("password")})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        async with httpx2.AsyncClient(verify=self._context(), timeout=10.0, follow_redirects=False) as http:
            try:
                answer = await http.post(url, content=form, headers=kind)
            except httpx2.HTTPError as error:
                raise TargetError(f"the log-in was not answered ({type(error).__name__})") from None
            pairs = [(cookie.name, cookie.value or "") for cookie in http.cookies.jar]
        if answer.status_code >= 400 or not pairs:
            raise TargetError(
                f"the log-in gave no cookie (HTTP {answer.status_code})",
                code="target-login-failed",
                remedy="check `loginPath` and the credential",
            )
        text = "; ".join(f"{name}={value}" for name, value in pairs)
        if not text.isascii() or not text.isprintable():
            raise TargetError("the log-in gave a cookie that cannot be sent", code="target-login-failed")
        return text, time.monotonic() + 3600.0


def _auth_of(config: HttpTarget | KubernetesTarget) -> HttpAuth:
    if isinstance(config, HttpTarget):
        return config.auth
    return HttpAuth.BEARER if (Path(config.credential) / "token").is_file() else HttpAuth.CLIENT_CERTIFICATE
