"""Client libraries through the gateway: the official one for Python, and client-go's typed clients with protobuf.

Both have the kubeconfig that `wicketgate kube login` writes, and so their tokens from its plugin.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import DBA, TARGET, KubeRunning, kube_in
from tools.engine.golang import environ, find
from wicketgate_gateway.approvals.model import Choice
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = [pytest.mark.slow, pytest.mark.build, pytest.mark.root, pytest.mark.timeout(600)]
SOURCE = Path(__file__).parent / "go-kubernetes"
ANN = "60000000-0000-4000-8000-000000000001"
POLICY: dict[str, Any] = {
    "policy": "clients",
    "targets": [TARGET],
    "rules": [
        {"allow": {"kubernetes": {"verbs": "read", "resources": "*", "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"verbs": "create", "resources": "configmaps", "namespaces": "shop"}}},
        {"allow": {"kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": ["echo **", "cat"]}}},
        {"deny": {"kubernetes": {"pod": ["privileged", "host-path"]}}},
        {
            "hold": {
                "kubernetes": {"verbs": "delete", "resources": "configmaps", "namespaces": "shop"},
                "approvers": {"groups": ["dba"]}, "wait": "1s", "reason": "required",
            }
        },
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def kube_clients(
    kube_node: KubeRunning, kube_cloud: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeRunning]:
    """A gateway of our own before the shared cluster, whose node runs the pod `web`."""
    with kube_in(tmp_path_factory.mktemp("clients"), kube_cloud, kube_node.cluster, POLICY) as made:
        yield made


def decide(kube: KubeRunning, handle: str) -> Any:
    """Somebody approves; what was asked."""

    async def work() -> Any:
        store = await open_store(f"sqlite+aiosqlite:///{kube.state}/control.db")
        try:
            policy = PolicyStore(str(kube.folder / "policies.json")).current.digest
            request = await store.get(handle)
            ann = Principal(
                PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "uti", time.time() + 60, groups=frozenset([DBA])
            )
            approvals = Approvals(store, policy=lambda: policy)
            return await approvals.decide(
                handle, ann, Choice.APPROVE, checked=groups_to_check(request), comment="", seal=request.seal
            )
        finally:
            await store.close()

    return asyncio.run(work())


def handle_in(text: str) -> str:
    """The handle that a client was told."""
    return "hold-" + text.partition("`hold-")[2].partition("`")[0]


def test_the_python_client(kube_clients: KubeRunning, monkeypatch: pytest.MonkeyPatch) -> None:
    """List, create, watch, a command by WebSocket with input and output, and a held deletion with its reason."""
    from kubernetes import client, config, stream, watch
    from kubernetes.client.exceptions import ApiException

    monkeypatch.delenv("WICKETGATE_REASON", raising=False)
    api = config.new_client_from_config(str(kube_clients.plugin_kubeconfig()))
    core: Any = client.CoreV1Api(api)
    name = "by-python"
    listed = core.list_namespaced_config_map("shop")
    assert "settings" in {one.metadata.name for one in listed.items}
    seen: list[tuple[str, str]] = []

    def look() -> None:
        version = listed.metadata.resource_version
        with_ = {"namespace": "shop", "resource_version": version, "timeout_seconds": 30}
        watcher: Any = watch.Watch()
        for event in watcher.stream(core.list_namespaced_config_map, **with_):
            seen.append((event["type"], event["object"].metadata.name))
            if event["object"].metadata.name == name:
                return

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    made = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"a": "b"})
    assert core.create_namespaced_config_map("shop", made).data == {"a": "b"}
    watching.join(60)
    assert ("ADDED", name) in seen
    assert all(v == "bWFza2VkLWJ5LXdpY2tldGdhdGU=" for s in core.list_namespaced_secret("shop").items
               for v in (s.data or {}).values())  # fmt: skip

    run = stream.stream(
        core.connect_get_namespaced_pod_exec, "web", "shop", command=["cat"],
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    run.write_stdin("from-python\n")
    end = time.monotonic() + 60
    told = ""
    while "from-python\n" not in told and time.monotonic() < end:
        run.update(timeout=1)
        told += run.read_stdout() if run.peek_stdout() else ""
    run.close()
    assert told == "from-python\n"
    with pytest.raises(ApiException) as refused:
        stream.stream(core.connect_get_namespaced_pod_exec, "web", "shop", command=["id"], stdout=True)
    assert refused.value.status == 403 or "403" in str(refused.value)

    with pytest.raises(ApiException) as without:
        core.delete_namespaced_config_map(name, "shop")
    assert "this needs a reason" in str(without.value.body)
    assert "X-Wicketgate-Reason" in str(without.value.body)
    api.set_default_header("X-Wicketgate-Reason", "ticket 4711")
    with pytest.raises(ApiException) as held:
        core.delete_namespaced_config_map(name, "shop")
    assert held.value.status == 429
    assert decide(kube_clients, handle_in(str(held.value.body))).reason == "ticket 4711"
    core.delete_namespaced_config_map(name, "shop")
    with pytest.raises(ApiException):
        core.read_namespaced_config_map(name, "shop")


def test_client_go(kube_clients: KubeRunning, tmp_path: Path) -> None:
    """The same, built from its locked modules; kubectl gives a reason by the environment of its plugin."""
    go = find(print)
    built = subprocess.run(
        ["nice", str(go), "build", "-trimpath", "-o", str(tmp_path / "client"), "."],
        cwd=SOURCE, env={**environ(go), "CGO_ENABLED": "0"}, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    config = kube_clients.plugin_kubeconfig()
    environment = {**os.environ, "WICKETGATE_REASON": "no longer read"}

    def run(*arguments: str) -> dict[str, Any]:
        command = [str(tmp_path / "client"), str(config), "by-client-go", *arguments]
        return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90).stdout)

    found = run()
    assert "error" not in found, found
    assert "settings" in found["listed"]
    assert found["watched"] == ["ADDED", "b"]
    assert set(found["secrets"]) == {"masked-by-wicketgate"}
    assert found["ran"] == "from-client-go\n"
    assert "no rule of `clients` allows `create pods/exec web in shop: id`" in found["refused"]
    code, reason, message = found["held"]
    assert (code, reason) == (429, "TooManyRequests")
    assert decide(kube_clients, handle_in(message)).reason == "no longer read"
    assert run("delete") == {}
