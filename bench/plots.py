"""The figures as plots: SVG files for the docs. matplotlib is a dependency of development alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import machine, median

if TYPE_CHECKING:
    from bench.__main__ import Figures

_COLOURS = {
    "direct": "#888888",
    "pgbouncer": "#d08a2c",
    "wicketgate": "#2c6fd0",
    "gateway": "#2c6fd0",
    "agent": "#7fb0ef",
}


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw what there is something for; gives the files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "wicketgate"  # the same figures give the same file
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    if figures.small:
        made += [_cpu(figures, folder), _latency(figures, folder)]
    if figures.bulk:
        made.append(_bulk(figures, folder))
    if figures.workers:
        made.append(_workers(figures, folder))
    return made


def _save(figure: Any, path: Path) -> Path:
    figure.text(0.01, 0.005, machine(), fontsize=6, color="#666666")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    return path


def _panels(figures: Figures) -> tuple[Any, list[tuple[str, Any]]]:
    from matplotlib import pyplot

    modes = list(dict.fromkeys(mode for _, mode in figures.small))
    figure, axes = pyplot.subplots(1, len(modes), figsize=(3 * len(modes), 3.2), sharey=True, squeeze=False)
    return figure, list(zip(modes, axes[0], strict=True))


def _cpu(figures: Figures, folder: Path) -> Path:
    figure, panels = _panels(figures)
    for mode, axis in panels:
        cases = {clients: found for (clients, m), found in figures.small.items() if m == mode}
        for path, process in (("pgbouncer", "pgbouncer"), ("wicketgate", "gateway"), ("wicketgate", "agent")):
            points = [(c, median(r.cpu_us[process] for r in f[path])) for c, f in cases.items() if path in f]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=process, color=_COLOURS[process])
        axis.set(title=mode, xlabel="clients", xscale="log")
        axis.set_xticks(list(cases), [str(clients) for clients in cases])
        axis.grid(alpha=0.3)
    panels[0][1].set_ylabel("CPU µs per query")
    panels[0][1].set_ylim(bottom=0)
    panels[-1][1].legend()
    return _save(figure, folder / "cpu-per-query.svg")


def _latency(figures: Figures, folder: Path) -> Path:
    figure, panels = _panels(figures)
    for mode, axis in panels:
        cases = {clients: found for (clients, m), found in figures.small.items() if m == mode}
        for path in ("direct", "pgbouncer", "wicketgate"):
            for name, style in (("median_us", "-"), ("p99_us", ":")):
                points = [(c, median(getattr(r, name) for r in f[path]) / 1e3) for c, f in cases.items() if path in f]
                if points:
                    label = path if style == "-" else None
                    axis.plot(*zip(*points, strict=True), style, marker=".", label=label, color=_COLOURS[path])
        axis.set(title=mode, xlabel="clients", xscale="log", yscale="log")
        axis.set_xticks(list(cases), [str(clients) for clients in cases])
        axis.grid(alpha=0.3)
    panels[0][1].set_ylabel("ms (line: median, dots: p99)")
    panels[-1][1].legend()
    return _save(figure, folder / "latency.svg")


def _workers(figures: Figures, folder: Path) -> Path:
    from matplotlib import pyplot

    figure, (rate, cpu) = pyplot.subplots(1, 2, figsize=(6, 3))
    counts = list(figures.workers)
    runs = list(figures.workers.values())
    rate.plot(counts, [median(r.tps for r in found) for found in runs], marker="o", color=_COLOURS["wicketgate"])
    rate.set(ylabel="queries a second", xlabel="gateway processes")
    cpu.plot(counts, [median(r.gateway_us for r in found) for found in runs], marker="o", color=_COLOURS["gateway"])
    cpu.set(ylabel="CPU µs per query, all of them", xlabel="gateway processes")
    for axis in (rate, cpu):
        axis.set_xticks(counts)
        axis.set_ylim(0, axis.get_ylim()[1] * 1.1)  # from nought, and the highest point in full
        axis.grid(alpha=0.3)
    return _save(figure, folder / "workers.svg")


def _bulk(figures: Figures, folder: Path) -> Path:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7.5, 3))
    names = list(next(iter(figures.bulk.values())))
    for place, name in enumerate(sorted(names, key=list(_COLOURS).index)):
        rates = [median(r.megabytes_per_second for r in found[name]) for found in figures.bulk.values()]
        spots = [n + (place - (len(names) - 1) / 2) * 0.25 for n in range(len(rates))]
        axis.bar(spots, rates, width=0.22, label=name, color=_COLOURS[name])
    axis.set_xticks(range(len(figures.bulk)), [what.replace(", ", ",\n") for what in figures.bulk])
    axis.set_ylabel("MB/s")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(axis="y", alpha=0.3)
    return _save(figure, folder / "bulk.svg")
