"""Policies in the browser: what is in force, who reaches what by it, and a proposal tried out before it is committed.

The file is the source of truth: nothing here changes what is enforced. A proposal is checked as `policy check` does,
compared, and recent operations are decided by it again; what comes out is a file to commit.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from typing import Any

import yaml as pyyaml
from starlette.responses import Response

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.cli.policy_replay import Change, Judge
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy, Policy
from wicketgate_gateway.policy.compile import compile_policy
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.store.base import Connection
from wicketgate_gateway.ui.desk import Page, Visit

TRIED_DAYS, TRIED = 7, 2000
"""How far back, and how many operations at most, a proposal is tried on."""

_BUNDLED = ("groups", "bots")


async def listed(visit: Visit) -> Page:
    """`/ui/policies`: the bundle in force."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE, APPROVER_ROLE)
    bundle = visit.desk.parts.policies().bundle
    rows = [
        {
            "name": policy.policy,
            "description": policy.description or "",
            "targets": _targets(policy),
            "subjects": sorted({*policy.groups.values(), *policy.bots.values()}),
            "allow": sum(rule.allow is not None for rule in policy.rules),
            "hold": sum(rule.hold is not None for rule in policy.rules),
            "deny": sum(rule.deny is not None for rule in policy.rules),
            "masks": len(policy.mask),
            "keep": policy.record.keep,
        }
        for policy in bundle.policies
    ]
    return Page("policies.html", {"title": "Policies", "rows": rows, "digest": bundle.digest})


async def shown(visit: Visit) -> Page:
    """`/ui/policies/{name}`: one policy as a file."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE, APPROVER_ROLE)
    policy = _policy(visit)
    text = as_file(policy)
    return Page(
        "policy.html",
        {"title": policy.policy, "policy": policy, "text": text, "proposal": text, "result": None, "diff": []},
    )


async def tried(visit: Visit) -> Page | Response:
    """A proposal: its mistakes, its difference, and what it would have changed; or the file to commit."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE)
    policy = _policy(visit)
    form = await visit.form()
    proposal = form.get("text", "").replace("\r\n", "\n")
    name = f"{policy.policy}.yaml"
    if form.get("do") == "download":
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(proposal, media_type="application/yaml", headers=headers)
    current = as_file(policy)
    names = f"a/policies/access/{name}", f"b/policies/access/{name}"
    diff = list(difflib.unified_diff(current.splitlines(), proposal.splitlines(), *names, lineterm=""))
    if form.get("do") == "patch":
        headers = {"Content-Disposition": f'attachment; filename="{policy.policy}.patch"'}
        return Response("\n".join(diff) + "\n", media_type="text/x-patch", headers=headers)
    result = await _try(visit, policy, proposal, name)
    values = {"title": policy.policy, "policy": policy, "text": current, "proposal": proposal}
    return Page("policy.html", {**values, "diff": diff, "result": result})


async def _try(visit: Visit, policy: BundledPolicy, proposal: str, name: str) -> dict[str, Any]:
    try:
        document = yaml.parse(proposal, name)
        found = model.validate(Policy, document)
        problems = compile_policy(found, document)[1]
        if found.policy != policy.policy:
            raise WicketgateError(f"it is called `{found.policy}`, not `{policy.policy}`")
        if problems:
            raise DocumentError(problems)
        bundle = visit.desk.parts.policies().bundle
        proposed = PolicySet(_with(bundle, policy, found))
    except DocumentError as error:
        return {"problems": [str(problem) for problem in error.problems], "changes": [], "decided": 0, "digest": ""}
    except WicketgateError as error:
        return {"problems": [str(error)], "changes": [], "decided": 0, "digest": ""}
    labels = {target: found.labels for target, found in visit.desk.parts.config.targets.items()}
    current = visit.desk.parts.policies()

    def decide(connection: Connection) -> tuple[int, list[Change]]:
        since = time.time_ns() - TRIED_DAYS * 86400 * 10**9
        rows = query.events(connection, AuditFilter(kinds=("operation",), since=since, limit=TRIED))
        judge = Judge(connection, proposed, current, labels, None)
        changes = list(judge.changes(rows))
        return judge.decided, changes

    decided, changes = await asyncio.to_thread(visit.desk.parts.sessions.ask, decide)
    return {"problems": [], "changes": changes, "decided": decided, "digest": proposed.digest}


def _with(bundle: Bundle, old: BundledPolicy, new: Policy) -> Bundle:
    document = new.document() | {key: getattr(old, key) for key in _BUNDLED}
    bundled = BundledPolicy.model_validate(document)
    policies = [bundled if each.policy == old.policy else each for each in bundle.policies]
    return bundle.model_copy(update={"policies": policies})


def as_file(policy: BundledPolicy) -> str:
    """The policy as its file says it, without what the stack adds."""
    document = {key: value for key, value in policy.document().items() if key not in _BUNDLED}
    return pyyaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _policy(visit: Visit) -> BundledPolicy:
    name = visit.request.path_params["policy"]
    for policy in visit.desk.parts.policies().bundle.policies:
        if policy.policy == name:
            return policy
    raise WicketgateError(f"there is no policy `{name}`", code="policy-unknown", remedy="see the list")


def _targets(policy: Policy) -> str:
    if isinstance(policy.targets, list):
        return ", ".join(policy.targets)
    labels = ", ".join(f"{k}={v}" for k, v in (policy.targets.labels or {}).items())
    return " ".join(part for part in (policy.targets.kind or "", labels) if part)


async def access(visit: Visit) -> Page:
    """`/ui/access`: bots and targets, and who reaches what by which policy."""
    visit.require(AUDITOR_ROLE, ADMIN_ROLE, APPROVER_ROLE)
    parts = visit.desk.parts
    bundle, targets = parts.policies().bundle, parts.config.targets
    used = await asyncio.to_thread(parts.sessions.last_used) if visit.caller.sees_all else {}
    bots: list[dict[str, Any]] = []
    for object_id, bot in sorted(bundle.bots.items(), key=lambda item: item[1].name):
        reach = {
            name: [
                policy.policy
                for policy in bundle.policies
                if object_id in policy.bots and policy.covers(name, target.kind.value, target.labels)
            ]
            for name, target in sorted(targets.items())
        }
        bots.append({"bot": bot, "id": object_id, "reach": reach, "used": used.get(bot.name)})
    groups: list[dict[str, Any]] = []
    for group_id, group in sorted({g: n for p in bundle.policies for g, n in p.groups.items()}.items()):
        mine = [p for p in bundle.policies if group_id in p.groups]
        reach = {
            name: [p.policy for p in mine if p.covers(name, target.kind.value, target.labels)]
            for name, target in sorted(targets.items())
        }
        groups.append({"group": group, "reach": reach})
    agents = await asyncio.to_thread(parts.sessions.agents) if visit.caller.sees_all else {}
    rows = [{"name": n, "target": t, "agent": agents.get(t.agent)} for n, t in sorted(targets.items())]
    return Page(
        "access.html",
        {"title": "Bots and targets", "bots": bots, "groups": groups, "targets": rows, "names": sorted(targets)},
    )
