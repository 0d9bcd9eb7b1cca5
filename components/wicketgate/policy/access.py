"""Who may do what, from a stack's settings and its policies: the document that `wicketgate access diff` compares."""

from __future__ import annotations

from pathlib import Path

from wicketgate.config import StackConfig
from wicketgate.policy.bundle import read_policies, with_subjects
from wicketgate_gateway.contract.access import Access, AccessBot, AccessPolicy, AccessTarget
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind


def policy_names(config: StackConfig, root: Path) -> list[str]:
    """The policies of a stack: those that its groups name, and those that name their subjects. Raises DocumentError."""
    named = {name for group in config.groups.values() for name in group.policies}
    return sorted(named.union(with_subjects(root / config.policy_folder)))


def access_of(config: StackConfig, root: Path) -> Access:
    """The document; `root` is the project's folder. Raises DocumentError for policies that are wrong."""
    policies = read_policies(
        root / config.policy_folder,
        policy_names(config, root),
        approvers=config.approvers,
        groups=config.groups,
        bots=config.bots,
    )
    return Access(
        policies=[_given(config, policy) for _, policy in sorted(policies.items())],
        targets={
            name: AccessTarget(kind=TargetKind(target.kind), labels=target.labels)
            for name, target in sorted(config.targets.items())
        },
        bots={
            name: AccessBot(owner=bot.owner, groups=sorted(bot.groups), expires=bot.expires)
            for name, bot in sorted(config.bots.items())
        },
        approvers={name: group.group or group.id or "" for name, group in sorted(config.approvers.items())},
    )


def _given(config: StackConfig, policy: Policy) -> AccessPolicy:
    groups = {name for name, group in config.groups.items() if policy.policy in group.policies}
    subjects = policy.subjects
    if subjects is not None:
        groups.update(subjects.groups or ())
    bots = [] if subjects is None else sorted(subjects.bots or ())
    return AccessPolicy.model_validate({**policy.document(), "groups": sorted(groups), "bots": bots})
