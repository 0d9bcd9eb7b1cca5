"""The API's endpoints.

How this works: endpoints find out who calls (`access.py`), look at the store, and answer with the models of
`models.py`; errors become problem documents (`problems.py`); `guard.py` stands around all of it. The rules of
approving are not here: `approvals.service` has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import fastapi
from fastapi import FastAPI, Path, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from wicketgate_gateway.api import models, pages, stream
from wicketgate_gateway.api.access import Access, Caller, bearer
from wicketgate_gateway.api.bearer import GRANT, PATH, PREFIX, Bearer, off
from wicketgate_gateway.api.changes import Changes
from wicketgate_gateway.api.guard import Guard
from wicketgate_gateway.api.names import Names
from wicketgate_gateway.api.problems import on_defect, on_error, on_http, on_invalid
from wicketgate_gateway.api.sessions import SessionReader
from wicketgate_gateway.approvals.model import Choice, Kill, Request, Scope, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE, GatewayConfig
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.policy.load import PolicySet

MAX_LISTED = 200
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Problem, "description": description}
    for status, description in (
        (401, "No token, or none that counts here; or the sign-in is too old."),
        (403, "The person may not do this."),
        (409, "It is not, or no more, as the caller thinks."),
        (422, "The request is not of the right form."),
        (429, "Too many requests."),
        (503, "Entra, Graph or the store cannot be asked."),
    )
}

Handle = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,32}$")]
SessionId = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{4,40}$")]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with."""

    config: GatewayConfig
    access: Access
    approvals: Approvals
    changes: Changes
    names: Names
    sessions: SessionReader
    policies: Callable[[], PolicySet]
    """The bundle in force."""
    tokens: Bearer | None = None
    """What gives tokens for SAML assertions, where that is on."""

    def approver_groups(self) -> frozenset[str]:
        """Object ids of all groups that some rule in force names as approvers."""
        return frozenset(self.policies().bundle.approvers.values())


def build(parts: Parts) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(
        title="Wicketgate",
        version="1",
        description="Held operations, sessions and the kill switch of one gateway, for people.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            WicketgateError: on_error,
            RequestValidationError: on_invalid,
            HTTPException: on_http,
            Exception: on_defect,
        },
    )
    _people(app, parts)
    _approvals(app, parts)
    _sessions(app, parts)
    _kills(app, parts)
    _describe(app)
    return app


def guarded(parts: Parts) -> Guard:
    """The application as it is served."""
    return Guard(build(parts))


