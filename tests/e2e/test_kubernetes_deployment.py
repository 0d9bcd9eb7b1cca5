"""What the Kubernetes deployment renders is taken by a real API server, with Pod Security `restricted` enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tools.kubernetes.cluster import Cluster

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(600)]
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "kubernetes"
ELSEWHERE = ("cert-manager.io", "monitoring.coreos.com", "secrets-store.csi.x-k8s.io")
GROUPS = ("gateway", "agent-desk", "agent-far")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    from tools.kubernetes.cluster import cluster
    from tools.kubernetes.provide import provide

    with cluster(tmp_path_factory.mktemp("kubernetes"), provide(node=False)) as made:
        yield made


def documents(group: str) -> list[dict[str, Any]]:
    """The golden files are what the component registers; others' kinds are not on this server."""
    every = list(yaml.safe_load_all((GOLDEN / f"{group}.yaml").read_text()))
    return [d for d in every if d["apiVersion"].partition("/")[0] not in ELSEWHERE]


@pytest.fixture(scope="module", params=GROUPS)
def group(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    for name in GROUPS:
        for document in documents(name):
            if document["kind"] == "Namespace":
                cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return request.param


def test_each_object_is_valid_and_none_is_warned_of(cluster: Cluster, group: str) -> None:
    for document in documents(group):
        said = cluster.kubectl(
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-f",
            "-",
            stdin=json.dumps(document),
        )
        assert "server dry run" in said


def test_its_pods_are_admitted_by_pod_security_restricted(cluster: Cluster, group: str) -> None:
    from tools.engine.cache import ProvideError

    for document in documents(group):
        if document["kind"] not in ("StatefulSet", "Deployment"):
            continue
        template = json.loads(json.dumps(document["spec"]["template"]))
        # What the StatefulSet's controller adds for its claim template.
        if document["kind"] == "StatefulSet":
            template["spec"]["volumes"].append({"name": "state", "persistentVolumeClaim": {"claimName": "state"}})
        metadata = {**template["metadata"], "name": "probe", "namespace": document["metadata"]["namespace"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        apply = ("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")
        assert "server dry run" in cluster.kubectl(*apply, stdin=json.dumps(pod))
        # The counter-check: the same pod without what it gives up is refused.
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with pytest.raises(ProvideError, match="violates PodSecurity"):
            cluster.kubectl(*apply, stdin=json.dumps(pod))
