"""From a token to a principal: the token's proof, the role, the bundle's word on the bot, and Graph's."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping

import httpx2

from wicketgate_gateway.contract.gateway import AGENT_ROLE, BOT_ROLE, GatewayConfig
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import BundledBot
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.graph import GroupResolver
from wicketgate_gateway.identity.http import fetcher
from wicketgate_gateway.identity.tokens import Claims, TokenVerifier
from wicketgate_gateway.identity.workload import WorkloadCredential


class Authenticator:
    """Says who a token's bearer is, for one event loop.

    `groups` gives the object ids of the groups in the policies now in force, `bots` what the bundle says of bots, by
    object id.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        groups: Callable[[], frozenset[str]],
        bots: Callable[[], Mapping[str, BundledBot]],
        http: httpx2.AsyncClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.verifier = TokenVerifier(config.entra, config.audience, fetcher(http), clock=clock)
        self.resolver = GroupResolver(
            config.entra,
            WorkloadCredential(config.entra, config.workload, http),
            http,
            max_age=seconds(config.limits.groups_cache),
        )
        self._agents = config.agents
        self._groups = groups
        self._bots = bots
        self._clock = clock

    async def bot(self, token: str) -> Principal:
        """The bot that `token` proves, with its groups. Raises Refused."""
        claims = await self.verifier.verify(token)
        self._check_role(claims, BOT_ROLE, AGENT_ROLE)
        if claims.object_id in self._agents:
            raise Refused(
                "role-conflict", "an agent's identity cannot act as a bot", "give the bot an identity of its own"
            )
        return await self._with_groups(
            _principal(PrincipalKind.BOT, claims, self._name_of_bot(claims.object_id)), self._groups()
        )

    async def agent(self, token: str) -> Principal:
        """The agent that `token` proves; its `name` is the configuration's. Raises Refused."""
        claims = await self.verifier.verify(token)
        self._check_role(claims, AGENT_ROLE, BOT_ROLE)
        name = self._agents.get(claims.object_id)
        if name is None:
            raise Refused(
                "agent-unknown",
                "this gateway's configuration does not name this agent",
                "add its object id to `agents` in gateway.yaml",
            )
        return await self._with_groups(_principal(PrincipalKind.AGENT, claims, name), frozenset())

    async def recheck(self, principal: Principal) -> Principal:
        """The principal as of now (its groups may have changed), for what runs on after its log-in.

        Raises Refused once the bot is disabled, deleted or past its end, or Graph gave no answer for too long. The
        token's own end does not matter here: it counts at the log-in.
        """
        if principal.kind is PrincipalKind.AGENT:
            if self._agents.get(principal.object_id) != principal.name:
                raise Refused("agent-unknown", "this gateway's configuration does not name this agent any more")
            return await self._with_groups(principal, frozenset())
        self._name_of_bot(principal.object_id)
        return await self._with_groups(principal, self._groups())

    def _check_role(self, claims: Claims, needed: str, excluded: str) -> None:
        if needed not in claims.roles:
            raise Refused(
                "role-missing",
                f"the token does not carry the role `{needed}`",
                "assign it to the service principal itself (not to a group of it), and get a new token",
            )
        if excluded in claims.roles:
            raise Refused("role-conflict", f"the roles `{needed}` and `{excluded}` exclude each other", "take one away")

    def _name_of_bot(self, object_id: str) -> str:
        """Its name for people: the bundle's, else its object id. Raises Refused after its last day."""
        bot = self._bots().get(object_id)
        if bot is None:
            return object_id
        if bot.expires is not None:
            today = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).date()
            if today > datetime.date.fromisoformat(bot.expires):
                raise Refused(
                    "bot-expired", f"`{bot.name}` expired at the end of {bot.expires}", "ask its owner to extend it"
                )
        return bot.name

    async def _with_groups(self, principal: Principal, asked: frozenset[str]) -> Principal:
        groups = await self.resolver.groups_of(principal.object_id, asked)
        return dataclasses.replace(principal, groups=groups)


def _principal(kind: PrincipalKind, claims: Claims, name: str) -> Principal:
    return Principal(
        kind=kind,
        tenant=claims.tenant,
        object_id=claims.object_id,
        client_id=claims.client_id,
        name=name,
        token_id=claims.token_id,
        expires_at=float(claims.expires_at),
        roles=claims.roles,
    )
