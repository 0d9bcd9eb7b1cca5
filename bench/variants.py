"""The same gateway set up otherwise for a part of the measurement: detectors on, no TLS, or more processes.

How this works: the rendered policy bundle is rewritten and taken up by the running gateway; the rendered `gateway.yaml`
is rewritten and the gateway started again on it. Both are put back as they were.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from bench import load
from bench.detect import FIVE
from bench.endpoints import Endpoint
from tools.quickstart import services
from tools.quickstart.layout import Layout
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.model import read

WAIT_SECONDS = 120.0
WORKERS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Growth:
    """One run with so many gateway processes."""

    tps: float
    median_us: float
    p99_us: float
    gateway_us: float
    """CPU per query of all gateway processes together, in µs."""
    agent_us: float


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"error: {what} did not come about within {WAIT_SECONDS:.0f} s")
        time.sleep(0.05)


def _said(log: Path, what: bytes, since: int) -> int:
    with log.open("rb") as file:
        file.seek(since)
        return file.read().count(what)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@contextlib.contextmanager
def detecting(layout: Layout) -> Generator[None]:
    """Five detectors look at every value of every answer."""
    path = Path(read(GatewayConfig, layout.rendered / "gateway.yaml").policies)
    before = path.read_text()
    document = json.loads(before)
    for policy in document["policies"]:
        policy.setdefault("mask", []).append({"detect": list(FIVE), "with": "redact"})
    log = layout.log("gateway")

    def take_up(text: str) -> None:
        since = _size(log)
        _replace(path, text)
        _until(lambda: _said(log, b'"policies loaded"', since) > 0, "the gateway's new policies")

    take_up(json.dumps(document))
    try:
        yield
    finally:
        take_up(before)


@contextlib.contextmanager
def workers(layout: Layout, server: PostgresServer, endpoint: Endpoint, count: int) -> Generator[Endpoint]:
    """The gateway with `limits.workers: count`, its audit in a database of the same server, all tunnels up."""
    path = layout.rendered / "gateway.yaml"
    before = path.read_text()
    document = read(GatewayConfig, path).document()
    url = layout.path("secrets", "bench-audit-url")
    if not url.exists():
        password = secrets.token_urlsafe(18)
        server.create_user("bench_audit", password)
        server.create_database("bench_audit", "bench_audit")
        url.touch(mode=0o600)
        url.write_text(server.dsn("bench_audit", password, "bench_audit") + "\n")
    document["limits"] = document.get("limits", {}) | {"workers": count}
    document["audit"] = document.get("audit", {}) | {"store": {"urlFile": str(url)}}
    try:
        _restart(layout, json.dumps(document), endpoint, count)
        state = Path(document["state"])
        found = [state / "workers" / str(number) / "ports.json" for number in range(count)]
        alone = state / "ports.json"
        pids = {f"gateway {n}": _pid(file) for n, file in enumerate(found)} if count > 1 else {"gateway 0": _pid(alone)}
        yield replace(endpoint, processes={**pids, "agent": services.pids(layout)["agent"]})
    finally:
        _restart(layout, before, endpoint, 1)


@contextlib.contextmanager
def plain(layout: Layout, found: list[Endpoint]) -> Generator[list[Endpoint]]:
    """The same endpoints without TLS on the client's leg (`listen.postgres.plaintext`)."""
    path = layout.rendered / "gateway.yaml"
    before = path.read_text()
    document = read(GatewayConfig, path).document()
    document["listen"]["postgres"]["plaintext"] = True
    try:
        _restart(layout, json.dumps(document), found[-1], 1)
        pids = services.pids(layout)
        now = {**found[-1].processes, "gateway": pids["gateway"], "agent": pids["agent"]}
        yield [*(replace(e, tls=False) for e in found[:-1]), replace(found[-1], tls=False, processes=now)]
    finally:
        _restart(layout, before, found[-1], 1)


def _pid(ports: Path) -> int:
    return int(json.loads(ports.read_text())["pid"])


def _restart(layout: Layout, text: str, endpoint: Endpoint, count: int) -> None:
    path, log = layout.rendered / "gateway.yaml", layout.log("agent")
    if path.read_text() == text:
        return
    since = _size(log)
    _replace(path, text)
    services.gateway(layout)
    _until(lambda: _said(log, b'"tunnel up"', since) >= count, "the agent's tunnels")
    _until(lambda: _connects(endpoint), "a session")


def _connects(endpoint: Endpoint) -> bool:
    try:
        load.connect(endpoint).close()
    except psycopg.Error:
        return False
    return True


def grow(
    layout: Layout, server: PostgresServer, endpoint: Endpoint, *, seconds: int, repeats: int
) -> dict[int, list[Growth]]:
    """32 clients with prepared queries, by so many gateway processes."""
    found: dict[int, list[Growth]] = {}
    for count in WORKERS:
        with workers(layout, server, endpoint, count) as several:
            for _ in range(repeats):
                run = load.small(several, clients=32, mode="prepared", seconds=seconds)
                gateways = sum(value for name, value in run.cpu_us.items() if name != "agent")
                found.setdefault(count, []).append(
                    Growth(run.tps, run.median_us, run.p99_us, gateways, run.cpu_us["agent"])
                )
    return found
