"""The figures as tables."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench import detect

if TYPE_CHECKING:
    from bench.__main__ import Figures
    from bench.load import Small


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(list(values))


def ratio(of: Sequence[Small], to: Sequence[Small]) -> float:
    """PgBouncer's CPU per query divided by the gateway's: the median of the ratios within each repeat."""
    return median(
        b.cpu_us["pgbouncer"] / w.cpu_us["gateway"] for w, b in zip(of, to, strict=True) if w.cpu_us["gateway"]
    )


def machine() -> str:
    """What it was measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {model}, {system}"


def show(console: Console, figures: Figures, repeats: int, seconds: int) -> None:
    """Print all tables that there is something for."""
    console.print(f"\n{machine()}\nMedians of {repeats} × {seconds} s, paired in one run\n")
    if figures.small:
        console.print(_small("Small queries, TLS on every leg", figures.small))
    if figures.plain:
        console.print(_small("Small queries, no TLS on the client's leg", figures.plain))
    if figures.bulk:
        console.print(_bulk(figures))
    if figures.beside:
        table = _table("500 small queries a second beside one bulk SELECT", "path", "median ms", "p99 ms")
        for name, runs in figures.beside.items():
            table.add_row(
                name, f"{median(r.median_us for r in runs) / 1e3:.2f}", f"{median(r.p99_us for r in runs) / 1e3:.1f}"
            )
        console.print(table)
    if figures.setup:
        table = _table("Connections, one after the other", "path", "a second", "CPU ms each")
        for name, connections in figures.setup.items():
            cpu = {p: median(r.cpu_ms[p] for r in connections) for p in connections[0].cpu_ms}
            table.add_row(name, f"{median(r.per_second for r in connections):.0f}", _each(cpu))
        console.print(table)
    if figures.idle:
        table = _table("Private memory per idle session", "path", "KB", "sessions a GB")
        for name, sizes in figures.idle.items():
            most = max(sizes.values())
            first = next(iter(sizes.values())) if "gateway" not in sizes else sizes["gateway"]
            table.add_row(name, _each(sizes), f"{1e6 / first:,.0f}" if most > 0 and first > 0 else "")
        console.print(table)
    if figures.workers:
        table = _table(
            "32 clients, prepared, by gateway processes",
            "processes",
            "queries/s",
            "median µs",
            "p99 µs",
            "CPU µs a query",
        )
        for count, grown in figures.workers.items():
            cpu = {"gateways": median(r.gateway_us for r in grown), "agent": median(r.agent_us for r in grown)}
            table.add_row(
                str(count),
                f"{median(r.tps for r in grown):,.0f}",
                f"{median(r.median_us for r in grown):,.0f}",
                f"{median(r.p99_us for r in grown):,.0f}",
                _each(cpu),
            )
        console.print(table)
    if figures.decide:
        table = _table("One decision", "rules", "warm µs", "cold µs", "cold p99 µs")
        for found in figures.decide:
            table.add_row(
                f"{found.rules:,}", f"{found.warm_us:.1f}", f"{found.cold_us:.0f}", f"{found.cold_p99_us:.0f}"
            )
        console.print(table)
    if figures.detect:
        console.print(detect.table_of(figures.detect))


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("path", "protocol") or "CPU" in heading else "right")
    return table


def _each(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())


def _small(title: str, cases: dict[tuple[int, str], dict[str, list[Small]]]) -> Table:
    table = _table(
        title,
        "clients",
        "protocol",
        "path",
        "queries/s",
        "median µs",
        "added µs",
        "p99 µs",
        "CPU µs a query",
        "PgBouncer ÷",
    )
    for (clients, mode), found in cases.items():
        direct, bouncer = found["direct"], found.get("pgbouncer")
        for name, runs in found.items():
            cpu = {p: median(r.cpu_us[p] for r in runs) for p in runs[0].cpu_us}
            added = median(r.median_us - d.median_us for r, d in zip(runs, direct, strict=True))
            table.add_row(
                str(clients),
                mode,
                name,
                f"{median(r.tps for r in runs):,.0f}",
                f"{median(r.median_us for r in runs):,.0f}",
                "" if name == "direct" else f"{added:+,.0f}",
                f"{median(r.p99_us for r in runs):,.0f}",
                _each(cpu),
                f"{ratio(runs, bouncer):.2f}" if bouncer and "gateway" in cpu else "",
            )
        table.add_section()
    return table


def _bulk(figures: Figures) -> Table:
    table = _table("One bulk answer", "what", "path", "MB/s", "of direct", "CPU s a GB")
    for what, found in figures.bulk.items():
        for name, runs in found.items():
            share = median(
                r.megabytes_per_second / d.megabytes_per_second for r, d in zip(runs, found["direct"], strict=True)
            )
            cpu = {p: median(r.cpu_seconds_per_gigabyte[p] for r in runs) for p in runs[0].cpu_seconds_per_gigabyte}
            rate = median(r.megabytes_per_second for r in runs)
            table.add_row(what, name, f"{rate:,.0f}", f"{share:.2f}", _each(cpu))
        table.add_section()
    return table
