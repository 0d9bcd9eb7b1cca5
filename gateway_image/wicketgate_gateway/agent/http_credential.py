"""What the agent proves itself by to an HTTP or Kubernetes target: read from files, asked for, or logged in for.

How this works: `headers` gives what is added to a request, after all of `names` were taken out of it; `secrets` gives
the bytes that must not be seen in an answer, those that were in use before among them. Files are read again when they
change. Tokens and cookies that were asked for are kept in memory until they end, until a file changes, or until the
target refuses them (`refused`). A log-in that failed is not tried again for a while: a bot that asks on and on must not
lock the account. No text of an error names a value.
"""

from __future__ import annotations

import asyncio
import base64
import html
import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import httpx2

from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.gateway import HttpTarget, KubernetesTarget
from wicketgate_gateway.contract.targets import HttpAuth
from wicketgate_gateway.identity.http import UnreachableError, send

SPARE_SECONDS = 30.0
"""A token is asked for anew this long before it ends, one of a short life a fifth of it before."""
COOKIE_SECONDS = 3600.0
"""How long a cookie without an end is used."""
FAILED_SECONDS = 15.0
"""How long a log-in that failed is not tried again with the same files."""
CALM_SECONDS = 10.0
"""How long something new is kept that the target never took: another would not fare better."""
MAX_FILE = 256 * 1024
LEAST_COOKIE = 12
"""Shorter values of cookies are settings, as `theme=default`, and would be found everywhere."""
_BEFORE = 8

Stamps = tuple[tuple[str, int, int], ...]


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


@dataclass(slots=True)
class _Got:
    """What was asked for: its text, until when it serves, by which files, and whether the target took it once."""

    text: str
    until: float
    stamps: Stamps
    since: float
    taken: bool = False


