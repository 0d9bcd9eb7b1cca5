"""Every request of `kubernetes.yaml`, through the real gateway to a real API server: refused, recorded, no effect."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters import TARGET, KubeRunning, kube_in
from wicketgate_gateway.audit.events import AgentDisconnected, Operation, SessionRefused

pytestmark = [pytest.mark.slow, pytest.mark.build]
CORPUS: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "kubernetes.yaml").read_text())
ATTACKS = [
    pytest.param({"ask": attack} if isinstance(attack, str) else attack, id=f"{group}: {name}")
    for group, attacks in CORPUS.items()
    for name, attack in attacks.items()
]
POLICY: dict[str, Any] = {
    "policy": "attacked",
    "targets": [TARGET],
    "rules": [
        {
            "allow": {
                "kubernetes": {
                    "verbs": "read",
                    "resources": ["pods", "configmaps", "services", "deployments", "secrets"],
                    "namespaces": "shop",
                }
            }
        },
        {
            "allow": {
                "kubernetes": {
                    "verbs": ["create", "update", "patch"],
                    "resources": ["pods", "configmaps", "deployments"],
                    "namespaces": "shop",
                }
            }
        },
        {"allow": {"kubernetes": {"resources": "pods/exec", "namespaces": "shop", "commands": "ls **"}}},
        {"deny": {"kubernetes": {"verbs": "write", "resources": "configmaps", "names": "prot*"}}},
        {
            "deny": {
                "kubernetes": {
                    "pod": [
                        "privileged", "host-path", "host-namespaces", "service-account", "exec-probe",
                        "lifecycle-exec", "secret-volume", "secret-env",
                    ]
                }
            }
        },
    ],
}  # fmt: skip
CANARIES = (b"canary", b"c2VjcmV0LWNhbmFyeQ")
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    },
}


@pytest.fixture(scope="module")
def ground(kube_cloud: Any, kube_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeRunning]:
    """A gateway of its own, before the shared cluster, with what attacks are after."""
    kube_cluster.kubectl("-n", "kube-system", "create", "secret", "generic", "root", "--from-literal=k=secret-canary")
    kube_cluster.kubectl("create", "-f", "-", stdin=json.dumps(DEPLOYMENT))
    pod = {"name": "web", "namespace": "shop"}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    # A node's pod of that name may stand there already, which other modules still use: it does as well.
    if not kube_cluster.kubectl("-n", "shop", "get", "pod", "web", "--ignore-not-found", "-o", "name"):
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": spec}
        kube_cluster.kubectl("create", "-f", "-", stdin=json.dumps(document))
    with kube_in(tmp_path_factory.mktemp("attacked"), kube_cloud, kube_cluster, POLICY) as made:
        yield made


def state(ground: KubeRunning) -> str:
    """Everything that an attack could change, as the API server's administrator sees it."""
    kinds = "pods,configmaps,secrets,deployments.apps,namespaces,clusterrolebindings,apiservices,leases"
    found = json.loads(ground.cluster.kubectl("get", kinds, "-A", "-o", "json"))
    items = [item for item in found["items"] if item["kind"] != "Lease" or "wicketgate" in item["metadata"]["name"]]
    return "\n".join(
        sorted(f"{item['kind']} {item['metadata'].get('namespace')} {item['metadata']['name']} "
               f"{item['metadata'].get('generation')} {json.dumps(item.get('data'))}" for item in items)
    )  # fmt: skip


def send(ground: KubeRunning, attack: dict[str, Any]) -> bytes:
    """The answer to the raw bytes of a request."""
    words = attack["ask"].split(" ", 1)
    whole = words[0] == "RAW"
    method, path = words[1].split(" ", 1) if whole else words
    token = ground.cloud.bot_token()
    target = (path if whole else f"/t/{TARGET}{path}").replace("=T", f"={token}")
    headers = {"Host": "localhost", "Authorization": f"Bearer {token}"}
    body = attack.get("body", "").encode("latin-1" if "cbor" in attack.get("type", "") else "utf-8", "surrogatepass")
    if body:
        headers["Content-Length"] = str(len(body))
        headers["Content-Type"] = attack.get("type", "application/json")
    for name, value in attack.get("headers", {}).items():
        if value:
            headers[name] = value.replace(" T", f" {token}").replace("~T", f"~{token}")
        else:
            headers.pop(name, None)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    context = ssl.create_default_context(cafile=str(ground.ca_file))
    with (
        socket.create_connection(("localhost", ground.ports["kubernetes"]), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.settimeout(20)
        sock.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = sock.recv(65536)
            if not data:
                break
            answer += data
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while len(answer.partition(b"\r\n\r\n")[2]) < length:
            data = sock.recv(65536)
            if not data:
                break
            answer += data
        return answer


def test_the_corpus_is_large_and_each_attack_is_another() -> None:
    """At least eighty."""
    said = [json.dumps(parameters.values[0], sort_keys=True) for parameters in ATTACKS]
    assert len(said) >= 120
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(ground: KubeRunning, attack: dict[str, Any]) -> None:
    """It is refused by the gateway itself, on record, and nothing changed or came out."""
    before = len(ground.events())
    answer = send(ground, attack)
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 506, answer[:400]
    assert b"wicketgate" in answer or status in (400, 413, 501), answer[:600]
    for canary in CANARIES:
        assert canary not in answer
    ground.wait(lambda: any(_refusal(event) for event in ground.events()[before:]))
    allowed = [e for e in ground.events()[before:] if isinstance(e, Operation) and e.effect == "allow"]
    assert not allowed


def _refusal(event: Any) -> bool:
    return isinstance(event, SessionRefused) or (isinstance(event, Operation) and event.effect != "allow")


@pytest.mark.parametrize("size", [20_000, 62_000, 200_000])
def test_a_huge_request_costs_no_other_one_anything(ground: KubeRunning, size: int) -> None:
    """Heads, names and label selectors go over the tunnel that all sessions share."""
    before = len(ground.events())
    headers = {f"X-{n}": "v" * 1000 for n in range(size // 1010)}
    paths = ["/api/v1/namespaces/shop/pods", f"/api/v1/namespaces/shop/pods/{'x' * size}",
             f"/api/v1/namespaces/shop/pods?labelSelector=a%3D{'x' * size}"]  # fmt: skip
    for path in paths:
        for more in ({}, headers):
            with contextlib.suppress(OSError):
                send(ground, {"ask": f"GET {path}", "headers": more})
    assert send(ground, {"ask": "GET /api/v1/namespaces/shop/pods"}).startswith(b"HTTP/1.1 200")
    assert not [event for event in ground.events()[before:] if isinstance(event, AgentDisconnected)]


def test_nothing_changed(ground: KubeRunning) -> None:
    """All attacks once more, and the cluster is as it was."""
    before = state(ground)
    for parameters in ATTACKS:
        send(ground, parameters.values[0])
    assert state(ground) == before


def test_the_ground_is_alive(ground: KubeRunning) -> None:
    """What the policy allows works: else all would be refused for another reason."""
    assert "web" in ground.kubectl("get", "pods").stdout
    assert ground.kubectl("create", "configmap", "fine", "--from-literal=a=b").returncode == 0
    found = ground.kubectl("get", "secret", "db", "-o", "json")
    assert "password" in found.stdout
    assert "canary" not in found.stdout
