"""`python -m bench`: small queries and a bulk SELECT, direct, through PgBouncer and through gateway and agent.

All endpoints take turns within each repeat, so that a slow minute of the machine slows all of them; figures are medians
over the repeats. CPU per query of a process is the figure to trust: latency and tps are the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.endpoints import Endpoint, endpoints
from bench.load import Bulk, Small, bulk, small

CASES = [(1, "simple"), (1, "prepared"), (8, "simple"), (32, "simple"), (32, "extended"), (32, "prepared")]


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=4, help="length of one pgbench run")
    parser.add_argument("--repeats", type=int, default=5, help="how often each case runs")
    parser.add_argument("--no-pgbouncer", action="store_true", help="leave PgBouncer out")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    console = Console(width=130 if not sys.stdout.isatty() else None)
    with endpoints(not options.no_pgbouncer) as found:
        smalls: dict[tuple[str, int, str], list[Small]] = {}
        bulks: dict[str, list[Bulk]] = {}
        for repeat in range(options.repeats):
            console.print(f"[dim]repeat {repeat + 1} of {options.repeats}[/dim]")
            for clients, mode in CASES:
                for endpoint in _shuffled(found):
                    run = small(endpoint, clients=clients, mode=mode, seconds=options.seconds)
                    smalls.setdefault((endpoint.name, clients, mode), []).append(run)
            for endpoint in _shuffled(found):
                bulks.setdefault(endpoint.name, []).append(bulk(endpoint))
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown CPU")
    console.print(
        f"\n{os.cpu_count()} × {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    console.print(f"TLS on every leg; medians of {options.repeats} × {options.seconds} s, paired in one run\n")
    _print_small(console, smalls)
    _print_bulk(console, bulks)
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "small": {"/".join(map(str, k)): [asdict(r) for r in v] for k, v in smalls.items()},
                    "bulk": {k: [asdict(r) for r in v] for k, v in bulks.items()},
                },
                indent=1,
            )
        )
    return 0


def _shuffled(found: list[Endpoint]) -> list[Endpoint]:
    order = list(found)
    random.shuffle(order)
    return order


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _median(values: Any) -> float:
    return statistics.median(list(values))


def _print_small(console: Console, smalls: dict[tuple[str, int, str], list[Small]]) -> None:
    table = Table(title="Small queries", title_justify="left")
    for heading in (
        "clients",
        "protocol",
        "path",
        "tps",
        "median µs",
        "added µs",
        "p99 µs",
        "CPU µs a query",
        "÷ PgBouncer",
    ):
        table.add_column(heading, justify="left" if heading in ("protocol", "path", "CPU µs a query") else "right")
    for clients, mode in CASES:
        direct = smalls["direct", clients, mode]
        bouncer = smalls.get(("pgbouncer", clients, mode))
        for (name, c, m), runs in smalls.items():
            if (c, m) != (clients, mode):
                continue
            added = _median(r.median_us - d.median_us for r, d in zip(runs, direct, strict=True))
            cpu = {p: _median(r.cpu_us[p] for r in runs) for p in runs[0].cpu_us}
            ratio = ""
            if bouncer and "gateway" in cpu:
                pairs = zip(runs, bouncer, strict=True)
                ratio = f"{_median(r.cpu_us['gateway'] / b.cpu_us['pgbouncer'] for r, b in pairs):.2f}"
            table.add_row(
                str(clients),
                mode,
                name,
                f"{_median(r.tps for r in runs):,.0f}",
                f"{_median(r.median_us for r in runs):,.0f}",
                "" if name == "direct" else f"{added:+,.0f}",
                f"{_median(r.p99_us for r in runs):,.0f}",
                ", ".join(f"{p} {v:.1f}" for p, v in cpu.items()),
                ratio,
            )
        table.add_section()
    console.print(table)


def _print_bulk(console: Console, bulks: dict[str, list[Bulk]]) -> None:
    table = Table(title="One bulk SELECT", title_justify="left")
    for heading in ("path", "MB/s", "of direct", "CPU s a GB"):
        table.add_column(heading, justify="left" if heading in ("path", "CPU s a GB") else "right")
    for name, runs in bulks.items():
        share = _median(
            r.megabytes_per_second / d.megabytes_per_second for r, d in zip(runs, bulks["direct"], strict=True)
        )
        cpu = {p: _median(r.cpu_seconds_per_gigabyte[p] for r in runs) for p in runs[0].cpu_seconds_per_gigabyte}
        table.add_row(
            name,
            f"{_median(r.megabytes_per_second for r in runs):,.0f}",
            f"{share:.2f}",
            ", ".join(f"{p} {v:.2f}" for p, v in cpu.items()),
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
