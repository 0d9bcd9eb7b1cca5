"""Who a person is who calls the API: a delegated token, the roles in it, and Graph's word on account and groups.

How this works: the token passes the same strict proof as a bot's (`tokens.py`), and must then be a person's: with the
delegated permission `Gateway.Use`, got by the one public client that the configuration names, and never an app's. Roles
come from the token, since Entra puts those of people there also where a group holds them. Groups never do: Graph is
asked, and anew for each decision. Deciding needs a recent sign-in: `auth_time`, which the registration has Entra put
into each token, since `iat` is as young as the last silent renewal. Source: Microsoft identity platform, "Access token
claims reference" and "Optional claims reference".
"""

from __future__ import annotations

import dataclasses
import hmac
import re
import time
from collections.abc import Callable
from typing import Any

import httpx2

from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE, PEOPLE_SCOPE, GatewayConfig
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.graph import PEOPLE, Credential, GroupResolver
from wicketgate_gateway.identity.tokens import (
    ANOTHER,
    LEEWAY,
    UTI,
    UUID,
    TokenVerifier,
    roles_claim,
    text_claim,
    time_claim,
)

ROLES = frozenset({APPROVER_ROLE, AUDITOR_ROLE, ADMIN_ROLE})
_SCOPE = re.compile(r"[!#-\[\]-~]{1,120}(?: [!#-\[\]-~]{1,120})*", re.ASCII)
_MAX_NAME = 256
# Claims that stand in ID tokens and in no access token.
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash")
_AGAIN = "sign in again (`wicketgate login`)"


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A verified person. `principal.groups` holds those of the groups asked for that they are in."""

    principal: Principal
    signed_in_at: float | None
    """`auth_time`, in seconds since 1970; None where the token does not say."""


class PeopleAuthenticator:
    """Says which person a token speaks for, for one event loop.

    `client` is the client id of the public client that people sign in with, `sign_in` the seconds for which a sign-in
    is recent.
    """

    def __init__(
        self,
        config: GatewayConfig,
        verifier: TokenVerifier,
        credential: Credential,
        http: httpx2.AsyncClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if config.people is None:
            raise ValueError("the configuration has no `people`")
        self._verifier = verifier
        self._client = config.people.client
        self._sign_in = seconds(config.people.sign_in)
        self._clock = clock
        self.resolver = GroupResolver(
            config.entra, credential, http, max_age=seconds(config.limits.groups_cache), kind=PEOPLE
        )

    async def person(self, token: str, groups: frozenset[str] = frozenset(), *, fresh: bool = False) -> Person:
        """The enabled person that `token` proves, with those of `groups` that they are in. Raises Refused.

        `fresh` has Graph asked anew.
        """
        try:
            claims = await self._verifier.proven(token)
        except Refused as error:
            raise Refused(error.code, error.reason, _AGAIN if error.remedy == ANOTHER else error.remedy) from None
        person = self._read(claims)
        return await self.recheck(person, groups, fresh=fresh)

    async def signed_in(self, id_token: str, nonce: str) -> Person:
        """The enabled person that an ID token proves, asked for with that `nonce`. Raises Refused."""
        try:
            claims = await self._verifier.proven(id_token)
        except Refused as error:
            raise Refused(error.code, error.reason, "begin again") from None
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise Refused("wrong-nonce", "the ID token is of another sign-in", "begin again")
        if "scp" in claims or "azp" in claims or claims.get("idtyp", "user") != "user":
            raise Refused("not-an-id-token", "the token is no ID token", "begin again")
        return await self.recheck(self._of(claims, text_claim(claims, "aud", UUID)), frozenset(), fresh=True)

    async def recheck(self, person: Person, groups: frozenset[str], *, fresh: bool = False) -> Person:
        """The person as of now, with those of `groups` that they are in. Raises Refused."""
        if self._clock() >= person.principal.expires_at + LEEWAY:
            raise Refused("token-expired", "the token has expired", _AGAIN)
        found = await self.resolver.groups_of(person.principal.object_id, groups, fresh=fresh)
        return dataclasses.replace(person, principal=dataclasses.replace(person.principal, groups=found))

    def check_recent(self, person: Person) -> None:
        """Raises Refused unless the person signed in recently enough to decide."""
        at = person.signed_in_at
        if at is None:
            raise Refused(
                "sign-in-unknown",
                "the token does not say when you signed in",
                "the gateway's registration needs the optional claim `auth_time`",
            )
        now = self._clock()
        if not now - self._sign_in <= at <= now + LEEWAY:
            raise Refused("sign-in-too-old", "you signed in too long ago to decide", _AGAIN)

    def _read(self, claims: dict[str, Any]) -> Person:
        scopes = claims.get("scp")
        if (
            not isinstance(scopes, str)
            or not _SCOPE.fullmatch(scopes)
            or claims.get("idtyp", "user") != "user"
            or any(name in claims for name in _OF_ID_TOKENS)
        ):
            raise Refused("not-a-persons-token", "the token is not a person's access token", _AGAIN)
        if PEOPLE_SCOPE not in scopes.split(" "):
            raise Refused("scope-missing", f"the token is not for `{PEOPLE_SCOPE}`", _AGAIN)
        client = text_claim(claims, "azp", UUID)
        if client != self._client:
            raise Refused("wrong-client", "the token was got by another program than `wicketgate`", _AGAIN)
        return self._of(claims, client)

    def _of(self, claims: dict[str, Any], client: str) -> Person:
        roles = roles_claim(claims) & ROLES
        if not roles:
            raise Refused(
                "role-missing",
                "you have no role at this gateway",
                "ask for one of " + ", ".join(f"`{role}`" for role in sorted(ROLES)),
            )
        object_id = text_claim(claims, "oid", UUID)
        name = claims.get("name")
        principal = Principal(
            kind=PrincipalKind.PERSON,
            tenant=text_claim(claims, "tid", UUID),
            object_id=object_id,
            client_id=client,
            name=name[:_MAX_NAME] if isinstance(name, str) and name else object_id,
            token_id=text_claim(claims, "uti", UTI),
            expires_at=float(time_claim(claims, "exp")),
            roles=roles,
        )
        signed_in = time_claim(claims, "auth_time") if "auth_time" in claims else None
        return Person(principal, None if signed_in is None else float(signed_in))
