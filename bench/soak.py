"""`python -m bench.soak --minutes 30 --clients 64`: clients at work while gateway, agent and store are killed in turn.

Not one statement that the server executed may be missing from the journal. The account is the server's own: it logs
each statement as it begins to execute (`log_statement = all`), and each statement holds a mark of its own. What the
server logged, less what the journal holds, must be nothing. Rows that committed inserts left behind are a second
account. Exits with 1 if something is missing, if a denied statement reached the server, if the journal does not verify,
or if a process is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from tests.running import DATABASE, POLICY, ROLE, Running, cloud_in
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.audit.events import Operation

_MARK = re.compile(r"mark-\d+-\d+-[a-z]+")
_COUNT_POLICY = {
    **POLICY,
    "rules": [*POLICY["rules"], {"allow": {"sql": {"statements": ["write", "read"], "relations": ["public.marks"]}}}],
}


_MUST_BE_NONE = (
    "executed, not in the journal",
    "answered, not in the server's log",
    "rows, not in the journal",
    "denied, but executed",
    "denied, but answered",
    "damage in the journal",
    "processes left behind",
)


@dataclass
class Tally:
    """What the clients saw."""

    answered: set[str] = field(default_factory=set[str])
    denied: set[str] = field(default_factory=set[str])
    let_through: set[str] = field(default_factory=set[str])
    """Marks of statements that should have been denied and were answered."""
    sent: Counter[str] = field(default_factory=Counter[str])
    lost: Counter[str] = field(default_factory=Counter[str])
    reconnects: int = 0


async def _client(number: int, running: Running, tally: Tally, end: float) -> None:
    chance = random.Random(number)
    step = 0
    while time.monotonic() < end:
        try:
            dsn = await asyncio.to_thread(running.dsn)
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
                while time.monotonic() < end:
                    step += 1
                    await _statement(db, f"mark-{number}-{step}", chance, tally)
                    await asyncio.sleep(chance.uniform(0, 0.2))
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError, json.JSONDecodeError) as error:
            tally.lost[type(error).__name__] += 1
            tally.reconnects += 1
            await asyncio.sleep(chance.uniform(0.1, 1.0))


async def _statement(db: psycopg.AsyncConnection[object], stem: str, chance: random.Random, tally: Tally) -> None:
    kind = chance.choice(("insert", "insert", "prepared", "select", "transaction", "several", "slow", "denied"))
    mark = f"{stem}-{kind}"
    tally.sent[kind] += 1
    match kind:
        case "insert":
            await db.execute(f"INSERT INTO marks(mark) VALUES ('{mark}')".encode())
        case "prepared":
            await db.execute(f"/* {mark} */ INSERT INTO marks(mark) VALUES (%s)".encode(), [mark], prepare=True)
        case "select":
            await db.execute(f"SELECT '{mark}', count(*) FROM orders".encode(), binary=True)
        case "transaction":
            async with db.transaction(force_rollback=chance.random() < 0.3):
                await db.execute(f"INSERT INTO marks(mark) VALUES ('{mark}')".encode())
                await db.execute(f"UPDATE marks SET touched = true WHERE mark = '{mark}'".encode())
        case "several":
            await db.execute(f"SELECT 1; INSERT INTO marks(mark) VALUES ('{mark}'); SELECT 2".encode())
        case "slow":
            await db.execute(f"/* {mark} */ SELECT pg_sleep(0.3)".encode())
        case _:
            try:
                await db.execute(f"/* {mark} */ SELECT value FROM secrets".encode())
            except psycopg.errors.InsufficientPrivilege:
                tally.denied.add(mark)
            else:
                tally.let_through.add(mark)
            return
    tally.answered.add(mark)


def _children(pid: int, words: str) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid and words in arguments:
            found.append(int(path.name))
    return found


def _left_behind(folder: Path) -> list[str]:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in arguments and int(path.parent.name) != os.getpid():
            found.append(arguments)
    return found


class Killer:
    """Kills in turn: the gateway, the agent, the store's writer; starts again what nobody else does."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.kills: Counter[str] = Counter()
        self.back: dict[str, list[float]] = {}

    async def work(self, end: float, period: float) -> None:
        """Until the end, with time to come back before it."""
        turn = 0
        while time.monotonic() + 2 * period < end:
            await asyncio.sleep(period * random.uniform(0.7, 1.3))
            what = ("gateway", "agent", "store")[turn % 3]
            turn += 1
            begun = time.monotonic()
            if await asyncio.to_thread(self._kill, what):
                self.kills[what] += 1
                self.back.setdefault(what, []).append(time.monotonic() - begun)

    def _kill(self, what: str) -> bool:
        running = self.running
        if what == "store":
            # Ends with the journal unread for a while; the gateway starts it again.
            children = _children(running.processes["gateway"].pid, "wicketgate_gateway.audit")
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            running.wait(lambda: _children(running.processes["gateway"].pid, "wicketgate_gateway.audit"), 60)
            return bool(children)
        if what == "gateway":
            ports = running.ports
            running.stop("gateway", signal.SIGKILL)
            config = json.loads((running.folder / "gateway.yaml").read_text())
            for name in ("postgres", "agents"):
                config["listen"][name] = {"port": ports[name]}
            (running.folder / "gateway.yaml").write_text(json.dumps(config))
            running.start_gateway()
        else:
            running.stop("agent", signal.SIGKILL)
            running.start_agent()
        running.wait_for_agent()
        return True


