"""Bots and targets: who reaches what and by which rule, last used, what ends soon, and how the agents are.

How this works: the bundle in force says which policies cover which bot, group and target; the audit store says when a
bot last began a session, and what agents told of themselves. Groups are shown as policies name them: who is in one is
Entra's to say at each session.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Iterable, Mapping
from typing import Any

from wicketgate_gateway.api.sessions import Agent
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE, GatewayTarget
from wicketgate_gateway.contract.policy import BundledPolicy
from wicketgate_gateway.ui.desk import Page, Visit

SOON_DAYS = 14
"""Days before its end from which on something is marked."""


async def access(visit: Visit) -> Page:
    """`/ui/access`: the page."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE, APPROVER_ROLE)
    parts = visit.desk.parts
    bundle, targets = parts.policies().bundle, dict(sorted(parts.config.targets.items()))
    sees = visit.caller.sees_all
    names = [bot.name for bot in bundle.bots.values()]
    used = await asyncio.to_thread(parts.sessions.last_used, names) if sees else {}
    agents = await asyncio.to_thread(parts.sessions.agents) if sees else {}
    subjects: list[dict[str, Any]] = []
    for object_id, bot in sorted(bundle.bots.items(), key=lambda item: item[1].name):
        mine = [policy for policy in bundle.policies if object_id in policy.bots]
        subjects.append(
            {
                "kind": "bot",
                "name": bot.name,
                "owner": bot.owner,
                "expires": bot.expires,
                "ends": ending(_midnight(bot.expires)) if bot.expires else "",
                "used": used.get(bot.name),
                "reach": reach(mine, targets),
            }
        )
    groups = {group: name for policy in bundle.policies for group, name in policy.groups.items()}
    for group_id, name in sorted(groups.items(), key=lambda item: item[1]):
        mine = [policy for policy in bundle.policies if group_id in policy.groups]
        subjects.append({"kind": "group", "name": name, "reach": reach(mine, targets)})
    rows = [_target(name, target, agents.get(target.agent)) for name, target in targets.items()]
    return Page(
        "access.html",
        {
            "title": "Bots and targets",
            "subjects": subjects,
            "targets": rows,
            "agents": [_agent(name, targets, agents.get(name)) for name in sorted({t.agent for t in targets.values()})],
            "soon": [row for row in rows if row["ends"]] + [s for s in subjects if s.get("ends")],
            "told": sees,
        },
    )


def reach(policies: Iterable[BundledPolicy], targets: Mapping[str, GatewayTarget]) -> list[dict[str, Any]]:
    """The targets that these policies reach, and of each policy the rules, as the page names them."""
    found: list[dict[str, Any]] = []
    for name, target in targets.items():
        covering = [p for p in policies if p.covers(name, target.kind.value, target.labels)]
        if covering:
            found.append({"target": name, "kind": target.kind.value, "policies": [_rules(p) for p in covering]})
    return found


def _rules(policy: BundledPolicy) -> dict[str, Any]:
    rules: list[dict[str, str]] = []
    for number, rule in enumerate(policy.rules, 1):
        effect = "deny" if rule.deny is not None else "hold" if rule.hold is not None else "allow"
        rules.append({"effect": effect, "name": f"{policy.policy}#{number}"})
    return {"name": policy.policy, "rules": rules}


def _target(name: str, target: GatewayTarget, agent: Agent | None) -> dict[str, Any]:
    expires = agent.expires.get(name) if agent is not None else None
    return {
        "name": name,
        "kind": target.kind.value,
        "labels": target.labels,
        "agent": target.agent,
        "connected": agent.connected if agent is not None else None,
        "expires": expires * 10**9 if expires is not None else None,
        "ends": ending(expires) if expires is not None else "",
    }


def _agent(name: str, targets: Mapping[str, GatewayTarget], agent: Agent | None) -> dict[str, Any]:
    return {
        "name": name,
        "targets": [target for target, one in targets.items() if one.agent == name],
        "connected": agent.connected if agent is not None else None,
        "time": agent.time if agent is not None else None,
        "peer": agent.peer if agent is not None else "",
        "version": agent.version if agent is not None else "",
    }


def ending(moment: float, now: float | None = None) -> str:
    """`over`, `soon` or nothing, for an end in seconds since 1970."""
    left = moment - (time.time() if now is None else now)
    return "over" if left <= 0 else "soon" if left <= SOON_DAYS * 86400 else ""


def _midnight(day: str | datetime.date) -> float:
    """The end of a bot's last day, in UTC."""
    found = day if isinstance(day, datetime.date) else datetime.date.fromisoformat(day)
    return datetime.datetime.combine(found + datetime.timedelta(days=1), datetime.time(), datetime.UTC).timestamp()
