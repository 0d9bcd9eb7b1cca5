"""`wicketgate audit export`: all events, as they stand in the journal, for other systems."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from wicketgate_gateway.audit.follow import Entry, Follower
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.state import Place


def audit_export(
    *,
    format: Literal["ndjson", "ocsf"] = "ndjson",  # noqa: A002 - the option's name
    bot: str = "",
    target: str = "",
    since: str = "",
    until: str = "",
    after: str = "",
    to: Path | None = None,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """Write events of the journal, oldest first, one JSON object a line, each with a `uid` to go on from.

    Parameters
    ----------
    format
        `ndjson`: our own events; `ocsf`: OCSF 1.5.
    bot
        Only this bot's.
    target
        Only those about this target.
    since
        Not before: `30m`, `24h`, `7d` (ago), or a date or time.
    until
        Before: as `--since`.
    after
        Only what came after the event with this `uid`: goes on where an earlier export ended.
    to
        A file to write to, made whole or not at all; without it, standard output.
    json
        As always: the output is JSON in either case.
    """
    del json
    # Caught up, the store knows the sessions of events whose start is not exported.
    with place.store() as (state, _):
        pass
    earliest = output.moment(since, "--since") if since else None
    latest = output.moment(until, "--until") if until else None
    follower = Follower(state, "export", lambda message: print(f"warning: {message}", file=sys.stderr), remember=False)
    follower.after(after)
    with output.written(to) as file:
        while entries := follower.batch():
            for entry in entries:
                if earliest is not None and entry.event.time < earliest:
                    continue
                if latest is not None and entry.event.time >= latest:
                    continue
                if _about(entry, bot, target):
                    document = entry.document(format)
                    file.write(output.to_json(document) + "\n")
            follower.accepted()


def _about(entry: Entry, bot: str, target: str) -> bool:
    for name, wanted in (("bot", bot), ("target", target)):
        found = getattr(entry.event, name, "") or (getattr(entry.started, name) if entry.started else "")
        if wanted and found != wanted:
            return False
    return True
