"""The token endpoint: who is asking, for which API, and whether they may have it.

Checks come in Entra's order, since clients and people learn from the code: tenant, grant, client, credential, resource,
assignment. Codes, statuses and texts are in `errors`.
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wicketgate.testing.entra import assertions, sign_ins, tokens
from wicketgate.testing.entra.assertions import Proof
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.store import Doc

GrantHandler = Callable[[Core, dict[str, str]], Awaitable[dict[str, Any]]]
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
_MAX_BODY = 256 * 1024


async def form(request: Request) -> dict[str, str]:
    """The request's urlencoded form; a parameter given twice is malformed (RFC 6749, 3.2). Raises LoginError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise login_error(9002313)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise login_error(9002313) from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise login_error(9002313)
    return values


def check_tenant(core: Core, name: str, *, people: bool) -> None:
    """Refuses other tenants. People may also come by `common` and `organizations`. Raises LoginError."""
    if core.names_tenant(name) or (people and name in ("common", "organizations")):
        return
    if "." not in name and not _is_guid(name):
        raise login_error(900023, tenant=name)
    raise login_error(90002, tenant=name)


def _is_guid(name: str) -> bool:
    parts = name.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        one in "0123456789abcdefABCDEF" for part in parts for one in part
    )


def refuse(core: Core, error: LoginError, request: Request) -> Response:
    """The refusal as the login endpoints send it."""
    body = error.body(core.url, request.headers.get("client-request-id"))
    return JSONResponse(body, error.status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def token(core: Core, request: Request, grants: dict[str, GrantHandler]) -> Response:
    """POST /{tenant}/oauth2/v2.0/token and /{tenant}/oauth2/token (where `resource` stands for `scope`)."""
    if core.quirks.take("throttle_login_next"):
        retry = {"Retry-After": str(core.quirks.retry_after)}
        return JSONResponse({"error": "temporarily_unavailable"}, 429, headers=retry)
    try:
        values = await form(request)
        grant_type = values.get("grant_type")
        if not grant_type:
            raise login_error(900144, field="grant_type")
        check_tenant(core, request.path_params["tenant"], people=grant_type != "client_credentials")
        if grant_type == "client_credentials":
            answer = await _client_credentials(core, values)
        elif grant_type in grants:
            answer = await grants[grant_type](core, values)
        else:
            raise login_error(70003, grant=grant_type)
    except LoginError as error:
        return refuse(core, error, request)
    return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def _client_credentials(core: Core, values: dict[str, str]) -> dict[str, Any]:
    application, client = find_client(core, values)
    try:
        proof = await authenticate_client(core, application, values)
        if proof is None:
            raise login_error(7000216)
        answer = _app_token(core, client, values, proof)
    except LoginError as error:
        sign_ins.record(core, client, error=error)
        raise
    sign_ins.record(core, client, federated=proof.federated)
    return answer


def _app_token(core: Core, client: Doc, values: dict[str, str], proof: Proof) -> dict[str, Any]:
    if "scope" not in values and "resource" in values:
        name = values["resource"]
    else:
        scope = values.get("scope", "")
        if not scope:
            raise login_error(900144, field="scope")
        wanted = [one for one in scope.split() if one not in _OIDC_SCOPES]
        if len(wanted) != 1 or not wanted[0].endswith("/.default"):
            raise login_error(1002012, scope=scope)
        name = wanted[0].removesuffix("/.default")
    resource, audience = find_resource(core, name)
    directory = core.directory
    if resource["appRoleAssignmentRequired"] and not directory.assigned(client, resource):
        raise login_error(
            501051,
            app=client["appId"],
            name=client["displayName"],
            resource=resource["appId"],
            resource_name=resource["displayName"],
        )
    text, lifetime = tokens.access_token(core, tokens.Grant(client, resource, audience, proof.how))
    return {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": text}


def find_client(core: Core, values: dict[str, str]) -> tuple[Doc, Doc]:
    """The application and the service principal that `client_id` names. Raises LoginError."""
    client_id = values.get("client_id")
    if not client_id:
        raise login_error(900144, field="client_id")
    directory = core.directory
    application = directory.find_by("application", "appId", client_id)
    principal = directory.principal_of(client_id)
    if application is None or principal is None:
        raise login_error(700016, app=client_id, tenant_name=directory.display_name)
    if not principal["accountEnabled"]:
        raise login_error(7000112, app=client_id, name=principal["displayName"])
    return application, directory.with_application(principal)


async def authenticate_client(core: Core, application: Doc, values: dict[str, str]) -> Proof | None:
    """How it proved itself, or None if the request carries no credential. Raises LoginError for a wrong one."""
    if "client_assertion" in values:
        if values.get("client_assertion_type") != JWT_BEARER:
            raise login_error(900144, field="client_assertion_type")
        return await assertions.authenticate(core, application, values["client_assertion"])
    if "client_secret" in values:
        _check_secret(core, application, values["client_secret"])
        return Proof("secret")
    return None


def _check_secret(core: Core, application: Doc, secret: str) -> None:
    digest = secret_digest(secret)
    for credential in application["passwordCredentials"]:
        if hmac.compare_digest(credential.get("_digest", ""), digest):
            end = datetime.fromisoformat(credential["endDateTime"])
            if end.timestamp() < core.clock():
                raise login_error(7000222, app=application["appId"])
            return
    raise login_error(7000215, app=application["appId"])


def find_resource(core: Core, name: str) -> tuple[Doc, str]:
    """The API's service principal, and the audience that a v1.0 token for it gets. Raises LoginError."""
    directory = core.directory
    if name.rstrip("/") in (core.url, "https://graph.microsoft.com", GRAPH_APP_ID):
        resource, audience = directory.principal_of(GRAPH_APP_ID), name.rstrip("/")
    else:
        resource, audience = directory.resource_named(name), name
    if resource is None:
        raise login_error(500011, resource=name, tenant_name=directory.display_name)
    if not resource["accountEnabled"]:
        raise login_error(500014, resource=name)
    return directory.with_application(resource), audience
