"""Long requests beside direct ones: watches, a followed log and an idle exec, for longer than tokens live.

    python -m bench.watch [--minutes 24] [--token-seconds 600] [--folder FOLDER]

A real API server with a node (as root), a gateway and an agent before it. Bots use stock kubectl with the kubeconfig
that `wicketgate kube login` writes, so tokens come from the exec credential plugin. Each of these runs straight to the
API server and through the gateway, and must see the same:

- `kubectl get configmaps -w`, one request for the whole time;
- a watch that ends every two minutes and goes on where it was, by way of one `kubectl proxy`, whose token ends
  meanwhile;
- `kubectl logs -f` of a pod that writes a line every five seconds;
- `kubectl exec` of a command that says nothing until the end.

Every twenty seconds an object is created, changed and deleted, each by a kubectl through the gateway. Exits with 1 if
anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.clusters import TARGET, KubeRunning, _NoDatabase, kube_in
from tests.running import cloud_in
from tools.kubernetes.cluster import Cluster, cluster, free_ports
from tools.kubernetes.node import Node
from tools.kubernetes.provide import provide

POLICY: dict[str, Any] = {
    "policy": "long",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": ["*", "pods/log"], "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"verbs": "write", "resources": "configmaps", "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": "sleep *"}}},
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path"]}}},
    ],
}
WAYS = ("direct", "gateway")
EVERY_SECONDS = 20.0
REWATCH_SECONDS = 120
Event = tuple[str, str, str]
"""Type, name and resource version."""


@dataclass
class Seen:
    """What one client saw, and when."""

    items: list[tuple[Any, float]] = field(default_factory=list["tuple[Any, float]"])
    ended: str = ""
    requests: int = 1

    def add(self, item: Any) -> None:
        """It saw this now."""
        self.items.append((item, time.monotonic()))

    @property
    def values(self) -> list[Any]:
        """What it saw."""
        return [item for item, _ in self.items]


class Clients:
    """All clients of one way; `close` ends them."""

    def __init__(self, kubectl: Path, config: Path, home: Path, seconds: int) -> None:
        self._base = [str(kubectl), "--kubeconfig", str(config), "-n", "shop"]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home)}
        self._processes: list[subprocess.Popen[str]] = []
        self._closing = threading.Event()
        self.errors = (home / f"{config.name}.stderr").open("w+")
        self.watch, self.rewatch, self.log, self.exec = Seen(), Seen(requests=0), Seen(), Seen()
        self._reads(
            "get",
            "configmaps",
            "-w",
            "-o",
            "json",
            "--output-watch-events",
            to=lambda line: self.watch.add(event_of(json.loads(line))),
        )
        self._reads("logs", "-f", "web", to=self.log, by_line=True)
        self._reads("exec", "web", "--", "sleep", str(seconds), to=self.exec, by_line=True)
        self._port = free_ports(1)[0]
        self._start("proxy", f"--port={self._port}", "--append-server-path")
        threading.Thread(target=self._rewatch, daemon=True).start()

    def run(self, *arguments: str, stdin: str = "") -> None:
        """One kubectl. Raises RuntimeError if it fails."""
        done = subprocess.run(
            [*self._base, *arguments], env=self._env, input=stdin, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")

    def close(self) -> None:
        """End what still runs."""
        self._closing.set()
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait(20)
        self.errors.close()

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self._base, *arguments],
            env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def _reads(self, *arguments: str, to: Any, by_line: bool = False) -> None:
        process = self._start(*arguments)

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                to.add(line) if by_line else to(line)
            seen = to if by_line else self.watch
            seen.ended = "" if self._closing.is_set() else f"exit {process.wait()}"

        threading.Thread(target=read, daemon=True).start()

    def _rewatch(self) -> None:
        """Watches again from where the last watch ended, as informers do."""
        version, tries = "0", 0
        while not self._closing.is_set():
            url = (
                f"http://127.0.0.1:{self._port}/api/v1/namespaces/shop/configmaps?watch=true&allowWatchBookmarks=true"
                f"&timeoutSeconds={REWATCH_SECONDS}&resourceVersion={version}"
            )
            try:
                with urllib.request.urlopen(url, timeout=REWATCH_SECONDS + 60) as answer:
                    self.rewatch.requests += 1
                    for line in answer:
                        document = json.loads(line)
                        if document["type"] == "ERROR":
                            self.rewatch.ended = str(document["object"])
                            return
                        version = document["object"]["metadata"]["resourceVersion"]
                        if document["type"] != "BOOKMARK":
                            self.rewatch.add(event_of(document))
            except OSError as error:
                tries += 1
                if (self.rewatch.requests or tries > 100) and not self._closing.is_set():
                    self.rewatch.ended = str(error)
                    return
                time.sleep(0.2)  # kubectl's proxy has yet to listen


def event_of(document: Any) -> Event:
    """One event of a watch."""
    metadata = document["object"]["metadata"]
    return document["type"], metadata["name"], metadata["resourceVersion"]


def compare(ways: dict[str, Clients]) -> list[str]:
    """What differs, in words."""
    found: list[str] = []
    direct, gateway = (ways[way] for way in WAYS)
    for name in ("watch", "rewatch", "log"):
        one, other = getattr(direct, name), getattr(gateway, name)
        for way, seen in zip(WAYS, (one, other), strict=True):
            if seen.ended:
                found.append(f"{name}, {way}: ended early: {seen.ended}")
        most = min(len(one.items), len(other.items)) if name == "log" else max(len(one.items), len(other.items))
        if one.values[:most] != other.values[:most]:
            at = next((i for i, pair in enumerate(zip(one.values, other.values, strict=False)) if pair[0] != pair[1]),
                      min(len(one.items), len(other.items)))  # fmt: skip
            found.append(f"{name}: differs from item {at}: {one.values[at : at + 2]} and {other.values[at : at + 2]}")
        if not most:
            found.append(f"{name}: nothing came")
    ended = {way: ways[way].exec.ended for way in WAYS}
    return found + [f"exec, {way}: {how or 'did not end'}" for way, how in ended.items() if how != "exit 0"]


def lags(one: Seen, other: Seen) -> dict[str, float]:
    """Milliseconds that the gateway's client saw an event after the direct one."""
    pairs = zip(one.items, other.items, strict=False)
    behind = sorted((b - a) * 1000 for (_, a), (_, b) in pairs)
    return {"p50": round(behind[len(behind) // 2], 1), "worst": round(behind[-1], 1)} if behind else {}


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Until it holds, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.1)


def story(kube: KubeRunning, made: Cluster, folder: Path, minutes: float) -> tuple[dict[str, Any], list[str]]:
    """Run it; the figures and what differs."""
    made.kubectl("-n", "shop", "create", "configmap", "first")
    configs = {"direct": made.kubeconfig(), "gateway": kube.plugin_kubeconfig()}
    seconds = minutes * 60
    ways = {way: Clients(made.binaries.kubectl, configs[way], folder, round(seconds)) for way in WAYS}
    began, number, ended_at = time.monotonic(), 0, 0.0
    failed: list[str] = []
    try:
        wait(lambda: all(seen.items for c in ways.values() for seen in (c.watch, c.rewatch, c.log)))
        while (gone := time.monotonic() - began) < seconds + 5:
            name, gateway = f"w{number}", ways["gateway"]
            try:
                gateway.run("create", "configmap", name, f"--from-literal=at={gone:.0f}")
                gateway.run("patch", "configmap", name, "-p", '{"data":{"more":"x"}}')
                gateway.run("delete", "configmap", name, "--wait=false")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failed.append(str(error))
            number += 1
            ended_at = gone
            time.sleep(max(0.0, min(EVERY_SECONDS, seconds + 5 - (time.monotonic() - began))))
        ways["gateway"].run("create", "configmap", "last")
        wait(
            lambda: (
                all(any(e[1] == "last" for e in s.values) for c in ways.values() for s in (c.watch, c.rewatch))
                and all(c.exec.ended for c in ways.values())
            )
        )
        different = compare(ways) + failed
    finally:
        for clients in ways.values():
            clients.close()
    direct, gateway = (ways[way] for way in WAYS)
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "objects": number,
        "last object after seconds": round(ended_at),
        "events of the watch": len(gateway.watch.items),
        "events of the watch that is asked again": len(gateway.rewatch.items),
        "its requests": {way: ways[way].rewatch.requests for way in WAYS},
        "lines of the log": len(gateway.log.items),
        "idle exec": {way: ways[way].exec.ended for way in WAYS},
        "ms behind direct, watch": lags(direct.watch, gateway.watch),
        "ms behind direct, log": lags(direct.log, gateway.log),
    }, different


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--token-seconds", type=int, default=600, help="how long tokens of the Entra emulator live")
    parser.add_argument("--folder", type=Path, help="keep logs and state there")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wicketgate-watch-")))
        folder.mkdir(parents=True, exist_ok=True)
        made = stack.enter_context(cluster(folder / "cluster", provide()))
        made.kubectl("create", "namespace", "shop")
        node = Node(made)
        stack.callback(node.stop)
        node.start()
        lines = "i=0; while echo line $i; do i=$((i+1)); sleep 5; done"
        node.run("web", ["sh", "-c", lines], namespace="shop")
        (folder / "cloud").mkdir()
        cloud = stack.enter_context(cloud_in(folder / "cloud", cast("Any", _NoDatabase())))
        cloud.entra.set_quirks(token_lifetime=given.token_seconds)
        kube = stack.enter_context(kube_in(folder / "gateway", cloud, made, POLICY))
        figures, different = story(kube, made, folder, given.minutes)
    for name, value in figures.items():
        print(f"{name:42}{value}")
    for line in different:
        print(f"DIFFERENT: {line}")
    print("the same" if not different else f"{len(different)} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
