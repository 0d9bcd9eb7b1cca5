"""Until the protocol is understood nothing is let through."""

from __future__ import annotations

from wicketgate_gateway.contract.kubernetes import KubernetesTerms
from wicketgate_gateway.policy.kubernetes import compile_terms


def test_nothing_is_covered_and_all_is_met() -> None:
    """Fail closed."""
    rule = compile_terms(KubernetesTerms.model_validate({"verbs": "*"}))
    assert not rule.covers(object())
    assert rule.meets(object())
