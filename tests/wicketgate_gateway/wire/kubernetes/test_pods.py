"""What pods ask for, wherever their specification stands."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.wire.kubernetes.pods import TRAITS, images, traits


def pod(**spec: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i"}], **spec}


def container(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **more}]}


@pytest.mark.parametrize(
    ("spec", "trait"),
    [
        (container(securityContext={"privileged": True}), "privileged"),
        (container(securityContext={"allowPrivilegeEscalation": True}), "privileged"),
        (pod(volumes=[{"hostPath": {"path": "/"}}]), "host-path"),
        (pod(hostPID=True), "host-namespaces"),
        (container(ports=[{"hostPort": 80}]), "host-port"),
        (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "capabilities"),
        (pod(serviceAccount="admin"), "service-account"),
        (container(startupProbe={"exec": {"command": ["x"]}}), "exec-probe"),
        (container(lifecycle={"preStop": {"exec": {}}}), "lifecycle-exec"),
        ({"ephemeralContainers": [{"name": "d"}]}, "ephemeral-container"),
        (pod(securityContext={"runAsUser": 0}), "run-as-root"),
        (container(securityContext={"seccompProfile": {"type": "Unconfined"}}), "unconfined"),
        (pod(securityContext={"sysctls": [{"name": "x"}]}), "sysctls"),
        (pod(volumes=[{"projected": {"sources": [{"secret": {}}]}}]), "secret-volume"),
        (container(env=[{"valueFrom": {"secretKeyRef": {}}}]), "secret-env"),
        (pod(volumes=[{"projected": {"sources": [{"serviceAccountToken": {}}]}}]), "projected-token"),
        (pod(nodeName="n"), "node-name"),
        (pod(imagePullSecrets=[{"name": "x"}]), "image-pull-secret"),
    ],
)
def test_each_trait(spec: dict[str, Any], trait: str) -> None:
    """In a pod, in a template, in a template of templates, in a list."""
    assert trait in TRAITS
    for value in (
        {"spec": spec},
        {"spec": {"template": {"spec": spec}}},
        {"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}},
        {"kind": "List", "items": [{"spec": spec}]},
    ):
        assert traits(value) == {trait}


def test_plain_pods_and_odd_values_ask_for_nothing() -> None:
    """Nor does anything break."""
    assert traits({"spec": pod(serviceAccountName="default", hostNetwork=False)}) == frozenset()
    for value in (
        None,
        1,
        [],
        {"containers": 1},
        {"containers": [1, None]},
        {"containers": [{"env": "x", "ports": 1}]},
    ):
        assert traits({"spec": value}) == frozenset()
    assert images({"spec": {"template": {"spec": pod()}}}) == ["i"]
