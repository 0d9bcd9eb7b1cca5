"""Questions to the audit store, fast at millions of events.

How this works: SQLite takes one index per query, so we choose it: of the filters given, the one that leaves the fewest
rows (counted up to a bound, in the index alone). PostgreSQL's planner chooses by its own statistics. A text is first
looked for in the newest rows that the other filters leave, which answers quickly when it is frequent; if that does not
fill the answer, the trigram index says which statements hold it, and if those are many, more rows are looked at before
each of them is. Newest first inside, oldest first in the answer.
Letters count in any case as far as they are ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from wicketgate_gateway.audit.events import AuditEvent, Operation, RecordingClosed, SessionStarted
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store.base import Connection, is_sqlite
from wicketgate_gateway.store.postgres import MAX_NAME, trigrams

_SCAN_ROWS = 20_000
_COLUMNS = ("session", "verdict", "bot", "target", "rule", "approver")
"""Filters that are columns with an index of their own."""
_decode = msgspec.json.Decoder(AuditEvent).decode
_decode_started = msgspec.json.Decoder(SessionStarted).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What to ask for; empty fields do not filter. Times are ns since 1970, `until` exclusive."""

    bot: str = ""
    target: str = ""
    verdict: str = ""
    """`allow`, `deny`, `hold`, or `refused` for connections."""
    session: str = ""
    rule: str = ""
    """The deciding rule, `policy#3`."""
    approver: str = ""
    """Object id of a person: the answers they gave to held operations."""
    text: str = ""
    """Part of a statement, in any case of letters."""
    since: int | None = None
    until: int | None = None
    kinds: Sequence[str] = ()
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event; for operations with how they ended, as far as that is known."""

    id: int
    time: int
    kind: str
    session: str
    bot: str
    target: str
    verdict: str
    event: AuditEvent | None
    """None for events that the ingest made (`journal-damaged`); `reason` then says it."""
    reason: str = ""
    outcome: str = ""
    rows: int | None = None
    sqlstate: str = ""
    duration_us: int | None = None
    journal: str = ""
    """As `SessionRow.journal`."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session: `state` is `live`, `ended` or `lost` (the gateway died first)."""

    started: SessionStarted
    state: str
    ended: int | None
    reason: str
    operations: int
    denied: int
    bytes_in: int
    bytes_out: int
    closed: RecordingClosed | None = field(default=None)
    journal: str = ""
    """Which gateway's it is, in a store that many share (`store.place.own_journal`)."""


def _fields(connection: Connection, source: str = "events") -> str:
    journal = "''" if is_sqlite(connection) else "e.journal"
    event = "e.id, e.time, e.kind, e.session, e.bot, e.target, e.verdict, e.data, s.text"
    end = "e.outcome, e.rows, e.sqlstate, e.duration_us"
    return f"SELECT {event}, {end}, {journal} FROM {source} e"  # noqa: S608 - built of constants


_FEW_TEXTS = 30_000
"""So many texts are looked up one by one."""
_FEW_TRIGRAMS = 24
"""So many of a text's trigrams leave few statements; more only cost."""


def _holds(connection: Connection, column: str) -> str:
    """The condition that a column holds a text."""
    if is_sqlite(connection):
        return f"instr(lower({column}), lower(?)) > 0"
    return f'strpos(lower({column} COLLATE "C"), lower(? COLLATE "C")) > 0'


def events(connection: Connection, wanted: AuditFilter) -> list[AuditRow]:
    """The newest `limit` events that match, oldest first."""
    where, values = _conditions(wanted)
    index, count = _index(connection, wanted) if is_sqlite(connection) else ("", _SCAN_ROWS)
    if not wanted.text:
        return _fetch(connection, index, where, values, wanted.limit)
    holds = _holds(connection, "s.text")
    scan = min(_SCAN_ROWS, 10 * wanted.limit)
    # The newest rows first: for a frequent text that is the whole answer.
    found = _newest(connection, index, where, [*values, wanted.text], holds, scan, wanted.limit)
    if len(found) >= wanted.limit or count < scan:
        return found
    # Then the texts alone, which says how rare it is.
    holding, texts = _statements(connection, wanted.text)
    ids = [int(row[0]) for row in connection.execute(f"{holding} LIMIT ?", (*texts, _FEW_TEXTS + 1))]
    if not ids:
        return []
    if len(ids) <= _FEW_TEXTS:
        holding, texts = _listed(connection, ids)
        if is_sqlite(connection) and index and _runs(connection, holding, texts) < count:
            index = "events_statement"
    else:
        found = _newest(connection, index, where, [*values, wanted.text], holds, _SCAN_ROWS, wanted.limit)
        if len(found) >= wanted.limit or count < _SCAN_ROWS:
            return found
        index = "events_statement"
    return _fetch(
        connection,
        index,
        [f"e.statement IN ({holding})", *where, holds],
        [*texts, *values, wanted.text],
        wanted.limit,
    )


