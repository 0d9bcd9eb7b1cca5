"""Guardrails on who may do what: they look at the document that the policies component carries in its inputs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

from wicketgate_gateway.contract.access import Access, AccessPolicy
from wicketgate_gateway.contract.values import seconds

MOST_DAYS = 400
"""For how long a bot may be given access at once."""
LEAST_KEPT = 7 * 86400
"""For how long recordings are kept at least, in seconds."""


def owner_and_last_day(access: Access) -> Iterator[str]:
    """Bots that nobody answers for, or that never end."""
    latest = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=MOST_DAYS)
    for name, bot in sorted(access.bots.items()):
        if not bot.owner:
            yield f"nobody answers for the bot `{name}`; write `owner`"
        if bot.expires is None:
            yield f"the bot `{name}` has no last day; write `expires`"
        elif datetime.date.fromisoformat(bot.expires) > latest:
            yield f"the bot `{name}` lasts until {bot.expires}; at most {MOST_DAYS} days are given at once"


def no_approving_owner(access: Access) -> Iterator[str]:
    """Holds that those who answer for the bot may approve."""
    for policy in access.policies:
        names = {name for rule in policy.rules if rule.hold is not None for name in rule.hold.approvers.groups}
        for bot, known in sorted(access.bots.items()):
            if bot not in policy.bots and not set(known.groups) & set(policy.groups):
                continue
            owner = known.owner.removeprefix("group:")
            for name in sorted(names):
                if known.owner.startswith("group:") and owner in (name, access.approvers.get(name)):
                    yield f"what `{policy.policy}` holds for `{bot}` its owner `{owner}` may approve; name others"


def recorded(access: Access) -> Iterator[str]:
    """Targets that a bot reaches with little recorded, and targets that no policy is about."""
    for policy in access.policies:
        if seconds(policy.record.keep) < LEAST_KEPT:
            yield f"`{policy.policy}` keeps recordings for `{policy.record.keep}`; keep them for a week at least"
    for name in sorted(access.targets):
        if not any(_about(policy, access, name) for policy in access.policies):
            yield f"no policy is about the target `{name}`; write one that says what is recorded, or remove it"


def _about(policy: AccessPolicy, access: Access, name: str) -> bool:
    target = access.targets[name]
    return policy.covers(name, target.kind.value, target.labels)


ACCESS_GUARDRAILS: tuple[tuple[str, str, Callable[[Access], Iterator[str]]], ...] = (
    (
        "owner-and-last-day",
        "Somebody answers for each bot, and each has a last day that is not far.",
        owner_and_last_day,
    ),
    ("no-approving-owner", "Who answers for a bot does not approve what it does.", no_approving_owner),
    ("recorded", "What happens at each target is recorded, and kept for a while.", recorded),
)
