"""`wicketgate init`: a new stack file, with a comment on each setting, that the stack's own model takes."""

from __future__ import annotations

import json as jsons
import sys
from pathlib import Path
from typing import Any

from wicketgate.commands.stack_file import print_json, problems, stacks_folder
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError

KINDS = ("local", "compose", "kubernetes")
_DEPLOY = {
    "local": """\
      kind: local  # processes on this machine
      folder: {folder}  # rendered files, and the processes' state
      certificateFile: {files}/gateway.pem  # for {host}
      keyFile: {files}/gateway-key.pem
      caFile: {files}/ca.pem
      tokenFolder: {files}/tokens  # the platform's token of each workload, NAME.jwt
      secretFolder: {files}/secrets  # a folder per secret that targets name
""",
    "compose": """\
      kind: compose  # one rendered compose.yaml
      folder: {folder}  # `docker compose up` there starts everything
      image: {image}  # best by digest
      certificateFile: {files}/gateway.pem  # for {host}
      keyFile: {files}/gateway-key.pem
      caFile: {files}/ca.pem
      tokenFolder: {files}/tokens  # a folder per workload, and in it the platform's token
      secretFolder: {files}/secrets  # a folder per secret that targets name
""",
    "kubernetes": """\
      kind: kubernetes
      image: {image}  # best by digest
      replicas: 1  # more need `gateway.control`, a store that they share
      certificate: {{secret: gateway-tls}}  # an existing Secret, or `issuer` for one of cert-manager
""",
}
_FILE = """\
# yaml-language-server: $schema=schema/stack.schema.json
# What stands here: `docs/reference.md`. Bots and targets: `wicketgate bot add`, `wicketgate target add`.
config:
{tenant}  wicketgate:gateway:
    host: {host}  # what bots and agents connect to; its certificate is for this name
    postgresPort: 5432
    agentsPort: 8443
    apiPort: 8444  # where people approve; left out, nobody can
    credentials:  # the workload that the gateway's own process is
      - {gateway}
    deploy:
{deploy}  wicketgate:agents:  # each runs beside its targets, and holds their credentials
    {agent}:
      credentials:
        - {agent_workload}
  wicketgate:targets: {{}}
  wicketgate:groups:  # groups of bots, and the policies that apply to them
    {group}: {{policies: [{policy}]}}
  wicketgate:bots: {{}}
  # People, by groups that exist in Entra. Who answers for a bot must not be who approves what it does.
  wicketgate:approvers: {{}}
  wicketgate:auditors: {{}}
  wicketgate:administrators: {{}}
"""


def init(
    name: str,
    /,
    *,
    kind: str = "",
    host: str = "",
    issuer: str = "",
    image: str = "registry.example.com/wicketgate:0.1.0",
    tenant: str = "",
    agent: str = "main",
    group: str = "readers",
    policy: str = "orders-readonly",
    folder: Path | None = None,
    json: bool = False,
) -> None:
    """Write a new stack file. What is not said by an option is asked for, on a terminal.

    Parameters
    ----------
    name
        The stack's name.
    kind
        Where gateway and agents run: `local`, `compose` or `kubernetes`.
    host
        The host name that bots and agents connect to.
    issuer
        The issuer (https) of the service accounts that gateway and agent run as.
    image
        The image of gateway and agents, for `compose` and `kubernetes`.
    tenant
        The tenant's id; `up` against another one is refused. Left out, any.
    agent
        The first agent's name.
    group
        The first group's name.
    policy
        The policy that applies to it.
    folder
        Where to write it; without it, where the project keeps its stack files.
    json
        Print one object with `stack` and `file`.
    """
    kind = kind or _asked("Where do gateway and agents run (local, compose, kubernetes)?", "--kind")
    host = host or _asked("Which host name do bots and agents connect to?", "--host")
    issuer = issuer or _asked("Which issuer (https) has the service accounts that they run as?", "--issuer")
    if kind not in KINDS:
        raise WicketgateError(f"there is no kind `{kind}`", code="usage", remedy=f"say one of {', '.join(KINDS)}")
    file = (folder or stacks_folder()) / f"Pulumi.{_name(name)}.yaml"
    text = text_of(kind, host, issuer, image=image, tenant=tenant, agent=agent, group=group, policy=policy)
    found = problems(text, file)
    if found:
        raise DocumentError(found)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise WicketgateError(f"`{file}` is there already", code="exists", remedy="choose another name") from None
    except OSError as error:
        raise WicketgateError(f"`{file}` cannot be written: {error.strerror}", code="stack-unwritable") from None
    if json:
        print_json({"stack": name, "file": str(file)})
    else:
        print(f"wrote {file}; next: `wicketgate target add`, `wicketgate bot add`, `pulumi preview --stack {name}`")


def text_of(kind: str, host: str, issuer: str, *, image: str, tenant: str, agent: str, group: str, policy: str) -> str:
    """The file; what is given is quoted as YAML wants it. Whether it is right, the stack's model says."""
    values: dict[str, Any] = {"folder": "out", "files": "tls", "host": _scalar(host), "image": _scalar(image)}
    return _FILE.format(
        tenant=f"  wicketgate:tenant: {_scalar(tenant)}\n" if tenant else "",
        host=values["host"],
        gateway=_workload(issuer, "gateway"),
        deploy=_DEPLOY[kind].format(**values),
        agent=_scalar(agent),
        agent_workload=_workload(issuer, "agent"),
        group=_scalar(group),
        policy=_scalar(policy),
    )


def _workload(issuer: str, account: str) -> str:
    return f'oidc: {{issuer: {_scalar(issuer)}, subject: "system:serviceaccount:wicketgate:{account}"}}'


def _scalar(text: str) -> str:
    return text if text.replace("-", "").replace(".", "").isalnum() and text[:1].isalpha() else jsons.dumps(text)


def _name(name: str) -> str:
    # It becomes a file's name.
    if not name or not all(c.isalnum() or c in "-_" for c in name) or not name.isascii():
        raise WicketgateError(f"`{name}` is no stack's name", code="usage", remedy="use letters, digits, `-` and `_`")
    return name


def _asked(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise WicketgateError(f"`{option}` is not said", code="usage", remedy=f"say `{option}`")
    return input(f"{question} ").strip()
