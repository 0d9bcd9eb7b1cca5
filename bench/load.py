"""Small queries by pgbench, one bulk SELECT by libpq, and the CPU time of the processes in between."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import pq

from bench.endpoints import ACCOUNTS, Endpoint
from wicketgate.testing.postgres import Binaries

_TICK = os.sysconf("SC_CLK_TCK")
SCRIPT = f"\\set id random(1, {ACCOUNTS})\nSELECT balance FROM accounts WHERE id = :id;\n"


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
    """One bulk SELECT."""

    megabytes_per_second: float
    cpu_seconds_per_gigabyte: dict[str, float]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def small(endpoint: Endpoint, *, clients: int, mode: str, seconds: int) -> Small:
    """pgbench: one random row by primary key, `clients` connections, protocol `mode`."""
    program = shutil.which("pgbench") or str(Binaries.find().folder / "pgbench")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        script.write_text(SCRIPT)
        before = {name: cpu_seconds(pid) for name, pid in endpoint.processes.items()}
        result = subprocess.run(
            [program, "-n", "-f", script, "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds),
             "-l", f"--log-prefix={folder}/log", "--sampling-rate=0.2"],
            env=endpoint.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = {name: cpu_seconds(pid) for name, pid in endpoint.processes.items()}
        if result.returncode:
            raise SystemExit(f"error: pgbench through {endpoint.name} failed: {result.stderr.strip()[-600:]}")
        done = int(_number(r"transactions actually processed: (\d+)", result.stdout))
        tps = _number(r"tps = ([\d.]+)", result.stdout)
        times = sorted(int(line.split()[2]) for log in Path(folder).glob("log*") for line in log.open())
    return Small(
        tps=tps,
        median_us=statistics.median(times),
        p99_us=times[int(len(times) * 0.99)],
        cpu_us={name: (after[name] - before[name]) / done * 1e6 for name in before},
    )


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"error: pgbench's output is not as expected:\n{text}")
    return float(match[1])


def bulk(endpoint: Endpoint) -> Bulk:
    """Read the table `bulk` once; bytes are those of the values. libpq takes 1,000 rows at a time."""
    environment = endpoint.environment
    with psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        dbname=endpoint.database,
        user=endpoint.user,
        password=endpoint.password,
        sslmode="verify-full",
        sslrootcert=environment["PGSSLROOTCERT"],
    ) as connection:
        raw = connection.pgconn
        before = {name: cpu_seconds(pid) for name, pid in endpoint.processes.items()}
        started = time.perf_counter()
        raw.send_query(b"SELECT * FROM bulk")
        raw.set_chunked_rows_mode(1000)
        rows = 0
        width = 0
        while (result := raw.get_result()) is not None:
            if result.status not in (pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.TUPLES_OK):
                raise SystemExit(f"error: bulk SELECT through {endpoint.name}: {result.error_message.decode()}")
            if width == 0 and result.ntuples:
                width = sum(len(result.get_value(0, column) or b"") for column in range(result.nfields))
            rows += result.ntuples
        elapsed = time.perf_counter() - started
        after = {name: cpu_seconds(pid) for name, pid in endpoint.processes.items()}
    size = rows * width
    return Bulk(size / elapsed / 1e6, {name: (after[name] - before[name]) / (size / 1e9) for name in before})
