"""The policy bundle: policy files, checked, with their subjects resolved to object ids."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi

from wicketgate.args import PolicyBundleArgs
from wicketgate.policy.openapi import operations_in
from wicketgate_gateway.contract import checks, model
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.openapi import ApiOperation
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy


def with_subjects(folder: Path) -> list[str]:
    """The names of the policy files that say whom they apply to; raises DocumentError for files that cannot be read."""
    names: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name.endswith(".test.yaml"):
            continue
        data = model.load(path).data
        if isinstance(data, dict) and data.get("subjects") is not None:
            names.append(path.stem)
    return names


def read_policies(
    folder: Path,
    names: Iterable[str],
    *,
    approvers: Collection[str] | None = None,
    groups: Collection[str] | None = None,
    bots: Collection[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    operations: Mapping[str, list[ApiOperation]] | None = None,
) -> dict[str, Policy]:
    """Read the named policy files of `folder`; raises DocumentError with the mistakes of all of them.

    Where the known `approvers`, `groups` and `bots` are given, names beyond them are mistakes; where each target's kind
    is, rules of another protocol are; where the `operations` of targets are, so are others. Conditions are compiled
    where CEL's library is installed; the gateway does it in any case, and keeps the bundle before if one is wrong.
    """
    found: dict[str, Policy] = {}
    problems: list[Problem] = []
    for name in sorted(set(names)):
        path = folder / f"{name}.yaml"
        try:
            document = model.load(path)
            policy = model.validate(Policy, document)
        except DocumentError as error:
            problems.extend(error.problems)
            continue
        with contextlib.suppress(ImportError):
            problems += checks.condition_problems(policy, document)
        if approvers is not None:
            problems += checks.name_problems(policy, approvers=approvers, groups=groups, bots=bots, document=document)
        problems += checks.kind_problems(policy, kinds or {}, document)
        if operations is not None:
            targets = {name: (kind, (labels or {}).get(name, {})) for name, kind in (kinds or {}).items()}
            apis = {name: {op.id for op in found if op.id is not None} for name, found in operations.items()}
            problems += checks.operation_problems(policy, apis, targets, document)
        if policy.policy != name:
            message = f"the policy in `{path.name}` calls itself `{policy.policy}`"
            problems.append(Problem(message, "let file name and `policy` agree", Where(str(path), 1), "policy"))
        found[name] = policy
    if problems:
        raise DocumentError(problems)
    return found


def bundle(
    tenant: str,
    policies: Mapping[str, Policy],
    groups: Mapping[str, list[str]],
    group_ids: Mapping[str, str],
    bots: Mapping[str, Mapping[str, str]],
    bot_ids: Mapping[str, str],
    owner_ids: Mapping[str, str] | None = None,
    approver_ids: Mapping[str, str] | None = None,
    operations: Mapping[str, list[ApiOperation]] | None = None,
) -> Bundle:
    """The bundle: deterministic, whatever order the inputs come in. `groups` maps each policy to short group names."""
    made = Bundle(
        tenant=tenant,
        policies=[
            BundledPolicy.model_validate(
                {
                    **policy.document(),
                    "groups": {group_ids[g]: g for g in sorted({*groups.get(name, []), *_subjects(policy, "groups")})},
                    "bots": {bot_ids[b]: b for b in sorted(_subjects(policy, "bots"))},
                }
            )
            for name, policy in sorted(policies.items())
        ],
        bots={
            bot_ids[name]: BundledBot(
                name=name, owner=bot["owner"], owner_id=(owner_ids or {}).get(name), expires=bot.get("expires")
            )
            for name, bot in sorted(bots.items())
        },
        approvers=dict(sorted((approver_ids or {}).items())),
    )
    # What no target has is not said: such a bundle keeps the digest that it had before there were operations.
    return made.model_copy(update={"operations": dict(sorted(operations.items()))}) if operations else made


def _subjects(policy: Policy, kind: str) -> list[str]:
    return [] if policy.subjects is None else getattr(policy.subjects, kind) or []


class PolicyBundle(pulumi.ComponentResource):
    """Reads and checks the policy files (at preview too) and renders the bundle once the object ids are known."""

    content: pulumi.Output[str]
    """The bundle as the gateway reads it."""
    digest: pulumi.Output[str]
    """`sha256:…` of `content`; it stands on every audit event."""

    def __init__(self, name: str, args: PolicyBundleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:PolicyBundle", name, {"access": args.get("access")}, opts)
        operations = operations_in(args.get("target_openapi", {}))
        policies = read_policies(
            Path(args["folder"]),
            args["policies"],
            approvers=args.get("approver_object_ids", {}),
            groups=args["group_object_ids"],
            bots=args["bot_object_ids"],
            kinds=args.get("target_kinds", {}),
            labels=args.get("target_labels", {}),
            operations=operations,
        )
        self._policies = policies

        def make(values: dict[str, Any]) -> Bundle:
            return bundle(
                values["tenant"],
                policies,
                args["groups"],
                values["groups"],
                args["bots"],
                values["bots"],
                values["owners"],
                values["approvers"],
                operations,
            )

        made = pulumi.Output.all(
            tenant=args["tenant_id"],
            groups=args["group_object_ids"],
            bots=args["bot_object_ids"],
            owners=args.get("owner_object_ids", {}),
            approvers=args.get("approver_object_ids", {}),
        ).apply(make)
        self.content = made.apply(lambda b: b.render())
        self.digest = made.apply(lambda b: b.digest)
        self.register_outputs({"content": self.content, "digest": self.digest})

    @property
    def policies(self) -> dict[str, Policy]:
        """The policies by name, for components of the same program."""
        return self._policies
