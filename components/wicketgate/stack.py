"""From a stack's settings to its components: what `stacks/__main__.py` runs, and any program of a team's own can."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_azuread as azuread

from wicketgate import config as stack_config
from wicketgate.args import AgentIdentityArgs, BotArgs, BotGroupArgs, GatewayIdentityArgs
from wicketgate.config import PeopleGroup, StackConfig
from wicketgate.deploy.compose import ComposeDeployment
from wicketgate.deploy.inputs import DeploymentArgs
from wicketgate.deploy.kubernetes import KubernetesDeployment
from wicketgate.deploy.local import LocalDeployment
from wicketgate.identity import adoption
from wicketgate.identity.agent import AgentIdentity
from wicketgate.identity.bot import Bot
from wicketgate.identity.gateway import GatewayIdentity
from wicketgate.identity.group import BotGroup
from wicketgate.policy.access import access_of, policy_names
from wicketgate.policy.bundle import PolicyBundle
from wicketgate.policy.openapi import documents_of
from wicketgate_gateway.contract.errors import DocumentError


@dataclass(frozen=True, slots=True)
class AccessStack:
    """What a stack exports."""

    tenant: str
    audience: pulumi.Output[str]
    bots: dict[str, pulumi.Output[str]]
    """Client id per bot."""
    policy: pulumi.Output[str]
    """Digest of the policy bundle."""
    folder: pulumi.Output[str]
    """Of the rendered files; in Kubernetes the namespace."""


def settings(stack_file: Path) -> StackConfig:
    """The stack's `wicketgate:` settings; ends the program with every mistake, by line, if there is one."""
    given = pulumi.Config(stack_config.NAMESPACE)
    prefix = f"{stack_config.NAMESPACE}:"
    values: dict[str, Any] = {}
    # Set in the process by tests and inline programs, in the environment by the language host.
    for key in sorted({*pulumi.runtime.config.CONFIG.get(), *pulumi.runtime.config.get_config_env()}):
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            text = given.require(name)
            values[name] = given.require_object(name) if text[:1] in "[{" else text
    try:
        return stack_config.load(values, stack_file)
    except DocumentError as error:
        raise pulumi.RunError(str(error)) from None


def access_stack(config: StackConfig, root: Path, client: Any) -> AccessStack:
    """Create all components. `client` is what `azuread.get_client_config()` gave: tenant and deployer.

    Raises pulumi.RunError if the provider's tenant is not the stack's, or a policy file is wrong.
    """
    if config.tenant is not None and config.tenant != client.tenant_id:
        message = f"this stack belongs to the tenant `{config.tenant}`, and you are signed in to `{client.tenant_id}`"
        raise pulumi.RunError(f"{message}; sign in to the other tenant, or change `wicketgate:tenant`")
    _warn(config)
    deployer: str = client.object_id
    approvers = _group_ids(config.approvers)
    gateway_args: GatewayIdentityArgs = {
        "display_name": f"{config.prefix}-{config.gateway.name}",
        "deployer_object_id": deployer,
        "credentials": [c.resolve() for c in config.gateway.credentials],
        "read_directory": config.gateway.read_directory,
        "people": config.gateway.api_port is not None,
        "sign_in_redirects": _redirects(config, "/ui/signed-in"),
        "saml_replies": _saml_replies(config),
        "read_people": config.gateway.read_people,
        "approver_group_ids": approvers,
        "auditor_group_ids": _group_ids(config.auditors),
        "administrator_group_ids": _group_ids(config.administrators),
    }
    if config.gateway.adopt is not None:
        gateway_args["adopt"] = adoption.application_args(config.gateway.adopt, {})
    gateway = GatewayIdentity("gateway", gateway_args)
    agents = {name: _agent(config, name, deployer, gateway) for name in sorted(config.agents)}
    groups = {name: _group(config, name, deployer) for name in sorted(config.groups)}
    bots = {name: _bot(config, name, deployer, gateway, groups) for name in sorted(config.bots)}
    try:
        bundle = _bundle(config, root, client.tenant_id, groups, bots, approvers)
    except DocumentError as error:
        raise pulumi.RunError(str(error)) from None
    deployment = _deployment(
        {
            "config": config,
            "tenant_id": client.tenant_id,
            "gateway_client_id": gateway.client_id,
            "agents": {n: pulumi.Output.all(a.client_id, a.object_id) for n, a in agents.items()},
            "bots": {n: b.client_id for n, b in bots.items()},
            "bundle": bundle.content,
            "policies": bundle.policies,
            "cli_client_id": gateway.cli_client_id,
            "saml_client_id": gateway.saml_client_id,
        }
    )
    return AccessStack(
        tenant=client.tenant_id,
        audience=gateway.client_id,
        bots={n: b.client_id for n, b in bots.items()},
        policy=bundle.digest,
        folder=deployment.folder,
    )


