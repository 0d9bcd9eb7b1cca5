"""People: the authorization code flow with PKCE, the device code flow, refresh tokens.

The sign-in page lists the tenant's people and takes the one that is clicked; there are no passwords here. Everything
around it is Entra's: registered redirect URIs, PKCE, single-use codes, polling errors, rotating refresh tokens.
Sources: RFC 6749, 7636, 8628; Entra's protocol pages.
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
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from wicketgate.testing import jws
from wicketgate.testing.entra import login, tokens
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.store import Doc

_PENDING, _CODE, _DEVICE, _REFRESH = "signinRequest", "authorizationCode", "deviceCode", "refreshToken"
_CODE_LIFE, _DEVICE_LIFE, _REFRESH_LIFE = 600, 900, 90 * 86400
_OIDC = ("openid", "profile", "email", "offline_access")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem}}
button{{display:block;width:100%;margin:.5rem 0;padding:.75rem;text-align:left;font:inherit}}
small{{color:#555}}</style></head><body><h1>{title}</h1>{body}</body></html>"""


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=html.escape(title), body=body), status, headers=_HEADERS)


def _people(core: Core, action: str, hidden: dict[str, str]) -> str:
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in hidden.items()
    )
    buttons = "".join(
        f'<button name="user" value="{html.escape(user["id"])}">{html.escape(str(user["displayName"]))}<br>'
        f"<small>{html.escape(str(user['userPrincipalName']))}</small></button>"
        for user in core.directory.all("user")
    )
    empty = "" if buttons else "<p>The tenant has no people. Seed some.</p>"
    return f'<form method="post" action="{html.escape(action)}">{fields}{buttons}{empty}</form>'


# --- authorization code


