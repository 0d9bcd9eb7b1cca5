"""`python -m tools.quickstart.cluster FOLDER PORT`: the quickstart's cluster, until it is told to end.

How this works: a real API server with etcd, and as root a node with containerd and a kubelet. It is made anew at each
start; its CA and its tokens stay, since the stack and the agent's secret hold them. `ready.json` says what there is.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tools.engine.cache import ProvideError
from tools.kubernetes.cluster import ADMIN, AGENT, Cluster
from tools.kubernetes.node import Node
from tools.kubernetes.provide import provide

NAMESPACE, POD, DEPLOYMENT = "shop", "web-1", "web"
KEY = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
"""Nobody's: what a settings file of a shop would hold."""
_SCRIPT = (
    "mkdir -p /etc/app; printf 'colour = green\\npayments_key = {key}\\n' > /etc/app/settings; mkdir -p /data;"
    " echo 1 > /data/orders; while sleep 1; do date; done"
)


def start(folder: Path, port: int) -> None:
    """Run it until SIGTERM or SIGINT. Raises ProvideError."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    root = os.geteuid() == 0
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("etcd", "node"):
        shutil.rmtree(folder / name, ignore_errors=True)
    made = Cluster(folder, provide(node=root), port)
    made.tokens = tokens(folder)
    try:
        made.start()
        _fill(made)
        node, missing = Node(made), "" if root else "this is not root, and a node needs it"
        try:
            if root:
                try:
                    node.start()
                    node.run(POD, ["sh", "-c", _SCRIPT.format(key=KEY)], namespace=NAMESPACE)
                except (ProvideError, RuntimeError, OSError) as error:
                    missing = str(error).partition("\n")[0]
            _write(folder / "ready.json", {"node": not missing, "missing": missing})
            ended.wait()
        finally:
            node.stop()
    finally:
        made.stop()


def tokens(folder: Path) -> dict[str, str]:
    """The tokens of earlier starts, by user; none at first."""
    path = folder / "tokens.csv"
    lines = path.read_text().splitlines() if path.is_file() else []
    found = {user: token for token, user, *_ in (line.split(",") for line in lines)}
    return found if set(found) == {ADMIN, AGENT} else {}


def _fill(made: Cluster) -> None:
    labels = {"app": DEPLOYMENT}
    container = {"name": "main", "image": "docker.io/library/busybox:test"}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payments"}, "stringData": {"key": KEY}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "green"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": DEPLOYMENT},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
    ]
    made.kubectl("create", "namespace", NAMESPACE)
    made.kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List",
                                                                          "items": items}))  # fmt: skip


def _write(path: Path, value: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.replace(path)


def main() -> int:
    """The process."""
    try:
        start(Path(sys.argv[1]), int(sys.argv[2]))
    except ProvideError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
