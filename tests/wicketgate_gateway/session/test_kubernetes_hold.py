"""What is stored of a held request, and what approvers see."""

from __future__ import annotations

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.kubernetes_operation import point_of
from wicketgate_gateway.session.kubernetes_hold import canonical, difference, parsed, reach
from wicketgate_gateway.session.kubernetes_request import Asked
from wicketgate_gateway.wire.http.head import parse_request
from wicketgate_gateway.wire.kubernetes import body as bodies
from wicketgate_gateway.wire.kubernetes.protobuf import FORM, MAGIC
from wicketgate_gateway.wire.kubernetes.request import understand

HEAD = parse_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def asked(method: str, target: str, form: str = "", data: bytes = b"") -> Asked:
    request = understand(method, target)
    body = bodies.read(request, form, data)
    return Asked(
        HEAD, request, body, point_of(request, body, {} if body and body.opaque else None), Verdict(Effect.HOLD, "r")
    )


@pytest.mark.parametrize(
    "one",
    [
        asked("DELETE", "/api/v1/namespaces/a/pods/x?gracePeriodSeconds=0"),
        asked("DELETE", "/api/v1/namespaces/a/pods/x", "application/json", b'{"propagationPolicy":"Background"}'),
        asked("PATCH", "/api/v1/namespaces/a/pods/x", "application/merge-patch+json", '{"a":"ü\\u202e"}'.encode()),
        asked("POST", "/api/v1/namespaces/a/pods", FORM, MAGIC + b"\xff\x00"),
        asked("POST", "/api/v1/namespaces/a/pods/x/exec?command=ls&command=a%20b"),
    ],
    ids=lambda one: str(one.point),
)
def test_what_runs_is_what_was_stored(one: Asked) -> None:
    """The text leads to the same bytes."""
    request, body = parsed(canonical(one))
    assert request.target == one.request.target
    assert (body.raw if body else b"") == (one.body.raw if one.body else b"")
    assert (body.form if body else "") == (one.body.form if one.body else "")


def test_exec_is_the_same_by_get_and_post() -> None:
    """A client that falls back from WebSocket to SPDY asks for the same thing."""
    target = "/api/v1/namespaces/a/pods/x/exec?command=ls"
    assert canonical(asked("GET", target)) == canonical(asked("POST", target))
    assert canonical(asked("GET", target)) != canonical(asked("GET", target + "&tty=true"))


def test_a_diff_holds_no_values_of_secrets() -> None:
    """Nor what the API server keeps for itself."""
    request = understand("PATCH", "/api/v1/namespaces/a/secrets/x")
    before = {"kind": "Secret", "metadata": {"uid": "1", "labels": {}}, "data": {"k": "canary-1"}}
    after = {"kind": "Secret", "metadata": {"uid": "2", "labels": {"a": "b"}}, "data": {"k": "canary-2"}}
    shown = difference(before, after, request)
    assert "canary" not in shown
    assert "uid" not in shown
    assert '+      "a": "b"' in shown
    assert difference(before, before, request) == "(no change)"
    assert before["data"] == {"k": "canary-1"}


def test_reach() -> None:
    """A deletion shows what goes, an exec the pod that it enters."""
    gone = reach(asked("DELETE", "/api/v1/namespaces/a/configmaps/x"), {"data": {"k": "v"}}, None)
    assert '-    "k": "v"' in gone["plan"]
    pod = {"spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Running"}}
    entered = reach(asked("POST", "/api/v1/namespaces/a/pods/x/exec?command=ls"), pod, None)
    assert "container c: i" in entered["plan"]
    assert entered["note"] == "create pods/exec x in a: ls"
    unknown = reach(asked("POST", "/api/v1/namespaces/a/pods/x/exec?command=ls"), None, None)
    assert "could not be looked at" in unknown["plan"]


def test_a_change_that_no_dry_run_told_is_no_deletion() -> None:
    """Approvers read that it is not known, and no diff in which the object goes away."""
    one = asked("PATCH", "/apis/apps/v1/namespaces/a/deployments/x/scale", "application/merge-patch+json", b"{}")
    unknown = reach(one, {"spec": {"replicas": 1}}, None)["plan"]
    assert "did not tell" in unknown
    assert "-" not in unknown
    told = reach(one, {"spec": {"replicas": 1}}, {"spec": {"replicas": 3}})["plan"]
    assert '+    "replicas": 3' in told
