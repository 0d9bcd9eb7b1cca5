"""Requests to Kubernetes, paired: straight to the API server and through the gateway, in turn, over kept connections.

    python -m bench.kubernetes [--requests 300] [--exec 100] [--watchers 100] [--copy 200] [--only NAME …] [--json FILE]

A real API server with etcd (built once, see `tools.kubernetes`); with root also a node, for commands and copies. Each
round asks once directly and once through the gateway, so that whatever else the machine does meets both. A node starts
some tens of commands a second, so `exec-alone` asks an API server that does nothing but answer.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import os
import secrets
import socket
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from bench import kubernetes_more as more
from tests.clusters import TARGET, KubeRunning, _NoDatabase, kube_in
from tests.running import Cloud, cloud_in
from tools.kubernetes.cluster import ADMIN, Cluster, cluster
from tools.kubernetes.node import Node
from tools.kubernetes.provide import provide
from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS

POLICY: dict[str, Any] = {
    "policy": "bench",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": "*", "namespaces": ["shop", "fan"]}}},
        {
            "allow": {
                "kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": ["true", "tar **", "rm **"]}
            }
        },
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path"]}}},
    ],
}
DETECTORS: dict[str, Any] = {**POLICY, "mask": [{"detect": list(BUILT_IN_DETECTORS), "with": "redact"}]}
OBJECTS = 100
CASES = ("requests", "exec", "exec-alone", "watch", "copy")


class Way:
    """One way to the API server: a kept connection."""

    def __init__(self, port: int, prefix: str, token: str, ca_file: Path) -> None:
        self.port, self.prefix, self.token = port, prefix, token
        self.context = ssl.create_default_context(cafile=str(ca_file))
        self.connection = http.client.HTTPSConnection("localhost", port, context=self.context)

    def get(self, path: str) -> float:
        """Seconds that a GET took."""
        started = time.perf_counter()
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        self.connection.request("GET", self.prefix + path, headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:300]!r}")
        return time.perf_counter() - started

    def exec(self) -> float:
        """Seconds that `true` in a pod took, from the connection to the status."""
        started = time.perf_counter()
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        head = (
            f"GET {self.prefix}/api/v1/namespaces/shop/pods/web/exec?command=true&stdout=true HTTP/1.1\r\n"
            f"Host: localhost\r\nAuthorization: Bearer {self.token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
        )
        with (
            _connected(self.port) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.settimeout(30)
            sock.sendall(head.encode())
            answer = b""
            while b'"status":"Success"' not in answer:
                data = sock.recv(65536)
                if not data:
                    raise RuntimeError(f"the exec ended early: {answer[:300]!r}")
                answer += data
        return time.perf_counter() - started


def _connected(port: int) -> socket.socket:
    """A connection that sends at once, as kubectl's do: else the request waits until the end of the TLS handshake is
    acknowledged, which a server that gives no session tickets, as the gateway, does 40 ms later."""
    plain = socket.create_connection(("localhost", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def paired(direct: Callable[[], float], gateway: Callable[[], float], rounds: int) -> dict[str, float]:
    """Milliseconds, of both ways in turn."""
    for _ in range(10):
        direct()
        gateway()
    pairs = [(direct(), gateway()) for _ in range(rounds)]
    one, other = (sorted(value * 1000 for value in values) for values in zip(*pairs, strict=True))
    added = sorted((b - a) * 1000 for a, b in pairs)
    return {
        "direct_p50": statistics.median(one),
        "gateway_p50": statistics.median(other),
        "direct_p99": one[int(len(one) * 0.99)],
        "gateway_p99": other[int(len(other) * 0.99)],
        "added_p50": statistics.median(added),
    }


def rate(work: Callable[[], float], count: int, at_once: int = 8) -> float:
    """So many a second, with some at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda _: work(), range(count)))
    return count / (time.perf_counter() - started)


def ways(kube: KubeRunning, made: Cluster) -> tuple[Way, Way]:
    """Direct, and through the gateway."""
    direct = Way(made.port, "", made.tokens[ADMIN], made.ca_file)
    return direct, Way(kube.ports["kubernetes"], f"/t/{TARGET}", kube.cloud.bot_token(), kube.ca_file)


def requests_of(kube: KubeRunning, made: Cluster, count: int) -> dict[str, Any]:
    """Latency of single requests."""
    direct, gateway = ways(kube, made)
    root = "/api/v1/namespaces/shop"
    found: dict[str, Any] = {}
    for name, path in (
        ("get", f"{root}/configmaps/c0"),
        (f"list of {OBJECTS} configmaps", f"{root}/configmaps"),
        ("list of secrets, masked", f"{root}/secrets"),
    ):
        found[name] = paired(lambda path=path: direct.get(path), lambda path=path: gateway.get(path), count)
    return found


