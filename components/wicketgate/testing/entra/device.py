"""The device code flow (RFC 8628): a code, a page to approve it at, polling."""

import html
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wicketgate.testing.entra import login
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.pages import page, people_form
from wicketgate.testing.entra.people import client_proof, delegated, issue, may_sign_in

_DEVICE = "deviceCode"
_DEVICE_LIFE = 900


async def device_code(core: Core, request: Request) -> Response:
    """POST /{tenant}/oauth2/v2.0/devicecode (RFC 8628, 3.1)."""
    try:
        values = await login.form(request)
        login.check_tenant(core, request.path_params["tenant"], people=True)
        _, client = login.find_client(core, values)
        if not values.get("scope"):
            raise login_error(900144, field="scope")
        delegated(core, values["scope"])
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
    core.directory.store.drop_old(_DEVICE, 2 * _DEVICE_LIFE)
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


async def approve_page(core: Core, request: Request) -> Response:
    """GET /common/oauth2/deviceauth shows the form; POST with `user_code` and `user` approves."""
    if request.method == "GET":
        wanted = request.query_params.get("user_code", "")
        if not wanted:
            form = '<form method="get"><input name="user_code" autofocus><button>Next</button></form>'
            return page("Enter the code", form)
        return page("Who are you?", people_form(core, "/common/oauth2/deviceauth", {"user_code": wanted}))
    try:
        values = await login.form(request)
        decide(core, values.get("user_code", ""), values.get("user", ""), approve=True)
    except LoginError as error:
        return page("Sorry", f"<p>{html.escape(str(error))}</p>", error.status)
    except ValueError as error:
        return page("Sorry", f"<p>{html.escape(str(error))}</p>", 400)
    return page("You have signed in", "<p>You may close this window and go back to your device.</p>")


def decide(core: Core, user_code: str, user: str, *, approve: bool) -> None:
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
    may_sign_in(core, core.directory.with_application(client), person)
    store.put(_DEVICE, doc | {"user": person["id"], "auth_time": core.clock()})


async def redeem_device(core: Core, values: dict[str, str]) -> dict[str, Any]:
    """grant_type=…:device_code, and its older spelling `device_code`; clients send `device_code` or `code`."""
    application, client = login.find_client(core, values)
    how = await client_proof(core, application, values, public=True)
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
    return issue(core, client, doc["user"], doc["scope"], how, None, int(doc["auth_time"]))
