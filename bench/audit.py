"""`python -m bench.audit`: how fast the audit store takes events in, and answers each kind of question.

A journal is made with events such as bots leave (few bots do most, a tenth of the statements are texts of their own),
and read into SQLite and into PostgreSQL by the gateway's own ingester code; `--events` counts rows of `events`. Then
each kind of question is asked `--repeats` times, each time about other values, with the first page (100) as answer.
Times are those of `audit.query` in one process, with the store's files as warm as the ingest and the questions before
left them. Needs about 1.6 kB of disk for an event; all of it is deleted.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.audit import ingest, query
from wicketgate_gateway.audit.events import (
    AuditEvent,
    HoldVoted,
    Operation,
    OperationFinished,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.contract.keeping import AuditStore
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import Connection

_NS = 1_000_000_000
_START = 1_780_000_000 * _NS
_DAYS = 60
_BOTS, _TARGETS, _RULES, _PEOPLE = 200, 40, 60, 12
_FRAME = 1000
_TABLES = ("orders", "customers", "payments", "shipments", "refunds", "stock", "prices", "carts", "mails", "visits")
_COLUMNS = ("id", "status", "created_at", "customer_id", "amount", "currency", "note", "country", "updated_by")
NEEDLES = 25
"""Statements that hold the rarest text."""


class Skewed:
    """Draws 0 to n-1, the k-th about as often as 1/k: as names in the real world are."""

    def __init__(self, rng: random.Random, n: int) -> None:
        self._rng = rng
        self._sums = list(itertools.accumulate(1 / k for k in range(1, n + 1)))

    def __call__(self) -> int:
        return bisect.bisect(self._sums, self._rng.random() * self._sums[-1])


def _shapes(rng: random.Random) -> list[str]:
    """Statements as programs write them: few, and run again and again with parameters."""
    found: list[str] = []
    for number in range(300):
        table = rng.choice(_TABLES)
        columns = ", ".join(rng.sample(_COLUMNS, rng.randint(2, 6)))
        where = " AND ".join(f"{column} = ${n}" for n, column in enumerate(rng.sample(_COLUMNS, 2), 1))
        found.append(
            f"SELECT {columns} FROM {table} t{number} JOIN {rng.choice(_TABLES)} USING (id) WHERE {where}"
            f" ORDER BY {rng.choice(_COLUMNS)} LIMIT {rng.randint(1, 500)}"
        )
    return found


def events(rows: int, seed: int = 7) -> Iterator[AuditEvent]:
    """Events that make about so many rows, in the order of time."""
    rng = random.Random(seed)
    bots, targets, rules, shapes = (Skewed(rng, n) for n in (_BOTS, _TARGETS, _RULES, 300))
    texts = _shapes(rng)
    step = _DAYS * 86400 * _NS // rows
    needles = {rows * n // NEEDLES + 1000 for n in range(NEEDLES)} if rows > 100_000 else {rows // 2}
    live: list[tuple[str, str, str, int, int]] = []
    made = 0
    now = _START
    while made < rows:
        now += step
        if len(live) < 50:
            bot, target = f"bot-{bots():03}", f"target-{targets():02}"
            started = SessionStarted(
                time=now, session=new_session_id(now), bot=bot, bot_id=f"00000000-0000-4000-8000-{int(bot[4:]):012}",
                token_id=f"{rng.getrandbits(128):032x}", target=target, protocol="postgres",
                peer=f"10.0.{rng.randint(0, 255)}.7:{rng.randint(1024, 65535)}", agent="eu",
                groups=["00000000-0000-4000-8000-000000000001"], policy="sha256:" + "1" * 64, client="psql",
            )  # fmt: skip
            live.append((started.session, bot, target, 0, min(int(rng.expovariate(1 / 40)) + 1, 2000)))
            made += 1
            yield started
            continue
        at = rng.randrange(len(live))
        session, bot, target, seq, left = live[at]
        if left == 0:
            live[at] = live[-1]
            live.pop()
            made += 1
            yield SessionEnded(time=now, session=session, reason="client left", bytes_in=4000, bytes_out=90000)
            continue
        live[at] = (session, bot, target, seq + 1, left - 1)
        draw = rng.random()
        effect = "deny" if draw < 0.05 else "hold" if draw < 0.06 else "allow"
        rule = f"policy-{rules():02}#{1 + seq % 5}"
        if rng.random() < 0.1:
            table = rng.choice(_TABLES)
            text = f"UPDATE {table} SET note = 'checked {rng.getrandbits(40):x}' WHERE id = {rng.getrandbits(30)}"
            if rng.random() < 0.02:
                text += " AND region = 'scandinavia'"
        else:
            text = texts[shapes()]
        if made in needles:
            text = f"DELETE FROM payments WHERE note = 'needle {made} in the haystack'"
        made += 1
        yield Operation(
            time=now, session=session, seq=seq + 1, statement=text, effect=effect, rule=rule, kinds=["read"],
            relations=["public.orders"], parameters=[b"7", None], formats=[0], policy="sha256:" + "1" * 64, bot=bot,
            target=target, reason="a write that no rule allows" if effect == "deny" else "",
        )  # fmt: skip
        if effect == "allow":
            yield OperationFinished(
                time=now + 1000, session=session, seq=seq + 1, outcome="ok", rows=3, duration_us=800
            )
        elif effect == "hold" and rng.random() < 0.1:
            made += 1
            yield HoldVoted(
                time=now, session=session, handle=f"hold-{made}", digest="d" * 64, seal="s" * 64, bot=bot,
                target=target, approver=person(rng.randrange(_PEOPLE)), name="Ann", choice="approve", rule=rule,
            )  # fmt: skip
        if rng.random() < 0.002:
            made += 1
            yield SessionRefused(
                time=now, code="token-expired", reason="the token ended", bot=bot, peer="10.0.0.9:4000"
            )


def person(number: int) -> str:
    """An approver's object id."""
    return f"00000000-0000-4000-8000-0000000001{number:02}"


