"""The authorization code flow with PKCE.

The sign-in page lists the tenant's people and takes the one that is clicked; there are no passwords here. Everything
around it is Entra's: registered redirect URIs, PKCE, single-use codes. Sources: RFC 6749, 7636, 8252; Entra's page on
the flow.
"""

import base64
import hashlib
import hmac
import html
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from wicketgate.testing.entra import login, tokens
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.pages import HEADERS, page, people_form
from wicketgate.testing.entra.people import client_proof, delegated, issue, may_sign_in
from wicketgate.testing.entra.store import Doc

_PENDING, _CODE = "signinRequest", "authorizationCode"
_CODE_LIFE = 600


async def authorize(core: Core, request: Request) -> Response:
    """GET or POST /{tenant}/oauth2/v2.0/authorize: the sign-in page; an error page while no redirect is trusted."""
    try:
        values = dict(request.query_params) if request.method == "GET" else await login.form(request)
        login.check_tenant(core, request.path_params["tenant"], people=True)
        application, client = login.find_client(core, values)
        redirect = values.get("redirect_uri", "")
        if redirect_kind(application, redirect) is None:
            raise login_error(50011, redirect=redirect, app=client["appId"])
    except LoginError as error:
        return page(
            "Sorry, but we’re having trouble signing you in.", f"<p>{html.escape(str(error))}</p>", error.status
        )
    mode = values.get("response_mode", "query")
    try:
        if mode not in ("query", "fragment", "form_post") or values.get("response_type") != "code":
            raise login_error(90023)
        if not values.get("scope"):
            raise login_error(900144, field="scope")
        if values.get("code_challenge_method", "plain") not in ("plain", "S256"):
            raise login_error(90023)
        if redirect_kind(application, redirect) == "spa" and values.get("code_challenge_method") != "S256":
            raise login_error(9002313)
        delegated(core, values["scope"])
        if values.get("prompt") == "none":
            raise login_error(16000)
    except LoginError as error:
        back = {"error": error.error, "error_description": str(error)}
        return _send_back(redirect, mode, back | _state_of(values))
    kept = ("client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method")
    pending = {name: values[name] for name in kept if name in values} | {"mode": mode}
    key = secrets.token_urlsafe(32)
    core.directory.store.drop_old(_PENDING, _CODE_LIFE)
    core.directory.store.put(_PENDING, {"id": key, "_created": time.time(), **pending})
    title = f"Sign in to {client['displayName']}"
    return page(title, people_form(core, f"/{core.tenant}/login", {"request": key}))


async def pick(core: Core, request: Request) -> Response:
    """POST /{tenant}/login: the person that was clicked goes back to the client with a code."""
    store = core.directory.store
    try:
        values = await login.form(request)
        pending = store.get(_PENDING, values.get("request", ""))
        if pending is None or time.time() - pending["_created"] > _CODE_LIFE:
            raise login_error(90023)
        store.remove(_PENDING, pending["id"])
        user = core.directory.find("user", values.get("user", ""))
        if user is None:
            raise login_error(50034, user=values.get("user", ""), tenant=core.directory.display_name)
        client = core.directory.principal_of(pending["client_id"])
        if client is None:
            raise login_error(700016, app=pending["client_id"], tenant_name=core.directory.display_name)
        may_sign_in(core, core.directory.with_application(client), user)
    except LoginError as error:
        return page(
            "Sorry, but we’re having trouble signing you in.", f"<p>{html.escape(str(error))}</p>", error.status
        )
    code = f"1.{secrets.token_urlsafe(48)}"
    kept = {name: value for name, value in pending.items() if name not in ("id", "_created", "state", "mode")}
    store.drop_old(_CODE, 2 * _CODE_LIFE)  # twice, so that an expired one is still called expired
    store.put(_CODE, {"id": secret_digest(code), "_created": time.time(), "user": user["id"], "used": False, **kept})
    back = {"code": code, "session_state": tokens.subject(user, client)} | _state_of(pending)
    return _send_back(pending["redirect_uri"], pending["mode"], back)


def _state_of(values: dict[str, Any]) -> dict[str, str]:
    return {"state": str(values["state"])} if "state" in values else {}


def _send_back(redirect: str, mode: str, values: dict[str, str]) -> Response:
    if mode == "form_post":
        fields = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in values.items()
        )
        form = f'<form method="post" action="{html.escape(redirect)}">{fields}<button>Continue</button></form>'
        return page("Continue", form)
    separator = "#" if mode == "fragment" else "&" if urlsplit(redirect).query else "?"
    return RedirectResponse(f"{redirect}{separator}{urlencode(values)}", 302, headers=HEADERS)


def redirect_kind(application: Doc, redirect: str) -> str | None:
    """`web`, `spa` or `public` as the redirect URI is registered, else None. Loopback may have any port (RFC 8252)."""
    wanted = urlsplit(redirect)
    if not wanted.scheme or wanted.fragment:
        return None
    for kind, name in (("web", "web"), ("spa", "spa"), ("public", "publicClient")):
        for registered in application[name]["redirectUris"]:
            if registered == redirect:
                return kind
            known = urlsplit(registered)
            loopback = known.scheme == "http" and known.hostname in ("localhost", "127.0.0.1")
            same = (known.scheme, known.hostname, known.path or "/") == (
                wanted.scheme,
                wanted.hostname,
                wanted.path or "/",
            )
            if loopback and same and known.query == wanted.query and "@" not in wanted.netloc:
                return kind
    return None


async def redeem_code(core: Core, values: dict[str, str]) -> dict[str, Any]:
    """grant_type=authorization_code. Raises LoginError."""
    application, client = login.find_client(core, values)
    if "code" not in values:
        raise login_error(900144, field="code")
    store = core.directory.store
    kept = store.get(_CODE, secret_digest(values["code"]))
    if (
        kept is None
        or kept["client_id"].lower() != client["appId"]
        or kept["redirect_uri"] != values.get("redirect_uri")
    ):
        raise login_error(70000)
    if kept["used"]:
        raise login_error(54005)
    if time.time() - kept["_created"] > _CODE_LIFE:
        raise login_error(70008)
    public = redirect_kind(application, kept["redirect_uri"]) != "web"
    how = await client_proof(core, application, values, public=public)
    _check_verifier(kept, values.get("code_verifier"))
    store.put(_CODE, kept | {"used": True})
    scope = values.get("scope") or kept["scope"]
    return issue(core, client, kept["user"], scope, how, kept.get("nonce"), int(kept["_created"]))


def _check_verifier(kept: Doc, verifier: str | None) -> None:
    challenge = kept.get("code_challenge")
    if challenge is None:
        return
    if verifier is None:
        raise login_error(501481)
    made = verifier
    if kept.get("code_challenge_method") == "S256":
        made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    if not hmac.compare_digest(made.encode(), challenge.encode()):
        raise login_error(501481)


def logout(core: Core, request: Request) -> Response:
    """GET /{tenant}/oauth2/v2.0/logout: there is no session to end; only a registered URI is redirected to."""
    target = request.query_params.get("post_logout_redirect_uri", "")
    for application in core.directory.all("application"):
        if target and redirect_kind(application, target):
            return RedirectResponse(quote(target, safe=":/?&=#%[]@!$'()*+,;"), 302, headers=HEADERS)
    return page("You signed out of your account", "<p>It’s a good idea to close all browser windows.</p>")
