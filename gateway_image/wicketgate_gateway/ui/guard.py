"""What every request of a browser passes first: bounds, and no other site's hand in it.

How this works: an ASGI layer around the pages. A POST counts only from our own pages: `Sec-Fetch-Site: same-origin`,
or, from a browser without it, an `Origin` that is ours; the cookies are SameSite=Strict besides. A link from another
site may open a page (which then has no cookie yet, and says so), and nothing else. All answers carry a policy under
which no script, style, picture or frame of anywhere else, and no inline one, can run; the pages with the terminal
player alone may compile WebAssembly.
"""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wicketgate_gateway.api.guard import MAX_TARGET, PEER_BURST, PEER_RATE, Buckets, read_body, replay

MAX_FORM = 256 * 1024
_ONCE = (b"cookie", b"content-type", b"content-length", b"host", b"origin", b"transfer-encoding", b"sec-fetch-site")
_FORM = (b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded;charset=utf-8")
_POLICY = (
    "default-src 'none'; script-src 'self'{more}; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
PLAYER = b"/ui/sessions/"
POSTED_TO = b"/ui/saml/acs"
"""Where another site's page may post to: nothing there trusts a cookie of a session (`saml.py`)."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"strict-transport-security", b"max-age=31536000"),
]
_NAMES = {name for name, _ in _HEADERS} | {b"content-security-policy"}


class BrowserGuard:
    """The ASGI layer. `origin` is the address that people reach the gateway at (`https://host[:port]`)."""

    def __init__(self, app: ASGIApp, origin: str, *, buckets: Buckets | None = None) -> None:
        self._app = app
        self._origin = origin.encode()
        self._buckets = buckets or Buckets(PEER_RATE, PEER_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        path: bytes = scope["raw_path"]
        policy = _POLICY.format(more=" 'wasm-unsafe-eval'" if path.startswith(PLAYER) else "")
        static = path.startswith(b"/ui/static/")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in _NAMES]
                caching = (b"cache-control", b"public, max-age=31536000, immutable" if static else b"no-store")
                kept = [(k, v) for k, v in kept if k.lower() != b"cache-control"]
                ours = [*_HEADERS, caching, (b"content-security-policy", policy.encode())]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        refusal = self._refuse(scope)
        if refusal is None and scope["method"] == "POST":
            body = await read_body(receive, MAX_FORM)
            if isinstance(body, bytes):
                await self._app(scope, replay(body, receive), answer)
                return
            refusal = body[0], body[2]
        if refusal is not None:
            status, text = refusal
            response = PlainTextResponse(text + "\n", status, headers={"Connection": "close"})
            await response(scope, receive, answer)
            return
        await self._app(scope, receive, answer)

    def _refuse(self, scope: Scope) -> tuple[int, str] | None:
        peer = scope.get("client")
        if not self._buckets.take(str(peer[0]) if peer else ""):
            return 429, "there are too many requests from your address; slow down"
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in _ONCE:
                return 400, "a header is given twice"
            headers[name] = value
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
            return 414, "the address is too long"
        method = scope["method"]
        if method not in ("GET", "HEAD", "POST"):
            return 405, "this is not asked for in that way"
        refuse_site = self._refuse_part if scope["raw_path"] == POSTED_TO else self._refuse_site
        return refuse_site(method, headers) or self._refuse_form(method, headers)

    def _refuse_part(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if method != "POST":
            return 405, "this is not asked for in that way"
        mode, dest = headers.get(b"sec-fetch-mode", b"navigate"), headers.get(b"sec-fetch-dest", b"document")
        if mode != b"navigate" or dest != b"document":
            return 403, "only a whole page may come here"
        return None

    def _refuse_site(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        site = headers.get(b"sec-fetch-site")
        origin = headers.get(b"origin")
        if origin is not None and origin != self._origin:
            return 403, "another site may not do this here"
        if method == "POST":
            if site != b"same-origin" and not (site is None and origin == self._origin):
                return 403, "this must come from a page of this gateway"
        elif site not in (None, b"same-origin", b"none") and headers.get(b"sec-fetch-mode") != b"navigate":
            return 403, "another site may not read this"
        if headers.get(b"sec-fetch-dest") in (b"iframe", b"frame", b"object", b"embed"):
            return 403, "this may not be framed"
        return None

    def _refuse_form(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 10:
            return 400, "the length of the body is no number"
        if method != "POST":
            return (400, "there must be no body") if int(length) or b"transfer-encoding" in headers else None
        if headers.get(b"content-type", b"").lower().replace(b" ", b"") not in _FORM:
            return 415, "the body must be a form"
        if b"content-encoding" in headers:
            return 415, "the body must not be encoded"
        return (413, f"the form is over {MAX_FORM} bytes") if int(length) > MAX_FORM else None
