"""What the stack says that the tenant should have: names, credentials, roles, members, addresses. Pure data.

The components of `wicketgate.identity` make it; this says the same of the finished objects, so that the doctor can
compare without an engine and without a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from wicketgate.args import FederatedCredentialArgs
from wicketgate.config import StackConfig
from wicketgate.identity import people, roles
from wicketgate.identity.platforms import Credential
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AGENT_ROLE, APPROVER_ROLE, AUDITOR_ROLE, BOT_ROLE

Kind = Literal["gateway", "cli", "saml", "agent", "bot"]


@dataclass(frozen=True, slots=True)
class Registration:
    """An application and its service principal."""

    kind: Kind
    name: str
    """As the stack names it; the gateway's own for its companions."""
    display_name: str
    client_id: str | None = None
    """Of an adopted one, which has a name of its own."""
    credentials: tuple[FederatedCredentialArgs, ...] = ()
    platforms: tuple[Credential, ...] = ()
    gateway_role: str | None = None
    """The app role that it holds on the gateway."""
    graph_roles: tuple[str, ...] = ()
    """Ids of the application permissions on Graph that it holds by this stack."""
    web: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Names of the groups that it is in."""
    enabled: bool = True
    expires: str = ""

    @property
    def adopted(self) -> bool:
        """Whether it was there before the stack; what else it has and is, is then not the stack's."""
        return self.client_id is not None

    @property
    def about(self) -> str:
        """As findings name it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class BotGroup:
    """A group of bots."""

    name: str
    display_name: str
    object_id: str | None = None
    """Of an adopted one."""
    members: tuple[str, ...] = ()
    """Names of its bots."""

    @property
    def about(self) -> str:
        """As findings name it."""
        return f"group {self.name}"


@dataclass(frozen=True, slots=True)
class Expected:
    """All of a stack."""

    registrations: tuple[Registration, ...]
    groups: tuple[BotGroup, ...]
    people: dict[str, tuple[tuple[str | None, str | None], ...]] = field(
        default_factory=dict[str, "tuple[tuple[str | None, str | None], ...]"]
    )
    """Per role of people, the groups that hold it: (display name, object id), one of the two."""
    prefixes: tuple[str, ...] = ()
    """Beginnings of display names that are the stack's own."""

    @property
    def gateway(self) -> Registration:
        """The gateway's registration."""
        return next(one for one in self.registrations if one.kind == "gateway")


def expected(config: StackConfig) -> Expected:
    """What the stack makes of these settings."""
    gateway = config.gateway
    display = f"{config.prefix}-{gateway.name}"
    address = f"https://{gateway.host}:{gateway.api_port}" if gateway.api_port is not None else ""
    graph_roles = [roles.APPLICATION_READ_ALL] if gateway.read_directory else []
    if address and gateway.read_people:
        graph_roles += [roles.USER_READ_ALL, roles.GROUP_MEMBER_READ_ALL]
    found = [
        Registration(
            "gateway",
            gateway.name,
            display,
            credentials=_resolved(gateway.credentials),
            platforms=tuple(gateway.credentials),
            graph_roles=tuple(graph_roles),
            web=(f"{address}/ui/signed-in",) if address else (),
            client_id=gateway.adopt.application if gateway.adopt else None,
        )
    ]
    if address:
        found.append(Registration("cli", gateway.name, f"{display}-cli", public=(people.REDIRECT,)))
    if address and gateway.saml:
        found.append(Registration("saml", gateway.name, f"{display}-saml", web=(f"{address}/ui/saml/acs",)))
    found += [
        Registration(
            "agent",
            name,
            f"{config.prefix}-agent-{name}",
            credentials=_resolved(agent.credentials),
            platforms=tuple(agent.credentials),
            gateway_role=AGENT_ROLE,
            client_id=agent.adopt.application if agent.adopt else None,
        )
        for name, agent in sorted(config.agents.items())
    ]
    found += [
        Registration(
            "bot",
            name,
            f"{config.prefix}-bot-{name}",
            credentials=_resolved(bot.credentials),
            platforms=tuple(bot.credentials),
            gateway_role=BOT_ROLE,
            groups=tuple(bot.groups),
            enabled=not bot.expired,
            expires=bot.expires,
            client_id=bot.adopt.application if bot.adopt else None,
        )
        for name, bot in sorted(config.bots.items())
    ]
    groups = tuple(
        BotGroup(
            name,
            f"{config.prefix}-{name}",
            object_id=group.adopt.group if group.adopt else None,
            members=tuple(bot for bot, settings in sorted(config.bots.items()) if name in settings.groups),
        )
        for name, group in sorted(config.groups.items())
    )
    holders = {APPROVER_ROLE: config.approvers, AUDITOR_ROLE: config.auditors, ADMIN_ROLE: config.administrators}
    return Expected(
        tuple(found),
        groups,
        {role: tuple((one.group, one.id) for one in given.values()) for role, given in holders.items()},
        (f"{config.prefix}-bot-", f"{config.prefix}-agent-"),
    )


def _resolved(credentials: Sequence[Credential]) -> tuple[FederatedCredentialArgs, ...]:
    return tuple(credential.resolve() for credential in credentials)
