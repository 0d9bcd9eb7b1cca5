"""`wicketgate kill` and `wicketgate sessions kill`: end sessions now, through the API."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.api_client import Api, api
from wicketgate_gateway.cli.people import Gate
from wicketgate_gateway.contract.errors import WicketgateError


def kill(
    *,
    bot: str = "",
    group: str = "",
    target: str = "",
    everything: Annotated[bool, Parameter(name="--all")] = False,
    reason: str = "",
    lift: bool = False,
    json: bool = False,
    gate: Gate = Gate(),  # noqa: B008 - frozen
) -> None:
    """End all sessions of a bot, of a group's bots, with a target, or all there are, and let none begin.

    Without any of them: list what is killed. Running statements are cancelled at the server.

    Parameters
    ----------
    bot
        The bot, by name or object id.
    group
        The group of bots, by name or object id.
    target
        The target, by name.
    everything
        Everything at this gateway.
    reason
        Why; for the record.
    lift
        Let sessions begin again.
    json
        Print one object a line.
    """
    asked = [("bot", bot), ("group", group), ("target", target)]
    wanted = [(scope, value) for scope, value in asked if value] + ([("all", "")] if everything else [])
    if len(wanted) > 1 or (not wanted and (lift or reason)):
        raise WicketgateError("say one of --bot, --group, --target, --all", code="usage")
    with api(gate.settings()) as gateway:
        if not wanted:
            _list(gateway, json)
            return
        ((scope, value),) = wanted
        if lift:
            _lift(gateway, scope, value, json)
            return
        done = gateway.post("/v1/kills", {"scope": scope, "value": value, "reason": _reason(reason)})
    _told(done, json)


def kill_session(session: str, /, *, reason: str = "", json: bool = False, gate: Gate = Gate()) -> None:  # noqa: B008 - frozen
    """End one session; its running statement is cancelled at the server.

    Parameters
    ----------
    session
        Its whole id.
    reason
        Why; for the record.
    json
        Print one object.
    """
    if not session.isalnum() or not session.isascii():
        raise WicketgateError(f"`{session[:40]}` is no session's id", code="session-id-invalid")
    with api(gate.settings()) as gateway:
        done = gateway.post(f"/v1/sessions/{session}/kill", {"reason": _reason(reason)})
    _told(done, json)


def _reason(given: str) -> str:
    if given.strip():
        return given.strip()
    if sys.stdin.isatty():
        print("why? ", end="", file=sys.stderr, flush=True)
        if asked := sys.stdin.readline().strip():
            return asked
    raise WicketgateError("say why", code="usage", remedy="add `--reason TEXT`; it goes on record")


def _lift(gateway: Api, scope: str, value: str, json: bool) -> None:
    found = [
        one
        for one in gateway.get("/v1/kills")["kills"]
        if one["scope"] == scope and value in (one["value"], one["name"])
    ]
    if not found:
        raise WicketgateError(
            "nothing of that is killed", code="kill-unknown", remedy="`wicketgate kill` lists what is"
        )
    for one in found:
        gateway.post(f"/v1/kills/{one['id']}/lift", {})
        if json:
            output.print_json({**one, "lifted": True})
        else:
            print(f"lifted: {_what(one)}")


def _told(done: dict[str, Any], json: bool) -> None:
    if json:
        output.print_json(done)
    else:
        again = "" if done["scope"] == "session" else f"; none begins until it is lifted (kill {done['id']})"
        print(f"killed: {_what(done)}{again}")


def _what(one: dict[str, Any]) -> str:
    name = visible(str(one["name"] or one["value"]))
    return "everything" if one["scope"] == "all" else f"{one['scope']} {name}"


def _list(gateway: Api, json: bool) -> None:
    found = gateway.get("/v1/kills")["kills"]
    if json:
        for one in found:
            output.print_json(one)
    elif not found:
        output.console(stderr=True).print("nothing is killed", style="dim")
    else:
        titles = ("id", "what", "since", "by", "reason")
        output.print_columns(
            titles, [(str(k["id"]), _what(k), str(k["time"]), str(k["by"]), visible(str(k["reason"]))) for k in found]
        )