def write_journal(folder: Path, rows: int) -> int:
    """Write these events as a journal; gives how many they were."""
    journal = Journal(folder / "journal", rotate_bytes=256 * 1024 * 1024)
    count = 0
    source = events(rows)
    while frame := list(itertools.islice(source, _FRAME)):
        journal.append(frame)
        count += len(frame)
    journal.close()
    return count


@dataclass(slots=True)
class Figures:
    """What one store did."""

    name: str
    rows: int = 0
    rate: float = 0.0
    """Events of the journal read in a second, over all."""
    last: float = 0.0
    """The same over the last tenth."""
    cpu: float = 0.0
    """Microseconds of CPU that the ingester took for an event; a server's come on top."""
    size: int = 0
    times: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    found: dict[str, int] = field(default_factory=dict[str, int])


Question = Callable[[Connection, random.Random], int]


def _events(**fixed: Any) -> Question:
    """A question to `events`: each value is given, or made by a function of the random numbers."""

    def ask(connection: Connection, rng: random.Random) -> int:
        wanted: dict[str, Any] = {name: value(rng) if callable(value) else value for name, value in fixed.items()}
        window = wanted.pop("window", None)
        if window is not None:
            start = _START + rng.randrange(_DAYS * 86400 * _NS - window)
            wanted |= {"since": start, "until": start + window}
        return len(query.events(connection, AuditFilter(**wanted)))

    return ask


def _bot(low: int, high: int) -> Callable[[random.Random], str]:
    return lambda rng: f"bot-{rng.randint(low, high):03}"


def _target(rng: random.Random) -> str:
    return f"target-{rng.randrange(_TARGETS):02}"


def _rule(rng: random.Random) -> str:
    return f"policy-{rng.randrange(_RULES):02}#{rng.randint(1, 5)}"


def _a_session(connection: Connection, rng: random.Random) -> str:
    start = _START + rng.randrange(_DAYS * 86400 * _NS)
    row = connection.execute("SELECT id FROM sessions WHERE started >= ? ORDER BY started LIMIT 1", (start,)).fetchone()
    return str(row[0]) if row else query.session(connection, "last").started.session


