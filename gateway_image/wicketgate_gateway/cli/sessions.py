"""`wicketgate sessions`: who was connected, to what, and how it ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.query import AuditRow, SessionRow
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.state import Place, gateway_runs
from wicketgate_gateway.recording.recorder import session_folder
from wicketgate_gateway.store.place import own_journal

_STYLES = {"live": "bold green", "ended": "", "lost": "bold red"}


def sessions(
    *,
    bot: str = "",
    target: str = "",
    since: str = "",
    live: bool = False,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 50,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """List sessions, the newest last.

    Parameters
    ----------
    bot
        Only this bot's.
    target
        Only those with this target.
    since
        Only those that were running since then: `30m`, `24h`, or a date.
    live
        Only those that run now.
    limit
        At most so many, the newest (50).
    json
        One object a line.
    """
    with place.store() as (folder, connection):
        found = query.sessions(
            connection,
            bot=bot,
            target=target,
            since=output.moment(since, "--since") if since else None,
            live=live,
            limit=limit,
        )
        running = gateway_runs(folder)
    if json:
        for row in found:
            output.print_json(describe(row, folder, running))
        return
    if not found:
        output.console(stderr=True).print("no session matches", style="dim")
        return
    _print(found, folder, running)


def show(session: str, /, *, json: bool = False, place: Place = Place()) -> None:  # noqa: B008 - frozen
    """Show one session: who, from where, under which policy, each operation with its verdict, and its recording.

    Parameters
    ----------
    session
        The session's id, the end of it, or `last`.
    json
        One object, with `events`.
    """
    with place.store() as (folder, connection):
        row = query.session(connection, session)
        found = query.operations(connection, row.started.session, after=(0, 0))
        running = gateway_runs(folder)
    described = describe(row, folder, running)
    if json:
        output.print_json(described | {"events": [_operation(event) for event in found]})
        return
    console = output.console()
    for name in _SHOWN:
        value = described[name]
        shown = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        if shown:
            console.print(output.clean(f"{name.replace('_', ' '):<10}  {shown}", line=True))
    recording = described["recording"]
    whole = f"{recording['size']:,} bytes, sha256 {recording['digest']}" if recording["complete"] else "not closed"
    console.print(output.clean(f"{'recording':<10}  {whole}", line=True))
    columns = [
        (
            output.local(event.time),
            event.verdict,
            getattr(event.event, "rule", ""),
            event.outcome,
            "" if event.rows is None else f"{event.rows:,}",
            " ".join(str(getattr(event.event, "statement", "")).split())[:200],
        )
        for event in found
    ]
    if columns:
        console.print()
        output.print_columns(("time", "verdict", "rule", "outcome", "rows", "operation"), columns)
    console.print(f"replay it: wicketgate replay {row.started.session}", style="dim")


_SHOWN = (
    "session", "state", "started", "ended", "reason", "bot", "bot_id", "token_id", "target", "protocol", "peer",
    "client", "agent", "groups", "policy", "operations", "denied",
)  # fmt: skip


def _operation(row: AuditRow) -> dict[str, Any]:
    return {
        "time": output.iso(row.time),
        "seq": getattr(row.event, "seq", None),
        "verdict": row.verdict,
        "rule": getattr(row.event, "rule", ""),
        "statement": getattr(row.event, "statement", ""),
        "reason": row.reason,
        "outcome": row.outcome,
        "rows": row.rows,
        "duration_us": row.duration_us,
    }


def state_of(row: SessionRow, folder: Path, running: bool) -> str:
    """`live`, `ended`, or `lost`: the gateway died in mid-session (also if no other one has started since). Of another
    gateway that shares the store nothing is known but what it wrote."""
    lost = row.state == "live" and not running and row.journal == own_journal(folder)
    return "lost" if lost else row.state


def describe(row: SessionRow, folder: Path, running: bool) -> dict[str, Any]:
    """A session for programs."""
    started = row.started
    closed = row.closed
    return {
        "session": started.session,
        "state": state_of(row, folder, running),
        "started": output.iso(started.time),
        "ended": None if row.ended is None else output.iso(row.ended),
        "duration_us": None if row.ended is None else (row.ended - started.time) // 1000,
        "reason": row.reason,
        "bot": started.bot,
        "bot_id": started.bot_id,
        "token_id": started.token_id,
        "target": started.target,
        "protocol": started.protocol,
        "peer": started.peer,
        "client": started.client,
        "agent": started.agent,
        "groups": started.groups,
        "policy": started.policy,
        "operations": row.operations,
        "denied": row.denied,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "recording": {
            "folder": str(session_folder(folder / "recordings", started.session)),
            "complete": closed is not None,
            "digest": closed.digest.hex() if closed else None,
            "size": closed.size if closed else None,
        },
    }


def _print(found: list[SessionRow], folder: Path, running: bool) -> None:
    titles = ("started", "session", "bot", "target", "state", "lasted", "statements", "denied", "client")
    rows = [
        (
            output.local(row.started.time),
            row.started.session,
            row.started.bot,
            row.started.target,
            state_of(row, folder, running),
            output.duration((row.ended or time.time_ns()) - row.started.time),
            f"{row.operations:,}",
            f"{row.denied:,}" if row.denied else "",
            row.started.client or row.started.peer,
        )
        for row in found
    ]
    console = output.console()
    if not console.is_terminal:
        output.print_columns(titles, rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in titles:
        right = title in ("lasted", "statements", "denied")
        table.add_column(
            title, justify="right" if right else "left", no_wrap=True, min_width=26 if title == "session" else None
        )
    for row in rows:
        cells = [Text(output.clean(cell, line=True)) for cell in row]
        cells[1].stylize("cyan")
        cells[4].stylize(_STYLES.get(row[4], ""))
        cells[7].stylize("red")
        table.add_row(*cells)
    console.print(table)
    console.print("replay one: wicketgate replay SESSION (the end of its id will do, or `last`)", style="dim")
