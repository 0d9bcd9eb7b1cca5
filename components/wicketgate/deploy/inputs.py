"""What every deployment is rendered from, and how ids that Entra gives later come into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from wicketgate.config import StackConfig
from wicketgate.deploy.description import Identities
from wicketgate_gateway.contract.policy import Policy


class DeploymentArgs(TypedDict):
    """What a deployment is rendered from."""

    config: StackConfig
    """The stack's settings."""
    tenant_id: pulumi.Input[str]
    """The tenant's id."""
    gateway_client_id: pulumi.Input[str]
    """Client id of the gateway's registration."""
    agents: dict[str, pulumi.Input[list[str]]]
    """Per agent: client id and object id."""
    bots: dict[str, pulumi.Input[str]]
    """Per bot: client id."""
    bundle: pulumi.Input[str]
    """The rendered policy bundle."""
    policies: Mapping[str, Policy]
    """The policies by name: they say which targets a bot's client file lists."""
    cli_client_id: NotRequired[pulumi.Input[str]]
    """Client id of the public client that people sign in with, where there is an API."""
    saml_client_id: NotRequired[pulumi.Input[str]]
    """Client id of the registration for sign-in by SAML, where there is one."""


def rendered(
    args: DeploymentArgs, render: Callable[[Identities], str], bots: dict[str, pulumi.Input[str]] | None = None
) -> pulumi.Output[str]:
    """`render` with the ids; only with those of `bots`, so that another bot changes nothing here."""

    def call(values: dict[str, Any]) -> str:
        return render(
            Identities(
                tenant=values["tenant"],
                gateway_client_id=values["gateway"],
                agents={k: (v[0], v[1]) for k, v in values["agents"].items()},
                bots=values["bots"],
                cli_client_id=values["cli"],
                saml_client_id=values["saml"],
            )
        )

    return pulumi.Output.all(
        tenant=args["tenant_id"],
        gateway=args["gateway_client_id"],
        agents=args["agents"],
        cli=args.get("cli_client_id", ""),
        saml=args.get("saml_client_id", ""),
        bots=bots or {},
    ).apply(call)
