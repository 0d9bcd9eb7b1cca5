"""Who calls, what they may see, and what they may do.

How this works: every request brings a person's Entra token (or one that the API gave for a SAML assertion,
`bearer.py`) in the one Authorization header; nothing else identifies
anybody, and a handle, a session's id or a link opens nothing. `Approval.Decide` shows the requests of those groups that
the person is in, `Session.Read` shows everything, `Gateway.Admin` shows everything and ends sessions. What changes
something (`acting`) asks Graph anew and wants a recent sign-in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from wicketgate_gateway.api.bearer import PREFIX, Bearer
from wicketgate_gateway.api.guard import Buckets
from wicketgate_gateway.approvals.model import Request
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AUDITOR_ROLE
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import PeopleAuthenticator, Person

PERSON_RATE, PERSON_BURST = 10.0, 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, and the groups that their membership was looked up for."""

    person: Person
    checked: frozenset[str]

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the token carries."""
        return self.person.principal.roles

    @property
    def sees_all(self) -> bool:
        """Whether every request may be seen."""
        return bool(self.roles & {AUDITOR_ROLE, ADMIN_ROLE})

    def sees(self, request: Request) -> bool:
        """Whether this request may be seen."""
        return self.sees_all or bool(self.person.principal.groups.intersection(request.approver_groups))

    def require(self, *roles: str) -> None:
        """Raises Refused unless the caller has one of these roles."""
        if not self.roles & set(roles):
            names = " or ".join(f"`{role}`" for role in roles)
            raise Refused("role-missing", f"this needs the role {names}", "ask for it, and sign in again")

    def require_sight(self, request: Request) -> None:
        """Raises WicketgateError unless this request may be seen."""
        if not self.sees(request):
            raise WicketgateError(
                "you are not in a group that may decide this",
                code="approver-not-allowed",
                remedy="ask " + (" or ".join(f"`{name}`" for name in request.approver_names) or "an approver"),
            )


class Access:
    """Tells callers from their requests. `groups` gives the approver groups of all rules in force."""

    def __init__(
        self,
        people: PeopleAuthenticator,
        groups: Callable[[], frozenset[str]],
        buckets: Buckets | None = None,
        *,
        tokens: Bearer | None = None,
    ) -> None:
        """`tokens` knows those that the API gave out itself."""
        self._people = people
        self._tokens = tokens
        self._groups = groups
        self._buckets = buckets or Buckets(PERSON_RATE, PERSON_BURST)

    async def caller(self, connection: HTTPConnection, more: frozenset[str] = frozenset()) -> Caller:
        """Who calls; `more` are groups to look up beside those in force. Raises Refused, WicketgateError."""
        return await self._caller(connection, self._groups() | more, fresh=False)

    async def acting(self, connection: HTTPConnection, groups: frozenset[str] = frozenset()) -> Caller:
        """Who calls in order to change something. Raises Refused, WicketgateError."""
        caller = await self._caller(connection, groups, fresh=True)
        self._people.check_recent(caller.person)
        return caller

    async def again(self, caller: Caller, more: frozenset[str] = frozenset()) -> Caller:
        """The caller of a long answer as of now. Raises Refused."""
        groups = self._groups() | more
        return Caller(await self._people.recheck(caller.person, groups), groups)

    async def _caller(self, connection: HTTPConnection, groups: frozenset[str], *, fresh: bool) -> Caller:
        token = bearer(connection)
        if self._tokens is not None and token.startswith(PREFIX):
            person = await self._tokens.person(token, groups, fresh=fresh)
        else:
            person = await self._people.person(token, groups, fresh=fresh)
        if not self._buckets.take(person.principal.object_id):
            raise WicketgateError("you send too many requests", code="too-many-requests", remedy="slow down")
        return Caller(person, groups)


def bearer(connection: HTTPConnection) -> str:
    """The token of the Authorization header. Raises Refused."""
    given = connection.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token or token != token.strip():
        raise Refused("token-missing", "there is no token", "sign in (`wicketgate login`)")
    return token
