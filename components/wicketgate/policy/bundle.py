"""The policy bundle: policy files, checked, with their subjects resolved to object ids."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi

from wicketgate.args import PolicyBundleArgs
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy


def read_policies(folder: Path, names: Iterable[str]) -> dict[str, Policy]:
    """Read the named policy files of `folder`; raises DocumentError with the mistakes of all of them."""
    found: dict[str, Policy] = {}
    problems: list[Problem] = []
    for name in sorted(set(names)):
        path = folder / f"{name}.yaml"
        try:
            policy = model.read(Policy, path)
        except DocumentError as error:
            problems.extend(error.problems)
            continue
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
) -> Bundle:
    """The bundle: deterministic, whatever order the inputs come in. `groups` maps each policy to short group names."""
    return Bundle(
        tenant=tenant,
        policies=[
            BundledPolicy.model_validate(
                {
                    **policy.document(),
                    "groups": {group_ids[g]: g for g in sorted(groups.get(name, []))},
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


class PolicyBundle(pulumi.ComponentResource):
    """Reads and checks the policy files (at preview too) and renders the bundle once the object ids are known."""

    content: pulumi.Output[str]
    """The bundle as the gateway reads it."""
    digest: pulumi.Output[str]
    """`sha256:…` of `content`; it stands on every audit event."""

    def __init__(self, name: str, args: PolicyBundleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:PolicyBundle", name, {}, opts)
        policies = read_policies(Path(args["folder"]), args["policies"])
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
