"""Tools beside plain verbs, with a node behind the gateway: Helm, `kubectl debug`, large copies, masked output, and
what is recorded as a terminal's film.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import TARGET, KubeRunning, kube_in
from tools.kubernetes.node import IMAGE

pytestmark = [pytest.mark.slow, pytest.mark.build, pytest.mark.root, pytest.mark.timeout(600)]
SPACE = "shop"
KEY = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
POLICY: dict[str, Any] = {
    "policy": "tools",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": ["*", "pods/log"]}}},
        {
            "allow": {
                "kubernetes": {
                    "verbs": "read", "resources": "secrets", "labels": {"owner": "helm"}, "reveal": True,
                }
            }
        },
        # A request by name carries no labels.
        {"allow": {"kubernetes": {"verbs": "get", "resources": "secrets", "names": "sh.helm.release.v1.*",
                                  "reveal": True}}},
        {
            "allow": {
                "kubernetes": {
                    "verbs": "write", "resources": ["secrets", "configmaps", "deployments", "services"],
                    "namespaces": SPACE,
                }
            }
        },
        {"allow": {"kubernetes": {"resources": "pods/exec", "namespaces": SPACE,
                                  "commands": ["cat **", "tar **", "echo **", "ls **"]}}},
        {"allow": {"kubernetes": {"verbs": "patch", "resources": "pods/ephemeralcontainers", "namespaces": SPACE}}},
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path"]}, "because": "pods stay pods"}},
    ],
    "mask": [{"detect": ["api-key"], "with": "redact"}],
}  # fmt: skip
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 0.1.0\n",
    "values.yaml": "colour: green\nreplicas: 0\n",
    "templates/all.yaml": """apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-settings"}
data: {colour: "{{ .Values.colour }}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec: {containers: [{name: main, image: busybox}]}
""",
}


@pytest.fixture(scope="module")
def tools(kube_node: KubeRunning, kube_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeRunning]:
    """A gateway of our own before the shared cluster, whose node runs the pod `web`."""
    with kube_in(tmp_path_factory.mktemp("tools"), kube_cloud, kube_node.cluster, POLICY) as made:
        yield made


def helm(config: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Helm, by that kubeconfig."""
    from tools.kubernetes import build, pins

    binary = build.build(pins.HELM, lambda _: None) / "helm"
    return subprocess.run(
        [str(binary), "--kubeconfig", str(config), "-n", SPACE, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_helm(tools: KubeRunning, tmp_path: Path) -> None:
    """Install, upgrade, history, rollback and uninstall, told as Helm tells them straight to the API server."""
    chart = tmp_path / "small"
    for name, text in CHART.items():
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_text(text)
    cluster = tools.cluster
    told: dict[str, list[Any]] = {}
    for way, config in (("direct", cluster.kubeconfig()), ("gateway", tools.kubeconfig())):
        told[way] = []
        for arguments in (
            ("install", "rel", str(chart)),
            ("upgrade", "rel", str(chart), "--set", "colour=red"),
            ("get", "values", "rel", "-o", "json"),
            ("get", "manifest", "rel"),
            ("rollback", "rel", "1"),
            ("history", "rel", "-o", "json"),
            ("list", "-o", "json"),
        ):
            done = helm(config, tmp_path, *arguments)
            assert done.returncode == 0, (way, arguments, done.stderr)
            if arguments[0] == "get":
                told[way].append(done.stdout)
            elif arguments[0] in ("history", "list"):
                keys = ("revision", "status", "chart", "description", "name")
                told[way].append([{k: one.get(k) for k in keys} for one in json.loads(done.stdout)])
            got = cluster.kubectl("-n", SPACE, "get", "configmap", "rel-settings", "-o", "jsonpath={.data.colour}")
            told[way].append(got)
        assert helm(config, tmp_path, "uninstall", "rel").returncode == 0
        assert "rel" not in cluster.kubectl("-n", SPACE, "get", "configmaps,deployments,secrets", "-o", "name")
    assert told["gateway"] == told["direct"]
    assert "red" in told["direct"]


def test_debug(tools: KubeRunning) -> None:
    """An ephemeral container, as a rule says; one that would escape is refused."""
    done = tools.kubectl("debug", "web", f"--image={IMAGE}", "--image-pull-policy=Never", "-c", "probe", "--",
                         "sleep", "1000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = f"/api/v1/namespaces/{SPACE}/pods/web"
    running = lambda: any(  # noqa: E731 - a condition
        "running" in one["state"] for one in tools.cluster.request(path)["status"].get("ephemeralContainerStatuses", ())
    )
    tools.wait(running, 60)
    shown = tools.kubectl("exec", "web", "-c", "probe", "--", "echo", "from-probe")
    assert shown.stdout == "from-probe\n", shown.stderr
    refused = tools.kubectl("debug", "web", f"--image={IMAGE}", "--profile=sysadmin", "-c", "worse", "--", "sleep", "1")
    assert refused.returncode == 1
    assert "pods stay pods" in refused.stderr


def test_output_is_masked_and_a_film_is_made_of_it(tools: KubeRunning, tmp_path: Path) -> None:
    """What detectors find in a pod's output is seen by nobody, nor recorded."""
    shown = tools.kubectl("exec", "web", "--", "echo", f"key={KEY} end")
    assert shown.stdout == "key=••• end\n"
    tools.wait(lambda: any("pods/exec web in shop: echo" in o.statement for o in tools.operations()))
    operation = [o for o in tools.operations() if "shop: echo" in o.statement and "end" in o.statement][-1]
    assert KEY not in operation.statement
    assert KEY.encode() not in tools.recorded(operation.session)
    film = tmp_path / "film.cast"
    done = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.cli", "replay", operation.session, "--state", str(tools.state),
         "--at-once", "--export", "asciicast", "--to", str(film)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = film.read_text().splitlines()
    assert json.loads(lines[0])["version"] in (2, 3)
    assert "key=••• end" in "".join(str(json.loads(line)[2]) for line in lines[1:])


def test_a_copy_of_200_mb(kube_node: KubeRunning, tmp_path: Path, record_property: Any) -> None:
    """In and out, byte for byte, in not much more time than straight to the API server.

    Without detectors, which look at each byte.
    """
    size = 200_000_000
    (tmp_path / "in").write_bytes(random.Random(4).randbytes(size))
    want = hashlib.sha256((tmp_path / "in").read_bytes()).hexdigest()
    seconds: dict[str, float] = {}
    cluster = kube_node.cluster
    direct = [str(cluster.binaries.kubectl), "--kubeconfig", str(cluster.kubeconfig()), "-n", SPACE]
    for way, base in (("direct", direct), ("gateway", kube_node.command())):
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        for label, here, there in (("in", "in", f"web:/tmp/{way}"), ("out", f"web:/tmp/{way}", f"out-{way}")):
            started = time.perf_counter()
            done = subprocess.run([*base, "cp", here, there], cwd=tmp_path, env=env, capture_output=True, timeout=280)
            seconds[f"{way} {label}"] = round(time.perf_counter() - started, 2)
            assert done.returncode == 0, done.stderr
        assert hashlib.sha256((tmp_path / f"out-{way}").read_bytes()).hexdigest() == want
        (tmp_path / f"out-{way}").unlink()
    print(seconds)
    record_property("seconds", seconds)
    assert seconds["gateway in"] + seconds["gateway out"] < 4 * (seconds["direct in"] + seconds["direct out"]) + 10
