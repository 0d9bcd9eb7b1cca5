"""A proposed policy tried out: its mistakes, its tests, and what it would have changed in the last days.

How this works: the proposal is read and compiled as `policy check` does, put in place of the policy in force, and
recent operations are decided by both bundles, as `policy replay` does. Test cases are those of `NAME.test.yaml`
(`policy.cases`), given as text: they name no file. Nothing that is in force changes but by `apply`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wicketgate_gateway.api.app import Parts
from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.cli.policy_replay import Change, Judge
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, WicketgateError
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy, Policy
from wicketgate_gateway.policy import applied
from wicketgate_gateway.policy import cases as policy_cases
from wicketgate_gateway.policy.applied import Account
from wicketgate_gateway.policy.compile import compile_policy
from wicketgate_gateway.policy.load import PolicySet, load_bundle
from wicketgate_gateway.store.base import Connection

TRIED_DAYS, TRIED = 7, 2000
"""How far back, and how many operations at most, a proposal is tried on."""
MAX_CASES = 2000
"""Statements of test cases that are decided."""
EXAMPLES = 5
_APPLYING = threading.Lock()
_BUNDLED = ("groups", "bots")


def judge(parts: Parts, policy: BundledPolicy, proposal: str, cases: str) -> dict[str, Any]:
    """What becomes of a proposal for `policy`: `problems`, or else its digest, `tests` and `changes`. It takes a
    while."""
    name = f"{policy.policy}.yaml"
    bundle = parts.policies().bundle
    try:
        found = _read(policy, proposal, name)
        proposed = PolicySet(_with(bundle, policy, found))
    except DocumentError as error:
        return {"problems": [str(problem) for problem in error.problems]}
    except WicketgateError as error:
        return {"problems": [str(error)]}
    decided, skipped, changes = _replay(parts, proposed)
    return {
        "problems": [],
        "digest": proposed.digest,
        "decided": decided,
        "skipped": skipped,
        "changed": len(changes),
        "changes": summary(changes),
        "tests": run_cases(bundle, found, cases) if cases.strip() else None,
    }


def apply(
    parts: Parts, policy: BundledPolicy, proposal: str, cases: str, *, digest: str, by: str, by_id: str, reason: str
) -> None:
    """Put a proposal in force that was tried out with this outcome. Raises WicketgateError, with nothing changed, if
    it does not compile, its tests fail, or it is not what the person saw."""
    with _APPLYING:
        _apply(parts, policy, proposal, cases, digest=digest, by=by, by_id=by_id, reason=reason)


def _apply(
    parts: Parts, policy: BundledPolicy, proposal: str, cases: str, *, digest: str, by: str, by_id: str, reason: str
) -> None:
    file = Path(parts.config.policies)
    try:
        # From the file: somebody else's change may be there that has not been taken up yet.
        bundle = load_bundle(file).bundle
        found = _read(policy, proposal, f"{policy.policy}.yaml")
        proposed = PolicySet(_with(bundle, policy, found))
    except DocumentError as error:
        raise WicketgateError("it does not compile", code="policy-apply-invalid", remedy=str(error)) from None
    if proposed.digest != digest:
        raise WicketgateError(
            "this is not what was tried out, or the policies changed meanwhile",
            code="policy-changed",
            remedy="try it out again, and look at what comes of it",
        )
    if cases.strip() and ((tests := run_cases(bundle, found, cases))["problems"] or tests["wrong"]):
        raise WicketgateError("its test cases fail", code="policy-tests-fail", remedy="mend the policy, or the cases")
    account = Account(digest=digest, before=bundle.digest, policy=policy.policy, by=by, by_id=by_id, reason=reason)
    applied.apply(proposed.bundle, file, Path(parts.config.state), account)


def _read(policy: BundledPolicy, proposal: str, name: str) -> Policy:
    document = yaml.parse(proposal, name)
    found = model.validate(Policy, document)
    if found.policy != policy.policy:
        raise WicketgateError(f"it is called `{found.policy}`, not `{policy.policy}`")
    if problems := compile_policy(found, document)[1]:
        raise DocumentError(problems)
    return found


def _replay(parts: Parts, proposed: PolicySet) -> tuple[int, int, list[Change]]:
    labels = {target: found.labels for target, found in parts.config.targets.items()}
    current = parts.policies()

    def decide(connection: Connection) -> tuple[int, int, list[Change]]:
        since = time.time_ns() - TRIED_DAYS * 86400 * 10**9
        rows = query.events(connection, AuditFilter(kinds=("operation",), since=since, limit=TRIED))
        by = Judge(connection, proposed, current, labels, None)
        changes = list(by.changes(rows))
        return by.decided, by.skipped, changes

    return parts.sessions.ask(decide)


def summary(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes by bot, target and kind, the most frequent first: how many, and examples without doubles."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for change in changes:
        key = (change.bot, change.target, change.before, change.after)
        row = found.setdefault(key, {"bot": change.bot, "target": change.target, "count": 0, "examples": {}})
        row["before"], row["after"] = change.before, change.after
        row["count"] += 1
        text = visible(" ".join(change.statement.split())[:300])
        example = row["examples"].setdefault(text, {"times": 0, "rule": change.rule, "reason": visible(change.reason)})
        example["times"] += 1
    rows = sorted(found.values(), key=lambda row: (-row["count"], row["bot"], row["target"], row["after"]))
    for row in rows:
        most = sorted(row["examples"].items(), key=lambda item: -item[1]["times"])
        row["more"] = max(0, len(most) - EXAMPLES)
        row["examples"] = [{"text": text, **rest} for text, rest in most[:EXAMPLES]]
    return rows


def run_cases(bundle: Bundle, proposal: Policy, text: str) -> dict[str, Any]:
    """The outcome of test cases: `problems`, or how many statements were `decided`, and those that are `wrong`."""
    name = f"{proposal.policy}{policy_cases.SUFFIX}"
    wrong: list[dict[str, Any]] = []
    decided = 0
    try:
        document = yaml.parse(text, name)
        test = model.validate(policy_cases.PolicyTest, document)
        policies = [_named(bundle, proposal, each, document) for each in test.policies or [proposal.policy]]
        for outcome in policy_cases.decide_cases(test, document, policies, bundle.operations):
            decided += 1
            if outcome.wrong:
                got = outcome.verdict.effect.value if outcome.verdict else "deny"
                told = {"text": visible(outcome.text[:300]), "expected": outcome.expected, "got": got}
                wrong.append({**told, "why": [visible(each) for each in outcome.wrong]})
            if decided >= MAX_CASES:
                break
    except DocumentError as error:
        return {"problems": [str(problem) for problem in error.problems], "decided": decided, "wrong": wrong}
    except WicketgateError as error:
        return {"problems": [str(error)], "decided": decided, "wrong": wrong}
    return {"problems": [], "decided": decided, "wrong": wrong}


def _named(bundle: Bundle, proposal: Policy, name: str, document: yaml.Document) -> Policy:
    """The policy of that name as a file has it: the proposal, or one in force."""
    if name == proposal.policy:
        return proposal
    for policy in bundle.policies:
        if policy.policy == name:
            return Policy.model_validate({k: v for k, v in policy.document().items() if k not in _BUNDLED})
    where = document.where(("policies",))
    raise DocumentError([Problem(f"there is no policy `{name}`", "name one that is in force", where)])


def _with(bundle: Bundle, old: BundledPolicy, new: Policy) -> Bundle:
    document = new.document() | {key: getattr(old, key) for key in _BUNDLED}
    bundled = BundledPolicy.model_validate(document)
    policies = [bundled if each.policy == old.policy else each for each in bundle.policies]
    return bundle.model_copy(update={"policies": policies})
