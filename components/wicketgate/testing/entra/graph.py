"""Microsoft Graph's HTTP side: authentication, quirks, dispatch by what the path leads to, answers.

Every answer is JSON or empty, with Graph's headers; errors are Graph's documents. Nothing here answers 5xx or 429
unless a switch says so, since clients would retry for minutes.
"""

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from wicketgate.testing.entra import actions, permissions, sign_ins, tokens, writes
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.errors import GraphError, bad_request
from wicketgate.testing.entra.paths import PathError, parse_path
from wicketgate.testing.entra.query import Query, next_link, parse_query, run
from wicketgate.testing.entra.resolve import Target, members, resolve
from wicketgate.testing.entra.schema import ENTITIES
from wicketgate.testing.entra.store import Doc
from wicketgate.testing.entra.views import View

_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_MAX_BODY = 4 * 1024 * 1024
_MAX_BATCH = 20


@dataclass(frozen=True)
class Asked:
    """One Graph request, on its own or out of a batch."""

    method: str
    path: str
    options: dict[str, str]
    eventual: bool
    body: bytes
    claims: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Status and body (None: empty; str: text/plain)."""

    status: int
    body: dict[str, Any] | str | None = None
    headers: dict[str, str] | None = None


def of_version(version: str) -> Callable[[Core, Request], Awaitable[Response]]:
    """The handler of all requests under /v1.0 or /beta."""

    async def handler(core: Core, request: Request) -> Response:
        return await _serve(core, version, request)

    return handler


async def _serve(core: Core, version: str, request: Request) -> Response:
    request_id = str(uuid.uuid4())
    client_id = request.headers.get("client-request-id", request_id)
    try:
        claims = _authenticate(core, request)
        asked = Asked(
            request.method,
            request.path_params["path"],
            _options(request),
            request.headers.get("consistencylevel", "").lower() == "eventual",
            await _read(request),
            claims,
        )
        _stumble(core)
        if asked.path == "$batch" and asked.method == "POST":
            answer = Answer(200, await _batch(core, version, asked, request_id))
        else:
            answer = await handle(View(core, version), asked)
    except GraphError as error:
        answer = Answer(error.status, error.body(request_id, client_id), error.headers)
    core.log.append(
        {
            "time": time.time(),
            "method": request.method,
            "path": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "status": answer.status,
        }
    )
    headers = {"request-id": request_id, "client-request-id": client_id, **(answer.headers or {})}
    if answer.body is None:
        return Response(None, answer.status, headers=headers)
    if isinstance(answer.body, str):
        return Response(answer.body, answer.status, headers=headers, media_type="text/plain")
    headers["OData-Version"] = "4.0"
    return Response(json.dumps(answer.body), answer.status, headers=headers | {"Content-Type": _JSON})


def _authenticate(core: Core, request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    authorization = f"{core.url}/common/oauth2/authorize"
    challenge = f'Bearer realm="", authorization_uri="{authorization}", client_id="{GRAPH_APP_ID}"'
    if scheme.lower() != "bearer" or not token:
        message = "Access token is empty."
        raise GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": challenge})
    claims = tokens.verify_graph_token(core, token.strip())
    if claims is None:
        message = "Access token validation failure. Invalid audience, signature or lifetime."
        raise GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": challenge})
    return claims


def _options(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    options = dict(pairs)
    if len(options) != len(pairs):
        raise bad_request(
            "Query option was specified more than once, but it must be specified at most once.", "BadRequest"
        )
    return options


async def _read(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise GraphError(413, "Request_BadRequest", "The request body is too large.")
    return body


def _stumble(core: Core) -> None:
    quirks = core.quirks
    if quirks.take("throttle_next"):
        headers = {"Retry-After": str(quirks.retry_after)}
        raise GraphError(429, "TooManyRequests", "Too many requests.", headers=headers)
    if quirks.take("fail_next"):
        raise GraphError(quirks.fail_status, "ServiceUnavailable", "The service is temporarily unavailable.")


async def handle(view: View, asked: Asked) -> Answer:
    """Resolves, authorises and dispatches one request. Raises GraphError."""
    try:
        segments = parse_path(asked.path)
    except PathError as error:
        raise bad_request(str(error), "BadRequest") from None
    claims = asked.claims
    is_user = "scp" in claims
    permissions.check(view.core, asked.method, segments, claims)
    if [segment.text for segment in segments] == ["auditLogs", "signIns"] and asked.method == "GET":
        return Answer(200, sign_ins.listed(view, asked.path, parse_query(asked.options, eventual=asked.eventual)))
    target = resolve(view.core, segments, str(claims["oid"]), is_user=is_user)
    query = parse_query(asked.options, eventual=asked.eventual)
    if target.action:
        if asked.method != "POST":
            raise _not_allowed()
        result = actions.perform(view, target, _json(asked.body))
        return Answer(204) if result is None else Answer(200, result)
    match asked.method:
        case "GET":
            return _get(view, target, query, asked)
        case "POST" if target.item is None:
            return await _post(view, target, asked)
        case "PATCH" if target.item is not None and not target.ref:
            await writes.update(view.core, target, _json(asked.body))
            return Answer(204)
        case "DELETE" if target.item is not None:
            await writes.delete(view.core, target)
            return Answer(204)
        case _:
            raise _not_allowed()


def _not_allowed() -> GraphError:
    return GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")


def _json(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of "
            "valid JSON format.",
            "BadRequest",
        ) from None
    if not isinstance(value, dict):
        raise bad_request("Unable to read JSON request payload. Empty Payload. JSON content expected.", "BadRequest")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _get(view: View, target: Target, query: Query, asked: Asked) -> Answer:
    context = f"{view.base}/$metadata#{'/'.join(target.context).replace('/(', '(')}"
    if target.item is not None:
        if target.ref:
            return Answer(200, {"@odata.context": f"{view.base}/$metadata#$ref", **view.reference(target.item)})
        shown = view.object(target.item, query, typed=target.polymorphic)
        return Answer(200, {"@odata.context": f"{context}/$entity"} | shown)
    docs = _shown(view, target)
    if target.count:
        if not asked.eventual:
            raise bad_request("$count is not currently supported.")
        return Answer(200, str(run(query, docs, view.full).total))
    page = run(query, docs, view.full)
    body: dict[str, Any] = {"@odata.context": context}
    if query.count and asked.eventual:
        body["@odata.count"] = page.total
    if page.next_skip is not None:
        body["@odata.nextLink"] = next_link(f"{view.base}/{asked.path}", query, page.next_skip)
    if target.ref:
        body["value"] = [view.reference(doc) for doc in page.docs]
    else:
        body["value"] = [view.object(doc, query, typed=target.polymorphic) for doc in page.docs]
    return Answer(200, body)


def _shown(view: View, target: Target) -> list[Doc]:
    docs = members(view.core, target)
    hidden = view.core.quirks.hide_service_principals and view.version == "v1.0" and target.cast is None
    if (
        hidden
        and target.navigation_name in ("members", "transitiveMembers")
        and (target.parent or {})["_kind"] == "group"
    ):
        return [doc for doc in docs if doc["_kind"] != "servicePrincipal"]
    return docs


async def _post(view: View, target: Target, asked: Asked) -> Answer:
    body = _json(asked.body)
    if target.ref:
        writes.add_reference(view.core, target, body)
        return Answer(204)
    caller = view.core.directory.directory_object(str(asked.claims["oid"]))
    doc = await writes.create(view.core, target, body, caller)
    entity = ENTITIES[doc["_kind"]]
    context = "/".join(target.context).replace("/(", "(")
    shown = view.object(doc, Query(select=("*",)), typed=False)
    if doc.get("passwordCredentials"):
        shown["passwordCredentials"] = [
            {name: value for name, value in one.items() if not name.startswith("_")}
            for one in doc["passwordCredentials"]
        ]
    headers = {"Location": f"{view.base}/{entity.collection or asked.path}/{doc['id']}"}
    return Answer(201, {"@odata.context": f"{view.base}/$metadata#{context}/$entity"} | shown, headers)


async def _batch(core: Core, version: str, asked: Asked, request_id: str) -> dict[str, Any]:
    """POST /$batch: up to 20 requests, in their order."""
    requests = _json(asked.body).get("requests")
    if not isinstance(requests, list) or len(requests) > _MAX_BATCH:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {_MAX_BATCH}.", "BadRequest")
    responses: list[dict[str, Any]] = []
    for one in requests:
        if not isinstance(one, dict) or not isinstance(one.get("url"), str) or "id" not in one:
            raise bad_request("Invalid batch payload format.", "BadRequest")
        path, _, text = one["url"].lstrip("/").partition("?")
        options = Request({"type": "http", "query_string": text.encode(), "headers": []})
        headers = {str(name).lower(): str(value) for name, value in (one.get("headers") or {}).items()}
        try:
            inner = Asked(
                str(one.get("method", "GET")).upper(),
                unquote(path),
                _options(options),
                headers.get("consistencylevel", "").lower() == "eventual",
                json.dumps(one["body"]).encode() if one.get("body") is not None else b"",
                asked.claims,
            )
            answer = await handle(View(core, version), inner)
        except GraphError as error:
            answer = Answer(error.status, error.body(request_id, request_id), error.headers)
        response: dict[str, Any] = {
            "id": one["id"],
            "status": answer.status,
            "headers": {"Content-Type": "application/json"},
        }
        if answer.body is not None:
            response["body"] = answer.body
        responses.append(response)
    return {"responses": responses}
