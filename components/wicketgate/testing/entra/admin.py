"""The emulator's own API under `/_emulator`, for tests and set-up; needs the admin key as a bearer token.

`GET health` (no key) · `GET|PATCH quirks` · `POST seed` · `GET state` (objects by kind) · `GET|DELETE requests`
(Graph's log) · `POST rollover {"retire": bool, "app": "…"}` · `POST device {"user_code", "user", "approve"}` ·
`POST token {"claims", "header", "alg", "graph": bool}` (a token with any claims, signed or missigned as asked, for
negative tests).
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wicketgate.testing import jws
from wicketgate.testing.entra import device, saml, tokens
from wicketgate.testing.entra.builtin import GRAPH_ROLES
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.errors import LoginError
from wicketgate.testing.entra.schema import ENTITIES
from wicketgate.testing.entra.seed import apply_seed

_MAX_BODY = 16 * 1024 * 1024


class AdminError(ValueError):
    """The admin request cannot be carried out; the text says why."""


async def admin(core: Core, request: Request) -> Response:
    """Any request under /_emulator."""
    name = request.path_params["name"]
    if name == "health" and request.method == "GET":
        return JSONResponse({"status": "ok", "tenant": core.tenant})
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), core.admin_key.encode()):
        return JSONResponse({"error": "the admin key is missing or wrong; it stands in the state folder"}, 401)
    handler = _HANDLERS.get((request.method, name))
    if handler is None:
        return JSONResponse({"error": f"there is no {request.method} {name}"}, 404)
    body = await request.body()
    try:
        if len(body) > _MAX_BODY:
            raise AdminError("the body is too large")
        given_body = json.loads(body) if body else {}
        if not isinstance(given_body, dict):
            raise AdminError("the body is no JSON object")
        return JSONResponse(handler(core, given_body))
    except (ValueError, KeyError, TypeError, LoginError) as error:
        return JSONResponse({"error": str(error)}, 400)


def _get_quirks(core: Core, _: dict[str, Any]) -> dict[str, Any]:
    return core.quirks.as_dict()


def _set_quirks(core: Core, body: dict[str, Any]) -> dict[str, Any]:
    core.quirks.update(body)
    return core.quirks.as_dict()


def _seed(core: Core, body: dict[str, Any]) -> dict[str, Any]:
    apply_seed(core.directory, body)
    return _state(core, {})


def _state(core: Core, _: dict[str, Any]) -> dict[str, Any]:
    """Ids and names of the tenant's objects by kind; those that came with the tenant are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in ENTITIES:
        if kind in ("organization", "domain", "directoryRoleTemplate", "unifiedRoleDefinition"):
            continue
        found[kind] = [
            {"id": doc["id"], "name": doc.get("displayName") or doc.get("name"), "deleted": bool(doc.get("_deleted"))}
            for doc in core.directory.store.all(kind)
            if doc.get("appId") != GRAPH_APP_ID
        ]
    return found


def _requests(core: Core, _: dict[str, Any]) -> dict[str, Any]:
    return {"requests": list(core.log)}


def _forget_requests(core: Core, _: dict[str, Any]) -> dict[str, Any]:
    core.log.clear()
    return {"requests": []}


def _rollover(core: Core, body: dict[str, Any]) -> dict[str, Any]:
    app = body.get("app")
    keys = core.keys if app is None else saml.keys_of(core, str(app))
    return {"kid": keys.roll(retire=body.get("retire") is True).kid}


def _device(core: Core, body: dict[str, Any]) -> dict[str, Any]:
    device.decide(core, str(body["user_code"]), str(body.get("user", "")), approve=body.get("approve", True) is True)
    return {"user_code": body["user_code"]}


def _token(core: Core, body: dict[str, Any]) -> dict[str, Any]:
    return {"access_token": mint(core, **body)}


def mint(
    core: Core,
    claims: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    alg: str = "RS256",
    graph: bool = False,
) -> str:
    """A token with these claims over plausible defaults (null removes one), signed with the tenant's key.

    `alg` may be `RS256`, `none`, or `HS256` (keyed with the public key's PEM, the classic confusion). `graph` makes one
    that Graph itself accepts, with every permission. Raises AdminError for another algorithm.
    """
    now = core.clock()
    base: dict[str, Any] = {
        "aud": GRAPH_APP_ID if graph else "00000000-0000-0000-0000-000000000001",
        "iss": core.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "tid": core.tenant,
        "oid": "00000000-0000-0000-0000-0000000000ad",
        "sub": "00000000-0000-0000-0000-0000000000ad",
        "uti": jws.b64url(os.urandom(16)),
        "ver": "2.0",
        "idtyp": "app",
    }
    if graph:
        base["roles"] = list(GRAPH_ROLES)
    full = {name: value for name, value in (base | (claims or {})).items() if value is not None}
    key = core.keys.current
    extra = {name: value for name, value in ({"kid": key.kid} | (header or {})).items() if value is not None}
    if graph:
        return tokens.graph_token(full, extra, core)
    if alg == "RS256":
        return jws.sign_rs256(full, key.key, extra)
    head = jws.b64url(json.dumps({"typ": "JWT", "alg": alg} | extra).encode())
    signing_input = f"{head}.{jws.b64url(json.dumps(full).encode())}"
    if alg == "none":
        return f"{signing_input}."
    if alg == "HS256":
        pem = key.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"{signing_input}.{jws.b64url(hmac.digest(pem, signing_input.encode(), hashlib.sha256))}"
    raise AdminError(f"`{alg}` is not one of RS256, HS256, none")


_HANDLERS: dict[tuple[str, str], Callable[[Core, dict[str, Any]], dict[str, Any]]] = {
    ("GET", "quirks"): _get_quirks,
    ("PATCH", "quirks"): _set_quirks,
    ("POST", "seed"): _seed,
    ("GET", "state"): _state,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget_requests,
    ("POST", "rollover"): _rollover,
    ("POST", "device"): _device,
    ("POST", "token"): _token,
}
