"""The terms of rules on requests to Kubernetes, compiled."""

from __future__ import annotations

from typing import Any

from wicketgate_gateway.contract.kubernetes import KubernetesTerms


class KubernetesRule:
    """The terms of one rule. Until requests are understood nothing is covered, and everything is met."""

    def __init__(self, terms: KubernetesTerms) -> None:
        self._terms = terms

    def __str__(self) -> str:
        return ", ".join(f"`{v}`" for v in self._terms.verbs or ("*",)) + " on objects of Kubernetes"

    def covers(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        return False

    def meets(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        return True


def compile_terms(terms: KubernetesTerms) -> KubernetesRule:
    """A rule's terms, ready to match."""
    return KubernetesRule(terms)
