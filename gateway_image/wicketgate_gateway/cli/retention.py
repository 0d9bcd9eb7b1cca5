"""`wicketgate retention run` and `wicketgate legal-hold`: what is deleted, and what must not be."""

from __future__ import annotations

import os
import pwd
import secrets
from typing import Annotated

from cyclopts import Parameter

from wicketgate_gateway.audit import holds
from wicketgate_gateway.audit.retention import Plan, Rules, carry_out, forget_approvals, make_plan, only_run
from wicketgate_gateway.audit.seals import LegalHold, SealLog
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.objects import remembered


def retention_run(*, dry_run: bool = False, json: bool = False, place: Place = Place()) -> None:  # noqa: B008 - frozen
    """Delete what is older than policies and `retention` say, leaving signed tombstones for recordings and events.
    Needs --config.

    Parameters
    ----------
    dry_run
        Say what would be deleted, and what stays although it is old enough; delete nothing.
    json
        One object.
    """
    if place.config is None:
        raise WicketgateError(
            "how long things are kept is not said", code="config-missing", remedy="give `--config gateway.yaml`"
        )
    from wicketgate_gateway.contract.gateway import GatewayConfig
    from wicketgate_gateway.contract.model import read
    from wicketgate_gateway.contract.policy import Bundle

    config = read(GatewayConfig, place.config)
    rules = Rules(config.retention, read(Bundle, place.config.parent / config.policies), config.targets)
    with place.store() as (state, connection), only_run(state):
        store = remembered(state / "recordings")
        plan = make_plan(state, connection, rules, stored=store.has if store else lambda _: False)
        if not dry_run:
            carry_out(state, connection, plan, unstore=store.remove if store else lambda _: None)
    forgotten = 0 if dry_run else forget_approvals(place.folder(), config.control, config.retention)
    if json:
        output.print_json(_describe(plan, dry_run=dry_run) | {"approvals": forgotten})
    else:
        _print(plan, dry_run=dry_run)
        if forgotten:
            print(f"{output.count(forgotten, 'request')} for approval forgotten")


def _describe(plan: Plan, *, dry_run: bool) -> dict[str, object]:
    journal = plan.journal
    return {
        "dry_run": dry_run,
        "recordings": [
            {
                "session": purge.seal.session,
                "started": output.iso(purge.seal.started),
                "size": purge.seal.size,
                "digest": purge.seal.digest,
                "reason": purge.seal.reason,
            }
            for purge in plan.recordings
        ],
        "journal": None
        if journal is None
        else {
            "first": journal.first,
            "last": journal.last,
            "events": journal.events,
            "size": journal.size,
            "newest": output.iso(journal.newest),
            "reason": journal.reason,
        },
        "leftovers": [str(path) for path in plan.leftovers],
        "held": [{"what": held.what, "reason": held.reason} for held in plan.held],
    }


def _print(plan: Plan, *, dry_run: bool) -> None:
    console = output.console()
    does = "would be deleted" if dry_run else "deleted"
    for purge in plan.recordings:
        text = f"recording of {purge.seal.session} ({output.size(purge.seal.size)}) {does}: {purge.seal.reason}"
        console.print(output.clean(text, line=True))
    if plan.journal is not None:
        found = plan.journal
        events = output.count(found.events, "event")
        console.print(f"files {found.first} to {found.last} of the journal ({events}) {does}: {found.reason}")
    for path in plan.leftovers:
        console.print(f"`{path.name}`, left over by an earlier run, {does}")
    for held in plan.held:
        console.print(output.clean(f"kept: {held.what}: {held.reason}", line=True), style="yellow")
    if plan.empty:
        console.print("nothing is old enough", style="dim")


def _who(by: str) -> str:
    if by:
        return by
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def hold_add(
    name: str = "",
    /,
    *,
    reason: str,
    session: str = "",
    bot: str = "",
    target: str = "",
    since: str = "",
    until: str = "",
    by: str = "",
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """Let nothing be deleted that matches all of what is given. Signed and anchored as all seals are.

    Parameters
    ----------
    name
        What to call the hold; one is made up without it.
    reason
        Why, such as a case's number.
    session
        Only this session's (its whole id).
    bot
        Only this bot's (name or object id).
    target
        Only those about this target.
    since
        Only what was going on then or later: `30d`, or a date.
    until
        Only what began before.
    by
        Who asks for it; the user who runs this, without it.
    json
        One object.
    """
    hold = LegalHold(
        hold=name or f"legal-{secrets.token_hex(3)}",
        reason=reason,
        by=_who(by),
        session=session.lower(),
        bot=bot,
        target=target,
        since=output.moment(since, "--since") if since else 0,
        until=output.moment(until, "--until") if until else 0,
    )
    holds.add(SealLog(place.folder()), hold)
    if json:
        output.print_json(_hold(hold))
    else:
        print(f"legal hold {output.clean(hold.hold, line=True)} stands")


def hold_lift(
    name: str,
    /,
    *,
    reason: str,
    by: str = "",
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """End a legal hold: what it held may be deleted again.

    Parameters
    ----------
    name
        The hold's name.
    reason
        Why.
    by
        Who asks for it; the user who runs this, without it.
    json
        One object.
    """
    holds.lift(SealLog(place.folder()), name, reason=reason, by=_who(by))
    if json:
        output.print_json({"hold": name, "lifted": True})
    else:
        print(f"legal hold {output.clean(name, line=True)} is lifted")


def hold_list(
    *,
    json: Annotated[bool, Parameter(help="One object a line.")] = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """List the legal holds that stand."""
    found = holds.standing(SealLog(place.folder()).read())
    if json:
        for hold in found:
            output.print_json(_hold(hold))
    elif found:
        terms = [[f"{key}={value}" for key, value in _hold(each).items() if key in _ABOUT and value] for each in found]
        about = [" ".join(each) for each in terms]
        output.print_columns(
            ("hold", "since", "by", "about", "reason"),
            [(h.hold, output.local(h.time), h.by, a, h.reason) for h, a in zip(found, about, strict=True)],
        )
    else:
        output.console(stderr=True).print("no legal hold stands", style="dim")


_ABOUT = ("session", "bot", "target", "from", "until")


def _hold(hold: LegalHold) -> dict[str, object]:
    return {
        "hold": hold.hold,
        "added": output.iso(hold.time) if hold.time else None,
        "by": hold.by,
        "reason": hold.reason,
        "session": hold.session,
        "bot": hold.bot,
        "target": hold.target,
        "from": output.iso(hold.since) if hold.since else None,
        "until": output.iso(hold.until) if hold.until else None,
    }
