"""Bodies: what is read, and what is refused since another reader may read another thing."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.kubernetes import body
from wicketgate_gateway.wire.kubernetes.protobuf import MAGIC
from wicketgate_gateway.wire.kubernetes.request import RequestError, understand

CREATE = understand("POST", "/api/v1/namespaces/a/pods")
PATCH = understand("PATCH", "/api/v1/namespaces/a/pods/x")
DELETE = understand("DELETE", "/api/v1/namespaces/a/pods/x")
DRY = understand("DELETE", "/api/v1/namespaces/a/pods/x?dryRun=All")


def test_json_yaml_and_patches() -> None:
    """All go out as compact JSON."""
    found = body.read(CREATE, "application/json; charset=utf-8", b'{ "a": [1, 2.5, "\\u00fc"] }')
    assert found is not None
    assert found.raw == '{"a":[1,2.5,"ü"]}'.encode()
    applied = body.read(PATCH, "application/apply-patch+yaml", b"a: {b: 1}\n")
    assert applied is not None
    assert (applied.applies, applied.raw) == (True, b'{"a":{"b":1}}')
    assert body.read(PATCH, "application/json-patch+json", b"[]") is not None
    assert body.read(CREATE, "", b"") is None
    opaque = body.read(CREATE, "application/vnd.kubernetes.protobuf", MAGIC + b"x")
    assert opaque is not None
    assert opaque.opaque


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("application/json", b'{"a":1,"a":2}'),
        ("application/json", b'{"a":NaN}'),
        ("application/json", b'{"a":1e999}'),
        ("application/json", b'{"a":1}{}'),
        ("application/json", b"[1]"),
        ("application/json", b'"x"'),
        ("application/json", b'\xef\xbb\xbf{"a":1}'),
        ("application/json", b'{"a":"\\ud800"}'),
        ("application/json", b'{"a":\xff}'),
        ("application/json", b'{"a":' * 300 + b"1" + b"}" * 300),
        ("application/json", b"[" * 100_000),
        ("application/yaml", b"a: &x 1\nb: *x\n"),
        ("application/yaml", b"a: 1\na: 2\n"),
        ("application/yaml", b"a: 1\n---\nb: 1\n"),
        ("application/cbor", b"\xa0"),
        ("text/plain", b"{}"),
        ("application/json; charset=utf-16", b"{}"),
        ("application/vnd.kubernetes.protobuf", b"{}"),
    ],
)
def test_refused(form: str, data: bytes) -> None:
    """Whatever has no one reading."""
    with pytest.raises(RequestError):
        body.read(CREATE, form, data)


def test_names() -> None:
    """Of path and body are one; what is generated is not known."""
    assert body.checked_names(CREATE, {"metadata": {"name": "x"}}) == "x"
    assert body.checked_names(CREATE, {"metadata": {"generateName": "x-", "name": "x-made"}}) == ""
    assert body.checked_names(CREATE, None) == ""
    for value in (
        {"metadata": {"namespace": "b"}}, {"metadata": []}, {"metadata": {"name": 1}},
    ):  # fmt: skip
        with pytest.raises(RequestError):
            body.checked_names(CREATE, value)
    with pytest.raises(RequestError):
        body.checked_names(PATCH, {"metadata": {"name": "y"}})


def test_a_dry_run_that_the_body_takes_back_is_none() -> None:
    """The API server heeds a DELETE's body alone."""
    options = body.Body("application/json", {"dryRun": ["All"]}, b"")
    assert body.dry_run(DRY, None)
    assert body.dry_run(DELETE, options)
    assert not body.dry_run(DELETE, body.Body("application/json", {}, b""))
    for said in ({}, {"dryRun": []}, {"dryRun": "All"}, {"dryRun": ["All", "x"]}):
        with pytest.raises(RequestError):
            body.dry_run(DRY, body.Body("application/json", said, b""))