async def authorize(core: Core, request: Request) -> Response:
    """GET or POST /{tenant}/oauth2/v2.0/authorize: the sign-in page; an error page while no redirect is trusted."""
    try:
        values = dict(request.query_params) if request.method == "GET" else await login.form(request)
        login.check_tenant(core, request.path_params["tenant"], people=True)
        application, client = login.find_client(core, values)
        redirect = values.get("redirect_uri", "")
        if _redirect_kind(application, redirect) is None:
            raise login_error(50011, redirect=redirect, app=client["appId"])
    except LoginError as error:
        return _page(
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
        if _redirect_kind(application, redirect) == "spa" and values.get("code_challenge_method") != "S256":
            raise login_error(9002313)
        _delegated(core, values["scope"])
        if values.get("prompt") == "none":
            raise login_error(16000)
    except LoginError as error:
        back = {"error": error.error, "error_description": str(error)}
        return _send_back(redirect, mode, back | _state_of(values))
    kept = ("client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method")
    pending = {name: values[name] for name in kept if name in values} | {"mode": mode}
    key = secrets.token_urlsafe(32)
    core.directory.store.put(_PENDING, {"id": key, "_created": time.time(), **pending})
    title = f"Sign in to {client['displayName']}"
    return _page(title, _people(core, f"/{core.tenant}/login", {"request": key}))


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
        _may_sign_in(core, core.directory.with_application(client), user)
    except LoginError as error:
        return _page(
            "Sorry, but we’re having trouble signing you in.", f"<p>{html.escape(str(error))}</p>", error.status
        )
    code = f"1.{secrets.token_urlsafe(48)}"
    kept = {name: value for name, value in pending.items() if name not in ("id", "_created", "state", "mode")}
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
        return _page("Continue", form)
    separator = "#" if mode == "fragment" else "&" if urlsplit(redirect).query else "?"
    return RedirectResponse(f"{redirect}{separator}{urlencode(values)}", 302, headers=_HEADERS)


def _redirect_kind(application: Doc, redirect: str) -> str | None:
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
    public = _redirect_kind(application, kept["redirect_uri"]) != "web"
    how = await _client_proof(core, application, values, public=public)
    _check_verifier(kept, values.get("code_verifier"))
    store.put(_CODE, kept | {"used": True})
    return _issue(core, client, kept["user"], values.get("scope") or kept["scope"], how, kept.get("nonce"))


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


async def _client_proof(core: Core, application: Doc, values: dict[str, str], *, public: bool) -> str:
    """How the client authenticated; only a public one may do without. Raises LoginError."""
    how = await login.authenticate_client(core, application, values)
    if how is None and not (public or application["isFallbackPublicClient"]):
        raise login_error(7000218)
    return how or "public"


# --- device code


async def device_code(core: Core, request: Request) -> Response:
    """POST /{tenant}/oauth2/v2.0/devicecode (RFC 8628, 3.1)."""
    try:
        values = await login.form(request)
        login.check_tenant(core, request.path_params["tenant"], people=True)
        _, client = login.find_client(core, values)
        if not values.get("scope"):
            raise login_error(900144, field="scope")
        _delegated(core, values["scope"])
    except LoginError as error:
        return login.refuse(core, error, request)
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    user_code = "".join(secrets.choice(alphabet) for _ in range(9))
    code = secrets.token_urlsafe(48)
    doc = {
        "id": secret_digest(code),
        "_created": time.time(),
        "user_code": user_code,
        "client_id": client["appId"],
        "scope": values["scope"],
        "user": None,
        "declined": False,
    }
    core.directory.store.put(_DEVICE, doc)
    where = f"{core.url}/common/oauth2/deviceauth"
    message = f"To sign in, use a web browser to open the page {where} and enter the code {user_code} to authenticate."
    answer = {
        "user_code": user_code,
        "device_code": code,
        "verification_uri": where,
        "expires_in": _DEVICE_LIFE,
        "interval": 1,
        "message": message,
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


async def device_page(core: Core, request: Request) -> Response:
    """GET /common/oauth2/deviceauth shows the form; POST with `user_code` and `user` approves."""
    if request.method == "GET":
        wanted = request.query_params.get("user_code", "")
        if not wanted:
            form = '<form method="get"><input name="user_code" autofocus><button>Next</button></form>'
            return _page("Enter the code", form)
        return _page("Who are you?", _people(core, "/common/oauth2/deviceauth", {"user_code": wanted}))
    try:
        values = await login.form(request)
        decide_device(core, values.get("user_code", ""), values.get("user", ""), approve=True)
    except LoginError as error:
        return _page("Sorry", f"<p>{html.escape(str(error))}</p>", error.status)
    except ValueError as error:
        return _page("Sorry", f"<p>{html.escape(str(error))}</p>", 400)
    return _page("You have signed in", "<p>You may close this window and go back to your device.</p>")


def decide_device(core: Core, user_code: str, user: str, *, approve: bool) -> None:
    """Approves a device's code as `user` (id or principal name), or declines it.

    Raises ValueError for an unknown code or person, LoginError if the person may not sign in.
    """
    store = core.directory.store
    wanted = user_code.strip().upper()
    doc = next((one for one in store.all(_DEVICE) if one["user_code"] == wanted), None)
    if doc is None or doc["user"] or doc["declined"] or time.time() - doc["_created"] > _DEVICE_LIFE:
        raise ValueError("that code is not known, or not any more")
    if not approve:
        store.put(_DEVICE, doc | {"declined": True})
        return
    person = core.directory.find("user", user) or core.directory.find_by("user", "userPrincipalName", user)
    client = core.directory.principal_of(doc["client_id"])
    if person is None or client is None:
        raise ValueError(f"there is no person `{user}`")
    _may_sign_in(core, core.directory.with_application(client), person)
    store.put(_DEVICE, doc | {"user": person["id"]})


async def redeem_device(core: Core, values: dict[str, str]) -> dict[str, Any]:
    """grant_type=…:device_code, and its older spelling `device_code`; clients send `device_code` or `code`."""
    application, client = login.find_client(core, values)
    how = await _client_proof(core, application, values, public=True)
    if not application["isFallbackPublicClient"] and how == "public":
        raise login_error(7000218)
    store = core.directory.store
    doc = store.get(_DEVICE, secret_digest(values.get("device_code") or values.get("code") or ""))
    if doc is None or doc["client_id"] != client["appId"]:
        raise login_error(70018)
    if time.time() - doc["_created"] > _DEVICE_LIFE:
        raise login_error(70019)
    if doc["declined"]:
        raise login_error(70020)
    if doc["user"] is None:
        raise login_error(70016)
    store.remove(_DEVICE, doc["id"])
    return _issue(core, client, doc["user"], doc["scope"], how, None)


# --- refresh tokens, and what all flows end in


async def redeem_refresh(core: Core, values: dict[str, str]) -> dict[str, Any]:
    """grant_type=refresh_token. The old token stays usable for its life, as Entra's does for all but SPAs."""
    application, client = login.find_client(core, values)
    kept = core.directory.store.get(_REFRESH, secret_digest(values.get("refresh_token", "")))
    if kept is None or kept["client_id"] != client["appId"]:
        raise login_error(70000)
    if time.time() - kept["_created"] > _REFRESH_LIFE:
        raise login_error(700082)
    how = await _client_proof(core, application, values, public=kept["how"] == "public")
    return _issue(core, client, kept["user"], values.get("scope") or kept["scope"], how, None)


def _may_sign_in(core: Core, client: Doc, user: Doc) -> None:
    if not user["accountEnabled"]:
        raise login_error(50057)
    if client["appRoleAssignmentRequired"] and not core.directory.assigned(user, client):
        raise login_error(50105, name=client["displayName"], app=client["appId"], user=user["userPrincipalName"])


def _delegated(core: Core, scope: str) -> tuple[Doc, str, tuple[str, ...]]:
    """The API that delegated scopes are for, its audience, and the scopes' bare names. Raises LoginError."""
    found: tuple[Doc, str] | None = None
    names: list[str] = []
    for one in scope.split():
        if one in _OIDC:
            names.append(one)
            continue
        resource_name, _, name = one.rpartition("/")
        resource, audience = login.find_resource(core, resource_name or GRAPH_APP_ID)
        if found is not None and found[0]["id"] != resource["id"]:
            raise login_error(70011, scope=scope)
        found = (resource, audience)
        offered = [each["value"] for each in resource["oauth2PermissionScopes"] if each.get("isEnabled", True)]
        if name == ".default":
            names += [each for each in offered if each not in _OIDC]
        elif name in offered:
            names.append(name)
        else:
            raise login_error(70011, scope=scope)
    if found is None:
        found = login.find_resource(core, GRAPH_APP_ID)
    return *found, tuple(dict.fromkeys(names))


def _issue(core: Core, client: Doc, user_id: str, scope: str, how: str, nonce: str | None) -> dict[str, Any]:
    user = core.directory.find("user", user_id)
    if user is None:
        raise login_error(50034, user=user_id, tenant=core.directory.display_name)
    _may_sign_in(core, client, user)
    resource, audience, names = _delegated(core, scope)
    if resource["id"] != client["id"]:
        _may_sign_in(core, resource, user)
    granted = tuple(name for name in names if name != "offline_access")
    in_token = granted if resource["appId"] == GRAPH_APP_ID else tuple(name for name in granted if name not in _OIDC)
    text, lifetime = tokens.access_token(core, tokens.Grant(client, resource, audience, how, user, in_token))
    prefix = "" if resource["appId"] == GRAPH_APP_ID else f"{audience}/"
    answer: dict[str, Any] = {
        "token_type": "Bearer",
        "scope": " ".join(name if name in _OIDC else f"{prefix}{name}" for name in granted),
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": text,
    }
    if "offline_access" in names:
        refresh = f"1.{secrets.token_urlsafe(64)}"
        kept = {"user": user_id, "client_id": client["appId"], "scope": scope, "how": how}
        core.directory.store.put(_REFRESH, {"id": secret_digest(refresh), "_created": time.time(), **kept})
        answer["refresh_token"] = refresh
    if "openid" in names:
        answer["id_token"] = tokens.id_token(core, client, user, names, nonce)
    if "profile" in names or "openid" in names:
        info = f'{{"uid":"{user_id}","utid":"{core.tenant}"}}'
        answer["client_info"] = jws.b64url(info.encode())
    return answer


def logout(core: Core, request: Request) -> Response:
    """GET /{tenant}/oauth2/v2.0/logout: there is no session to end; only a registered URI is redirected to."""
    target = request.query_params.get("post_logout_redirect_uri", "")
    for application in core.directory.all("application"):
        if target and _redirect_kind(application, target):
            return RedirectResponse(quote(target, safe=":/?&=#%[]@!$'()*+,;"), 302, headers=_HEADERS)
    return _page("You signed out of your account", "<p>It’s a good idea to close all browser windows.</p>")


GRANTS = {
    "authorization_code": redeem_code,
    "refresh_token": redeem_refresh,
    "urn:ietf:params:oauth:grant-type:device_code": redeem_device,
    "device_code": redeem_device,
}
