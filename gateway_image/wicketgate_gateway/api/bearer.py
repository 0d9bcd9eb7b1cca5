"""A person's SAML assertion for a short token of the API's own: RFC 7522's grant, behind a switch.

How this works: `POST /v1/token` takes the parameters of RFC 7521 as JSON. The assertion passes the very checks of
sign-in by browser (`identity/saml.py`), but that its recipient is this endpoint and that it answers no request; it
serves once, at whichever process. What comes back is 256 random bits that the control store knows by their digest, good
for some minutes, so that roles and account are proven anew soon; Graph is asked for groups at each use as always. The
token is nothing that Entra or another gateway would take, and `DELETE /v1/token` ends it. Sources: RFC 7521 section
4.1, RFC 7522 sections 2.1 and 3.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog

from wicketgate_gateway.approvals.people import PeopleStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, Saml
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.http import Fetcher
from wicketgate_gateway.identity.people import ROLES, PeopleAuthenticator, Person
from wicketgate_gateway.identity.saml import Assertions, use
from wicketgate_gateway.identity.saml_metadata import Certificates

GRANT = "urn:ietf:params:oauth:grant-type:saml2-bearer"
PATH = "/v1/token"
PREFIX = "wgp_"
"""What the tokens begin with; Entra's are JWTs and cannot."""
SECONDS = 600.0

log = structlog.get_logger("wicketgate.api")


class Bearer:
    """Exchanges assertions, and knows the tokens that it gave. For one event loop."""

    def __init__(
        self,
        config: GatewayConfig,
        settings: Saml,
        people: PeopleAuthenticator,
        store: PeopleStore,
        fetch: Fetcher,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert config.people is not None
        self._people = people
        self._store = store
        self._clock = clock
        self._client = settings.client
        self._tenant = config.entra.tenant
        self.recipient = config.people.url.rstrip("/") + PATH
        self._certificates = Certificates(settings, config.entra, fetch)
        self._assertions = Assertions(settings, config.entra.tenant, self.recipient, clock=clock)

    async def exchange(self, assertion: str) -> tuple[str, float]:
        """A token for an assertion (base64url), and for how many seconds it is good. Raises Refused,
        WicketgateError."""
        person = await self._read(assertion)
        await use(person, self._store)
        person = await self._people.recheck(person, frozenset(), fresh=True)
        ends = min(person.principal.expires_at, self._clock() + SECONDS)
        token = PREFIX + secrets.token_urlsafe(32)
        await self._store.keep(token, _document(person, ends), ends)
        log.info("a token for an assertion", person=person.principal.object_id, assertion=person.principal.token_id)
        return token, max(0.0, ends - self._clock())

    async def person(self, token: str, groups: frozenset[str], *, fresh: bool) -> Person:
        """The enabled person that a token of ours stands for. Raises Refused, WicketgateError."""
        found = await self._store.find(token)
        if found is None:
            raise Refused("token-expired", "the token is unknown, has expired or was ended", "exchange an assertion")
        return await self._people.recheck(self._restored(found), groups, fresh=fresh)

    async def end(self, token: str) -> None:
        """Sign out."""
        await self._store.end(token)

    async def _read(self, assertion: str) -> Person:
        known = await self._certificates.get()
        try:
            return self._assertions.person_of_bearer(assertion, known)
        except Refused as error:
            if error.code != "saml-signature" or not await self._certificates.changed(known):
                raise
        return self._assertions.person_of_bearer(assertion, await self._certificates.get())

    def _restored(self, found: dict[str, Any]) -> Person:
        if found.get("client") != self._client or found.get("tenant") != self._tenant:
            # Gateways that share a store may be of different registrations.
            raise Refused("token-expired", "the token is of another registration", "exchange an assertion")
        principal = Principal(
            kind=PrincipalKind.PERSON,
            tenant=self._tenant,
            object_id=found["id"],
            client_id=self._client,
            name=found["name"],
            token_id=found["assertion"],
            expires_at=float(found["ends"]),
            roles=frozenset(found["roles"]) & ROLES,
        )
        return Person(principal, found["signedIn"])


def of_setting(config: GatewayConfig, people: PeopleAuthenticator, store: PeopleStore, fetch: Fetcher) -> Bearer | None:
    """What exchanges assertions, if the configuration has it on."""
    saml = config.people.saml if config.people is not None else None
    return Bearer(config, saml, people, store, fetch) if saml is not None and saml.bearer else None


def off() -> WicketgateError:
    """The answer where the switch is off."""
    return WicketgateError("there is nothing here", code="not-found", remedy="`people.saml.bearer` is off")


def _document(person: Person, ends: float) -> dict[str, Any]:
    principal = person.principal
    return {
        "id": principal.object_id,
        "name": principal.name,
        "client": principal.client_id,
        "tenant": principal.tenant,
        "assertion": principal.token_id,
        "roles": sorted(principal.roles),
        "ends": ends,
        "signedIn": person.signed_in_at,
    }
