"""`wicketgate bot add|remove|list`: bots in a stack file, by the words of the stack file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from wicketgate import editing
from wicketgate.commands.stack_file import config_path, open_stack, print_json
from wicketgate_gateway.contract import yaml


def add(
    name: str,
    *,
    owner: str,
    group: list[str],
    expires: str,
    credential: list[str],
    stack: str | None = None,
    file: Path | None = None,
    json: bool = False,
) -> None:
    """Onboard a bot: add its lines to the stack file. `pulumi preview` then shows what it would get.

    Parameters
    ----------
    name
        The bot's name.
    owner
        Who answers for it: `group:NAME` or `person:MAIL`.
    group
        A group whose policies apply to it; repeat for several.
    expires
        Its last day (UTC), as in 2027-06-30.
    credential
        Who vouches for its workload, as in `github: {repository: acme/shop, branch: main}`; repeat for several.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `bot`, `file` and `line`.
    """
    value: dict[str, Any] = {
        "owner": owner,
        "groups": group,
        "expires": expires,
        "credentials": [yaml.parse(text, "--credential").data for text in credential],
    }
    path = config_path("bots")
    changed = open_stack(stack, file).change(lambda text, at: editing.insert(text, path, name, value, at))
    where = yaml.parse(changed.text, str(changed.path)).where((*path, name))
    if json:
        print_json({"bot": name, "file": str(changed.path), "line": where.line})
    else:
        print(f"added `{name}` in {where}; `pulumi preview` shows what it gets")


def remove(name: str, *, stack: str | None = None, file: Path | None = None, json: bool = False) -> None:
    """Take a bot's lines out of the stack file. The next `pulumi up` deletes its identity.

    Parameters
    ----------
    name
        The bot's name.
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object with `bot` and `file`.
    """
    edit = partial(_remove, name)
    changed = open_stack(stack, file).change(edit)
    if json:
        print_json({"bot": name, "file": str(changed.path)})
    else:
        print(
            f"removed `{name}` from {changed.path}; the next `pulumi up` deletes its identity "
            f"(to end its sessions at once: `wicketgate kill --bot {name}`)"
        )


def _remove(name: str, text: str, at: str) -> str:
    return editing.remove(text, (*config_path("bots"), name), at)


def list_(*, stack: str | None = None, file: Path | None = None, json: bool = False) -> None:
    """List the bots of a stack file: owner, groups, last day, and who vouches for them.

    Parameters
    ----------
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    json
        Print one object a bot.
    """
    bots = open_stack(stack, file).section("bots")
    rows: list[list[str]] = []
    for name, bot in bots.items():
        bot = bot if isinstance(bot, dict) else {}
        kinds = [str(next(iter(c), "")) for c in bot.get("credentials") or [] if isinstance(c, dict)]
        if json:
            print_json({"bot": name, **bot})
        groups = " ".join(map(str, bot.get("groups") or []))
        rows.append([name, str(bot.get("owner", "")), groups, str(bot.get("expires", "")), " ".join(kinds)])
    if not json:
        print(table(["bot", "owner", "groups", "expires", "credentials"], rows) if rows else "no bots")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns of plain text."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows])
