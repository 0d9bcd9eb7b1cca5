"""What is done to an endpoint, with the CPU time of the processes in between: small queries, bulk, connections."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.endpoints import ACCOUNTS, Endpoint
from bench.stream import copy_out, read_all
from wicketgate.testing.postgres import Binaries

_TICK = os.sysconf("SC_CLK_TCK")
_ASK = f"\\set id random(1, {ACCOUNTS})\nSELECT balance FROM accounts WHERE id = :id;\n"
PIPELINED = 10
"""Queries in one pipeline."""
LOGIN_SECONDS = 0.02
"""What pgbench, which connects within its time, gets more for each client."""
SAMPLE_SECONDS = 0.02
MOST_SKEW = 20
"""Fewer transactions say nothing."""
SCRIPTS = {"pipelined": f"\\startpipeline\n{_ASK * PIPELINED}\\endpipeline\n"}
BULKS = {
    "SELECT": b"SELECT * FROM bulk",
    "SELECT, one column masked": b"SELECT c1, c2, c3, c4, c5, c6, c7, c8, c9, email FROM customers WHERE id > 1000",
    "COPY": b"COPY bulk TO STDOUT",
}


@dataclass(frozen=True, slots=True)
class Small:
    """One run of small queries."""

    tps: float
    median_us: float
    p99_us: float
    cpu_us: dict[str, float]
    """CPU per query of each process in between, in µs."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """One bulk answer."""

    megabytes_per_second: float
    cpu_seconds_per_gigabyte: dict[str, float]


@dataclass(frozen=True, slots=True)
class SetUp:
    """Connections made and closed, one after the other."""

    per_second: float
    cpu_ms: dict[str, float]
    """CPU per connection of each process in between."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def private_bytes(pid: int) -> int:
    """Memory that the process has for itself (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def connect(endpoint: Endpoint) -> psycopg.Connection:
    """A connection, with TLS unless the endpoint leaves it out."""
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        dbname=endpoint.database,
        user=endpoint.user,
        password=endpoint.password,
        sslmode="verify-full" if endpoint.tls else "disable",
        sslrootcert=endpoint.ca_file if endpoint.tls else "",
        autocommit=True,
    )


class _Spent:
    def __init__(self, endpoint: Endpoint) -> None:
        self._pids = endpoint.processes
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def each(self, count: float, scale: float) -> dict[str, float]:
        """What each process spent since then, per `count`, times `scale`."""
        return {name: (cpu_seconds(pid) - self._before[name]) / count * scale for name, pid in self._pids.items()}


def small(endpoint: Endpoint, *, clients: int, mode: str, seconds: int, rate: int = 0) -> Small:
    """pgbench: one random row by primary key, `clients` connections, protocol `mode` or `pipelined`.

    `rate` transactions a second, 0 for as many as can be; latency then counts from when each was due. What is counted
    begins when each client has had its first answer: log-ins take longer than queries, and are measured by `set_up`.
    """
    program = shutil.which("pgbench") or str(Binaries.find().folder / "pgbench")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        script.write_text(SCRIPTS.get(mode, _ASK))
        with _Sampled(endpoint) as sampled:
            result = subprocess.run(
                [program, "-n", "-f", script, "-M", "extended" if mode == "pipelined" else mode, "-c", str(clients),
                 "-j", "1", "-T", str(seconds + math.ceil(clients * LOGIN_SECONDS)), "-l", f"--log-prefix={folder}/log",
                 *(["-R", str(rate)] if rate else [])],
                env=endpoint.environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
        if result.returncode:
            raise SystemExit(f"error: pgbench through {endpoint.name} failed: {result.stderr.strip()[-600:]}")
        # Client, transaction, µs it took, script, when it was done (seconds, µs): see "Per-Transaction Logging" in
        # the manual of pgbench.
        rows = [line.split() for log in Path(folder).glob("log*") for line in log.open()]
        done = sorted((int(row[4]) + int(row[5]) / 1e6, int(row[2]), row[0]) for row in rows)
        first: dict[str, float] = {}
        for when, _, client in done:
            first.setdefault(client, when)
        if len(first) < clients:
            raise SystemExit(f"error: {clients} clients through {endpoint.name} had too little time; more --seconds")
        begin, end, cpu = sampled.between(max(first.values()), done[-1][0])
        times = sorted(took for when, took, _ in done if begin < when <= end)
        if len(times) < MOST_SKEW:
            raise SystemExit(f"error: pgbench through {endpoint.name} did too little; give it more --seconds")
        queries = len(times) * (PIPELINED if mode == "pipelined" else 1)
        return Small(
            tps=queries / (end - begin),
            median_us=statistics.median(times),
            p99_us=times[int(len(times) * 0.99)],
            cpu_us={name: spent / queries * 1e6 for name, spent in cpu.items()},
        )


class _Sampled:
    """The CPU time of an endpoint's processes, every few milliseconds while the context lasts."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pids = endpoint.processes
        self._seen: list[tuple[float, dict[str, float]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Sampled:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._seen.append((time.time(), {name: cpu_seconds(pid) for name, pid in self._pids.items()}))

    def between(self, begin: float, end: float) -> tuple[float, float, dict[str, float]]:
        """The first and the last moment within these two that were looked at, and what was spent between them."""
        within = [seen for seen in self._seen if begin <= seen[0] <= end]
        if len(within) < 2:
            raise SystemExit("error: a run was over before it could be measured; give it more --seconds")
        (first, before), (last, after) = within[0], within[-1]
        return first, last, {name: after[name] - before[name] for name in before}


def bulk(endpoint: Endpoint, what: str = "SELECT") -> Bulk:
    """Take one bulk answer; bytes are those of the values as they come."""
    with connect(endpoint) as connection:
        read = copy_out if what.startswith("COPY") else read_all
        spent = _Spent(endpoint)
        started = time.perf_counter()
        size = read(connection, BULKS[what])
        elapsed = time.perf_counter() - started
        return Bulk(size / elapsed / 1e6, spent.each(size, 1e9))


def set_up(endpoint: Endpoint, *, seconds: int) -> SetUp:
    """Connect and close, one after the other."""
    spent, started, count = _Spent(endpoint), time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        connect(endpoint).close()
        count += 1
    return SetUp(count / (time.perf_counter() - started), spent.each(count, 1e3))


def beside_bulk(endpoint: Endpoint, *, seconds: int) -> Small:
    """Eight clients with 500 queries a second together, while one more reads in bulk all the time."""
    with _reading(endpoint):
        return small(endpoint, clients=8, mode="prepared", seconds=seconds, rate=500)


@contextlib.contextmanager
def _reading(endpoint: Endpoint) -> Generator[None]:
    command = [sys.executable, "-m", "bench.stream"]
    reader = subprocess.Popen(command, env=endpoint.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        if reader.stdout.readline() != "reading\n":
            raise SystemExit(f"error: the bulk reader cannot connect through {endpoint.name}")
        yield
        if reader.poll() is not None:
            raise SystemExit(f"error: the bulk reader through {endpoint.name} ended early")
    finally:
        reader.kill()
        reader.wait()


def idle(endpoint: Endpoint, *, sessions: int) -> dict[str, float]:
    """Private memory of each process per idle session, in KB: what the second half of so many adds."""
    with contextlib.ExitStack() as stack:
        for _ in range(sessions // 2):
            stack.enter_context(connect(endpoint))
        before = {name: private_bytes(pid) for name, pid in endpoint.processes.items()}
        for _ in range(sessions - sessions // 2):
            stack.enter_context(connect(endpoint))
        time.sleep(1)  # what a log-in leaves behind is dropped in the next loop turns
        after = {name: private_bytes(pid) for name, pid in endpoint.processes.items()}
    return {name: (after[name] - before[name]) / (sessions - sessions // 2) / 1000 for name in before}
