"""Bots, groups and targets as people call them, to what they are: object ids, and names of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable

from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.policy.load import PolicySet

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Names:
    """What the bundle in force and the configuration name."""

    def __init__(self, config: GatewayConfig, policies: Callable[[], PolicySet]) -> None:
        self._config = config
        self._policies = policies

    def of_kill(self, scope: Scope, value: str) -> str:
        """What a kill is stored with. Raises WicketgateError for what is not known: a typing error must not pass for
        a kill. Object ids pass as they are.
        """
        match scope:
            case Scope.BOT:
                return self.bot(value)
            case Scope.GROUP:
                return self.group(value)
            case Scope.TARGET if value and value not in self._config.targets:
                known = ", ".join(f"`{name}`" for name in sorted(self._config.targets)) or "none"
                raise WicketgateError(f"there is no target `{value}`", code="target-unknown", remedy=f"known: {known}")
            case _:
                return value

    def shown(self, scope: Scope, value: str) -> str:
        """What people call it; as it is stored, if nothing names it any more."""
        if scope is Scope.BOT and value in self._policies().bots:
            return self._policies().bots[value].name
        return self._groups().get(value, value) if scope is Scope.GROUP else value

    def _groups(self) -> dict[str, str]:
        policies = self._policies().bundle.policies
        return {object_id: shown for policy in policies for object_id, shown in policy.groups.items()}

    def bot(self, name: str) -> str:
        """The object id of a bot. Raises WicketgateError."""
        if _UUID.match(name):
            return name
        bots = self._policies().bots
        found = [object_id for object_id, bot in bots.items() if bot.name == name]
        if len(found) != 1:
            known = ", ".join(f"`{bot.name}`" for bot in bots.values()) or "none"
            raise WicketgateError(f"there is no bot `{name}`", code="bot-unknown", remedy=f"known: {known}")
        return found[0]

    def group(self, name: str) -> str:
        """The object id of a group of bots. Raises WicketgateError."""
        if _UUID.match(name):
            return name
        named = self._groups()
        found = [object_id for object_id, shown in named.items() if shown == name]
        if len(found) > 1:
            raise WicketgateError(
                f"several groups are called `{name}`", code="group-ambiguous", remedy="give the object id"
            )
        if not found:
            known = ", ".join(f"`{shown}`" for shown in sorted(set(named.values()))) or "none"
            raise WicketgateError(f"there is no group `{name}`", code="group-unknown", remedy=f"known: {known}")
        return found[0]
