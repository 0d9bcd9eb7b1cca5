"""What is done to an endpoint, with the CPU time of the processes in between: small queries, bulk, connections."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
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
    """A connection with TLS."""
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        dbname=endpoint.database,
        user=endpoint.user,
        password=endpoint.password,
        sslmode="verify-full",
        sslrootcert=endpoint.ca_file,
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

    `rate` transactions a second, 0 for as many as can be; latency then counts from when each was due.
    """
    program = shutil.which("pgbench") or str(Binaries.find().folder / "pgbench")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        script.write_text(SCRIPTS.get(mode, _ASK))
        spent = _Spent(endpoint)
        result = subprocess.run(
            [program, "-n", "-f", script, "-M", "extended" if mode == "pipelined" else mode, "-c", str(clients),
             "-j", "1", "-T", str(seconds), "-l", f"--log-prefix={folder}/log",
             f"--sampling-rate={1 if rate or seconds < 4 else 0.2}", *(["-R", str(rate)] if rate else [])],
            env=endpoint.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode:
            raise SystemExit(f"error: pgbench through {endpoint.name} failed: {result.stderr.strip()[-600:]}")
        done = int(_number(r"transactions actually processed: (\d+)", result.stdout))
        times = sorted(int(line.split()[2]) for log in Path(folder).glob("log*") for line in log.open())
        queries = done * (PIPELINED if mode == "pipelined" else 1)
        if not times:
            raise SystemExit(f"error: pgbench through {endpoint.name} finished nothing; give it more --seconds")
        return Small(
            tps=queries / seconds,
            median_us=statistics.median(times),
            p99_us=times[int(len(times) * 0.99)],
            cpu_us=spent.each(queries, 1e6),
        )


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"error: pgbench's output is not as expected:\n{text}")
    return float(match[1])


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