_HOUR, _WEEK = 3600 * _NS, 7 * 86400 * _NS
QUESTIONS: dict[str, Question] = {
    "the newest": _events(),
    "a busy bot": _events(bot=_bot(0, 9)),
    "a rare bot": _events(bot=_bot(150, 199)),
    "a target": _events(target=_target),
    "verdict `deny`": _events(verdict="deny"),
    "verdict `hold`": _events(verdict="hold"),
    "verdict `refused`": _events(verdict="refused"),
    "a rule": _events(rule=_rule),
    "an approver": _events(approver=lambda rng: person(rng.randrange(_PEOPLE))),
    "one event kind": _events(kinds=("session-ended",)),
    "an hour": _events(window=_HOUR),
    "bot, target and verdict": _events(bot=_bot(0, 199), target=_target, verdict="deny"),
    "bot and rule in a week": _events(bot=_bot(0, 199), rule=_rule, window=_WEEK),
    "approver and bot": _events(approver=lambda rng: person(rng.randrange(_PEOPLE)), bot=_bot(0, 199)),
    "text: in nearly all": _events(text="select"),
    "text: in 1 of 50 written by hand": _events(text="SCANDINAVIA"),
    f"text: in {NEEDLES} of all": _events(text="in the haystack"),
    "text: in one": _events(text=lambda rng: f"checked {rng.getrandbits(40):x}"[:14]),
    "text: in none": _events(text="there is no such text"),
    "text: two letters": _events(text="zq"),
    "text and a busy bot": _events(text="haystack", bot=_bot(0, 9)),
    "text and a rare bot": _events(text="scandinavia", bot=_bot(150, 199)),
    "text, `deny`, a week": _events(text="scandinavia", verdict="deny", window=_WEEK),
    "text and rule": _events(text="shipments", rule=_rule),
    "a session's events": lambda c, r: len(query.events(c, AuditFilter(session=_a_session(c, r)))),
    "a session by the end of its id": lambda c, r: int(bool(query.session(c, _a_session(c, r)[-8:]))),
    "a session's operations": lambda c, r: len(query.operations(c, _a_session(c, r))),
    "sessions: the newest": lambda c, _: len(query.sessions(c)),
    "sessions: a bot's": lambda c, r: len(query.sessions(c, bot=f"bot-{r.randrange(_BOTS):03}")),
    "sessions: bot and target": lambda c, r: len(
        query.sessions(c, bot=f"bot-{r.randrange(_BOTS):03}", target=_target(r))
    ),
    "sessions: running since": lambda c, r: len(query.sessions(c, since=_START + r.randrange(_DAYS * 86400 * _NS))),
    "sessions: live": lambda c, _: len(query.sessions(c, live=True)),
}


def measure(name: str, state: Path, repeats: int, console: Console) -> Figures:
    """Read the journal of `state` into its store, and ask."""
    figures = Figures(name)
    store = place.open_store(state)
    reader = ingest.Reader(place.writer(state, store), ingest.journal_folder(state))
    began, cpu = time.monotonic(), time.process_time()
    marks: list[tuple[float, int]] = []

    def progress(total: int) -> None:
        marks.append((time.monotonic() - began, total))
        if len(marks) % 200 == 0:
            console.print(f"[dim]{name}: {total:,} events, {total / marks[-1][0]:,.0f}/s[/dim]")

    total = reader.catch_up(progress)
    kept = state / "figures.json"
    if total:
        figures.rate = total / marks[-1][0]
        late = next(mark for mark in marks if mark[1] >= total * 0.9)
        figures.last = (total - late[1]) / max(marks[-1][0] - late[0], 1e-9)
        figures.cpu = (time.process_time() - cpu) / total * 1e6
        kept.write_text(json.dumps([figures.rate, figures.last, figures.cpu]))
        ingest.settle(store)
    else:
        figures.rate, figures.last, figures.cpu = json.loads(kept.read_text())
    figures.rows = int(store.execute("SELECT count(*) FROM events").fetchone()[0])
    for title, question in QUESTIONS.items():
        rng = random.Random(11)
        times: list[float] = []
        for _ in range(repeats):
            start = time.perf_counter()
            figures.found[title] = question(store, rng)
            times.append((time.perf_counter() - start) * 1000)
        figures.times[title] = times
        console.print(f"[dim]{name}: {title}: {_show(times)}[/dim]")
    store.close()
    return figures