def _deployment(args: DeploymentArgs) -> LocalDeployment | ComposeDeployment | KubernetesDeployment:
    match args["config"].gateway.deploy.kind:
        case "local":
            return LocalDeployment("local", args)
        case "compose":
            return ComposeDeployment("compose", args)
        case "kubernetes":
            return KubernetesDeployment("kubernetes", args)


def _redirects(config: StackConfig, path: str) -> list[str]:
    gateway = config.gateway
    return [f"https://{gateway.host}:{gateway.api_port}{path}"] if gateway.api_port is not None else []


def _saml_replies(config: StackConfig) -> list[str]:
    gateway = config.gateway
    if not gateway.saml:
        return []
    return _redirects(config, "/ui/saml/acs") + (_redirects(config, "/v1/token") if gateway.saml_bearer else [])


def _warn(config: StackConfig) -> None:
    workloads = {"gateway": config.gateway.credentials}
    workloads |= {f"agent {n}": a.credentials for n, a in config.agents.items()}
    workloads |= {f"bot {n}": b.credentials for n, b in config.bots.items()}
    for name, credentials in sorted(workloads.items()):
        for said in (text for credential in credentials for text in credential.warnings()):
            pulumi.log.warn(f"{name}: {said}")


def _agent(config: StackConfig, name: str, deployer: str, gateway: GatewayIdentity) -> AgentIdentity:
    agent = config.agents[name]
    args: AgentIdentityArgs = {
        "display_name": f"{config.prefix}-agent-{name}",
        "deployer_object_id": deployer,
        "gateway_object_id": gateway.object_id,
        "credentials": [c.resolve() for c in agent.credentials],
    }
    if agent.adopt is not None:
        args["adopt"] = adoption.application_args(agent.adopt, {})
    return AgentIdentity(f"agent-{name}", args)


def _group(config: StackConfig, name: str, deployer: str) -> BotGroup:
    group = config.groups[name]
    args: BotGroupArgs = {
        "display_name": f"{config.prefix}-{name}",
        "deployer_object_id": deployer,
        "description": group.description or "Bots of Wicketgate; managed by Pulumi.",
    }
    if group.adopt is not None:
        args["adopt"] = adoption.group_args(group.adopt)
    return BotGroup(f"group-{name}", args)


def _bot(config: StackConfig, name: str, deployer: str, gateway: GatewayIdentity, groups: dict[str, BotGroup]) -> Bot:
    bot = config.bots[name]
    if bot.expired:
        pulumi.log.warn(f"the bot `{name}` expired on {bot.expires}: its service principal is disabled")
    args: BotArgs = {
        "display_name": f"{config.prefix}-bot-{name}",
        "owner": bot.owner,
        "deployer_object_id": deployer,
        "gateway_object_id": gateway.object_id,
        "group_names": bot.groups,
        "group_object_ids": [groups[g].object_id for g in bot.groups],
        "credentials": [c.resolve() for c in bot.credentials],
        "enabled": not bot.expired,
    }
    if bot.adopt is not None:
        adopted = {n: g.adopt.group for n, g in config.groups.items() if g.adopt is not None}
        args["adopt"] = adoption.application_args(bot.adopt, adopted)
    return Bot(f"bot-{name}", args)


def _bundle(
    config: StackConfig,
    root: Path,
    tenant: str,
    groups: dict[str, BotGroup],
    bots: dict[str, Bot],
    approvers: dict[str, pulumi.Input[str]],
) -> PolicyBundle:
    policies = policy_names(config, root)
    return PolicyBundle(
        "policies",
        {
            "tenant_id": tenant,
            "folder": str(root / config.policy_folder),
            "policies": policies,
            "groups": {p: [n for n, g in sorted(config.groups.items()) if p in g.policies] for p in policies},
            "group_object_ids": {n: g.object_id for n, g in groups.items()},
            "bots": {n: {"owner": b.owner, "expires": b.expires} for n, b in config.bots.items()},
            "bot_object_ids": {n: b.object_id for n, b in bots.items()},
            "target_kinds": {n: t.kind for n, t in sorted(config.targets.items())},
            "target_labels": {n: t.labels for n, t in sorted(config.targets.items())},
            "target_openapi": documents_of(config, root),
            # Who answers for a bot counts where something may be held: then they must be known, and may not approve.
            "owner_object_ids": {n: _owner_id(b.owner) for n, b in sorted(config.bots.items())} if approvers else {},
            "approver_object_ids": approvers,
            "access": access_of(config, root).render(),
        },
    )


def _group_ids(groups: Mapping[str, PeopleGroup]) -> dict[str, pulumi.Input[str]]:
    return {name: group.id or _group_id(group.group or "") for name, group in sorted(groups.items())}


def _group_id(display_name: str) -> pulumi.Output[str]:
    return azuread.get_group_output(display_name=display_name, security_enabled=True).object_id


def _owner_id(owner: str) -> pulumi.Output[str]:
    kind, _, name = owner.partition(":")
    return _group_id(name) if kind == "group" else azuread.get_user_output(mail=name).object_id
