"""`python -m bench.hot`: the gateway's own work per query, in one process without sockets, TLS or a server.

How this works: the product's classes are joined as in the gateway (client connection, session, policy engine, journal,
recorder, tunnel), only the transports at both ends are fakes that keep what was written. Canned answers of a server
come back through the tunnel. What is left is what the gateway itself spends, so a change can be judged on a busy
machine: by µs of this process's main thread, and by Python function calls per query, which do not depend on time.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import random
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import uvloop

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.server.connection import ClientConnection
from wicketgate_gateway.session import express
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.session.session import Gate, Notices, Opening, Session
from wicketgate_gateway.tunnel import frames
from wicketgate_gateway.tunnel.messages import Open
from wicketgate_gateway.tunnel.mux import Mux
from wicketgate_gateway.tunnel.stream import CREDIT_STEP
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.messages import FieldDescription

PARAMETERS = {"standard_conforming_strings": "on", "client_encoding": "UTF8", "search_path": "public"}
POLICY = """
policy: bench
targets: [orders-db]
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
mask:
  - {columns: [public.customers.email], with: partial}
record: {level: full, keep: 1d}
"""
TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))
_ACCOUNTS = 20_000
_CATALOGUE = Catalogue(
    "1",
    "17.0",
    [
        Relation(_ACCOUNTS, "public", "accounts", "r", [Column(1, "id", 23), Column(2, "balance", 23)], []),
        Relation(_ACCOUNTS + 1, "public", "customers", "r", [Column(1, "id", 23), Column(2, "email", 25)], []),
    ],
    [],
)
_BALANCE = FieldDescription("balance", _ACCOUNTS, 2, 23, 4)
_EMAIL = FieldDescription("email", _ACCOUNTS + 1, 2, 25)
_READY = messages.ready_for_query()


class FakeTransport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See asyncio.Transport."""
        self.written.append(data)

    def take(self) -> bytes:
        """All that was written since the last time."""
        data = b"".join(self.written)
        self.written.clear()
        return data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return ("192.0.2.1", 5432) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.Transport."""

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return 0

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return False

    def pause_reading(self) -> None:
        """See asyncio.Transport."""

    def resume_reading(self) -> None:
        """See asyncio.Transport."""

    def close(self) -> None:
        """See asyncio.Transport."""

    def abort(self) -> None:
        """See asyncio.Transport."""


class _NoDesk:
    """A listener that hears of nothing but the end."""

    def gone(self, connection: ClientConnection) -> None:
        """See `Desk`."""


class Client:
    """One connection: its protocol object, its transport, its stream's number."""

    def __init__(self, world: World) -> None:
        self.transport = FakeTransport()
        self.owed = 0
        self.stream = world.mux.open(Open(target="orders-db", session="s", bot="bench", parameters={}))
        self.connection = ClientConnection(cast("Any", _NoDesk()), direct=False, login_seconds=60)
        self.connection.connection_made(cast("asyncio.Transport", self.transport))
        session = Session(world.gate, world.opening)
        postgres = PostgresSession(session, self.connection, dict(PARAMETERS))
        session.start()
        self.connection.begin(self.stream, postgres, b"")


class World:
    """A gateway without sockets. `folder` takes journal and recordings."""

    def __init__(self, folder: Path, clients: int) -> None:
        policy = model.validate(Policy, yaml.parse(POLICY, "bench.yaml"))
        bundled = BundledPolicy(**{k: getattr(policy, k) for k in policy.model_fields_set}, groups={GROUP: "bots"})
        policies = PolicySet(
            Bundle(tenant=TENANT, policies=[bundled], bots={BOT: BundledBot(name="bench", owner="bench")})
        )
        principal = Principal(PrincipalKind.BOT, TENANT, BOT, BOT, "bench", "u", 4e9, groups=frozenset({GROUP}))
        target = GatewayTarget(kind=TargetKind.POSTGRES, agent="desk", labels={})
        self.journal = Journal(folder / "journal")
        self.recorder = Recorder(folder / "recordings")
        self.notices = Notices(self.journal)
        self.gate = Gate(
            journal=self.journal,
            notices=self.notices,
            recorder=self.recorder,
            policies=lambda: policies,
            catalogue=lambda _: _CATALOGUE,
            refresh_catalogue=lambda _: None,
            mask_key=b"k" * 32,
            statement_bytes=1_000_000,
        )
        self.opening = Opening(principal, "orders-db", target, "postgres", "192.0.2.1:1", "desk", "bench")
        self.tunnel = FakeTransport()
        self.mux = Mux(opens=True, on_message=lambda _: None, on_lost=lambda _: None)
        self.mux.connection_made(cast("asyncio.Transport", self.tunnel))
        self.clients = [Client(self) for _ in range(clients)]

    async def settle(self) -> None:
        """Let all callbacks of this turn run."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End all sessions and close the files."""
        for client in self.clients:
            client.connection.connection_lost(None)
        self.notices.flush()
        await self.recorder.close()
        await self.journal.drain()
        self.mux.connection_lost(None)
        self.journal.close()


