"""`wicketgate audit`: what was allowed, denied or refused, to whom and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.ingest import DAMAGED
from wicketgate_gateway.audit.query import AuditFilter, AuditRow
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.recording import values
from wicketgate_gateway.store.place import empty, own_journal

_STYLES = {"allow": "green", "deny": "bold red", "refused": "bold red", "hold": "yellow"}
_MAX_WHAT = 300


def audit(
    *,
    bot: str = "",
    target: str = "",
    verdict: Literal["allow", "deny", "hold", "refused"] | None = None,
    since: str = "",
    until: str = "",
    rule: str = "",
    approver: str = "",
    text: str = "",
    session: str = "",
    event: tuple[str, ...] = (),
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """Show audit events, the newest last. All filters must match.

    Parameters
    ----------
    bot
        Only this bot's.
    target
        Only those about this target.
    verdict
        Only operations with this verdict, or `refused`: connections that did not become a session.
    since
        Not before: `30m`, `24h`, `7d` (ago), or a date or time.
    until
        Before: as `--since`.
    rule
        Only what this rule decided, such as `orders-readonly#3`.
    approver
        Only the answers that this person (an object id) gave to held operations.
    text
        Only statements that hold this text, in any case of letters.
    session
        Only those of this session (its id, the end of its id, or `last`).
    event
        Only events of this kind (`operation`, `session-started`, `policy-loaded` …); may be repeated.
    limit
        At most so many, the newest (100).
    json
        One object a line.
    """
    with place.store() as (_, connection):
        wanted = AuditFilter(
            bot=bot,
            target=target,
            verdict=verdict or "",
            since=output.moment(since, "--since") if since else None,
            until=output.moment(until, "--until") if until else None,
            rule=rule,
            approver=approver.lower(),
            text=text,
            session=query.session(connection, session).started.session if session else "",
            kinds=event,
            limit=limit,
        )
        found = query.events(connection, wanted)
    if json:
        for row in found:
            output.print_json(describe(row))
    elif not found:
        output.console(stderr=True).print("no event matches", style="dim")
    else:
        _print(found)


def rebuild(
    *,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> None:
    """Build the store that answers questions again from the journal: all that it has of this gateway is deleted, and
    the journal read from its start. The gateway may run meanwhile.

    Parameters
    ----------
    json
        One object.
    """
    folder = place.folder()
    deleted = empty(folder)
    with place.store() as (_, connection):
        wanted = AuditFilter(kinds=(DAMAGED,), limit=1000)
        damaged = [row for row in query.events(connection, wanted) if row.journal == own_journal(folder)]
    if json:
        output.print_json({"deleted": deleted, "damage": [row.reason for row in damaged]})
    else:
        print(f"{output.count(deleted, 'event')} deleted; the journal was read again from its start")
        for row in damaged:
            print(output.clean(f"damage: {row.reason}", line=True))


def describe(row: AuditRow) -> dict[str, Any]:
    """An event for programs: what all have, then the event's own fields, then how an operation ended."""
    common = {
        "id": row.id,
        "time": output.iso(row.time),
        "event": row.kind,
        "session": row.session,
        "bot": row.bot,
        "target": row.target,
        "verdict": row.verdict,
    }
    own: dict[str, Any] = {} if row.event is None else dict(_fields(row.event))
    if isinstance(row.event, Operation):
        own.pop("effect")
        own["outcome"] = row.outcome
        own |= {"rows": row.rows, "sqlstate": row.sqlstate, "duration_us": row.duration_us}
        if row.event.parameters is not None:
            own["parameters"] = values.show_parameters(row.event.parameters, row.event.formats)
    elif row.event is None:
        own["reason"] = row.reason
    return common | {name: value for name, value in own.items() if name not in common}


def _fields(event: msgspec.Struct) -> Mapping[str, Any]:
    return {name: _plain(getattr(event, name)) for name in event.__struct_fields__}


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def what(row: AuditRow) -> str:
    """An event in one line."""
    event = row.event
    if isinstance(event, Operation):
        text = " ".join(event.statement.split())
        given = values.show_parameters(event.parameters or [], event.formats)
        if given:
            text += "  [" + ", ".join("NULL" if value is None else value for value in given) + "]"
    else:
        fields = {} if event is None else dict(_fields(event))
        text = row.kind
        shown = {
            name: value
            for name, value in fields.items()
            if name not in ("time", "session", "bot", "target", "reason", "bot_id", "token_id", "digest") and value
        }
        text += "".join(f" {name}={_short(name, value)}" for name, value in shown.items())
    return text if len(text) <= _MAX_WHAT else text[:_MAX_WHAT] + "…"


def _short(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return output.digest(str(value)) if name == "policy" else str(value)


def why(row: AuditRow) -> str:
    """The deciding rule and the reason of a denial, or of whatever has one."""
    event = row.event
    if isinstance(event, Operation):
        return f"{event.rule}: {event.reason}" if row.verdict != "allow" and event.reason else event.rule
    return row.reason


def result(row: AuditRow) -> str:
    """How an operation ended."""
    if row.outcome in ("", "ok"):
        parts = [output.count(row.rows, "row")] if row.rows is not None else []
    else:
        parts = [f"{row.outcome} {row.sqlstate}".strip()]
    if row.duration_us is not None:
        parts.append(output.duration(row.duration_us * 1000))
    return ", ".join(parts)


def _print(found: list[AuditRow]) -> None:
    console = output.console()
    if not console.is_terminal:
        titles = ("time", "verdict", "bot", "target", "session", "result", "why", "what")
        output.print_columns(
            titles,
            [
                (
                    output.local(row.time),
                    row.verdict or "-",
                    row.bot or "-",
                    row.target or "-",
                    row.session or "-",
                    result(row) or "-",
                    why(row) or "-",
                    what(row),
                )
                for row in found
            ],
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("time", "verdict", "bot", "target", "session"):
        table.add_column(title, no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    table.add_column("result", no_wrap=True)
    for row in found:
        cell = Text(output.clean(what(row), line=True), style="" if row.verdict else "dim")
        if why(row) and row.verdict != "allow":
            cell.append("\n" + output.clean(why(row), line=True), style="red" if row.verdict else "dim")
        table.add_row(
            Text(output.local(row.time), style="dim"),
            Text(row.verdict, style=_STYLES.get(row.verdict, "")),
            Text(output.clean(row.bot, line=True)),
            Text(output.clean(row.target, line=True)),
            Text(row.session[-8:], style="cyan"),
            cell,
            Text(result(row), style="red" if row.outcome not in ("", "ok") else "dim"),
        )
    console.print(table)
