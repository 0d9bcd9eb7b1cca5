"""Policies in the browser: what is in force, read and edited; a proposal leaves as a file or a patch to commit.

The file is the source of truth (`proposals.py` tries a proposal out). Where `people.applyPolicies` says so, an
administrator may put what was tried out in force at once; the next deployment brings the file's state back.
"""

from __future__ import annotations

import asyncio
import difflib
from typing import Any

import yaml as pyyaml
from starlette.responses import RedirectResponse, Response

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE
from wicketgate_gateway.contract.policy import BundledPolicy, Policy
from wicketgate_gateway.ui import proposals, schema_help
from wicketgate_gateway.ui.desk import Page, Visit

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
    return Page("policy.html", {**_values(policy, as_file(policy), ""), "result": None, "diff": []})


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
    cases = form.get("cases", "").replace("\r\n", "\n")
    if form.get("do") == "apply":
        return await _applied(visit, policy, proposal, cases, form)
    result = await asyncio.to_thread(proposals.judge, visit.desk.parts, policy, proposal, cases)
    values = {**_values(policy, proposal, cases), "diff": diff, "result": result, "may_apply": _may_apply(visit)}
    return Page("policy.html", values)


def _may_apply(visit: Visit) -> bool:
    people = visit.desk.parts.config.people
    return people is not None and people.apply_policies and ADMIN_ROLE in visit.caller.roles


async def _applied(visit: Visit, policy: BundledPolicy, proposal: str, cases: str, form: dict[str, str]) -> Response:
    if not _may_apply(visit):
        visit.require(ADMIN_ROLE)
        raise WicketgateError(
            "policies cannot be applied from here", code="policy-apply-off", remedy="save a patch and commit it"
        )
    reason = form.get("reason", "").strip()
    if not reason:
        raise WicketgateError("why it is applied is not said", code="policy-apply-invalid", remedy="give a reason")
    person = (await visit.acting()).person.principal
    await asyncio.to_thread(
        proposals.apply,
        visit.desk.parts,
        policy,
        proposal,
        cases,
        digest=form.get("digest", ""),
        by=person.name,
        by_id=person.object_id,
        reason=reason[:500],
    )
    return RedirectResponse("/ui/policies", 303)


def _values(policy: BundledPolicy, proposal: str, cases: str) -> dict[str, Any]:
    """What the page of a policy shows beside a proposal's result."""
    words = {"title": policy.policy, "policy": policy, "text": as_file(policy), "proposal": proposal, "cases": cases}
    return {**words, "help": schema_help.sections(), "days": proposals.TRIED_DAYS, "most": proposals.TRIED}


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
