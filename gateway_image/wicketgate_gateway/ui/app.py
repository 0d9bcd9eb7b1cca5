"""The pages' addresses, the sign-in's two ends, and the static files."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import APPROVER_ROLE
from wicketgate_gateway.identity.people import Person
from wicketgate_gateway.ui import access, approvals, audit, look, policies, replays
from wicketgate_gateway.ui.browser_sessions import COOKIE
from wicketgate_gateway.ui.desk import Desk, Page, Visit, fields, set_cookie
from wicketgate_gateway.ui.guard import BrowserGuard
from wicketgate_gateway.ui.saml import ACS
from wicketgate_gateway.ui.saml import COOKIE as SAML_COOKIE
from wicketgate_gateway.ui.sign_in import COOKIE as SIGN_IN_COOKIE
from wicketgate_gateway.ui.sign_in import local
from wicketgate_gateway.ui.texts import FOLDER

log = structlog.get_logger("wicketgate.ui")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".wasm": "application/wasm"}


def build(desk: Desk) -> Starlette:
    """The application, without its guard."""
    page = desk.page

    async def first(visit: Visit) -> Response:
        return RedirectResponse("/ui/approvals" if APPROVER_ROLE in visit.caller.roles else "/ui/sessions", 303)

    async def sign_in(request: Request) -> Response:
        again = request.query_params.get("again") == "1"
        values = {"title": "Sign in", "to": local(request.query_params.get("to", "")), "again": again}
        return desk.render(Page("sign-in.html", values | {"saml": desk.saml is not None}), None)

    async def start(request: Request) -> Response:
        address, cookie = desk.sign_in.begin(
            request.query_params.get("to", ""), again=request.query_params.get("again") == "1"
        )
        response = RedirectResponse(address, 303)
        # Lax: Entra's redirect back is a navigation from another site.
        set_cookie(response, cookie, SIGN_IN_COOKIE, same_site="lax", seconds=600)
        return response

    async def signed_in(request: Request) -> Response:
        try:
            values = dict(request.query_params)
            person, to = await desk.sign_in.finish(request.cookies.get(SIGN_IN_COOKIE, ""), values)
        except WicketgateError as error:
            return over(desk.problem(error, None), SIGN_IN_COOKIE)
        return over(welcome(request, person, to), SIGN_IN_COOKIE)

    async def saml_start(request: Request) -> Response:
        if desk.saml is None:
            return await nothing(request, Exception())
        address, cookie = desk.saml.begin(
            request.query_params.get("to", ""), again=request.query_params.get("again") == "1"
        )
        response = RedirectResponse(address, 303)
        # None: Entra's page posts the answer, and only this cookie may come with that.
        set_cookie(response, cookie, SAML_COOKIE, same_site="none", seconds=600)
        return response

    async def saml_acs(request: Request) -> Response:
        if desk.saml is None:
            return await nothing(request, Exception())
        try:
            person, to = await desk.saml.finish(request.cookies.get(SAML_COOKIE, ""), await fields(request))
        except WicketgateError as error:
            log.info("SAML sign-in refused", code=error.code, reason=error.message)
            return over(desk.problem(error, None), SAML_COOKIE)
        return over(welcome(request, person, to), SAML_COOKIE)

    def over(response: Response, cookie: str) -> Response:
        set_cookie(response, "", cookie, same_site="none" if cookie == SAML_COOKIE else "lax")
        return response

    def welcome(request: Request, person: Person, to: str) -> Response:
        old = desk.sessions.find(request.cookies.get(COOKIE, ""))
        if old is not None:
            desk.sessions.end(old[0])
        # The strict cookie is not sent on a redirect that began at Entra: a page of ours goes on.
        response = desk.render(Page("signed-in.html", {"title": "Signed in", "to": to}), None)
        set_cookie(response, desk.sessions.begin(person))
        return response

    async def sign_out(request: Request) -> Response:
        found = desk.sessions.find(request.cookies.get(COOKIE, ""))
        if found is not None:
            desk.sessions.end(found[0])
        values = {"title": "Signed out", "to": "/ui/", "again": False, "saml": desk.saml is not None}
        response = desk.render(Page("sign-in.html", values), None)
        set_cookie(response, "")
        return response

    async def nothing(_request: Request, _error: Exception) -> Response:
        return desk.problem(WicketgateError("there is nothing here", code="not-found"), None)

    return Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse("/ui/", 303)),
            Route("/ui", lambda _: RedirectResponse("/ui/", 303)),
            Route("/ui/", page(first)),
            Route("/ui/sign-in", sign_in),
            Route("/ui/sign-in/start", start),
            Route("/ui/signed-in", signed_in),
            Route("/ui/saml/start", saml_start),
            Route(ACS, saml_acs, methods=["POST"]),
            Route("/ui/sign-out", sign_out, methods=["POST"]),
            Route("/ui/approvals", page(approvals.listed)),
            Route("/ui/approvals/rows", page(approvals.rows)),
            Route("/ui/approvals/{handle}", page(approvals.shown)),
            Route("/ui/approvals/{handle}/standing", page(approvals.standing)),
            Route("/ui/approvals/{handle}/approve", page(approvals.approve), methods=["POST"]),
            Route("/ui/approvals/{handle}/deny", page(approvals.deny), methods=["POST"]),
            Route("/ui/sessions", page(look.sessions)),
            Route("/ui/sessions/rows", page(look.session_rows)),
            Route("/ui/sessions/{session}", page(replays.session)),
            Route("/ui/sessions/{session}/operations", page(replays.operations)),
            Route("/ui/sessions/{session}/terminal/{number}", page(replays.terminal)),
            Route("/ui/sessions/{session}/terminal/{number}/live", page(replays.follow)),
            Route("/ui/sessions/{session}/kill", page(look.kill), methods=["POST"]),
            Route("/ui/audit", page(audit.audit)),
            Route("/ui/audit/export", page(audit.export)),
            Route("/ui/audit/verify", page(audit.verified), methods=["POST"]),
            Route("/ui/policies", page(policies.listed)),
            Route("/ui/policies/{policy}", page(policies.shown)),
            Route("/ui/policies/{policy}", page(policies.tried), methods=["POST"]),
            Route("/ui/access", page(access.access)),
            Route("/ui/static/{version}/{name}", static),
        ],
        exception_handlers={404: nothing, 405: nothing},
    )


def static(request: Request) -> Response:
    """A file of ours, by a name that holds its digest."""
    name = request.path_params["name"]
    found = _files().get(name)
    if found is None:
        return Response("there is nothing here\n", 404)
    return Response(found[0], media_type=found[1])


@lru_cache
def _files() -> dict[str, tuple[bytes, str]]:
    folder = FOLDER / "static"
    return {f.name: (f.read_bytes(), _TYPES[f.suffix]) for f in folder.iterdir() if f.suffix in _TYPES}


class WithPages:
    """The API and the pages behind one address: pages below `/ui`, the API everywhere else."""

    def __init__(self, api: ASGIApp, desk: Desk, url: str) -> None:
        parts = urlsplit(url)
        self._api = api
        self._pages = BrowserGuard(build(desk), f"{parts.scheme}://{parts.netloc}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("raw_path", b"")
        pages = scope["type"] == "http" and (path in (b"/", b"/ui") or path.startswith(b"/ui/"))
        await (self._pages if pages else self._api)(scope, receive, send)