def _listed(connection: Connection, ids: Sequence[int]) -> tuple[str, list[object]]:
    """These ids, as what may stand in IN."""
    if is_sqlite(connection):
        return "SELECT value FROM json_each(?)", [json.dumps(ids)]
    return "SELECT unnest(?::bigint[])", [ids]


def _runs(connection: Connection, holding: str, texts: Sequence[object]) -> int:
    """How often these texts ran, at most `_SCAN_ROWS`."""
    rows = f"SELECT 1 FROM events INDEXED BY events_statement WHERE statement IN ({holding}) LIMIT {_SCAN_ROWS}"  # noqa: S608 - built of constants
    return int(connection.execute(f"SELECT count(*) FROM ({rows})", texts).fetchone()[0])  # noqa: S608 - built of constants


def _newest(
    connection: Connection,
    index: str,
    where: Sequence[str],
    values: Sequence[object],
    holds: str,
    scan: int,
    limit: int,
) -> list[AuditRow]:
    """Those that hold a text, of the newest rows that match."""
    if is_sqlite(connection):
        newest = f"SELECT id FROM events INDEXED BY {index} WHERE {_and(where)} ORDER BY time DESC LIMIT {scan}"  # noqa: S608 - built of constants
        return _fetch(connection, "", [f"e.id IN ({newest})", holds], values, limit)
    # Only what is needed to choose: whole rows of so many events would not fit into the server's memory for one query.
    newest = f"SELECT id, time, statement FROM events WHERE {_and(where)} ORDER BY time DESC LIMIT {scan}"  # noqa: S608 - built of constants
    chosen = (
        # OFFSET 0 keeps the planner from reading through all statements instead: to it, looking into a text is cheap.
        "SELECT n.id FROM newest n, LATERAL (SELECT text FROM statements WHERE id = n.statement OFFSET 0) s"  # noqa: S608 - built of constants
        f" WHERE {holds} ORDER BY n.time DESC, n.id DESC LIMIT ?"
    )
    query = (
        f"WITH newest AS MATERIALIZED ({newest}), chosen AS MATERIALIZED ({chosen}) {_fields(connection)}"
        " JOIN chosen c ON c.id = e.id JOIN statements s ON s.id = e.statement ORDER BY e.time DESC, e.id DESC"
    )
    return [_row(*row) for row in reversed(connection.execute(query, (*values, limit)).fetchall())]


def operations(
    connection: Connection, session_id: str, *, after: tuple[int, int] = (0, 0), limit: int = 1000
) -> list[AuditRow]:
    """A session's operations in order, from after `(seq, id)` on: to be asked for page by page."""
    by = "INDEXED BY events_session" if is_sqlite(connection) else ""
    query = (
        f"{_fields(connection)} {by} LEFT JOIN statements s ON s.id = e.statement"
        " WHERE e.session = ? AND e.kind = 'operation' AND (e.seq, e.id) > (?, ?) ORDER BY e.seq, e.id LIMIT ?"
    )
    return [_row(*row) for row in connection.execute(query, (session_id, *after, limit))]


@dataclass(frozen=True, slots=True)
class Slices:
    """Events over time. `counts` are (all, denied or refused) for each slice of `width` ns from `begin` on."""

    begin: int
    width: int
    counts: list[tuple[int, int]]
    cut: bool
    """Whether there are more events than were counted: the newest are."""


