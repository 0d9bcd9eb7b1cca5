"""Requests to Kubernetes, paired: straight to the API server and through the gateway, in turn, over kept connections.

    python -m bench.kubernetes [--requests 300] [--exec 100] [--json FILE]

A real API server with etcd (built once, see `tools.kubernetes`); with root also a node, for execs per second. Each
round asks once directly and once through the gateway, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from tests.clusters import TARGET, KubeRunning, _NoDatabase, kube_in
from tests.running import cloud_in
from tools.kubernetes.cluster import ADMIN, Cluster, cluster
from tools.kubernetes.node import Node
from tools.kubernetes.provide import provide

POLICY: dict[str, Any] = {
    "policy": "bench",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": "*", "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": "true"}}},
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path"]}}},
    ],
}
OBJECTS = 100


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
            socket.create_connection(("localhost", self.port)) as plain,
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


def measure(kube: KubeRunning, cluster_: Cluster, requests: int, execs: int) -> dict[str, Any]:
    """All figures."""
    direct = Way(cluster_.port, "", cluster_.tokens[ADMIN], cluster_.ca_file)
    gateway = Way(kube.ports["kubernetes"], f"/t/{TARGET}", kube.cloud.bot_token(), kube.ca_file)
    root = "/api/v1/namespaces/shop"
    found: dict[str, Any] = {}
    for name, path in (
        ("get", f"{root}/configmaps/c0"),
        (f"list of {OBJECTS} configmaps", f"{root}/configmaps"),
        ("list of secrets, masked", f"{root}/secrets"),
    ):
        found[name] = paired(lambda path=path: direct.get(path), lambda path=path: gateway.get(path), requests)
    if execs:
        found["exec"] = paired(direct.exec, gateway.exec, max(10, execs // 4))
        found["exec_per_second"] = {"direct": rate(direct.exec, execs), "gateway": rate(gateway.exec, execs)}
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes", description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--exec", type=int, default=100, help="execs to measure; 0 without root")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    execs = given.exec if os.geteuid() == 0 else 0
    with tempfile.TemporaryDirectory(prefix="wicketgate-bench-") as name:
        folder = Path(name)
        with cluster(folder / "cluster", provide(node=bool(execs))) as made:
            made.kubectl("create", "namespace", "shop")
            items = [
                {"apiVersion": "v1", "kind": kind, "metadata": {"name": f"c{i}", "namespace": "shop"}, "data": data}
                for kind, data, count in (("ConfigMap", {"a": "x" * 500}, OBJECTS), ("Secret", {"a": "eHg="}, 20))
                for i in range(count)
            ]
            made.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
            node = Node(made)
            try:
                if execs:
                    node.start()
                    node.run("web", ["sleep", "100000"], namespace="shop")
                (folder / "cloud").mkdir()
                with (
                    cloud_in(folder / "cloud", cast("Any", _NoDatabase())) as cloud,
                    kube_in(folder / "gateway", cloud, made, POLICY) as kube,
                ):
                    found = measure(kube, made, given.requests, execs)
            finally:
                node.stop()
    for name, figures in found.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:8.2f}" for key, value in figures.items()))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