def _people(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/me", tags=["people"], responses=_PROBLEMS)
    async def me(request: fastapi.Request) -> models.Me:
        """Who is signed in."""
        person = (await parts.access.caller(request)).person
        at = person.signed_in_at
        return models.Me(
            name=person.principal.name,
            id=person.principal.object_id,
            roles=sorted(person.principal.roles),
            signed_in=None if at is None else models.moment(int(at) * 10**9),
            token_ends=models.moment(int(person.principal.expires_at) * 10**9),
        )

    @app.post(PATH, tags=["people"], responses=_PROBLEMS, openapi_extra={"security": []})
    async def token(body: models.Exchange) -> models.Token:
        """A short token for a person's SAML assertion (RFC 7522), where `people.saml.bearer` is on. Needs no token."""
        if parts.tokens is None:
            raise off()
        if body.grant_type != GRANT:
            raise Refused("grant-unsupported", "this grant is not offered", f"use `{GRANT}`")
        made, seconds = await parts.tokens.exchange(body.assertion)
        return models.Token(access_token=made, token_type="Bearer", expires_in=int(seconds))  # noqa: S106 - no secret

    @app.delete(PATH, tags=["people"], responses=_PROBLEMS, status_code=204)
    async def end_token(request: fastapi.Request) -> None:
        """Sign out: the token of this request opens nothing any more. Entra's own tokens are not ended by this."""
        await parts.access.caller(request)
        given = bearer(request)
        if parts.tokens is None or not given.startswith(PREFIX):
            raise Refused("token-not-ours", "Entra gave this token, and it ends by itself", "sign out of Entra")
        await parts.tokens.end(given)

    @app.get("/approvals/{handle}", include_in_schema=False)
    async def page(handle: Handle) -> HTMLResponse:
        """Where links in messages lead: it says how to look at a request, and shows and does nothing."""
        return pages.approval(handle)


def _approvals(app: FastAPI, parts: Parts) -> None:
    store = parts.approvals.store

    async def seen(request: fastapi.Request, handle: str) -> Request:
        # First who calls, then whether there is such a request: strangers learn nothing.
        caller = await parts.access.caller(request)
        caller.require(APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE)
        found = await store.get(handle)
        if not caller.sees_all:
            caller = await parts.access.caller(request, frozenset(found.approver_groups))
        caller.require_sight(found)
        return found

    @app.get("/v1/approvals", tags=["approvals"], responses=_PROBLEMS)
    async def list_approvals(
        request: fastapi.Request,
        state: Annotated[list[State] | None, Query(max_length=6)] = None,
        bot: Annotated[str, Query(max_length=100)] = "",
        target: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
    ) -> models.Approvals:
        """The newest requests in these states (those that wait, if none is given) that the caller may see."""
        caller = await parts.access.caller(request)
        caller.require(APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE)
        bot_id = parts.names.bot(bot) if bot else ""
        found = await store.list(tuple(state or [State.PENDING]), bot_id=bot_id, target=target)
        if not caller.sees_all:
            groups = frozenset(group for each in found for group in each.approver_groups)
            caller = await parts.access.again(caller, groups)
        visible = [each for each in found if caller.sees(each)][-limit:]
        return models.Approvals(approvals=[models.approval(each, parts.config) for each in visible])

    @app.get(
        "/v1/approvals/stream",
        tags=["approvals"],
        responses=_PROBLEMS | {200: {"content": {"text/event-stream": {}}, "description": "Events `approval`."}},
        response_class=Response,
    )
    async def stream_approvals(request: fastapi.Request) -> StreamingResponse:
        """Requests as they come and change: first those that wait, then each change (server-sent events).

        An event `approval` has a request as `GET /v1/approvals/{handle}` gives it. The stream ends with the token, or
        when the caller loses the account or the role.
        """
        caller = await parts.access.caller(request)
        caller.require(APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE)
        with stream.place(caller):
            pass  # refused before the answer begins, if there are too many
        return StreamingResponse(
            stream.events(caller, parts.access, store, parts.changes, parts.config),
            media_type="text/event-stream",
        )

    @app.get("/v1/approvals/{handle}", tags=["approvals"], responses=_PROBLEMS)
    async def get_approval(request: fastapi.Request, handle: Handle) -> models.Approval:
        """One request, whole."""
        return models.approval(await seen(request, handle), parts.config)

    async def decide(request: fastapi.Request, handle: str, choice: Choice, comment: str, seal: str) -> models.Approval:
        caller = await parts.access.caller(request)
        caller.require(APPROVER_ROLE)
        found = await store.get(handle)
        groups = groups_to_check(found)
        caller = await parts.access.acting(request, groups)
        done = await parts.approvals.decide(
            found.handle, caller.person.principal, choice, checked=groups, comment=comment, seal=seal
        )
        return models.approval(done, parts.config)

    @app.post("/v1/approvals/{handle}/approve", tags=["approvals"], responses=_PROBLEMS)
    async def approve(request: fastapi.Request, handle: Handle, body: models.Approve) -> models.Approval:
        """Approve exactly the request of that seal. Needs `Approval.Decide`, one of the rule's groups, and a recent
        sign-in; the bot's owner may not.
        """
        return await decide(request, handle, Choice.APPROVE, body.comment, body.seal)

    @app.post("/v1/approvals/{handle}/deny", tags=["approvals"], responses=_PROBLEMS)
    async def deny(request: fastapi.Request, handle: Handle, body: models.Deny) -> models.Approval:
        """Deny a request, or take back an approval that was not used yet."""
        return await decide(request, handle, Choice.DENY, body.comment, body.seal or "")


def _sessions(app: FastAPI, parts: Parts) -> None:
    @app.get("/v1/sessions", tags=["sessions"], responses=_PROBLEMS)
    async def list_sessions(
        request: fastapi.Request,
        live: bool = False,
        bot: Annotated[str, Query(max_length=100)] = "",
        target: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
    ) -> models.Sessions:
        """The newest sessions of this gateway."""
        caller = await parts.access.caller(request)
        caller.require(AUDITOR_ROLE, ADMIN_ROLE)
        return models.Sessions(sessions=await parts.sessions.list(bot=bot, target=target, live=live, limit=limit))

    @app.post("/v1/sessions/{session}/kill", tags=["sessions"], responses=_PROBLEMS)
    async def kill_session(request: fastapi.Request, session: SessionId, body: models.KillSession) -> models.KillOut:
        """End one session; its running statement is cancelled at the server."""
        principal = (await _admin(parts, request)).person.principal
        return _shown(
            parts,
            await parts.approvals.store.kill(
                Scope.SESSION, session, by=principal.name, by_id=principal.object_id, reason=body.reason
            ),
        )


def _kills(app: FastAPI, parts: Parts) -> None:
    store = parts.approvals.store

    @app.get("/v1/kills", tags=["kills"], responses=_PROBLEMS)
    async def list_kills(request: fastapi.Request, lifted: bool = False) -> models.Kills:
        """The kills in force, and those that were lifted if asked for."""
        caller = await parts.access.caller(request)
        caller.require(AUDITOR_ROLE, ADMIN_ROLE)
        found = await store.kills(lifted=lifted)
        return models.Kills(kills=[_shown(parts, each) for each in found[-1000:]])

    @app.post("/v1/kills", tags=["kills"], responses=_PROBLEMS)
    async def order_kill(request: fastapi.Request, body: models.KillOrder) -> models.KillOut:
        """End all sessions of a bot, of a group's bots, with a target, or all there are; none begins until it is
        lifted.
        """
        principal = (await _admin(parts, request)).person.principal
        value = parts.names.of_kill(body.scope, body.value)
        return _shown(
            parts,
            await store.kill(body.scope, value, by=principal.name, by_id=principal.object_id, reason=body.reason),
        )

    @app.post("/v1/kills/{number}/lift", tags=["kills"], responses=_PROBLEMS)
    async def lift_kill(
        request: fastapi.Request, number: Annotated[int, Path(ge=1, lt=1 << 60)], body: models.Lift
    ) -> models.Kills:
        """Let sessions begin again; gives the kills that are still in force."""
        principal = (await _admin(parts, request)).person.principal
        await store.lift(number, by=principal.name, by_id=principal.object_id)
        return models.Kills(kills=[_shown(parts, each) for each in await store.kills()])


def _shown(parts: Parts, order: Kill) -> models.KillOut:
    return models.kill(order, parts.names.shown(order.scope, order.value))


async def _admin(parts: Parts, request: fastapi.Request) -> Caller:
    caller = await parts.access.acting(request)
    caller.require(ADMIN_ROLE)
    return caller


def _describe(app: FastAPI) -> None:
    """Adds to the OpenAPI document what FastAPI cannot know: the token, and the errors' media type."""
    made: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = made()
        document["components"].setdefault("securitySchemes", {})["entra"] = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A person's Entra access token for the gateway, with the scope `Gateway.Use`.",
        }
        document["security"] = [{"entra": []}]
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if status.startswith(("4", "5")):
                        response["content"] = {
                            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                        }
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        return document

    app.openapi = openapi