def timeline(connection: Connection, wanted: AuditFilter, end: int, slices: int, most: int = 50_000) -> Slices | None:
    """How many events match over time, up to `end`; None for none. A text does not filter here."""
    where, values = _conditions(wanted)
    index = _index(connection, wanted)[0] if is_sqlite(connection) else ""
    by = f"INDEXED BY {index}" if index else ""
    newest = f"SELECT time, verdict FROM events {by} WHERE {_and(where)} ORDER BY time DESC LIMIT {most}"  # noqa: S608 - built of constants
    first, count = connection.execute(f"SELECT min(time), count(*) FROM ({newest}) n", values).fetchone()  # noqa: S608 - built of constants
    if not count:
        return None
    cut = count >= most
    begin = int(first)
    width = max(1, -(-(max(end, begin + 1) - begin) // slices))
    bad = "sum(CASE WHEN verdict IN ('deny', 'refused') THEN 1 ELSE 0 END)"
    counted = f"SELECT (time - {begin}) / {width}, count(*), {bad} FROM ({newest}) n GROUP BY 1"  # noqa: S608 - whole numbers of ours
    counts = [(0, 0)] * slices
    for number, all_, refused in connection.execute(counted, values).fetchall():
        # A clock that goes ahead gives events after the end.
        place = min(int(number), slices - 1)
        counts[place] = (counts[place][0] + int(all_), counts[place][1] + int(refused))
    return Slices(begin, width, counts, cut)


def _fetch(
    connection: Connection, index: str, where: Sequence[str], values: Sequence[object], limit: int
) -> list[AuditRow]:
    by = f"INDEXED BY {index}" if index and is_sqlite(connection) else ""
    query = (
        f"{_fields(connection)} {by} LEFT JOIN statements s ON s.id = e.statement"
        f" WHERE {_and(where)} ORDER BY e.time DESC, e.id DESC LIMIT ?"
    )
    rows = connection.execute(query, (*values, limit)).fetchall()
    return [_row(*row) for row in reversed(rows)]


def _and(where: Sequence[str]) -> str:
    return " AND ".join(where) or "1 = 1"


def _conditions(wanted: AuditFilter) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    for column in _COLUMNS:
        value = getattr(wanted, column)
        if value:
            where.append(f"{column} = ?")
            values.append(str(value)[:MAX_NAME])
    if wanted.kinds:
        where.append(f"kind IN ({', '.join('?' * len(wanted.kinds))})")
        if "operation" not in wanted.kinds:
            where.append("kind <> 'operation'")  # what the partial index asks for
        values += wanted.kinds
    where += [f"time {sign} ?" for sign, at in ((">=", wanted.since), ("<", wanted.until)) if at is not None]
    values += [at for at in (wanted.since, wanted.until) if at is not None]
    return where, values


def _index(connection: Connection, wanted: AuditFilter) -> tuple[str, int]:
    """The index of the filter that leaves the fewest rows, and how many (at most `_SCAN_ROWS`)."""
    candidates = [column for column in _COLUMNS if getattr(wanted, column)]
    counts = [(_count(connection, wanted, column), f"events_{column}") for column in candidates]
    if wanted.kinds and "operation" not in wanted.kinds:
        counts.append((_count(connection, wanted, "kind"), "events_kind"))
    counts.append((_count(connection, wanted, "time"), "events_time"))
    count, index = min(counts, key=lambda found: found[0])
    if count == _SCAN_ROWS and len(candidates) > 1:
        # All are many: which is the least of them is worth a longer look, for the rows to go through are rows to read.
        counts = [(_count(connection, wanted, c, 20 * _SCAN_ROWS), f"events_{c}") for c in candidates]
        index = min(counts, key=lambda found: found[0])[1]
    return index, count


def _count(connection: Connection, wanted: AuditFilter, column: str, most: int = 0) -> int:
    alone = AuditFilter(
        **({} if column in ("time", "kind") else {column: getattr(wanted, column)}),
        kinds=wanted.kinds if column == "kind" else (),
        since=None if column == "session" else wanted.since,
        until=None if column == "session" else wanted.until,
    )
    where, values = _conditions(alone)
    query = (
        f"SELECT count(*) FROM (SELECT 1 FROM events INDEXED BY events_{column}"  # noqa: S608 - built of constants
        f" WHERE {_and(where)} LIMIT {most or _SCAN_ROWS})"
    )
    return int(connection.execute(query, values).fetchone()[0])


def _statements(connection: Connection, text: str) -> tuple[str, list[object]]:
    """A query for the ids of statements that may hold `text`, and its values."""
    holds = _holds(connection, "text")
    query = f"SELECT id FROM statements WHERE {holds}"  # noqa: S608 - built of constants
    found = trigrams(text)
    if not is_sqlite(connection):
        if not found:
            return query, [text]
        both = f"{query} AND trigrams @> ?::integer[] UNION ALL {query} AND trigrams IS NULL"
        return both, [text, _spread(found), text]
    if len(text) < 3:
        # No trigram to look up.
        return query, [text]
    # `%` and `_` in the text match too much here; the exact condition stands beside it.
    short = "SELECT rowid FROM statement_text WHERE text LIKE ?"
    return f"{short} UNION ALL {query} AND long", [f"%{text}%", text]


def _spread(found: list[int]) -> list[int]:
    step = -(-len(found) // _FEW_TRIGRAMS)
    return found[::step]


def _row(
    number: int,
    time: int,
    kind: str,
    session: str | None,
    bot: str | None,
    target: str | None,
    verdict: str | None,
    data: str,
    text: str | None,
    outcome: str | None,
    rows: int | None,
    sqlstate: str | None,
    duration_us: int | None,
    journal: str,
) -> AuditRow:
    reason = ""
    try:
        event = _decode(data)
    except msgspec.ValidationError:
        # Made by the ingest, or by a version that knew more.
        event, reason = None, str(msgspec.json.decode(data).get("reason", ""))
    if isinstance(event, Operation) and not event.statement:
        event = msgspec.structs.replace(event, statement=text or "")
    reason = reason or str(getattr(event, "reason", ""))
    return AuditRow(
        id=number,
        time=time,
        kind=kind,
        session=session or "",
        bot=bot or "",
        target=target or "",
        verdict=verdict or "",
        event=event,
        reason=reason,
        outcome=outcome or "",
        rows=rows,
        sqlstate=sqlstate or "",
        duration_us=duration_us,
        journal=journal,
    )


def _session_fields(connection: Connection) -> str:
    journal = "''" if is_sqlite(connection) else "journal"
    summary = "state, ended, reason, operations, denied, bytes_in, bytes_out"
    recording = "recording_digest, recording_files, recording_size"
    return f"SELECT id, data, {summary}, {recording}, {journal} FROM sessions"  # noqa: S608 - built of constants


def sessions(
    connection: Connection,
    *,
    bot: str = "",
    target: str = "",
    since: int | None = None,
    live: bool = False,
    limit: int = 50,
) -> list[SessionRow]:
    """The newest `limit` sessions that match, oldest first; `since` takes those that were still running then."""
    where = [condition for condition, value in (("bot = ?", bot), ("target = ?", target)) if value]
    values: list[object] = [value for value in (bot, target) if value]
    if live:
        where.append("state = 'live'")

    def rows(more: str = "", *times: int, index: str = "") -> list[SessionRow]:
        by = f"INDEXED BY {index}" if index and is_sqlite(connection) else ""
        conditions = _and([*where, more] if more else where)
        query = f"{_session_fields(connection)} {by} WHERE {conditions} ORDER BY started DESC, id DESC LIMIT ?"
        found = connection.execute(query, (*values, *times, limit)).fetchall()
        return [_session(*row) for row in reversed(found)]

    if since is None:
        return rows()
    found = rows("started >= ?", since)
    if len(found) < limit:
        # Few began since, so few ended since: those that ended are quickly seen through.
        ended = rows("started < ? AND ended >= ?", since, since, index="sessions_ended")
        running = rows("started < ? AND state = 'live' AND ended IS NULL", since)
        older = sorted([*ended, *running], key=lambda row: (row.started.time, row.started.session))
        found = older[len(found) - limit :] + found
    return found


def session(connection: Connection, name: str) -> SessionRow:
    """The session of an id, or of an id's end (at least 4 characters), or the newest for `last`.

    Raises WicketgateError (`session-unknown`, `session-ambiguous`).
    """
    name = name.lower()
    if name == "last":
        where, values = "1 = 1 ORDER BY started DESC, id DESC LIMIT 1", ()
    elif 4 <= len(name) < 26:
        end = "substr(id, -4)" if is_sqlite(connection) else "right(id, 4)"
        # Its last four letters are what the index is of.
        where, values = f"{end} = ? AND substr(id, length(id) - ? + 1) = ? LIMIT 2", (name[-4:], len(name), name)
    else:
        where, values = "id = ?", (name,)
    rows = connection.execute(f"{_session_fields(connection)} WHERE {where}", values).fetchall()
    if not rows:
        raise WicketgateError(
            "there is no session yet" if name == "last" else f"there is no session `{name[:64]}`",
            code="session-unknown",
            remedy="`wicketgate sessions` lists them",
        )
    if len(rows) > 1:
        raise WicketgateError(
            f"`{name}` is the end of several ids", code="session-ambiguous", remedy="give more of the id"
        )
    return _session(*rows[0])


def _session(
    number: str,
    data: str,
    state: str,
    ended: int | None,
    reason: str,
    operations: int,
    denied: int,
    bytes_in: int,
    bytes_out: int,
    digest: bytes | None,
    files: int,
    size: int,
    journal: str,
) -> SessionRow:
    closed = None
    if digest is not None:
        closed = RecordingClosed(time=ended or 0, session=number, digest=digest, files=files, size=size)
    return SessionRow(
        started=_decode_started(data),
        state=state,
        ended=ended,
        reason=reason,
        operations=operations,
        denied=denied,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        closed=closed,
        journal=journal,
    )