def _show(times: list[float]) -> str:
    return f"{statistics.median(times):.1f} / {_p95(times):.1f} ms"


def _p95(times: list[float]) -> float:
    return sorted(times)[max(0, -(-len(times) * 95 // 100) - 1)]


def main() -> int:
    """Measure and print; gives the exit status: 1 if a median is over `--limit` ms."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="rows of `events`")
    parser.add_argument("--repeats", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], action="append", help="only this one")
    parser.add_argument("--folder", type=Path, help="where to work, and leave all (a second run starts from there)")
    parser.add_argument("--limit", type=float, default=300, help="a median over so many ms is a failure")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    console = Console(width=120 if not sys.stdout.isatty() else None)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="wicketgate-audit-"))
    try:
        found = _run(folder, options, console)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    _print(console, found)
    if options.json:
        options.json.write_text(json.dumps([{slot: getattr(f, slot) for slot in Figures.__slots__} for f in found]))
    slow = [
        (f.name, title) for f in found for title, times in f.times.items() if statistics.median(times) > options.limit
    ]
    for name, title in slow:
        console.print(f"[red]{name}: {title} takes over {options.limit:g} ms[/red]")
    return int(bool(slow))


def _run(folder: Path, options: argparse.Namespace, console: Console) -> list[Figures]:
    state = folder / "sqlite"
    if not state.exists():
        began = time.monotonic()
        count = write_journal(state, options.events)
        console.print(f"[dim]a journal of {count:,} events in {time.monotonic() - began:.0f} s[/dim]")
    wanted = options.store or ["sqlite", "postgresql"]
    found: list[Figures] = []
    if "sqlite" in wanted:
        figures = measure("SQLite", state, options.repeats, console)
        figures.size = sum(path.stat().st_size for path in state.glob("audit.db*"))
        found.append(figures)
    if "postgresql" in wanted:
        other = folder / "postgresql"
        other.mkdir(exist_ok=True)
        with_journal = other / "journal"
        if not with_journal.exists():
            with_journal.symlink_to(state / "journal")
        settings = {"shared_buffers": "1GB", "max_wal_size": "4GB", "work_mem": "32MB"}
        server = PostgresServer(folder / "server", durable=True, settings=settings)
        server.start()
        try:
            server.create_user("audit", "audit")
            server.create_database("audit", "audit")
            url = folder / "url"
            url.write_text(server.dsn("audit", "audit", "audit"))
            place.remember(other, AuditStore(url_file=str(url)))
            figures = measure(f"PostgreSQL {server.binaries.version}", other, options.repeats, console)
            figures.size = int(server.sql("SELECT pg_database_size('audit')"))
            found.append(figures)
        finally:
            if options.folder is None:
                server.destroy()
            else:
                server.stop()
    return found


def _print(console: Console, found: list[Figures]) -> None:
    console.print(
        f"\n{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    for figures in found:
        console.print(
            f"{figures.name}: {figures.rows:,} rows, {figures.rate:,.0f} events/s read ({figures.last:,.0f} in the last"
            f" tenth), {figures.cpu:.1f} µs CPU an event in the ingester, {figures.size / figures.rows:.0f} bytes a row"
        )
    table = Table("question", *[f"{figures.name}: median / p95" for figures in found], "rows found")
    for title in QUESTIONS:
        shown = [_show(figures.times[title]) for figures in found]
        table.add_row(title, *shown, "/".join(str(figures.found[title]) for figures in found))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
