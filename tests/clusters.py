"""A running gateway and agent in front of a real Kubernetes API server. Everything but Entra is real.

`kube` is shared by a whole run: etcd and kube-apiserver 1.36 with a gateway and an agent before them. A plugin (see
`tests/conftest.py`); what is slow to import waits until it is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.running import DBA, Cloud, Running, cloud_in

if TYPE_CHECKING:
    from tools.kubernetes.cluster import Cluster
    from tools.kubernetes.provide import Binaries
    from wicketgate.testing.postgres import PostgresServer

TARGET = "prod"
POLICY: dict[str, Any] = {
    "policy": "kube",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": "*"}}},
        {"allow": {"kubernetes": {"verbs": "read", "resources": "pods/log"}}},
        {"allow": {"kubernetes": {"verbs": "write", "resources": ["configmaps", "deployments"], "namespaces": "shop"}}},
        {
            "allow": {
                "kubernetes": {
                    "verbs": ["create", "update", "patch"], "resources": ["secrets", "pods"], "namespaces": "shop",
                }
            }
        },
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path", "host-namespaces"]}, "because": "pods stay pods"}},
        {"deny": {"kubernetes": {"verbs": "read", "resources": "*", "namespaces": "kube-system"}}},
        {
            "hold": {
                "kubernetes": {"verbs": "delete", "resources": "configmaps", "names": "held*"},
                "approvers": {"groups": ["dba"]},
                "wait": "1s",
            }
        },
        {
            "allow": {
                "kubernetes": {
                    "resources": "pods/exec",
                    "namespaces": "shop",
                    "commands": ["ls **", "cat **", "echo **", "id", "tar **", "wc **", "sleep *"],
                }
            }
        },
        {"allow": {"kubernetes": {"resources": "pods/attach", "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"resources": "pods/portforward", "namespaces": "shop", "ports": [8080]}}},
        {
            "hold": {
                "kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": ["touch *", "rm **"]},
                "approvers": {"groups": ["dba"]},
                "wait": "20s",
            }
        },
    ],
}  # fmt: skip


class _NoDatabase:
    """Stands where `cloud_in` wants a PostgreSQL server: there is none here."""

    host, port, ca_file = "127.0.0.1", 1, None

    def create_user(self, *_: Any) -> None: ...

    def create_database(self, *_: Any) -> None: ...

    def sql(self, *_: Any) -> None: ...


@dataclass
class KubeRunning(Running):
    """A gateway and its agent before a cluster."""

    cluster: Cluster = field(default=cast("Cluster", None))
    impersonate: bool = False

    def write_gateway(self, **limits: Any) -> None:
        """Writes gateway.yaml."""
        super().write_gateway(**limits)
        path = self.folder / "gateway.yaml"
        config = json.loads(path.read_text())
        config["listen"]["kubernetes"] = {"port": 0}
        target = {"kind": "kubernetes", "agent": "eu", "labels": {"env": "test"}}
        config["targets"] = {TARGET: target, "down": target, "other": target}
        path.write_text(json.dumps(config))

    def _write_agent(self) -> None:
        from tools.kubernetes.cluster import AGENT

        super()._write_agent()
        credential = self.folder / "kube-credential"
        credential.mkdir(mode=0o700, exist_ok=True)
        (credential / "token").write_text(self.cluster.tokens[AGENT])
        target = {
            "kind": "kubernetes",
            "address": self.cluster.url,
            "caFile": str(self.cluster.ca_file),
            "credential": str(credential),
            "impersonate": self.impersonate,
        }
        path = self.folder / "agent.yaml"
        config = json.loads(path.read_text())
        config["targets"] = {TARGET: target, "down": {**target, "address": "https://127.0.0.1:1"}}
        path.write_text(json.dumps(config))

    @property
    def server(self) -> str:
        """What a kubeconfig names as its server."""
        return f"https://localhost:{self.ports['kubernetes']}/t/{TARGET}"

    def kubeconfig(self, token: str | None = None, target: str = TARGET) -> Path:
        """A kubeconfig of the bot through the gateway."""
        path = self.folder / "bot.kubeconfig"
        server = self.server.removesuffix(TARGET) + target
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": str(self.ca_file)}}],
            "users": [{"name": "u", "user": {"token": self.cloud.bot_token() if token is None else token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
            "current-context": "c",
        }
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return path

    def plugin_kubeconfig(self) -> Path:
        """What `wicketgate kube login` writes for the bot: clients get their tokens from the exec credential plugin."""
        made = self.folder / "plugin.kubeconfig"
        client = {
            "bot": "code-review",
            "entra": self._entra(),
            "audience": self.cloud.audience,
            "workload": {"clientId": self.cloud.client("bot"), "tokenFile": self.cloud.token_file("bot")},
            "gateway": {"host": "localhost", "port": self.ports["kubernetes"]},
            "kubernetes": {"host": "localhost", "port": self.ports["kubernetes"], "caFile": str(self.ca_file)},
            "targets": {TARGET: "kubernetes"},
        }
        (self.folder / "client.yaml").write_text(json.dumps(client))
        subprocess.run(
            [
                sys.executable, "-m", "wicketgate_gateway.cli", "kube", "login", "--namespace", "shop",
                "--config", str(self.folder / "client.yaml"), "--kubeconfig", str(made),
            ],
            check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        return made

    def command(
        self, *arguments: str, older: bool = False, token: str | None = None, target: str = TARGET
    ) -> list[str]:
        """A kubectl command line through the gateway."""
        binaries = self.cluster.binaries
        binary = binaries.older_kubectl if older else binaries.kubectl
        return [str(binary), "--kubeconfig", str(self.kubeconfig(token, target)), *arguments]

    def kubectl(
        self, *arguments: str, stdin: str | bytes = "", older: bool = False, token: str | None = None,
        target: str = TARGET, timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Stock kubectl through the gateway."""
        return subprocess.run(
            self.command(*arguments, older=older, token=token, target=target),
            input=stdin if isinstance(stdin, str) else stdin.decode("latin-1"),
            capture_output=True,
            text=True,
            timeout=timeout,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            encoding="utf-8" if isinstance(stdin, str) else "latin-1",
        )

    def wait_for_agent(self) -> None:
        """Until a request to the target works."""
        self._wait(lambda: self.kubectl("version").returncode == 0, "agent", pause=0.1)