def execs_of(kube: KubeRunning, made: Cluster, count: int, at_once: tuple[int, ...] = (1, 8, 16)) -> dict[str, Any]:
    """Latency of commands, and how many a second, with some at once."""
    direct, gateway = ways(kube, made)
    found: dict[str, Any] = {"latency": paired(direct.exec, gateway.exec, max(10, count // 4))}
    for several in at_once:
        pairs = [(rate(direct.exec, count // 2, several), rate(gateway.exec, count // 2, several)) for _ in range(2)]
        one, other = (statistics.mean(values) for values in zip(*pairs, strict=True))
        found[f"a second, {several} at once"] = {"direct": one, "gateway": other, "ratio": other / one}
    return found


def watches_of(kube: KubeRunning, made: Cluster, watchers: int) -> dict[str, Any]:
    """Many watches of what is created."""
    direct, gateway = ways(kube, made)
    url = f"{made.url}/api/v1/namespaces/fan/configmaps"
    context = ssl.create_default_context(cafile=str(made.ca_file))
    headers = {"Authorization": f"Bearer {made.tokens[ADMIN]}", "Content-Type": "application/json"}
    found: dict[str, Any] = {}
    for name, way in (("direct", direct), ("gateway", gateway)):

        def make(number: int, name: str = name) -> None:
            document = {"metadata": {"name": f"{name}-{number}"}, "data": {"a": "x" * 500}}
            request = urllib.request.Request(url, json.dumps(document).encode(), headers)
            urllib.request.urlopen(request, context=context, timeout=30).close()

        found[name] = asyncio.run(
            more.fan_out(way.port, way.prefix, way.token, way.context, watchers, 50, make)
        )  # fmt: skip
        made.kubectl("-n", "fan", "delete", "configmaps", "--all")
    return found


def copies_of(kube: KubeRunning, looking: KubeRunning, made: Cluster, folder: Path, megabytes: int) -> dict[str, Any]:
    """Large copies; `looking` is the gateway with all detectors on.

    Those find something in random bytes, too, and change it, so that such a copy is not the same: only text goes here.
    """
    found: dict[str, Any] = {}
    for kind in ("random", "text"):
        source = more.file_of(folder, kind, megabytes)
        bases = {"direct": more.direct_kubectl(made), "gateway": more.through(kube), "detectors": more.through(looking)}
        if kind == "random":
            del bases["detectors"]
        for name, base in bases.items():
            found[f"{kind}, {name}"] = more.copies(base, folder, source, f"{kind}-{name}")
        source.unlink()
    return found


def measure(cloud: Cloud, made: Cluster, folder: Path, given: argparse.Namespace, *, root: bool) -> dict[str, Any]:
    """What was asked for."""
    found: dict[str, Any] = {}

    def told(case: str, figures: dict[str, Any]) -> None:
        found[case] = figures
        for name, values in figures.items():
            line = "  ".join(f"{key} {value:8.2f}" for key, value in values.items())
            print(f"{case:12}{name:28}{line}", flush=True)

    with kube_in(folder / "gateway", cloud, made, POLICY) as kube:
        if "requests" in given.only:
            told("requests", requests_of(kube, made, given.requests))
        if "watch" in given.only:
            told("watch", watches_of(kube, made, given.watchers))
        if "exec" in given.only and root:
            told("exec", execs_of(kube, made, given.exec))
        if "copy" in given.only and root:
            with kube_in(folder / "looking", cloud, made, DETECTORS) as looking:
                told("copy", copies_of(kube, looking, made, folder, given.copy))
    if "exec-alone" in given.only:
        with (
            more.stand_in_for(made, folder / "stand-in") as alone,
            kube_in(folder / "alone", cloud, alone, POLICY) as kube,
        ):
            told("exec-alone", execs_of(kube, alone, given.exec * 4))
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes", description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--exec", type=int, default=100, help="execs to measure; 0 without root")
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--copy", type=int, default=200, help="megabytes")
    parser.add_argument("--only", nargs="*", choices=CASES, default=CASES)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    root = os.geteuid() == 0
    node_needed = root and bool({"exec", "copy"}.intersection(given.only))
    with tempfile.TemporaryDirectory(prefix="wicketgate-bench-") as name:
        folder = Path(name)
        with cluster(folder / "cluster", provide(node=node_needed)) as made:
            made.kubectl("create", "namespace", "shop")
            made.kubectl("create", "namespace", "fan")
            items = [
                {"apiVersion": "v1", "kind": kind, "metadata": {"name": f"c{i}", "namespace": "shop"}, "data": data}
                for kind, data, count in (("ConfigMap", {"a": "x" * 500}, OBJECTS), ("Secret", {"a": "eHg="}, 20))
                for i in range(count)
            ]
            made.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
            node = Node(made)
            try:
                if node_needed:
                    node.start()
                    node.run("web", ["sleep", "100000"], namespace="shop")
                (folder / "cloud").mkdir()
                with cloud_in(folder / "cloud", cast("Any", _NoDatabase())) as cloud:
                    found = measure(cloud, made, folder, given, root=root)
            finally:
                node.stop()
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
