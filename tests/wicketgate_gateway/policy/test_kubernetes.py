"""What rules on Kubernetes cover and meet."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.kubernetes import KubernetesTerms
from wicketgate_gateway.policy.kubernetes import UNKNOWN, KubernetesPoint, compile_terms
from wicketgate_gateway.policy.ssh import Exec, ScriptText, Shell


def covers(terms: dict[str, Any], point: KubernetesPoint) -> bool:
    return compile_terms(KubernetesTerms.model_validate(terms)).covers(point)


def meets(terms: dict[str, Any], point: KubernetesPoint) -> bool:
    return compile_terms(KubernetesTerms.model_validate(terms)).meets(point)


GET = KubernetesPoint("get", resource="pods", namespace="prod", name="web-1")
LIST = KubernetesPoint("list", resource="pods", namespace="prod")
EVERYWHERE = KubernetesPoint("list", resource="pods")
SCALE = KubernetesPoint("patch", "apps", "deployments/scale", "prod", "web", writes=True, object=UNKNOWN)


def run(what: Any, name: str = "web-1") -> KubernetesPoint:
    return KubernetesPoint("create", resource="pods/exec", namespace="prod", name=name, run=what)


def created(spec: dict[str, Any], name: str = "x") -> KubernetesPoint:
    return KubernetesPoint(
        "create", resource="pods", namespace="prod", name=name, writes=True, object={"kind": "Pod", "spec": spec}
    )


@pytest.mark.parametrize(
    ("terms", "point", "expected"),
    [
        ({"verbs": "get", "resources": "pods"}, GET, True),
        ({"verbs": "read", "resources": "*"}, LIST, True),
        ({"verbs": "list", "resources": "pods"}, GET, False),
        ({"verbs": "read", "resources": "pods", "namespaces": "prod"}, EVERYWHERE, False),
        ({"verbs": "read", "resources": "pods", "names": "web-*"}, LIST, False),
        ({"verbs": "read", "resources": "pods", "names": "web-*"}, GET, True),
        ({"verbs": "*", "resources": "*"}, SCALE, False),
        ({"verbs": "*", "resources": "*/*"}, SCALE, True),
        ({"verbs": "*", "resources": "deployments/scale"}, SCALE, True),
        ({"verbs": "*", "resources": "deployments/scale", "groups": ""}, SCALE, False),
        ({"verbs": "*", "resources": "pods/*", "commands": "ls"}, run(Exec(("ls",))), False),
        ({"verbs": "*", "resources": "*"}, KubernetesPoint("get", "evil.example.com", "pods", "prod", "x"), False),
        ({"verbs": "*", "namespaces": "prod"}, KubernetesPoint("get", resource="nodes/proxy", name="n"), False),
        ({"resources": "pods/exec", "commands": "ls *"}, run(Exec(("ls", "x"))), True),
        ({"resources": "pods/exec", "commands": "ls *"}, run(Exec(("ls",))), False),
        ({"resources": "pods/exec"}, run(Exec(("ls",))), False),
        ({"resources": "pods/exec", "commands": "sh"}, run(Shell()), False),
        ({"resources": "pods/exec", "shell": True}, run(Shell()), True),
        ({"resources": "pods/exec", "scripts": "*"}, run(ScriptText("a|b", True, "x")), True),
        ({"resources": "pods/exec", "scripts": "*"}, run(ScriptText("a|b", False, "x")), False),
        ({"resources": "pods", "object": {"$.spec.x": "1"}}, created({"x": 1}), True),
        ({"resources": "pods", "object": {"$.spec.x": "1"}}, created({"x": 2}), False),
        ({"resources": "pods", "object": {"$.spec.x": "1"}}, created({}), False),
        ({"resources": "deployments/scale", "groups": "apps", "object": {"$.a": "*"}}, SCALE, False),
        ({"resources": "pods", "pod": ["host-path"]}, created({"containers": [], "hostNetwork": True}), False),
        ({"paths": "/metrics"}, KubernetesPoint("get", path="/metrics"), True),
        ({"verbs": "get"}, KubernetesPoint("get", path="/metrics"), False),
        ({"paths": "/metrics"}, GET, False),
        (
            {"verbs": "list", "resources": "secrets", "labels": {"owner": "helm"}},
            KubernetesPoint("list", resource="secrets", namespace="prod", labels={"owner": "helm"}),
            True,
        ),
        (
            {"verbs": "list", "resources": "secrets", "labels": {"owner": "helm"}},
            KubernetesPoint("list", resource="secrets", namespace="prod"),
            False,
        ),
    ],
)
def test_what_an_allow_covers_is_certain(terms: dict[str, Any], point: KubernetesPoint, expected: bool) -> None:
    """Whatever is not certain is not covered."""
    assert covers(terms, point) is expected


@pytest.mark.parametrize(
    ("terms", "point", "expected"),
    [
        ({"resources": "pods"}, run(Exec(("ls",))), True),
        ({"resources": "pods", "namespaces": "prod"}, EVERYWHERE, True),
        ({"resources": "pods", "names": "web-1"}, LIST, True),
        ({"resources": "pods", "names": "db-*"}, GET, False),
        ({"verbs": "create", "resources": "pods/exec", "commands": "rm **"}, run(Shell()), True),
        ({"verbs": "create", "resources": "pods/exec", "commands": "rm **"}, run(Exec(("rm", "-rf", "/"))), True),
        ({"resources": "pods/exec", "commands": "rm **"}, run(ScriptText("ls; rm x", True, "`;`")), True),
        ({"resources": "pods/exec", "commands": "rm **"}, run(Exec(("ls",))), False),
        ({"resources": "pods", "pod": "host-path"}, created({"containers": [], "volumes": [{"hostPath": {}}]}), True),
        ({"resources": "pods", "pod": "host-path"}, created({"containers": []}), False),
        ({"pod": "privileged"}, SCALE, True),
        ({"object": {"$.spec.replicas": "0"}}, SCALE, True),
        ({"verbs": "delete"}, GET, False),
        ({"verbs": "delete"}, KubernetesPoint("delete", "evil.example.com", "pods", "prod", "x"), True),
    ],
)
def test_what_a_deny_meets_is_possible(terms: dict[str, Any], point: KubernetesPoint, expected: bool) -> None:
    """Whatever may be is met."""
    assert meets(terms, point) is expected


def test_points_are_said() -> None:
    """For people."""
    assert str(GET) == "get pods web-1 in prod"
    assert str(run(Exec(("rm", "-rf", "/tmp/x")))) == "create pods/exec web-1 in prod: rm -rf /tmp/x"
    assert str(SCALE) == "patch deployments/scale.apps web in prod"
    assert run(Shell()).kind == "exec"
    said = str(compile_terms(KubernetesTerms.model_validate({"verbs": "read", "resources": "pods", "namespaces": "a"})))
    assert said == "`read` `pods` in `a`"
    assert not compile_terms(KubernetesTerms.model_validate({"verbs": "*"})).covers(object())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api", True), ("/apis", True), ("/apis/apps/v1", True), ("/openapi/v3/apis/apps/v1", True),
        ("/version", True), ("/readyz", True), ("/metrics", False), ("/", False), ("/logs", False),
        ("/debug/pprof", False), ("/apiserver", False), ("", False),
    ],
)  # fmt: skip
def test_what_every_client_asks_first_needs_no_rule(path: str, expected: bool) -> None:
    """Only by reading."""
    assert KubernetesPoint("get", path=path).discovers is expected
    assert not KubernetesPoint("post", path=path).discovers