@contextmanager
def _folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="wicketgate-hot-") as name:
        yield Path(name)


Query = Callable[[random.Random], tuple[bytes, bytes]]
"""A request, and what the server answers."""
Round = list[tuple[bytes, bytes]]
"""One of them for each client."""


def _simple(source: random.Random) -> tuple[bytes, bytes]:
    text = f"SELECT balance FROM accounts WHERE id = {source.randint(1, 500_000)};"
    return messages.query(text), _rows(_BALANCE, b"12345") + messages.command_complete("SELECT 1") + _READY


def _extended(source: random.Random) -> tuple[bytes, bytes]:
    request = messages.parse("", "SELECT balance FROM accounts WHERE id = $1;") + _bound(source, "")
    answer = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + _rows(_BALANCE, b"12345")
    return request, answer + messages.command_complete("SELECT 1") + _READY


def _prepared(source: random.Random) -> tuple[bytes, bytes]:
    answer = messages.BIND_COMPLETE + _rows(_BALANCE, b"12345") + messages.command_complete("SELECT 1") + _READY
    return _bound(source, "P0_1"), answer


def _masked(source: random.Random) -> tuple[bytes, bytes]:
    text = f"SELECT email FROM customers WHERE id = {source.randint(1, 500_000)};"
    return messages.query(text), _rows(_EMAIL, b"a@b.example") + messages.command_complete("SELECT 1") + _READY


def _pipelined(source: random.Random) -> tuple[bytes, bytes]:
    one = messages.parse("", "SELECT balance FROM accounts WHERE id = $1;")
    asked = b"".join(one + _bound(source, "", sync=b"") for _ in range(PIPELINED))
    answer = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + _rows(_BALANCE, b"12345")
    return asked + messages.SYNC, (answer + messages.command_complete("SELECT 1")) * PIPELINED + _READY


def _begin(source: random.Random) -> tuple[bytes, bytes]:
    return messages.query("BEGIN"), messages.command_complete("BEGIN") + messages.ready_for_query(b"T")


def _bound(source: random.Random, statement: str, sync: bytes = messages.SYNC) -> bytes:
    value = str(source.randint(1, 500_000)).encode()
    return messages.bind("", statement, [value], [0], [0]) + messages.describe(b"P", "") + messages.execute("") + sync


def _rows(field: FieldDescription, value: bytes) -> bytes:
    return messages.row_description([field]) + messages.data_row([value])


PIPELINED = 10
"""Queries in one pipeline, which counts as one query here."""
CASES: dict[str, Query] = {
    "simple": _simple,
    "extended": _extended,
    "prepared": _prepared,
    "masked": _masked,
    "pipelined": _pipelined,
    "begin": _begin,
}


