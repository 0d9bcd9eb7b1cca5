"""`python -m bench.scale [--bots 200] [--targets 20] [--json FILE]`: `pulumi up` of a large stack, and rendering.

The real engine makes the stack against the emulated tenant; the emulator and the stand-in of the azuread plugin are
ours, so the seconds say what engine, program and components cost, not what Entra does. Rendering is measured without
an engine, by numbers of bots: from the settings to the bundle of policies.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bench.report import machine
from tools.provide import provide
from tools.quickstart import layout as layouts
from tools.quickstart import pulumi, services
from tools.quickstart.layout import ROOT, STACK
from wicketgate import config as stack_config
from wicketgate.policy.bundle import bundle, read_policies
from wicketgate.testing.postgres import PostgresServer

RENDERED = (100, 200, 500, 1000)


@dataclass
class Step:
    """One call of the engine."""

    name: str
    seconds: float
    done: dict[str, int] = field(default_factory=dict)
    """Resources by what happened to them."""

    @property
    def resources(self) -> int:
        """How many there are."""
        return sum(self.done.values())


def settings(bots: int, targets: int) -> dict[str, Any]:
    """The quickstart's settings with so many bots and targets."""
    data: dict[str, Any] = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{STACK}.yaml").read_text())
    config = data["config"]
    target = config["wicketgate:targets"]["orders-db"]
    config["wicketgate:targets"] |= {f"db-{n:03}": target for n in range(targets - 1)}
    config["wicketgate:bots"] |= {f"bot-{n:04}": _bot(n) for n in range(bots - 1)}
    config["wicketgate:bots"]["code-review"]["expires"] = "2027-06-30"
    return data


def _bot(number: int) -> dict[str, Any]:
    return {
        "owner": "group:platform-team",
        "groups": ["reviewers"],
        "expires": "2027-06-30",
        "credentials": [{"github": {"repository": f"acme/app-{number:04}", "branch": "main"}}],
    }


def rendering(bots: int) -> float:
    """Seconds from a stack's settings to its rendered bundle."""
    data = settings(bots, 20)["config"]
    values = json.loads(json.dumps({key.removeprefix("wicketgate:"): value for key, value in data.items()}))
    file = ROOT / "stacks" / f"Pulumi.{STACK}.yaml"
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in values["bots"]}
    variables = {name: _variable(name) for name in _variables(json.dumps(values))}
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        started = time.perf_counter()
        found = stack_config.load(values, file)
        policies = read_policies(
            ROOT / found.policy_folder,
            ["orders-readonly"],
            approvers={"dba": "x"},
            groups={"reviewers": str(uuid.uuid4())},
            bots=ids,
            kinds={name: target.kind for name, target in found.targets.items()},
            labels={name: target.labels for name, target in found.targets.items()},
            operations={},
        )
        made = bundle(
            str(uuid.UUID(int=1)),
            policies,
            {"orders-readonly": ["reviewers"]},
            {"reviewers": str(uuid.UUID(int=2))},
            {name: {"owner": bot.owner} for name, bot in found.bots.items()},
            ids,
        )
        assert len(made.render()) > bots * 50
        return time.perf_counter() - started
    finally:
        os.environ.clear()
        os.environ.update(before)


def _variables(text: str) -> set[str]:
    return {part.partition("}")[0] for part in text.split("${")[1:]}


def _variable(name: str) -> str:
    last = name.rpartition("_")[2]
    values = {"PORT": "4711", "TLS": "disable", "DATABASE": "127.0.0.1:5432"}
    return values.get(last) or ("https://127.0.0.1:4711" if last in ("ENTRA", "ISSUER") else "/x")


def engine(bots: int, targets: int, console: Console) -> list[Step]:
    """First `up`, an `up` without changes, one bot more, one bot less."""
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="wicketgate-scale-", ignore_cleanup_errors=True) as folder:
        layout = layouts.load(Path(folder) / "home")
        found = provide(folder=layout.path("engine"))
        file = Path(folder) / f"Pulumi.{STACK}.yaml"
        file.write_text(yaml.safe_dump(settings(bots, targets), sort_keys=False))
        try:
            services.certificates(layout)
            services.issuer(layout)
            services.entra(layout)
            env = {**os.environ, **pulumi.environment(layout, found, services.database(layout))}

            def run(name: str, *arguments: str) -> None:
                started = time.perf_counter()
                done = subprocess.run(
                    [found.command, *arguments, "--stack", STACK, "--config-file", str(file), "--non-interactive"],
                    cwd=ROOT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
                step = Step(name, time.perf_counter() - started, _operations(done.stdout))
                console.print(f"[dim]{name}: {step.seconds:.0f} s, {step.done}[/dim]")
                steps.append(step)

            init = [found.command, "stack", "init", STACK, "--non-interactive"]
            subprocess.run(init, cwd=ROOT, env=env, check=True, capture_output=True)
            run("preview", "preview", "--json")
            run("first up", "up", "--yes", "--skip-preview", "--json")
            run("up without changes", "up", "--yes", "--skip-preview", "--json")
            file.write_text(yaml.safe_dump(settings(bots + 1, targets), sort_keys=False))
            run("one bot more", "up", "--yes", "--skip-preview", "--json")
            file.write_text(yaml.safe_dump(settings(bots, targets), sort_keys=False))
            run("one bot less", "up", "--yes", "--skip-preview", "--json")
        finally:
            services.stop(layout)
            PostgresServer(layout.path("postgres")).destroy()
    return steps


def _operations(text: str) -> dict[str, int]:
    try:
        whole = json.loads(text)
    except ValueError:
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        kinds = [event["resourcePreEvent"]["metadata"]["op"] for event in events if "resourcePreEvent" in event]
    else:
        kinds = [step["op"] for step in whole["steps"]]
    return dict(Counter(kinds))


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bots", type=int, default=200)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--only", choices=["render", "engine"], nargs="+", default=["render", "engine"])
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    console = Console(width=120 if not sys.stdout.isatty() else None)
    console.print(machine())
    rendered: dict[int, float] = {}
    if "render" in options.only:
        rendering(RENDERED[0])
        rendered = {bots: min(rendering(bots) for _ in range(3)) for bots in RENDERED}
        table = Table("bots", "rendered in ms", "µs a bot", title="From settings to bundle, 20 targets")
        for bots, seconds in rendered.items():
            table.add_row(str(bots), f"{seconds * 1e3:.0f}", f"{seconds * 1e6 / bots:.0f}")
        console.print(table)
    steps: list[Step] = []
    if "engine" in options.only:
        steps = engine(options.bots, options.targets, console)
        title = f"{options.bots} bots, {options.targets} targets, the real engine"
        table = Table("what", "seconds", "resources", "touched", "ms a resource", title=title)
        for step in steps:
            touched = step.resources - step.done.get("same", 0)
            each = step.seconds * 1e3 / max(1, step.resources)
            table.add_row(step.name, f"{step.seconds:.1f}", str(step.resources), str(touched), f"{each:.1f}")
        console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"render": rendered, "engine": [asdict(step) for step in steps]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
