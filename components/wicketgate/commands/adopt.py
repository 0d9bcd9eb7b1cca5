"""`wicketgate adopt bot|group`: lines for what exists in Entra, written into a stack file. Changes nothing in Entra."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wicketgate import editing
from wicketgate.commands.stack_file import StackFile, config_path, open_stack, print_json
from wicketgate.config import StackConfig, load
from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import WicketgateError

if TYPE_CHECKING:
    from wicketgate.identity.graph import Graph

T = TypeVar("T")
Doc = dict[str, Any]


def bot(
    name: str,
    *,
    application: str,
    owner: str,
    group: list[str],
    expires: str,
    stack: str | None = None,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Take an application that exists into the stack as a bot: its federated credentials and memberships are read.

    Parameters
    ----------
    name
        The bot's name.
    application
        The application's client id.
    owner
        Who answers for it: `group:NAME` or `person:MAIL`.
    group
        A group whose policies apply to it; repeat for several.
    expires
        Its last day (UTC), as in 2027-06-30.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `bot`, `file`, `line` and what was not adopted (`left`).
    """
    found = open_stack(stack, file)
    config = load(found.settings, found.path, found.text)
    adopted = {n: g.adopt.group for n, g in config.groups.items() if n in group and g.adopt is not None}
    credentials, member_of, left = _ask(config, lambda graph: _application(graph, application, adopted))
    if not credentials:
        raise WicketgateError(
            f"the application `{application}` has no federated credential that a stack may have",
            code="credential-missing",
            remedy="; ".join(left) or "`wicketgate bot add` with --credential, then write `adopt` into its lines",
        )
    value: Doc = {
        "owner": owner,
        "groups": group,
        "expires": expires,
        "adopt": {"application": application, **({"groups": member_of} if member_of else {})},
        "credentials": credentials,
    }
    line = _write(found, "bots", name, value)
    if json:
        print_json({"bot": name, "file": str(found.path), "line": line, "left": left})
        return
    print(f"adopted `{name}` in {found.path}:{line}; `pulumi preview` shows what is imported, nothing is changed")
    for one in left:
        print(f"not adopted: {one}", file=sys.stderr)


def group(
    name: str,
    *,
    group: str,
    policy: list[str],
    stack: str | None = None,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Take a group that exists into the stack as a group of bots.

    Parameters
    ----------
    name
        The group's name in the stack.
    group
        The group's object id.
    policy
        A policy that applies to its members; repeat for several.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `group`, `file`, `line` and the members that are no bots of the stack (`left`).
    """
    found = open_stack(stack, file)
    config = load(found.settings, found.path, found.text)
    known = {b.adopt.application for b in config.bots.values() if b.adopt is not None}
    left = _ask(config, lambda graph: _group(graph, group, known))
    line = _write(found, "groups", name, {"policies": policy, "adopt": {"group": group}})
    if json:
        print_json({"group": name, "file": str(found.path), "line": line, "left": left})
        return
    print(f"adopted `{name}` in {found.path}:{line}; `pulumi preview` shows what is imported, nothing is changed")
    for one in left:
        print(f"{one}: what the policies allow, it may too", file=sys.stderr)


def _write(found: StackFile, section: str, name: str, value: Doc) -> int:
    path = config_path(section)
    changed = found.change(partial(_insert, path, name, value))
    return yaml.parse(changed.text, str(changed.path)).where((*path, name)).line or 1


def _insert(path: tuple[str, str], name: str, value: Doc, text: str, at: str) -> str:
    return editing.insert(text, path, name, value, at)


def _ask(config: StackConfig, question: Callable[[Graph], Coroutine[Any, Any, T]]) -> T:
    if find_spec("azure.identity") is None or find_spec("msgraph") is None:
        raise WicketgateError(
            "this needs azure-identity and msgraph-sdk", code="not-installed", remedy="install `wicketgate[doctor]`"
        )
    from wicketgate.identity.graph import connect
    from wicketgate.identity.signin import Cloud, credential

    cloud = Cloud(config.entra.authority, config.entra.graph, config.entra.ca_file)

    async def ask() -> T:
        async with connect(cloud, credential(cloud, os.environ, config.tenant)) as graph:
            return await question(graph)

    return asyncio.run(ask())


async def _application(graph: Graph, client_id: str, groups: dict[str, str]) -> tuple[list[Doc], list[str], list[str]]:
    """Lines of its credentials, names of the groups that it is in, and what cannot be adopted."""
    from wicketgate.identity.graph import quoted
    from wicketgate.identity.recognise import lines

    condition = f"$filter=appId%20eq%20{quoted(client_id)}"
    applications = await graph.items(f"applications?{condition}")
    principals = await graph.items(f"servicePrincipals?{condition}")
    if not applications or not principals:
        what = "service principal" if applications else "application"
        raise WicketgateError(
            f"the tenant has no {what} of the client id `{client_id}`",
            code="unknown",
            remedy=f"az ad sp create --id {client_id}"
            if applications
            else "look it up: az ad app list --display-name …",
        )
    application, principal = applications[0], principals[0]
    if application.get("signInAudience") != "AzureADMyOrg":
        raise WicketgateError(
            f"the application `{client_id}` is open to other tenants",
            code="not-adoptable",
            remedy=f"az ad app update --id {client_id} --sign-in-audience AzureADMyOrg",
        )
    found: list[Doc] = []
    left: list[str] = []
    for one in await graph.items(f"applications/{application['id']}/federatedIdentityCredentials", version="beta"):
        try:
            found.append(lines(one))
        except ValueError as error:
            left.append(str(error))
    for what, part in (("a client secret", "passwordCredentials"), ("a certificate", "keyCredentials")):
        if application.get(part):
            left.append(f"{what}: bots have none; `wicketgate doctor` prints the command that removes it")
    member_of = {one["id"] for one in await graph.items(f"servicePrincipals/{principal['id']}/memberOf")}
    return found, [name for name, key in groups.items() if key in member_of], left


async def _group(graph: Graph, key: str, known: set[str]) -> list[str]:
    """The members that are no bots of the stack. Raises WicketgateError if it cannot be adopted."""
    found = await graph.find(f"groups/{key}?$select=id,displayName,securityEnabled,groupTypes")
    if found is None:
        raise WicketgateError(
            f"the tenant has no group `{key}`", code="unknown", remedy="az ad group list --display-name …"
        )
    if found.get("securityEnabled") is not True or "DynamicMembership" in (found.get("groupTypes") or []):
        raise WicketgateError(
            f"`{found.get('displayName')}` is no security group with assigned members",
            code="not-adoptable",
            remedy="use another group",
        )
    members = await graph.items(f"groups/{key}/members?$top=999", version="beta")
    return [f"`{one.get('displayName')}` ({one['id']}) is a member" for one in members if one.get("appId") not in known]