class Credential:
    """Of one target. `names` are the headers that are its alone, in lower case."""

    def __init__(self, config: HttpTarget | KubernetesTarget, context: Callable[[], ssl.SSLContext]) -> None:
        self._folder = config.credential or ""
        self._config = config
        self._context = context
        self._auth = _auth_of(config)
        self._lock = asyncio.Lock()
        self._got: _Got | None = None
        self._failed: tuple[TargetError, float, Stamps] | None = None
        self._secret: dict[str, str] = {}
        """What must not be seen, by what it is."""
        self._before: deque[str] = deque(maxlen=_BEFORE)
        """The same of earlier: it may well serve on for a while."""
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

    @property
    def login_path(self) -> str:
        """Where the log-in form is posted to, behind the target's base; empty if it is not by cookie."""
        return self._config.login_path or "" if isinstance(self._config, HttpTarget) else ""

    @property
    def renewable(self) -> bool:
        """Whether what the target refuses can be asked for anew."""
        return self._auth in (HttpAuth.OAUTH_CLIENT, HttpAuth.COOKIE)

    async def headers(self) -> list[tuple[str, str]]:
        """What is added to a request. Raises TargetError."""
        match self._auth:
            case HttpAuth.BEARER:
                return [("Authorization", f"Bearer {self._seen('token')}")]
            case HttpAuth.BASIC:
                return [("Authorization", f"Basic {self._basic()}")]
            case HttpAuth.HEADER:
                assert isinstance(self._config, HttpTarget)
                return [(self._config.header or "", self._seen("value"))]
            case HttpAuth.OAUTH_CLIENT:
                return [("Authorization", f"Bearer {await self._fetched(self._ask_token)}")]
            case HttpAuth.COOKIE:
                return [("Cookie", await self._fetched(self._log_in))]
            case _:
                return []

    def secrets(self) -> list[bytes]:
        """What must not be seen in an answer, as it would stand there: plain, and as URL, JSON and HTML quote it."""
        return [each.encode() for value in (*self._secret.values(), *self._before) for each in _written(value)]

    def refused(self, used: Iterable[tuple[str, str]]) -> bool:
        """The target did not take what was added to a request; True if another is asked for from now on."""
        got = self._got
        if not self.renewable:
            return False
        if got is None or not any(got.text in value for _, value in used):
            return True  # another request found it out before
        if not got.taken and time.monotonic() - got.since < CALM_SECONDS:
            return False
        self._got = None
        return True

    def taken(self) -> None:
        """The target took it."""
        if self._got is not None:
            self._got.taken = True

    def stamps(self, *names: str) -> Stamps:
        """What tells that files changed; of all that were read, if none is named."""
        found: list[tuple[str, int, int]] = []
        for name in names or sorted(self._known):
            try:
                status = (Path(self._folder) / name).stat()
            except OSError:
                found.append((name, 0, 0))
            else:
                found.append((name, status.st_mtime_ns, status.st_ino))
        return tuple(found)

    def _keep_secret(self, what: str, value: str) -> str:
        before = self._secret.get(what)
        if before != value:
            if before is not None:
                self._before.append(before)
            self._secret[what] = value
        return value

    def _seen(self, name: str) -> str:
        """A file that is secret."""
        return self._keep_secret(name, self._file(name))

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
        pair = f"{self._file('username')}:{self._seen('password')}"
        return self._keep_secret("basic", base64.b64encode(pair.encode()).decode())

    async def _fetched(self, fetch: Callable[[], Coroutine[Any, Any, tuple[str, float]]]) -> str:
        """What is asked for, as long as it serves; `fetch` gives it and for how many seconds it does."""
        async with self._lock:
            got, now = self._got, time.monotonic()
            if got is not None and got.until > now and got.stamps == self.stamps():
                return got.text
            failed = self._failed
            if failed is not None and failed[1] > now and failed[2] == self.stamps():
                raise failed[0].with_traceback(None)
            try:
                text, lasts = await fetch()
            except TargetError as error:
                if error.code == "target-login-failed":
                    self._failed = (error, now + FAILED_SECONDS, self.stamps())
                raise
            self._failed = None
            lasts = max(0.0, lasts - min(SPARE_SECONDS, lasts / 5))
            self._got = _Got(text, time.monotonic() + lasts, self.stamps(), time.monotonic())
            return text

    async def _ask_token(self) -> tuple[str, float]:
        config = self._config
        assert isinstance(config, HttpTarget)
        client = quote(self._file("client_id"), safe=""), quote(self._seen("client_secret"), safe="")
        basic = base64.b64encode(":".join(client).encode()).decode()
        form = {"grant_type": "client_credentials", **({"scope": config.scope} if config.scope else {})}
        async with httpx2.AsyncClient(verify=self._context(), timeout=10.0, follow_redirects=False) as http:
            try:
                answer = await send(
                    http, "POST", str(config.token_url), data=form, headers={"Authorization": f"Basic {basic}"}
                )
            except UnreachableError as error:
                raise TargetError(f"the token endpoint: {error.message}", remedy="check `tokenUrl`") from None
        try:
            found: Any = json.loads(answer.body) if answer.status == 200 else {}
            token, kind = found["access_token"], found.get("token_type", "bearer")
            seconds = float(found.get("expires_in", 300))
        except (ValueError, TypeError, KeyError, AttributeError):
            token, kind, seconds = None, "", 0.0
        if (
            not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
            or str(kind).lower() != "bearer"
        ):
            raise TargetError(
                f"the token endpoint gave no bearer token (HTTP {answer.status})",
                code="target-login-failed",
                remedy="check `tokenUrl`, `scope` and the client's credential",
            )
        self._keep_secret("access token", token)
        return token, seconds

    async def _log_in(self) -> tuple[str, float]:
        config = self._config
        assert isinstance(config, HttpTarget)
        base = urlsplit(config.address)
        url = f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{config.login_path}"
        form = urlencode({"username": self._file("username"), "password": self._seen("password")})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        async with httpx2.AsyncClient(verify=self._context(), timeout=10.0, follow_redirects=False) as http:
            try:
                answer = await http.post(url, content=form, headers=kind)
            except httpx2.HTTPError as error:
                raise TargetError(f"the log-in was not answered ({type(error).__name__})") from None
            cookies = [(cookie.name, cookie.value or "", cookie.expires) for cookie in http.cookies.jar]
        where = urljoin(url, answer.headers.get("location", "")).partition("?")[0]
        # Who is sent back to the form is not logged in, even if the form has a cookie of its own.
        if answer.status_code >= 400 or not cookies or (answer.status_code // 100 == 3 and where == url):
            raise TargetError(
                f"the log-in gave no cookie (HTTP {answer.status_code})",
                code="target-login-failed",
                remedy="check `loginPath` and the credential",
            )
        text = "; ".join(f"{name}={value}" for name, value, _ in cookies)
        if not text.isascii() or not text.isprintable():
            raise TargetError("the log-in gave a cookie that cannot be sent", code="target-login-failed")
        for name, value, _ in cookies:
            if len(value) >= LEAST_COOKIE:
                self._keep_secret(f"cookie {name}", value)
        now = time.time()
        return text, min([COOKIE_SECONDS, *(max(0.0, ends - now) for _, _, ends in cookies if ends is not None)])


_JSON_ESCAPES = str.maketrans({c: f"\\u{ord(c):04X}" for c in "+&<>'\"`"})
_GO_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "&<>"})
_HTML_NUMBERS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "+": "&#43;"})


def _written(value: str) -> set[str]:
    """A value as servers write it: plain, in URLs, in JSON (as most do, PHP, .NET, Go), in HTML (Python, Go, Jinja)."""
    quoted = json.dumps(value)[1:-1]
    urls = {quote(value, safe=safe) for safe in ("", "/", "/=+:")}
    return {
        value,
        *urls,
        *(each.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d") for each in urls),
        quoted,
        quoted.replace("/", "\\/"),
        quoted.translate(_JSON_ESCAPES),
        quoted.translate(_GO_ESCAPES),
        html.escape(value),
        value.translate(_HTML_NUMBERS),
    }


def _auth_of(config: HttpTarget | KubernetesTarget) -> HttpAuth:
    if isinstance(config, HttpTarget):
        return config.auth
    return HttpAuth.BEARER if (Path(config.credential) / "token").is_file() else HttpAuth.CLIENT_CERTIFICATE
