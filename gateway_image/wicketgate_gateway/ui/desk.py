"""Who is at the browser, and how a page is answered: what all pages share.

How this works: `page` wraps a view. It finds the session of the cookie, has Graph say (from its cache, at most a minute
old) that the person is still there, renders what the view returns, and hands out a new cookie where it is time. Errors
become pages of their own. What changes something calls `acting`: Graph anew, and a recent sign-in, else the browser is
sent to Entra and comes back to where it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from wicketgate_gateway.api.access import Caller
from wicketgate_gateway.api.app import Parts
from wicketgate_gateway.api.problems import status_of
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import PeopleAuthenticator
from wicketgate_gateway.ui.browser_sessions import COOKIE, LIFE_SECONDS, BrowserSession, BrowserSessions
from wicketgate_gateway.ui.saml import SamlSignIn
from wicketgate_gateway.ui.sign_in import SignIn
from wicketgate_gateway.ui.texts import environment
from wicketgate_gateway.ui.verifier import Verifier

MAX_FIELDS = 30
_AGAIN = frozenset({"sign-in-too-old", "sign-in-unknown", "token-expired"})
log = structlog.get_logger("wicketgate.ui")


@dataclass(frozen=True, slots=True)
class Page:
    """What a view answers: a template and what it shows. `fragment` ones stand in a page that is there already."""

    template: str
    values: dict[str, Any]
    status: int = 200


class SignInAgainError(Exception):
    """The person must sign in afresh before they may do this."""


class Visit:
    """One request of a person who is signed in."""

    def __init__(self, desk: Desk, request: Request, session: BrowserSession, caller: Caller) -> None:
        self.desk = desk
        self.request = request
        self.session = session
        self.caller = caller

    @property
    def query(self) -> dict[str, str]:
        """The address's parameters, each once, without surrounding spaces."""
        return {name: value.strip()[:500] for name, value in self.request.query_params.items()}

    def still_signed_in(self) -> bool:
        """Whether the browser's session was not ended meanwhile, for answers that take long."""
        return self.desk.sessions.stands(self.session)

    def require(self, *roles: str) -> None:
        """Raises Refused unless the person has one of these roles."""
        self.caller.require(*roles)

    async def form(self) -> dict[str, str]:
        """The form that was sent, each field once. Raises WicketgateError."""
        return await fields(self.request)

    async def look_up(self, groups: frozenset[str]) -> Caller:
        """The person with those of `groups` that they are in, as Graph said within the last minute."""
        groups |= self.caller.checked
        return Caller(await self.desk.people.recheck(self.session.person, groups), groups)

    async def acting(self, groups: frozenset[str] = frozenset()) -> Caller:
        """The person in order to change something, as Graph says now. Raises SignInAgainError, Refused."""
        person = await self.desk.people.recheck(self.session.person, groups, fresh=True)
        try:
            self.desk.people.check_recent(person)
        except Refused as error:
            raise SignInAgainError from error
        return Caller(person, groups)


View: TypeAlias = Callable[[Visit], Awaitable[Page | Response]]


class Desk:
    """What all pages work with."""

    def __init__(
        self,
        parts: Parts,
        people: PeopleAuthenticator,
        sign_in: SignIn,
        sessions: BrowserSessions | None = None,
        saml: SamlSignIn | None = None,
    ) -> None:
        self.parts = parts
        self.people = people
        self.sign_in = sign_in
        self.saml = saml
        self.sessions = sessions or BrowserSessions()
        self.verifier = Verifier(parts.sessions.state)
        self._templates = environment()
        self.gateway = parts.config.name

    def page(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint from a view."""

        async def endpoint(request: Request) -> Response:
            found = self.sessions.find(request.cookies.get(COOKIE, ""))
            if found is None:
                return self._to_sign_in(request)
            session, cookie = found
            visit: Visit | None = None
            try:
                groups = frozenset(self.parts.approver_groups())
                person = await self.people.recheck(session.person, groups)
                visit = Visit(self, request, session, Caller(person, groups))
                answer = await view(visit)
                response = self.render(answer, visit) if isinstance(answer, Page) else answer
            except SignInAgainError:
                return self._to_sign_in(request, again=True)
            except Refused as error:
                if error.code in _AGAIN or error.code == "person-disabled":
                    self.sessions.end(session)
                    return self._to_sign_in(request)
                response = self.problem(error, visit)
            except WicketgateError as error:
                response = self.problem(error, visit)
            if cookie:
                set_cookie(response, cookie)
            return response

        return endpoint

    def render(self, page: Page, visit: Visit | None) -> Response:
        """A page as HTML; `visit` is None for those that anybody may see."""
        roles = visit.caller.roles if visit else frozenset[str]()
        values = {
            "gateway": self.gateway,
            "person": visit.caller.person.principal.name if visit else "",
            "place": visit.request.url.path if visit else "",
            "may_decide": APPROVER_ROLE in roles,
            "may_look": bool(roles & {AUDITOR_ROLE, ADMIN_ROLE}),
            "may_end": ADMIN_ROLE in roles,
        }
        text = self._templates.get_template(page.template).render({**values, **page.values})
        return HTMLResponse(text, page.status)

    def problem(self, error: WicketgateError, visit: Visit | None) -> Response:
        """An error as a page, or as a line where a part of a page was asked for."""
        status = status_of(error)
        if status >= 500:
            log.warning("a page failed", code=error.code, reason=str(error))
        values = {
            "title": HTTPStatus(status).phrase,
            "message": error.message,
            "remedy": error.remedy,
            "code": error.code,
        }
        fragment = visit is not None and "hx-request" in visit.request.headers
        return self.render(Page("problem-part.html" if fragment else "problem.html", values, status), visit)

    def _to_sign_in(self, request: Request, *, again: bool = False) -> Response:
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.method != "GET":
            to = request.headers.get("referer", "").partition("/ui/")[2]
            to = f"/ui/{to}"
        address = "/ui/sign-in?" + urlencode({"to": to} | ({"again": "1"} if again else {}))
        if "hx-request" in request.headers:  # a part of a page: the whole page must go
            return Response(status_code=204, headers={"HX-Redirect": address})
        return RedirectResponse(address, 303)


async def fields(request: Request) -> dict[str, str]:
    """The form that was sent, each field once. Raises WicketgateError."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise WicketgateError("the form has too many fields", code="request-invalid") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise WicketgateError("a field is given twice", code="request-invalid")
    return values


def set_cookie(
    response: Response,
    value: str,
    name: str = COOKIE,
    *,
    same_site: Literal["strict", "lax", "none"] = "strict",
    seconds: int = 0,
) -> None:
    """A cookie that only this host gets, over TLS, and no script reads; an empty value takes it away."""
    response.set_cookie(
        name,
        value,
        max_age=(seconds or int(LIFE_SECONDS)) if value else 0,
        path="/",
        secure=True,
        httponly=True,
        samesite=same_site,
    )
