"""`wicketgate target add|remove|list`: targets in a stack file, by the words of the stack file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wicketgate import editing
from wicketgate.commands.bots import table
from wicketgate.commands.stack_file import config_path, open_stack, print_json
from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import WicketgateError


def add(
    name: str,
    *,
    kind: str,
    address: str,
    agent: str,
    credential: str,
    label: list[str] | None = None,
    set: list[str] | None = None,  # noqa: A002 - the option's name
    stack: str | None = None,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Add a target to the stack file.

    Parameters
    ----------
    name
        The target's name, which bots connect to.
    kind
        Its protocol, such as `postgres`.
    address
        Where the agent finds it.
    agent
        The agent that reaches it.
    credential
        The secret that the agent logs in with.
    label
        A label, as in `env=prod`; repeat for several.
    set
        Another setting of that kind of target, as in `database=orders`; repeat for several.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `target`, `file` and `line`.
    """
    value: dict[str, Any] = {"kind": kind, "address": address, "agent": agent}
    for text in set or []:
        key, found = _pair(text, "--set")
        value[key] = yaml.parse(found, "--set").data
    labels = dict(_pair(text, "--label") for text in label or [])
    if labels:
        value["labels"] = labels
    value["credential"] = {"secret": credential}
    path = config_path("targets")
    changed = open_stack(stack, file).change(lambda text, at: editing.insert(text, path, name, value, at))
    where = yaml.parse(changed.text, str(changed.path)).where((*path, name))
    if json:
        print_json({"target": name, "file": str(changed.path), "line": where.line})
    else:
        print(f"added `{name}` in {where}; no bot reaches it before a policy names it")


def remove(name: str, *, stack: str | None = None, file: Path | None = None, json: bool = False) -> None:
    """Take a target out of the stack file.

    Parameters
    ----------
    name
        The target's name.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `target` and `file`.
    """
    path = (*config_path("targets"), name)
    changed = open_stack(stack, file).change(lambda text, at: editing.remove(text, path, at))
    if json:
        print_json({"target": name, "file": str(changed.path)})
    else:
        print(f"removed `{name}` from {changed.path}")


def list_(*, stack: str | None = None, file: Path | None = None, json: bool = False) -> None:
    """List the targets of a stack file.

    Parameters
    ----------
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object a target.
    """
    targets = open_stack(stack, file).section("targets")
    rows: list[list[str]] = []
    for name, target in targets.items():
        target = target if isinstance(target, dict) else {}
        if json:
            print_json({"target": name, **target})
        labels = " ".join(f"{k}={v}" for k, v in (target.get("labels") or {}).items())
        rows.append([name, *(str(target.get(key, "")) for key in ("kind", "address", "agent")), labels])
    if not json:
        print(table(["target", "kind", "address", "agent", "labels"], rows) if rows else "no targets")


def _pair(text: str, option: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise WicketgateError(f"`{option} {text}` says no value", code="usage", remedy=f"write `{option} KEY=VALUE`")
    return key, value
