"""Every object says whose it is."""

from __future__ import annotations

from wicketgate.deploy.objects import named


def test_labels_and_metadata_add_up() -> None:
    made = named("v1", "Service", "one", "here", labels={"a": "b"}, metadata={"annotations": {"c": "d"}}, spec={"e": 1})
    assert made == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "one",
            "namespace": "here",
            "labels": {"app.kubernetes.io/name": "wicketgate", "a": "b"},
            "annotations": {"c": "d"},
        },
        "spec": {"e": 1},
    }


def test_what_is_of_the_cluster_has_no_namespace() -> None:
    assert "namespace" not in named("v1", "Namespace", "one", None)["metadata"]
