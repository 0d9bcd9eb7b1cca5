"""The stack file's `wicketgate:` settings: one model, strict, with the line of every mistake.

How this works: Pulumi hands the program plain JSON without places, so the stack file is parsed once more by our own
reader, only to know where each value stands. What counts is what the engine gave.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from wicketgate.identity.adoption import AdoptApplication, AdoptGroup
from wicketgate.identity.platforms import Credential, Credentials
from wicketgate.places import ComposeDeploy, Deploy, LocalDeploy
from wicketgate.targets import Target
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.gateway import ControlStore, Masks, Webhook
from wicketgate_gateway.contract.keeping import AuditSettings, RecordingStore, Retention
from wicketgate_gateway.contract.values import Date, Duration, Name, Port, Uuid

NAMESPACE = "wicketgate"
ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")


class Gateway(model.Model):
    """The gateway."""

    name: Name = "gate"
    """Its name, part of the display name in Entra."""
    host: str
    """The host name or address that clients and agents connect to; the certificate is for it."""
    postgres_port: Port = 5432
    """Where PostgreSQL clients connect."""
    http_port: Port | None = None
    """Where HTTP clients connect; needed for targets of kind `http`."""
    kubernetes_port: Port | None = None
    """Where kubectl connects; needed for targets of kind `kubernetes`."""
    ssh_port: Port | None = None
    """Where SSH clients connect; needed for targets of kind `ssh`."""
    agents_port: Port = 8443
    """Where agents connect."""
    api_port: Port | None = None
    """Where people reach the API; left out, there is none, and nobody can approve."""
    metrics_port: Port | None = None
    """Where monitoring reads `/metrics` (Prometheus' text format) and `/healthz`; left out, there is none."""
    sign_in: Duration = "12h"
    """For how long after signing in a person may approve, deny and end sessions."""
    saml: bool = False
    """Whether browsers can sign in by SAML too, at a registration of its own; counts with `apiPort` alone."""
    saml_bearer: bool = False
    """With `saml`: whether the API takes a person's signed assertion for a short token (`POST /v1/token`)."""
    apply_policies: bool = False
    """Whether administrators may put a changed policy in force from the pages, until the next `pulumi up`. Where the
    bundle's file is read-only, as in a ConfigMap, they cannot."""
    webhooks: dict[Name, Webhook] = Field(default_factory=dict[str, Webhook])
    """Who is told of held operations."""
    read_people: bool = True
    """Whether this stack grants the gateway `User.Read.All` and `GroupMember.Read.All` on Graph."""
    credentials: Credentials = Field(default_factory=list[Credential])
    """The workload that the gateway's own process is, for asking Graph."""
    read_directory: bool = True
    """Whether this stack grants the gateway `Application.Read.All` on Graph."""
    control: ControlStore = Field(default_factory=ControlStore)
    """The store of held operations and kills; gateways that share it act as one."""
    masks: Masks = Field(default_factory=Masks)
    """The key of `hash` masks; gateways that share it give one value one digest."""
    audit: AuditSettings = Field(default_factory=AuditSettings)
    """How the audit is sealed, who gets it, and where questions to it are answered."""
    retention: Retention = Field(default_factory=Retention)
    """How long recordings, events and answers are kept where no policy says it."""
    recordings: RecordingStore | None = None
    """An object store for closed recordings."""
    deploy: Deploy
    """Where and how gateway and agents run."""
    adopt: AdoptApplication | None = None
    """The registration that it is, if it exists already."""


class Agent(model.Model):
    """An agent: runs beside targets, holds their credentials."""

    credentials: Credentials
    """The workload that the agent's process is."""
    adopt: AdoptApplication | None = None
    """The application that it is, if it exists already."""


class Group(model.Model):
    """A group of bots and the policies that apply to its members."""

    policies: list[Name]
    """Names of policy files."""
    description: str | None = None
    """What the group is for; shown in Entra."""
    adopt: AdoptGroup | None = None
    """The group that it is, if it exists already."""


class PeopleGroup(model.Model):
    """A group of people that exists in Entra; who is in it is managed there."""

    group: str | None = None
    """Its display name, which must be the only one of that name."""
    id: Uuid | None = None
    """Its object id."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.group is None) == (self.id is None):
            raise ValueError("needs exactly one of `group`, `id`")
        return self


class Bot(model.Model):
    """A bot. Six lines onboard one."""

    owner: str
    """Who answers for it: `group:NAME` or `person:MAIL`."""
    groups: list[Name] = Field(min_length=1)
    """The groups whose policies apply to it."""
    expires: Date
    """Its last day (UTC), as in `2027-06-30`."""
    credentials: Annotated[Credentials, Field(min_length=1)]
    """The workloads that may act as it."""
    adopt: AdoptApplication | None = None
    """The application that it is, if it exists already."""

    @model_validator(mode="after")
    def _owner(self) -> Self:
        if not re.match(r"(group|person):\S+\Z", self.owner):
            raise ValueError("`owner` must be `group:NAME` or `person:MAIL`")
        return self

    @property
    def expired(self) -> bool:
        """Whether its last day (UTC) is over."""
        return datetime.date.fromisoformat(self.expires) < datetime.datetime.now(datetime.UTC).date()


class Entra(model.Model):
    """Where the tenant is; left out, the public cloud."""

    authority: str = "https://login.microsoftonline.com"
    """Where tokens are asked for."""
    graph: str = "https://graph.microsoft.com"
    """Where groups are asked for."""
    ca_file: str | None = None
    """The CA of both (PEM), beside the system's."""


class StackConfig(model.Model):
    """All settings of a stack."""

    entra: Entra = Field(default_factory=Entra)
    """Where the tenant is."""
    policy_folder: str = "policies/access"
    """Folder of the policy files, from the project's root."""
    prefix: str = Field(default="wicketgate", min_length=1, max_length=40)
    """Beginning of every display name in Entra."""
    gateway: Gateway
    """The gateway."""
    agents: dict[Name, Agent]
    """Agents by name."""
    targets: dict[Name, Target]
    """Targets by name; the name is what bots connect to."""
    groups: dict[Name, Group]
    """Groups of bots by name."""
    bots: dict[Name, Bot] = Field(default_factory=dict[Name, Bot])
    """Bots by name."""
    approvers: dict[Name, PeopleGroup] = Field(default_factory=dict[str, PeopleGroup])
    """Groups of people that `hold` rules name; their direct members get the role `Approval.Decide`."""
    auditors: dict[Name, PeopleGroup] = Field(default_factory=dict[str, PeopleGroup])
    """Groups of people who may search the audit and replay sessions (`Session.Read`)."""
    administrators: dict[Name, PeopleGroup] = Field(default_factory=dict[str, PeopleGroup])
    """Groups of people who may end sessions (`Gateway.Admin`)."""
    tenant: Uuid | None = None
    """The tenant that this stack belongs to; `up` against another one is refused. Left out, any."""


def load(values: dict[str, Any], stack_file: Path | None = None, text: str | None = None) -> StackConfig:
    """Validate the stack's `wicketgate:` settings.

    `values` maps names without the namespace to what the engine gave; `stack_file` is read for the places only, or
    `text` in its stead.
    `${NAME}` as a whole value is replaced by that environment variable. Raises DocumentError.
    """
    places = _places(stack_file, text)
    path = str(stack_file) if stack_file else "stack settings"
    document = yaml.Document(path, None, places)
    problems: list[Problem] = []
    data = _resolve(values, (), document, problems)
    if problems:
        raise DocumentError(problems)
    config = model.validate(StackConfig, yaml.Document(path, data, places))
    problems = _dangling(config, document)
    if problems:
        raise DocumentError(problems)
    return config


def _places(stack_file: Path | None, text: str | None) -> dict[yaml.Path, Where]:
    if stack_file is None or (text is None and not stack_file.is_file()):
        return {}
    document = yaml.parse(stack_file.read_text("utf-8") if text is None else text, str(stack_file))
    prefix = f"{NAMESPACE}:"
    return {
        (step.removeprefix(prefix), *rest): where
        for (top, step, *rest), where in ((p, w) for p, w in document.places.items() if len(p) > 1)
        if top == "config" and isinstance(step, str) and step.startswith(prefix)
    }


def _resolve(value: Any, path: yaml.Path, document: yaml.Document, problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {k: _resolve(v, (*path, k), document, problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, (*path, i), document, problems) for i, v in enumerate(value)]
    if isinstance(value, str) and (match := ENVIRONMENT.match(value)):
        found = os.environ.get(match[1])
        if found is None:
            term = ".".join(map(str, path))
            problems.append(
                Problem(f"the environment variable `{match[1]}` is not set", "set it", document.where(path), term)
            )
            return None
        return yaml.parse(found, match[1]).data if re.fullmatch(r"\d+", found) else found
    return value


def _dangling(config: StackConfig, document: yaml.Document) -> list[Problem]:
    found: list[Problem] = []

    def check(name: str, known: Any, what: str, *path: str | int) -> None:
        if name not in known:
            names = ", ".join(f"`{k}`" for k in known) or "none yet"
            term = ".".join(map(str, path))
            found.append(Problem(f"there is no {what} `{name}`", f"known: {names}", document.where(path), term))

    ports = {
        "http": config.gateway.http_port,
        "kubernetes": config.gateway.kubernetes_port,
        "ssh": config.gateway.ssh_port,
    }
    for name, target in config.targets.items():
        check(target.agent, config.agents, "agent", "targets", name, "agent")
        if target.kind in ports and ports[target.kind] is None:
            where, remedy = document.where(("targets", name)), f"set `gateway.{target.kind}Port`"
            found.append(Problem(f"the gateway does not listen for `{target.kind}`", remedy, where, f"targets.{name}"))
    for name, bot in config.bots.items():
        for i, group in enumerate(bot.groups):
            check(group, config.groups, "group", "bots", name, "groups", i)
    found += _adopted(config, document)
    found += _misplaced(config, document)
    workloads = ["gateway", *config.agents, *config.bots]
    clash = sorted({w for w in workloads if workloads.count(w) > 1})
    for name in clash:
        where = document.where(("bots", name))
        found.append(Problem(f"`{name}` names two workloads", "give the bot or agent another name", where))
    for name, item in (*config.agents.items(), *config.bots.items(), ("gateway", config.gateway)):
        seen: set[tuple[str, str | None]] = set()
        section = "agents" if name in config.agents else "bots"
        path = ("gateway",) if item is config.gateway else (section, name)
        for i, credential in enumerate(item.credentials):
            resolved = credential.resolve()
            key = (resolved["issuer"], resolved.get("subject") or resolved.get("expression"))
            if key in seen:
                where = document.where((*path, "credentials", i))
                found.append(Problem("the same issuer and subject stand twice", "remove one", where))
            seen.add(key)
    return found


def _adopted(config: StackConfig, document: yaml.Document) -> list[Problem]:
    """What is said to be there already, and cannot be."""
    found: list[Problem] = []
    seen: dict[str, str] = {}
    workloads: list[tuple[tuple[str, ...], str, Gateway | Agent | Bot]] = [(("gateway",), "gateway", config.gateway)]
    workloads += [(("agents", name), name, agent) for name, agent in config.agents.items()]
    workloads += [(("bots", name), name, bot) for name, bot in config.bots.items()]
    for path, name, item in workloads:
        for i, credential in enumerate(item.credentials):
            if credential.adopt is not None and item.adopt is None:
                where = document.where((*path, "credentials", i, "adopt"))
                what = "a credential can be adopted only with its application"
                found.append(Problem(what, f"say `{'.'.join(path)}.adopt`", where))
        if item.adopt is None:
            continue
        where = document.where((*path, "adopt"))
        if other := seen.get(item.adopt.application):
            found.append(Problem(f"`{other}` has adopted this application", "each needs one of its own", where))
        seen[item.adopt.application] = name
        mine = item.groups if isinstance(item, Bot) else []
        for group in item.adopt.groups:
            adopted = group in config.groups and config.groups[group].adopt is not None
            if group not in mine or not adopted:
                what = f"`{group}` is no adopted group of `{name}`"
                found.append(Problem(what, "name only groups that both have `adopt` and are in `groups`", where))
    return found


def _misplaced(config: StackConfig, document: yaml.Document) -> list[Problem]:
    """What the kind of place does not allow, or needs."""
    found: list[Problem] = []

    def problem(what: str, remedy: str, *path: str | int) -> None:
        found.append(Problem(what, remedy, document.where(path), ".".join(map(str, path))))

    deploy = config.gateway.deploy
    if isinstance(deploy, LocalDeploy):
        return found
    if isinstance(deploy, ComposeDeploy):
        if re.fullmatch(r"[\d.]+|.*:.*|localhost", config.gateway.host):
            remedy = "agents reach the gateway by its name on the containers' network: write a host name"
            problem(f"`{config.gateway.host}` is no name of the gateway", remedy, "gateway", "host")
        if config.gateway.metrics_port is not None:
            remedy = "leave it out: a Compose network has no rules by port"
            problem("bots would reach the gateway's metrics", remedy, "gateway", "metricsPort")
        return found
    shared = deploy.replicas > 1 or deploy.autoscale is not None
    if shared and config.gateway.control.url_file is None:
        what = "more than one gateway, and no store of held operations and kills that they share"
        problem(what, "set `gateway.control.urlFile`, or `replicas: 1`", "gateway", "deploy", "replicas")
    if shared and config.gateway.masks.key_file is None:
        what = "more than one gateway, and no key of masks that they share: each would hide a value by another digest"
        problem(what, "set `gateway.masks.keyFile`, or `replicas: 1`", "gateway", "deploy", "replicas")
    if deploy.autoscale is not None and deploy.autoscale.max < deploy.replicas:
        problem("`max` is less than `replicas`", "make it more", "gateway", "deploy", "autoscale", "max")
    if (deploy.monitoring is None) != (config.gateway.metrics_port is None):
        what = "`gateway.metricsPort` and `monitoring` belong together: a port, and who may reach it"
        problem(what, "give both, or neither", "gateway", "deploy", "monitoring")
    used = {t.credential.secret for t in config.targets.values() if t.credential is not None}
    for name in deploy.key_vault:
        if name not in used:
            problem(f"no target has the secret `{name}`", "name it in a target's `credential`", "gateway", "deploy",
                    "keyVault", name)  # fmt: skip
    for name in deploy.agents:
        if name not in config.agents:
            known = ", ".join(f"`{k}`" for k in config.agents)
            problem(f"there is no agent `{name}`", f"known: {known}", "gateway", "deploy", "agents", name)
    if config.entra.ca_file is not None:
        problem("a file of this machine is not in the cluster", "use `entraCaConfigMap`", "entra", "caFile")
    for name, target in config.targets.items():
        file = getattr(target, "ca_file", None)
        if file is not None and (deploy.target_ca_config_map is None or not re.fullmatch(r"[\w.-]+", file)):
            remedy = "set `gateway.deploy.targetCaConfigMap`, and write the name of a file in that ConfigMap"
            problem("a file of this machine is not in the cluster", remedy, "targets", name, "caFile")
    return found
