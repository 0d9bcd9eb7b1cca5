"""A request under way."""

from __future__ import annotations

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.session.kubernetes_request import Asked
from wicketgate_gateway.wire.http.head import parse_request
from wicketgate_gateway.wire.kubernetes.body import Body
from wicketgate_gateway.wire.kubernetes.request import understand


def test_what_is_sent() -> None:
    """The body that was understood, or the backend's own behind `proxy`."""
    head = parse_request(b"POST /api/v1/namespaces/a/pods HTTP/1.1\r\nHost: x\r\n\r\n")
    request = understand("POST", "/api/v1/namespaces/a/pods")
    verdict, point = Verdict(Effect.ALLOW, "r"), KubernetesPoint("create", resource="pods")
    assert Asked(head, request, Body("application/json", {}, b"{}"), point, verdict, raw=b"x").sent == b"{}"
    assert Asked(head, request, None, point, verdict, raw=b"x").sent == b"x"
