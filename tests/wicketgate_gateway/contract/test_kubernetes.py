"""Terms on Kubernetes: what is refused when a policy is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.kubernetes import NAMED_ALONE, VARIABLES, KubernetesTerms, PodTrait
from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.wire.kubernetes.pods import TRAITS


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({}, "needs at least one of"),
        ({"verbs": ["exec"]}, "is no verb"),
        ({"resources": ["Pods"]}, "is not a resource"),
        ({"resources": ["pods/exec/x"]}, "is not a resource"),
        ({"resources": []}, "empty list"),
        ({"namespaces": ["a/b"]}, "is not a namespace"),
        ({"groups": ["Apps"]}, "is no API group"),
        ({"paths": ["metrics"]}, "is not a path"),
        ({"paths": ["/metrics"], "resources": ["pods"]}, "stand alone"),
        ({"object": {"spec": "1"}}, "is not a path"),
        ({"object": {}}, "limits nothing"),
        ({"object": {"$.a": []}}, "has no value"),
        ({"pod": ["root"]}, "Input should be"),
        ({"commands": ["ls; rm"], "resources": "pods/exec"}, "no plain word"),
        ({"shell": False, "verbs": "*"}, "says nothing"),
        ({"labels": {}, "verbs": "*"}, "limits nothing"),
        ({"ports": [0], "resources": "pods/portforward"}, "greater than or equal"),
        ({"verbs": None}, "has no value"),
    ],
)
def test_mistakes(terms: dict[str, Any], said: str) -> None:
    """Each is told."""
    with pytest.raises(ValidationError, match=said):
        KubernetesTerms.model_validate(terms)


def test_words() -> None:
    """One text is a list of it; traits are those that are found in pods; conditions get what they may ask."""
    assert KubernetesTerms.model_validate({"verbs": "get", "resources": "pods/log"}).resources == ["pods/log"]
    assert {trait.value for trait in PodTrait} == set(TRAITS)
    assert set(KubernetesPoint("get", resource="pods").values()) == set(VARIABLES)
    assert "exec" in NAMED_ALONE
