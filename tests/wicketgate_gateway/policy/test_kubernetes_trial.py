"""Requests as text: what the audit says of one leads to the same point."""

from __future__ import annotations

import pytest

from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.policy.kubernetes_trial import point_of
from wicketgate_gateway.policy.ssh import Exec, ScriptText, Shell


@pytest.mark.parametrize(
    "point",
    [
        KubernetesPoint("get", resource="pods", namespace="prod", name="web-1"),
        KubernetesPoint("list", resource="secrets"),
        KubernetesPoint("delete", "apps", "deployments", "prod", "web"),
        KubernetesPoint("deletecollection", resource="configmaps", namespace="prod"),
        KubernetesPoint("create", resource="pods/exec", namespace="prod", name="web", run=Exec(("ls", "-l"))),
        KubernetesPoint("create", resource="pods/exec", namespace="prod", name="web", run=Shell()),
        KubernetesPoint("create", resource="pods/portforward", namespace="prod", name="web", ports=(80, 81)),
        KubernetesPoint("get", path="/metrics"),
    ],
    ids=str,
)
def test_a_point_is_read_back(point: KubernetesPoint) -> None:
    """As the audit has it."""
    found = point_of(str(point))
    assert str(found) == str(point)
    assert (found.verb, found.resource, found.run, found.ports, found.path) == (
        point.verb, point.resource, point.run, point.ports, point.path,
    )  # fmt: skip


def test_objects_scripts_and_mistakes() -> None:
    """The object follows, in the same line or the next."""
    assert point_of('create pods x in prod {"a": 1}').object == {"a": 1}
    assert point_of('create pods x in prod\n{"a": 1}').object == {"a": 1}
    assert point_of("patch pods x in prod").object == {}
    assert point_of("get pods x in prod").object is None
    script = point_of("create pods/exec web in prod: ls | wc").run
    assert isinstance(script, ScriptText)
    said = point_of("create pods/exec web in prod: script ls | wc (`|`)").run
    assert isinstance(said, ScriptText)
    assert said.text == "ls | wc"
    for text in ("get", "exec pods x", "get pods x in PROD", "create pods x in prod {"):
        with pytest.raises(ValueError, match="not"):
            point_of(text)
