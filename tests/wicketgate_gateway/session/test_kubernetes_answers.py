"""Answers: forms that are asked for, refusals, masks line by line."""

from __future__ import annotations

import json

import pytest

from wicketgate_gateway.contract.policy import Mask
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.documents import FieldMasks
from wicketgate_gateway.session import kubernetes_answers as answers
from wicketgate_gateway.wire.kubernetes.request import understand

SECRETS = understand("GET", "/api/v1/namespaces/a/secrets?watch=true")
PODS = understand("GET", "/api/v1/namespaces/a/pods")
PLAIN = answers.Masking(FieldMasks((), b""), None)
FIELDS = answers.Masking(
    FieldMasks.of([Mask.model_validate({"json": "$.**.mail", "with": "redact"}, strict=False)], b"k"), None
)


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("application/json;as=Table;v=v1,application/json", "application/json;as=Table;v=v1, application/json"),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json"),
        ("application/yaml", "application/json"),
        ("application/cbor;q=1", "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
    ],
)  # fmt: skip
def test_only_json_is_asked_for(accept: str, asked: str) -> None:
    """What is looked at must be readable."""
    assert answers.json_alone(accept) == asked


def test_a_dry_run() -> None:
    """Is asked once."""
    assert answers.dry_target(PODS) == "/api/v1/namespaces/a/pods?dryRun=All"
    dry = understand("POST", "/api/v1/namespaces/a/pods?dryRun=All")
    assert answers.dry_target(dry) == dry.target


def test_refusals() -> None:
    """A pending hold is 429 with its time, all else 403."""
    held = Verdict(Effect.HOLD, "r", "waits", "later", "hold-pending")
    denied = Verdict(Effect.DENY, "r", "no", "", "not-allowed")
    assert answers.code_of(held, 403) == 429
    assert answers.code_of(denied, 403) == 403
    assert json.loads(answers.refusal(held, 429))["details"]["retryAfterSeconds"] == 30
    assert json.loads(answers.refusal(denied, 403))["message"] == "wicketgate: no"


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_watch_is_masked_line_by_line(step: int) -> None:
    """However its lines are cut; unless the policy reveals."""
    event = {"type": "ADDED", "object": {"kind": "Secret", "data": {"k": "canary"}}}
    data = (json.dumps(event) + "\n").encode() * 3
    lines = answers.Lines(SECRETS, PLAIN, reveal=False)
    shown = b"".join(lines.feed(data[at : at + step]) for at in range(0, len(data), step)) + lines.flush()
    assert b"canary" not in shown
    assert len(shown.splitlines()) == 3
    open_ = answers.Lines(SECRETS, PLAIN, reveal=True)
    assert open_.feed(data) == data


def test_fields_and_what_is_not_json() -> None:
    """Fields are masked in any object; what cannot be read while something must be masked is nothing."""
    assert b"ann@" not in FIELDS.document(b'{"a":[{"mail":"ann@example.com"}]}', PODS, reveal=True)
    assert FIELDS.document(b"not json", PODS, reveal=False) == b""
    assert PLAIN.document(b"not json", SECRETS, reveal=False) == b""
    assert PLAIN.document(b"not json", PODS, reveal=False) == b"not json"
    assert answers.without_secrets(b"not json", SECRETS) == b""
    assert bool(FIELDS)
    assert not PLAIN
