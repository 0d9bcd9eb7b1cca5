"""What is stored of a held request, and what approvers see."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.kubernetes_operation import point_of
from wicketgate_gateway.session.kubernetes_hold import canonical, difference, reach
from wicketgate_gateway.session.kubernetes_request import Asked
from wicketgate_gateway.wire.http.head import parse_request
from wicketgate_gateway.wire.kubernetes import body as bodies
from wicketgate_gateway.wire.kubernetes.protobuf import FORM, MAGIC
from wicketgate_gateway.wire.kubernetes.request import understand

KEY = b"k" * 32
LAST = "kubectl.kubernetes.io/last-applied-configuration"
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
def test_the_text_holds_all_that_goes_out(one: Asked) -> None:
    """It leads to the same target and bytes, so no other request has it."""
    document = json.loads(canonical(one, KEY))
    method = "POST" if document["method"] == "CONNECT" else document["method"]
    assert understand(method, document["target"]).target == one.request.target
    raw, form = b"", ""
    if "body" in document:
        raw, form = bodies.canonical(document["body"]), document["type"]
    elif "protobuf" in document:
        raw, form = bytes.fromhex(document["protobuf"]), FORM
    assert raw == (one.body.raw if one.body else b"")
    assert form == (one.body.form if one.body else "")


@pytest.mark.parametrize(
    ("method", "form", "document"),
    [
        ("PUT", "application/json", {"data": {"k": "$"}, "metadata": {"annotations": {LAST: "$"}}}),
        ("PUT", "application/json", {"stringData": {"k": "$"}}),
        ("PUT", "application/json", {"data": ["$"]}),
        ("PATCH", "application/merge-patch+json", {"data": {"k": "$", "gone": None}}),
        ("PATCH", "application/apply-patch+yaml", {"kind": "Secret", "data": {"k": {"deep": "$"}}}),
        ("PATCH", "application/json-patch+json", [{"op": "add", "path": "/data/k", "value": "$"}]),
        ("PATCH", "application/json-patch+json", [{"op": "add", "path": "", "value": {"data": {"k": "$"}}}]),
    ],
)
def test_values_of_secrets_are_bound_and_not_kept(method: str, form: str, document: Any) -> None:
    """Another value is another operation; neither stands in the text, which goes to people and to the store."""
    texts = [
        canonical(asked(method, "/api/v1/namespaces/a/secrets/x", form, json.dumps(document).replace("$", v).encode()),
                  KEY)
        for v in ("canary-1", "canary-2")
    ]  # fmt: skip
    assert texts[0] != texts[1]
    assert all("canary" not in text and "hmac-sha256:" in text for text in texts)
    assert ("gone" in texts[0]) == ('"gone": null' in texts[0])


def test_a_secret_in_protobuf_is_bound_and_not_kept() -> None:
    """Nor in hexadecimal digits."""
    text = canonical(asked("POST", "/api/v1/namespaces/a/secrets", FORM, MAGIC + b"canary"), KEY)
    assert b"canary".hex() not in text
    assert "hmac-sha256:" in text


def test_exec_is_the_same_by_get_and_post() -> None:
    """A client that falls back from WebSocket to SPDY asks for the same thing."""
    target = "/api/v1/namespaces/a/pods/x/exec?command=ls"
    assert canonical(asked("GET", target), KEY) == canonical(asked("POST", target), KEY)
    assert canonical(asked("GET", target), KEY) != canonical(asked("GET", target + "&tty=true"), KEY)


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