class Runner:
    """Runs queries of one case through a world, all clients once per round."""

    def __init__(self, world: World, query: Query) -> None:
        self.world = world
        self._query = query
        self._source = random.Random(1)

    async def prepare(self) -> None:
        """What `prepared` needs on each connection, with its answer checked."""
        ask = messages.parse("P0_1", "SELECT balance FROM accounts WHERE id = $1;") + messages.SYNC
        await self._round([(ask, messages.PARSE_COMPLETE + _READY) for _ in self.world.clients])

    def rounds(self, count: int) -> list[Round]:
        """So many rounds' requests and answers, made ahead: that work is not the gateway's."""
        return [[self._query(self._source) for _ in self.world.clients] for _ in range(count)]

    async def run(self, rounds: list[Round]) -> int:
        """Run these rounds; gives the number of queries."""
        for queries in rounds:
            await self._round(queries)
        return len(rounds) * len(self.world.clients)

    async def _round(self, queries: Round) -> None:
        world = self.world
        for client, (request, _) in zip(world.clients, queries, strict=True):
            client.connection.data_received(request)
        await world.settle()
        sent = world.tunnel.take()
        if len(sent) < sum(len(request) for request, _ in queries):
            raise SystemExit("error: a request did not go out")
        back: list[bytes] = []
        for client, (request, answer) in zip(world.clients, queries, strict=True):
            client.owed += len(request)
            if client.owed >= CREDIT_STEP:
                back.append(frames.credit(client.stream.id, client.owed))
                client.owed = 0
            back.append(frames.frame(frames.DATA, client.stream.id, answer))
        world.mux.data_received(b"".join(back))
        await world.settle()
        for client, (_, answer) in zip(world.clients, queries, strict=True):
            if len(client.transport.take()) < len(answer) - 8:
                raise SystemExit("error: an answer did not come back")


async def measure(case: str, *, clients: int, rounds: int, repeats: int = 5) -> float:
    """µs of main-thread CPU per query, the least of the repeats: what disturbs only adds."""
    with _folder() as folder:
        world = World(folder, clients)
        runner = Runner(world, CASES[case])
        await runner.prepare()
        await runner.run(runner.rounds(20))
        found: list[float] = []
        for _ in range(repeats):
            asked = runner.rounds(rounds)
            before = time.thread_time_ns()
            done = await runner.run(asked)
            found.append((time.thread_time_ns() - before) / done / 1000)
        await world.close()
    return min(found)


async def calls_of_rows(rows: int, *, masked: bool = False) -> int:
    """Python function calls for one answer of so many rows."""

    def query(source: random.Random) -> tuple[bytes, bytes]:
        field, value = (_EMAIL, b"a@b.example") if masked else (_BALANCE, b"12345")
        answer = messages.row_description([field]) + messages.data_row([value]) * rows
        done = messages.command_complete(f"SELECT {rows}") + _READY
        return messages.query(f"SELECT {field.name} FROM {'customers' if masked else 'accounts'}"), answer + done

    with _folder() as folder:
        world = World(folder, 1)
        runner = Runner(world, query)
        await runner.run(runner.rounds(5))
        counted = await _count(runner, runner.rounds(10))
        await world.close()
    return counted["py"] // 10


async def _count(runner: Runner, asked: list[Round]) -> dict[str, int]:
    counted = {"py": 0, "c": 0}

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            counted["py"] += 1
        elif event == "c_call":
            counted["c"] += 1

    sys.setprofile(count)
    try:
        await runner.run(asked)
    finally:
        sys.setprofile(None)
    return counted


async def calls(case: str, *, clients: int = 8, rounds: int = 20) -> dict[str, float]:
    """Calls per query by name: of Python functions (`py`), and of C functions (`c`)."""
    with _folder() as folder:
        world = World(folder, clients)
        runner = Runner(world, CASES[case])
        await runner.prepare()
        await runner.run(runner.rounds(20))
        counted = await _count(runner, runner.rounds(rounds))
        await world.close()
    return {kind: number / (rounds * clients) for kind, number in counted.items()}


def main() -> int:
    """Print a line per case."""
    parser = argparse.ArgumentParser(prog="python -m bench.hot", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--case", choices=sorted(CASES), action="append")
    parser.add_argument("--general", action="store_true", help="have nothing fly (see session/express.py), to compare")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the run to this file")
    options = parser.parse_args()
    if options.general:
        setattr(express, "_query", None)  # noqa: B010 - a name of the module's own, set from outside
    for case in options.case or list(CASES):
        profile = cProfile.Profile() if options.profile is not None else None
        with profile or nullcontext():
            took = uvloop.run(measure(case, clients=options.clients, rounds=options.rounds))
        if profile is not None:
            profile.dump_stats(str(options.profile))
        counted = uvloop.run(calls(case))
        sys.stdout.write(f"{case:10} {took:6.1f} µs  {counted['py']:5.1f} Python calls  {counted['c']:5.1f} C calls\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
