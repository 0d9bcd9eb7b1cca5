"""`python -m bench.soak --minutes 30 --clients 64`: clients at work while every process is killed in turn.

Killed with -9 are the gateway, the agent, the audit's ingester and keeper, and the control store: a PostgreSQL of its
own, by turns its postmaster, one of its backends, and all of it (immediate shutdown).

Not one statement that the server executed may be missing from the journal. The account is the server's own: it logs
each statement as it begins to execute (`log_statement = all`), and each statement holds a mark of its own. What the
server logged, less what the journal holds, must be nothing. Rows that committed inserts left behind are a second
account. The recordings are the third: they are written out up to a quarter of a second later, so what they lack must be
from the last moment before the gateway was killed, in a recording that says itself that it was cut off. Some statements
are held, people answer over the store, and clients that were cut off send them again: none may run more often than it
was approved. Exits with 1 if something is missing, if a denied statement reached the server, if the journal or a
recording is damaged, or if a process is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from bench import account
from tests.running import DATABASE, DBA, POLICY, ROLE, Running, cloud_in
from wicketgate.testing.postgres import PostgresError, PostgresServer
from wicketgate_gateway.approvals.model import Choice, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

_COUNT_POLICY = {
    **POLICY,
    "rules": [
        *POLICY["rules"],
        {"allow": {"sql": {"statements": ["write", "read"], "relations": ["public.marks"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.held_marks"]},
                "approvers": {"groups": ["dba"]},
                "wait": "5s",
                "within": "60s",
                "useWithin": "60s",
            }
        },
    ],
}
_ANN = "60000000-0000-4000-8000-000000000001"
_TRIES = 6
"""How often a client sends a held statement before it gives up."""

_MUST_BE_NONE = (
    "executed, not in the journal",
    "not in a recording, and not of a gateway's last moment",
    "damage in the recordings",
    "held, executed more often than approved",
    "held, executed, not in the journal as approved",
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
    told: Counter[str] = field(default_factory=Counter[str])
    """Answers to held statements, by SQLSTATE."""
    reconnects: int = 0


async def _client(number: int, running: Running, tally: Tally, end: float) -> None:
    chance = random.Random(number)
    step = 0
    again: deque[tuple[str, int]] = deque()
    while time.monotonic() < end:
        try:
            dsn = await asyncio.to_thread(running.dsn)
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
                while time.monotonic() < end:
                    step += 1
                    if again and chance.random() < 0.3:
                        await _held(db, *again.popleft(), tally, again)
                    else:
                        await _statement(db, f"mark-{number}-{step}", chance, tally, again)
                    await asyncio.sleep(chance.uniform(0, 0.2))
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError, json.JSONDecodeError) as error:
            tally.lost[type(error).__name__] += 1
            tally.reconnects += 1
            await asyncio.sleep(chance.uniform(0.1, 1.0))


async def _held(
    db: psycopg.AsyncConnection[object], mark: str, tries: int, tally: Tally, again: deque[tuple[str, int]]
) -> None:
    """A held statement, exactly the same each time; who was cut off does not know whether it ran, and tries again."""
    try:
        await db.execute(f"/* {mark} */ INSERT INTO held_marks(mark) VALUES (%s)".encode(), [mark])
    except psycopg.Error as error:
        told = error.sqlstate or type(error).__name__
        tally.told[told] += 1
        if told not in ("WG002", "WG004") and tries < _TRIES:
            again.append((mark, tries + 1))
        if not told.startswith("WG"):
            raise
    else:
        tally.told["00000"] += 1
        tally.answered.add(mark)


_KINDS = ("insert", "insert", "prepared", "select", "transaction", "several", "slow", "denied", "held")


async def _statement(
    db: psycopg.AsyncConnection[object],
    stem: str,
    chance: random.Random,
    tally: Tally,
    again: deque[tuple[str, int]],
) -> None:
    kind = chance.choice(_KINDS)
    mark = f"{stem}-{kind}"
    tally.sent[kind] += 1
    match kind:
        case "held":
            await _held(db, mark, 1, tally, again)
            return
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


class People:
    """Who answers, over the store, as the API does: one denial in eight."""

    def __init__(self, url: str, policies: Path) -> None:
        self._url = url
        self._policies = policies
        self.votes: Counter[str] = Counter()

    async def work(self, end: float) -> None:
        """Until the end; a store that is away is tried again."""
        policies = PolicyStore(str(self._policies))
        store: ApprovalStore | None = None
        while time.monotonic() < end:
            try:
                store = store or await open_store(self._url)
                approvals = Approvals(store, policy=lambda: policies.current.digest)
                for request in await store.list((State.PENDING,)):
                    choice = Choice.DENY if random.random() < 1 / 8 else Choice.APPROVE
                    ann = Principal(
                        PrincipalKind.PERSON, "t", _ANN, "cli", "Ann", "", time.time() + 60, groups=frozenset([DBA])
                    )
                    checked = groups_to_check(request)
                    await approvals.decide(request.handle, ann, choice, checked=checked, seal=request.seal)
                    self.votes[choice] += 1
            except WicketgateError as error:
                self.votes[error.code] += 1
            await asyncio.sleep(0.25)
        if store is not None:
            await store.close()


class Killer:
    """Kills in turn, and starts again what nobody else does."""

    TURNS = ("gateway", "control store", "agent", "ingester", "control store", "keeper")

    def __init__(self, running: Running, control: PostgresServer) -> None:
        self.running = running
        self.control = control
        self.kills: Counter[str] = Counter()
        self.back: dict[str, list[float]] = {}
        self.gateways: list[int] = []
        """When the gateway was killed (ns)."""
        self._ways = 0

    async def work(self, end: float, period: float) -> None:
        """Until the end, with time to come back before it."""
        turn = 0
        while time.monotonic() + 2 * period < end:
            await asyncio.sleep(period * random.uniform(0.7, 1.3))
            what = self.TURNS[turn % len(self.TURNS)]
            turn += 1
            begun = time.monotonic()
            await asyncio.to_thread(self._kill, what)
            self.kills[what] += 1
            self.back.setdefault(what, []).append(time.monotonic() - begun)

    def _kill(self, what: str) -> None:
        running = self.running
        match what:
            case "gateway":
                running.stop("gateway", signal.SIGKILL)
                self.gateways.append(time.time_ns())
                running.start_gateway()
                running.wait_for_agent()
            case "agent":
                running.stop("agent", signal.SIGKILL)
                running.start_agent()
                running.wait_for_agent()
            case "control store":
                self._kill_control()
            case _:
                # Ends with the journal unread, or not sealed, for a while; the gateway must start it again.
                words = "wicketgate_gateway.audit." + {"ingester": "ingest", "keeper": "keeper"}[what]
                gateway = running.processes["gateway"].pid
                before = _children(gateway, words)
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                running.wait(lambda: set(_children(gateway, words)) - set(before), 60)

    def _kill_control(self) -> None:
        self._ways += 1
        postmaster = self.control.pid
        assert postmaster is not None
        match self._ways % 3:
            case 0:
                self.control.stop(signal.SIGQUIT)
            case 1:
                self.control.stop(signal.SIGKILL)
            case _:
                # The postmaster ends all others then, recovers, and goes on.
                backends = _children(postmaster, "postgres: postgres")
                os.kill(random.choice(backends), signal.SIGKILL) if backends else None
        end = time.monotonic() + 60
        while True:
            try:
                self.control.start()
                self.control.sql("SELECT 1")
            except PostgresError:
                # Backends of a killed postmaster take a moment to notice.
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return


async def _soak(
    running: Running, control: PostgresServer, clients: int, minutes: float, period: float
) -> tuple[Tally, Killer, People]:
    assert running.control is not None
    tally, killer = Tally(), Killer(running, control)
    people = People(running.control.read_text(), running.folder / "policies.json")
    end = time.monotonic() + 60 * minutes
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(number, running, tally, end))
        group.create_task(killer.work(end, period))
        group.create_task(people.work(end))
    return tally, killer, people


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
    with (
        PostgresServer(folder / "postgres", settings=settings) as server,
        _control(folder / "control") as control,
        _made(folder, server, control) as running,
    ):
        try:
            tally, killer, people = asyncio.run(_soak(running, control, clients, minutes, period))
        finally:
            for name in list(running.processes):
                running.stop(name)
        return _figures(running, server, control, tally, killer, people)


def _figures(
    running: Running, server: PostgresServer, control: PostgresServer, tally: Tally, killer: Killer, people: People
) -> dict[str, str | int]:
    executed = account.logged(server.folder / "postgres.log")
    journal, recorded = account.journal(running.state), account.recorded(running.state)
    rows = set(server.sql("SELECT mark FROM marks UNION ALL SELECT mark FROM held_marks", DATABASE).split())
    absent, unexplained, longest = account.only_in_the_journal(iter(executed), journal, recorded, killer.gateways)
    approvals, uses = Counter[str](), Counter[str]()
    for asked in account.asked(control.admin_dsn):
        for mark in set(account.MARK.findall(asked.statement)):
            approvals[mark] += asked.approvals
            uses[mark] += min(asked.uses, asked.approvals)
    held = {m: n for m, n in executed.items() if m.endswith("-held")}
    figures: dict[str, str | int] = {
        "statements sent": sum(tally.sent.values()),
        "answered": len(tally.answered),
        "connections lost": tally.reconnects,
        "executed, by the server's log": len(executed),
        "in the journal as let through": len(journal.allowed),
        "executed, not in the journal": len(executed.keys() - journal.allowed.keys()),
        "answered, not in the server's log": len(tally.answered - executed.keys()),
        "rows left by inserts": len(rows),
        "rows, not in the journal": len(rows - journal.allowed.keys()),
        "recordings, whole and cut off": f"{len(recorded.whole)}, {len(recorded.cut)}",
        "executed, in the journal and in no recording": f"{absent}, at most {longest:.2f} s before a kill",
        "not in a recording, and not of a gateway's last moment": unexplained,
        "damage in the recordings": len(recorded.damaged),
        "denied, by the client's count": len(tally.denied),
        "denied, not in the journal": len(tally.denied - journal.refused),
        "denied, but executed": sum(m.endswith("-denied") for m in executed),
        "denied, but answered": len(tally.let_through),
        "held, sent": tally.sent["held"],
        "held, answers by SQLSTATE": ", ".join(f"{k} {n}" for k, n in sorted(tally.told.items())),
        "held, people's answers": ", ".join(f"{k} {n}" for k, n in sorted(people.votes.items())),
        "held, approved": sum(approvals.values()),
        "held, approval used": sum(uses.values()),
        "held, executed": sum(held.values()),
        "held, executed more often than approved": sum(max(0, n - uses[m]) for m, n in held.items()),
        "held, executed, not in the journal as approved": sum(max(0, n - journal.approved[m]) for m, n in held.items()),
        "damage in the journal": journal.damage,
    }
    for what, count in killer.kills.items():
        times = killer.back[what]
        figures[f"kill -9 of the {what}"] = f"{count}, back in {statistics.median(times):.1f} s ({max(times):.1f})"
    return figures


@contextlib.contextmanager
def _control(folder: Path) -> Generator[PostgresServer]:
    server = PostgresServer(folder, durable=True)
    server.port = _fixed_port()
    with server:
        yield server


def _fixed_port() -> int:
    """A free port that no outgoing connection gets by chance while its server is down."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first - 12_000, first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def _made(folder: Path, server: PostgresServer, control: PostgresServer) -> Generator[Running]:
    """A gateway and an agent in the folder, with tables for marks."""
    place, gateway = folder / "cloud", folder / "gateway"
    place.mkdir()
    gateway.mkdir()
    url = gateway / "control-url"
    url.write_text(control.admin_dsn)
    with cloud_in(place, server) as cloud:
        server.sql(
            f"SET ROLE {ROLE}; CREATE TABLE marks(mark text, touched bool); CREATE INDEX ON marks(mark);"
            "CREATE TABLE held_marks(mark text)",
            DATABASE,
        )
        running = Running(gateway, cloud, cloud.ca.cert_file, url)
        running.write_policies(_COUNT_POLICY)
        running.write_gateway()
        config = json.loads((gateway / "gateway.yaml").read_text())
        config["listen"] = {name: {"port": _fixed_port()} for name in ("postgres", "agents")}
        (gateway / "gateway.yaml").write_text(json.dumps(config))
        running.start_gateway()
        running.start_agent()
        running.wait_for_agent()
        yield running


if __name__ == "__main__":
    sys.exit(main())