async def _soak(running: Running, clients: int, minutes: float, period: float) -> tuple[Tally, Killer]:
    tally, killer = Tally(), Killer(running)
    end = time.monotonic() + 60 * minutes
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(number, running, tally, end))
        group.create_task(killer.work(end, period))
    return tally, killer


def _logged(server: PostgresServer) -> set[str]:
    """Marks of what the server began to execute for the bot, by its own log."""
    found: set[str] = set()
    for path in server.folder.rglob("*.log"):
        with path.open(errors="replace") as file:
            for line in file:
                if " LOG:  statement: " in line or " LOG:  execute " in line:
                    found.update(_MARK.findall(line))
    return found


def main() -> int:
    """Soak, account, print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wicketgate-soak-"))
    folder.chmod(0o755)
    try:
        figures = _run(folder, options.clients, options.minutes, options.kill_every)
        figures["processes left behind"] = len(_left_behind(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    verdict = figures["executed, by the server's log"] and not any(figures[name] for name in _MUST_BE_NONE)
    table = Table(title=f"Soak: {options.clients} clients, {options.minutes:g} minutes", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in figures.items():
        table.add_row(name, str(value))
    table.add_row("verdict", "nothing is missing" if verdict else "FAILED", style="bold")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if verdict else 1


def _run(folder: Path, clients: int, minutes: float, period: float) -> dict[str, str | int]:
    settings = {"log_statement": "all", "log_min_messages": "warning", "max_connections": "300"}
    with PostgresServer(folder / "postgres", settings=settings) as server, _made(folder, server) as running:
        try:
            tally, killer = asyncio.run(_soak(running, clients, minutes, period))
        finally:
            for name in list(running.processes):
                running.stop(name)
        events = running.events()
        operations = [e for e in events if isinstance(e, Operation)]
        marks = {m for e in operations if e.effect == "allow" for m in _MARK.findall(e.statement)}
        refused = {m for e in operations if e.effect == "deny" for m in _MARK.findall(e.statement)}
        executed = _logged(server)
        rows = set(server.sql("SELECT mark FROM marks", DATABASE).split())
        figures: dict[str, str | int] = {
            "statements sent": sum(tally.sent.values()),
            "answered": len(tally.answered),
            "connections lost": tally.reconnects,
            "executed, by the server's log": len(executed),
            "in the journal as allowed": len(marks),
            "executed, not in the journal": len(executed - marks),
            "answered, not in the server's log": len(tally.answered - executed),
            "rows left by inserts": len(rows),
            "rows, not in the journal": len(rows - marks),
            "denied, by the client's count": len(tally.denied),
            "denied, not in the journal": len(tally.denied - refused),
            "denied, but executed": len({m for m in executed if m.endswith("-denied")}),
            "denied, but answered": len(tally.let_through),
            "damage in the journal": _damage(running),
        }
        for what, count in killer.kills.items():
            times = killer.back[what]
            figures[f"kill -9 of the {what}"] = f"{count}, back in {statistics.median(times):.1f} s ({max(times):.1f})"
        return figures


def _damage(running: Running) -> int:
    from wicketgate_gateway.audit.ingest import journal_folder
    from wicketgate_gateway.recording.format import JOURNAL_MAGIC, Ending, FrameReader
    from wicketgate_gateway.recording.journal import journal_files

    damaged = 0
    for path in journal_files(journal_folder(running.state)):
        with path.open("rb") as file:
            reader = FrameReader(file, JOURNAL_MAGIC)
            for _ in reader:
                pass
            damaged += reader.ending is Ending.DAMAGED
    return damaged


class _made:  # noqa: N801 - reads as a function
    """A gateway and an agent in the folder, with a table for marks."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        place = folder / "cloud"
        place.mkdir()
        self._cloud = cloud_in(place, server)
        self._folder = folder / "gateway"
        self._folder.mkdir()
        self._server = server

    def __enter__(self) -> Running:
        cloud = self._cloud.__enter__()
        self._server.sql(
            f"SET ROLE {ROLE}; CREATE TABLE marks(mark text, touched bool); CREATE INDEX ON marks(mark)", DATABASE
        )
        running = Running(self._folder, cloud, cloud.ca.cert_file)
        running.write_policies(_COUNT_POLICY)
        running.write_gateway()
        running.start_gateway()
        running.start_agent()
        running.wait_for_agent()
        return running

    def __exit__(self, *error: object) -> None:
        self._cloud.__exit__(None, None, None)


if __name__ == "__main__":
    sys.exit(main())
