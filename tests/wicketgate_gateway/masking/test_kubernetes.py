"""Values of Secrets in answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wicketgate_gateway.masking import kubernetes as masking
from wicketgate_gateway.wire.kubernetes.request import understand

SECRETS = understand("GET", "/api/v1/namespaces/a/secrets")
PODS = understand("GET", "/api/v1/namespaces/a/pods")
LAST = "kubectl.kubernetes.io/last-applied-configuration"


def secret(**more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "annotations": {LAST: '{"data":{"k":"canary"}}', "keep": "me"}},
        "data": {"k": "canary"},
        "stringData": {"k": "canary"},
        **more,
    }


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        (secret(kind="Secret"), SECRETS),
        (secret(), SECRETS),
        ({"kind": "SecretList", "items": [secret(), secret()]}, PODS),
        ({"items": [secret()]}, SECRETS),
        ({"kind": "List", "items": [secret(kind="Secret")]}, PODS),
        ({"kind": "Table", "rows": [{"cells": ["x"], "object": secret()}]}, SECRETS),
        ({"type": "ADDED", "object": secret(kind="Secret")}, SECRETS),
        ({"type": "ADDED", "object": {"kind": "Table", "rows": [{"object": secret()}]}}, SECRETS),
    ],
)
def test_values_are_masked_wherever_they_stand(value: Any, request_: Any) -> None:
    """Objects, lists, tables, watches; names of keys stay."""
    assert masking.mask(value, request_)
    text = json.dumps(value)
    assert "canary" not in text
    assert '"k"' in text
    assert '"keep": "me"' in text


def test_a_json_patch_is_masked_for_the_record() -> None:
    """Whatever path its values go to."""
    value = [{"op": "add", "path": "/data/k", "value": "canary"}, {"op": "remove", "path": "/data/l"}]
    assert masking.mask(value, understand("PATCH", "/api/v1/namespaces/a/secrets/x"))
    assert "canary" not in json.dumps(value)
    assert value[1] == {"op": "remove", "path": "/data/l"}
    assert not masking.mask([{"value": "v"}], PODS)


def test_sealed_values_differ_as_values_do() -> None:
    """And what is deleted stays deleted; the value itself is left alone."""
    value = {"data": {"a": "1", "b": "2", "c": None}, "metadata": {"name": "x"}}
    found = masking.sealed(value, lambda text: f"<{text.decode()}>")
    assert found == {"data": {"a": '<"1">', "b": '<"2">', "c": None}, "metadata": {"name": "x"}}
    assert value["data"]["a"] == "1"


def test_a_token_is_masked() -> None:
    """It would open the cluster past the gateway."""
    request = understand("POST", "/api/v1/namespaces/a/serviceaccounts/x/token")
    value = {"kind": "TokenRequest", "status": {"token": "canary"}}
    assert masking.mask(value, request)
    assert "canary" not in json.dumps(value)


def test_other_objects_are_left_alone() -> None:
    """Also those that have `data`."""
    value = {"kind": "ConfigMap", "data": {"k": "v"}, "metadata": {"annotations": {LAST: "x"}}}
    assert not masking.mask(value, PODS)
    assert value["data"] == {"k": "v"}


def test_what_was_masked_is_recognized() -> None:
    """When it is written back."""
    value = secret(kind="Secret")
    masking.mask(value, SECRETS)
    assert masking.holds_masked(value)
    assert masking.holds_masked([{"op": "add", "path": "/data/k", "value": masking.VALUE}])
    assert not masking.holds_masked(secret())
