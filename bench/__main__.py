"""`python -m bench`: small queries, bulk answers, connections, memory: direct, through PgBouncer, through Wicketgate.

All endpoints take turns within each repeat, in random order, so that a slow minute of the machine slows all of them;
figures are medians over the repeats, ratios are medians of the ratios within a repeat. CPU per query of a process is
the figure to trust: latency and throughput are the machine's. TLS on every leg, but for the part `plain`, where the
client's leg has none. `--quick` is one short repeat of each case, to see that all of it runs. All of it takes less than
half an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import decide, detect, load, plots, report, variants
from bench.endpoints import Endpoint, Endpoints, endpoints
from bench.load import Bulk, SetUp, Small

MODES = ("simple", "extended", "prepared", "pipelined")
CLIENTS = (1, 8, 32, 128)
PLAIN_MODES = ("simple", "prepared")
PARTS = ("small", "plain", "bulk", "beside", "setup", "idle", "decide", "detect", "workers")


@dataclass
class Figures:
    """All that was measured: for each case and endpoint a figure per repeat."""

    small: dict[tuple[int, str], dict[str, list[Small]]] = field(default_factory=dict)
    plain: dict[tuple[int, str], dict[str, list[Small]]] = field(default_factory=dict)
    """The same without TLS on the client's leg."""
    bulk: dict[str, dict[str, list[Bulk]]] = field(default_factory=dict)
    beside: dict[str, list[Small]] = field(default_factory=dict)
    setup: dict[str, list[SetUp]] = field(default_factory=dict)
    idle: dict[str, dict[str, float]] = field(default_factory=dict)
    decide: list[decide.Deciding] = field(default_factory=list)
    detect: dict[str, float] = field(default_factory=dict)
    workers: dict[int, list[variants.Growth]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same in types of JSON."""
        return {
            **{
                part: {
                    f"{clients}/{mode}": {name: [asdict(run) for run in runs] for name, runs in by_name.items()}
                    for (clients, mode), by_name in cases.items()
                }
                for part, cases in (("small", self.small), ("plain", self.plain))
            },
            "bulk": {
                what: {n: [asdict(r) for r in runs] for n, runs in found.items()} for what, found in self.bulk.items()
            },
            "beside": {name: [asdict(run) for run in runs] for name, runs in self.beside.items()},
            "setup": {name: [asdict(run) for run in runs] for name, runs in self.setup.items()},
            "idle": self.idle,
            "decide": [asdict(found) for found in self.decide],
            "detect": self.detect,
            "workers": {str(count): [asdict(run) for run in runs] for count, runs in self.workers.items()},
        }


def main() -> int:
    """Measure and print; gives the exit status."""
    options = _arguments()
    console = Console(width=150 if not sys.stdout.isatty() else None)
    figures = Figures()
    if "decide" in options.only:
        figures.decide = [decide.measure(rules) for rules in decide.RULES]
    if "detect" in options.only:
        figures.detect = detect.measure(0.1 if options.quick else 0.5, options.repeats)
    if set(options.only) - {"decide", "detect"}:
        with endpoints(not options.no_pgbouncer) as found:
            if "idle" in options.only:
                # First: what other runs leave free would be taken again, and not be seen.
                for endpoint in found:
                    if endpoint.processes:
                        figures.idle[endpoint.name] = load.idle(endpoint, sessions=options.sessions)
            for repeat in range(options.repeats):
                console.print(f"[dim]repeat {repeat + 1} of {options.repeats}[/dim]")
                _repeat(figures, found, options)
            if "plain" in options.only:
                _plain(figures, found, options)
            if "bulk" in options.only:
                _detecting(figures, found, options.repeats)
            if "workers" in options.only:
                figures.workers = variants.grow(
                    found.layout, found.server, found[-1], seconds=options.seconds, repeats=options.repeats
                )
    report.show(console, figures, options.repeats, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(figures.as_json(), indent=1))
    if options.plots:
        for path in plots.draw(figures, options.plots):
            console.print(f"drawn: {path}")
    return 0


def _detecting(figures: Figures, found: Endpoints, repeats: int) -> None:
    # Paired with direct as the others are, but in turns of their own: the policy is the same for all of a repeat.
    into = figures.bulk.setdefault("SELECT, five detectors", {})
    with variants.detecting(found.layout):
        for _ in range(repeats):
            for endpoint in _shuffled(found):
                into.setdefault(endpoint.name, []).append(load.bulk(endpoint, "SELECT"))


def _plain(figures: Figures, found: Endpoints, options: argparse.Namespace) -> None:
    with variants.plain(found.layout, found) as endpoints:
        for _ in range(options.repeats):
            for clients in options.clients:
                for mode in PLAIN_MODES:
                    into = figures.plain.setdefault((clients, mode), {})
                    for endpoint in _shuffled(endpoints):
                        run = load.small(endpoint, clients=clients, mode=mode, seconds=options.seconds)
                        into.setdefault(endpoint.name, []).append(run)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=2, help="length of one run of small queries")
    parser.add_argument("--repeats", type=int, default=5, help="how often each case runs")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS), help="numbers of clients")
    parser.add_argument("--sessions", type=int, default=300, help="idle sessions whose memory is measured")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="one repeat of 2 s, with 1 and 8 clients")
    parser.add_argument("--no-pgbouncer", action="store_true", help="leave PgBouncer out")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--plots", type=Path, help="also draw plots (SVG) into this folder")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats, options.clients, options.sessions = 2, 1, [1, 8], 40
    return options


def _repeat(figures: Figures, found: list[Endpoint], options: argparse.Namespace) -> None:
    def each(measure: Callable[[Endpoint], Any], into: dict[str, list[Any]]) -> None:
        for endpoint in _shuffled(found):
            into.setdefault(endpoint.name, []).append(measure(endpoint))

    if "small" in options.only:
        for clients in options.clients:
            for mode in MODES:
                into = figures.small.setdefault((clients, mode), {})
                each(lambda e, c=clients, m=mode: load.small(e, clients=c, mode=m, seconds=options.seconds), into)
    if "bulk" in options.only:
        for what in load.BULKS:
            each(lambda e, w=what: load.bulk(e, w), figures.bulk.setdefault(what, {}))
    if "beside" in options.only:
        each(lambda e: load.beside_bulk(e, seconds=2 * options.seconds), figures.beside)
    if "setup" in options.only:
        each(lambda e: load.set_up(e, seconds=options.seconds), figures.setup)


def _shuffled(found: list[Endpoint]) -> list[Endpoint]:
    order = list(found)
    random.shuffle(order)
    return order


if __name__ == "__main__":
    sys.exit(main())