@pytest.fixture(scope="session")
def kubernetes_binaries() -> Binaries:
    """The control plane's binaries, built if need be."""
    from tools.kubernetes.provide import provide

    return provide(node=False)


@pytest.fixture(scope="session")
def kube_cluster(kubernetes_binaries: Binaries) -> Iterator[Cluster]:
    """A control plane."""
    from tools.kubernetes.cluster import cluster

    with (
        tempfile.TemporaryDirectory(prefix="wicketgate-kube-") as folder,
        cluster(Path(folder), kubernetes_binaries) as made,
    ):
        made.kubectl("create", "namespace", "shop")
        made.kubectl("-n", "shop", "create", "secret", "generic", "db", "--from-literal=password=canary-secret-1")
        made.kubectl("-n", "shop", "create", "configmap", "settings", "--from-literal=colour=green")
        yield made


@pytest.fixture(scope="session")
def kube_node(kube: KubeRunning) -> Iterator[KubeRunning]:
    """The shared gateway, with a node behind it that runs the pod `web` (root only)."""
    from tools.kubernetes.node import Node
    from tools.kubernetes.provide import provide

    kube.cluster.binaries = provide()
    node = Node(kube.cluster)
    script = (
        "mkdir -p /tmp/www; echo hello-web > /tmp/www/index.html; httpd -p 8080 -h /tmp/www; httpd -p 8081 -h /tmp/www;"
        " echo started; i=0; while sleep 0.2; do i=$((i+1)); echo line $i; done"
    )
    # What an earlier node left, should this be set up twice on one cluster.
    kube.cluster.kubectl("-n", "shop", "delete", "pod", "web", "--ignore-not-found", "--force", "--grace-period=0")
    try:
        node.start()
        node.run("web", ["sh", "-c", script], namespace="shop")
        yield kube
    finally:
        node.stop()


@contextlib.contextmanager
def kube_in(
    folder: Path, cloud: Cloud, cluster: Cluster, *policies: dict[str, Any], impersonate: bool = False
) -> Generator[KubeRunning]:
    """A gateway and an agent of one's own, before this cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    made = KubeRunning(folder, cloud, cloud.ca.cert_file, cluster=cluster, impersonate=impersonate)
    made.write_policies(*(policies or (POLICY,)))
    made.write_gateway()
    try:
        made.start_gateway()
        made.start_agent()
        made.wait_for_agent()
        yield made
    finally:
        for name in list(made.processes):
            made.stop(name)


@pytest.fixture(scope="session")
def kube_cloud() -> Iterator[Cloud]:
    """What a gateway before a cluster stands in."""
    with (
        tempfile.TemporaryDirectory(prefix="wicketgate-kube-cloud-") as folder,
        cloud_in(Path(folder), cast("PostgresServer", _NoDatabase())) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def kube(kube_cloud: Cloud, kube_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeRunning]:
    """The shared gateway before the shared cluster."""
    with kube_in(tmp_path_factory.mktemp("kube"), kube_cloud, kube_cluster) as made:
        yield made


__all__ = ["DBA", "POLICY", "TARGET", "KubeRunning", "kube_in"]
