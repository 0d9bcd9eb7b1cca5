"""`wicketgate approvals`: what is held, shown whole; and the answer to it.

How this works: nothing is cut. What a bot wrote is drawn so that nothing in it can hide or pose as something else
(`approvals.display`). An approval repeats the seal of what was shown: at a terminal, of what was printed just before
the question; in a script, of what `--seal` says, so that nobody approves what they have not read.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.api_client import Api, api
from wicketgate_gateway.cli.people import Gate
from wicketgate_gateway.contract.errors import WicketgateError

_STYLES = {"pending": "bold yellow", "approved": "green", "denied": "red", "expired": "dim", "used": "", "void": "dim"}
_OPEN = ("pending", "approved")
_STATES = ("pending", "approved", "denied", "expired", "used", "void")


def list_(
    *,
    everything: Annotated[bool, Parameter(name="--all")] = False,
    bot: str = "",
    target: str = "",
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    watch: bool = False,
    json: bool = False,
    gate: Gate = Gate(),  # noqa: B008 - frozen
) -> None:
    """List what is held: what waits for an answer, and what was approved and not used yet.

    Parameters
    ----------
    everything
        Also what was denied, used, has lapsed or is void.
    bot
        Only this bot's.
    target
        Only for this target.
    limit
        At most so many, the newest (100).
    watch
        Show what waits, whole, and go on as more comes and changes; ends with Ctrl-C.
    json
        One object a line.
    """
    with api(gate.settings()) as gateway:
        if watch:
            _watch(gateway, bot, target, json)
            return
        states = _STATES if everything else _OPEN
        found = gateway.get("/v1/approvals", state=states, bot=bot, target=target, limit=limit)["approvals"]
    if json:
        for one in found:
            output.print_json(one)
    elif not found:
        output.console(stderr=True).print("nothing is held", style="dim")
    else:
        _table(found)


def show(handle: str, /, *, json: bool = False, gate: Gate = Gate()) -> None:  # noqa: B008 - frozen
    """Show one held operation, whole.

    Parameters
    ----------
    handle
        Its handle, as `hold-7kq2m9`.
    json
        Print one object.
    """
    with api(gate.settings()) as gateway:
        found = _get(gateway, handle)
    if json:
        output.print_json(found)
    else:
        _print(found)


def approve(
    handle: str,
    /,
    *,
    comment: str = "",
    seal: str = "",
    json: bool = False,
    gate: Gate = Gate(),  # noqa: B008 - frozen
) -> None:
    """Approve a held operation, after it was shown.

    Parameters
    ----------
    handle
        Its handle.
    comment
        A word on it, for the record.
    seal
        The `seal` of what you looked at (`approvals show --json`): approves that without a question, or nothing.
    json
        Print one object, as it then stands.
    """
    _decide(handle, "approve", comment, seal, json, gate)


def deny(
    handle: str,
    /,
    *,
    comment: str = "",
    json: bool = False,
    gate: Gate = Gate(),  # noqa: B008 - frozen
) -> None:
    """Deny a held operation, or take back an approval that was not used yet.

    Parameters
    ----------
    handle
        Its handle.
    comment
        Why; for the record.
    json
        Print one object, as it then stands.
    """
    _decide(handle, "deny", comment, "", json, gate)


def _decide(handle: str, verb: str, comment: str, seal: str, json: bool, gate: Gate) -> None:
    with api(gate.settings()) as gateway:
        body: dict[str, Any] = {"comment": comment}
        if verb == "approve":
            body["seal"] = seal or _ask(_get(gateway, handle))
        done = gateway.post(f"/v1/approvals/{_path(handle)}/{verb}", body)
    if json:
        output.print_json(done)
    elif done["state"] == "pending":
        print(f"{done['handle']}: your answer counts; {done['quorum']} are needed")
    else:
        print(f"{done['handle']} is {done['state']}")


def _ask(found: dict[str, Any]) -> str:
    """The seal of what was shown and said yes to. Raises WicketgateError."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise WicketgateError(
            "there is no terminal to show it on",
            code="not-looked-at",
            remedy="look at it with `approvals show --json`, then give its seal by --seal",
        )
    _print(found, stderr=True)
    print(f"\napprove {found['handle']}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise WicketgateError("not approved", code="not-approved")
    return str(found["seal"])


def _path(handle: str) -> str:
    if not handle.replace("-", "").isalnum() or not handle.isascii() or len(handle) > 32:
        raise WicketgateError(f"`{handle[:40]}` is no handle", code="hold-unknown", remedy="see `approvals list`")
    return handle.lower()


def _get(gateway: Api, handle: str) -> dict[str, Any]:
    return gateway.get(f"/v1/approvals/{_path(handle)}")


def _watch(gateway: Api, bot: str, target: str, json: bool) -> None:
    for event, data in gateway.stream("/v1/approvals/stream"):
        if event == "end":
            raise WicketgateError(str(data.get("detail")), code=str(data.get("code")), remedy="`wicketgate login`")
        if event != "approval" or (bot and data["bot"]["name"] != bot) or (target and data["target"] != target):
            continue
        if json:
            output.print_json(data)
        elif data["state"] == "pending" and not data["answers"]:
            _print(data)
            print()
        else:
            who = ", ".join(visible(str(one["name"])) for one in data["answers"])
            print(f"{data['handle']} is {data['state']}" + (f" ({who})" if who else ""))
        sys.stdout.flush()


def _table(found: list[dict[str, Any]]) -> None:
    titles = ("handle", "state", "bot", "target", "until", "rule", "statement")
    rows = [
        (
            str(one["handle"]),
            str(one["state"]),
            str(one["bot"]["name"]),
            str(one["target"]),
            str(one["use_by"] if one["state"] == "approved" else one["expires"]),
            str(one["rule"]),
            " ".join(visible(str(one["statement"])).split()),
        )
        for one in found
    ]
    console = output.console()
    if not console.is_terminal:
        output.print_columns(titles, rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=title in ("handle", "state"), overflow="fold")
    for row in rows:
        cells = [Text(output.clean(cell, line=True)) for cell in row]
        cells[1].stylize(_STYLES.get(row[1], ""))
        table.add_row(*cells)
    console.print(table)
    console.print("see all of one: wicketgate approvals show HANDLE", style="dim")


def _print(one: dict[str, Any], *, stderr: bool = False) -> None:
    """All that binds an approval. A line break in a value cannot begin a line that looks like ours."""
    from rich.text import Text

    console = output.console(stderr=stderr)

    def line(name: str, value: object, style: str = "") -> None:
        text = visible(str(value)).split("\n")
        console.print(Text.assemble((f"{name:<12}", "dim"), (text[0], style)), soft_wrap=True)
        for more in text[1:]:
            console.print(Text.assemble((f"{'':<10}│ ", "dim"), (more, style)), soft_wrap=True)

    line("handle", one["handle"], "bold cyan")
    line("state", one["state"], _STYLES.get(str(one["state"]), ""))
    line("bot", f"{one['bot']['name']} ({one['bot']['id']}), answered for by {one['bot']['owner']}")
    line("target", f"{one['target']} ({one['protocol']})")
    line("session", one["session"])
    line("statement", one["statement"], "bold")
    for number, value in enumerate(one["parameters"], 1):
        text = "NULL" if value["text"] is None else f"'{value['text']}'"
        line(f"${number}", f"{text}  (type {value['type']}{', binary' if value['binary'] else ''})", "bold")
    for name, value in sorted(one["facts"].items()):
        line("setting", f"{name} = {value}")
    line("reason", one["reason"] or "(none given)")
    blast = one["blast"]
    line("reaches", "not measured" if not blast else ", ".join(f"{k}: {v}" for k, v in sorted(blast.items())))
    line("rule", f"{one['rule']} of {output.digest(str(one['policy']))}")
    groups = ", ".join(f"{group['name']} ({group['id']})" for group in one["approvers"])
    line("approvers", f"{one['quorum']} of {groups}")
    for answer in one["answers"]:
        line("answer", f"{answer['name']} ({answer['id']}): {answer['choice']}  {answer['comment']}".rstrip())
    line("asked", one["created"])
    line("expires", one["expires"])
    if one["reuse_seconds"] is not None:
        line("holds for", f"{one['reuse_seconds']:g} s: the same statement goes through again and again", "bold yellow")
    if one["use_by"]:
        line("use by", one["use_by"])
    if one["note"]:
        line("note", one["note"])
    for warning in one["warnings"]:
        line("careful", warning, "bold yellow")
    line("seal", one["seal"], "dim")
