"""OpenAPI documents: what is read of them, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from wicketgate_gateway.contract import openapi
from wicketgate_gateway.contract.errors import DocumentError

GOOD = """\
openapi: 3.1.0
servers: [{url: "https://{host}/v2", variables: {host: {default: api.example}}}]
paths:
  x-note: nothing
  /orders:
    get: {operationId: listOrders}
    post: {operationId: createOrder}
  /orders/{id}:
    parameters: []
    get: {operationId: getOrder}
    delete: {}
  /orders/mine:
    get: {operationId: myOrders}
  /reports/{name}.{format}:
    get: {operationId: report}
  /shared: {$ref: "#/components/pathItems/shared"}
components:
  pathItems:
    shared: {put: {operationId: share}}
"""


def written(folder: Path, text: str, name: str = "api.yaml") -> Path:
    """A file."""
    path = folder / name
    path.write_text(text)
    return path


def test_read(tmp_path: Path) -> None:
    """YAML, and JSON that YAML cannot read."""
    found = openapi.read(written(tmp_path, GOOD))
    assert [(op.method, op.path, op.id) for op in found.operations] == [
        ("GET", "/orders", "listOrders"),
        ("POST", "/orders", "createOrder"),
        ("GET", "/orders/{id}", "getOrder"),
        ("DELETE", "/orders/{id}", None),
        ("GET", "/orders/mine", "myOrders"),
        ("GET", "/reports/{name}.{format}", "report"),
        ("PUT", "/shared", "share"),
    ]
    assert found.servers == ("/v2",)
    assert found.places["getOrder"].line == 10
    text = '{\n\t"openapi": "3.0.3", "info": {"title": "\\ud83d\\ude00"},'
    text += '\n\t"paths": {"/a": {"get": {"operationId": "a"}}}}'
    assert [op.id for op in openapi.read(written(tmp_path, text, "api.json")).operations] == ["a"]


def test_the_target_is_where_the_document_says(tmp_path: Path) -> None:
    """A prefix that is elsewhere would make each rule by operation mean nothing."""
    found = openapi.read(written(tmp_path, GOOD))
    found.at("https://orders.internal/v2", None)
    with pytest.raises(DocumentError, match="begin at `/v2`, and the target's address at `/`"):
        found.at("https://orders.internal", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "api.yaml:1:1: no OpenAPI document"),
        ("swagger: '2.0'", "Swagger 2 is not read"),
        ("openapi: 4.0.0\npaths: {}", "api.yaml:1:1: `openapi`: OpenAPI `4.0.0` is not read"),
        ("openapi: 3.0.0", "has no `paths`"),
        ("openapi: 3.0.0\npaths:\n  orders: {}", "api.yaml:3:3: `paths.orders`: the path `orders` must begin with `/`"),
        ("openapi: 3.0.0\npaths:\n  /a//b: {}", "no empty segment"),
        ("openapi: 3.0.0\npaths:\n  /a%2fb: {}", "is no segment"),
        ("openapi: 3.0.0\npaths:\n  /{a}{b}: {}", "touch"),
        ("openapi: 3.0.0\npaths:\n  /{a}/{a}: {}", "twice"),
        ("openapi: 3.0.0\npaths:\n  /a/..: {}", "is no segment"),
        ("openapi: 3.0.0\npaths:\n  /a: {GET: {}}", "`GET` is no method"),
        ("openapi: 3.0.0\npaths:\n  /a: {get: []}", "must be a mapping"),
        ("openapi: 3.0.0\npaths:\n  /a: {$ref: other.yaml}", "refers to what is not"),
        ("openapi: 3.0.0\npaths:\n  /a: {servers: [{url: /x}]}", "`servers` of its own"),
        ("openapi: 3.0.0\npaths:\n  /a: {get: {operationId: 'a b'}}", "without blanks"),
        ("openapi: 3.0.0\npaths:\n  /a: {get: {operationId: a}}\n  /b: {get: {operationId: a}}", "first in line 3"),
        ("openapi: 3.0.0\npaths:\n  /a/{x}: {get: {}}\n  /a/{y}: {get: {}}", "can be meant by `/a/{y}` as well"),
        ("openapi: 3.0.0\npaths:\n  /a/{x}: {get: {}}\n  /{y}/b: {get: {}}", "can be meant by `/{y}/b` as well"),
        ("openapi: 3.0.0\npaths:\n  /{x}.a: {get: {}}\n  /b{y}: {get: {}}", "as well"),
        ('{"openapi": "3.0.0",\n"paths": {}', "api.yaml:2:12: not JSON"),
        ('{"openapi": "3.0.0",\n\t"paths": {"/a": {}, "/a": {}}}', "`/a` stands twice"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    """Each with file, line and what to do."""
    with pytest.raises(DocumentError) as raised:
        openapi.read(written(tmp_path, text))
    assert said in str(raised.value)
    assert "api.yaml" in str(raised.value)


def test_bounded(tmp_path: Path) -> None:
    """Neither a large file nor many operations."""
    with pytest.raises(DocumentError, match="over 4194304 bytes"):
        openapi.read(written(tmp_path, " " * (4 * 1024 * 1024 + 1)))
    with pytest.raises(DocumentError, match="permissions"):
        openapi.read(tmp_path / "missing.yaml")


def test_paths_of_different_methods_or_forms_do_not_cross(tmp_path: Path) -> None:
    """Only what one request can mean is ambiguous."""
    text = (
        "openapi: 3.0.0\npaths:\n  /a/{x}: {get: {}}\n  /{y}/b: {post: {}}\n  /a/b: {get: {}}\n"
        "  /r/{n}.csv: {get: {}}\n  /r/{n}.json: {get: {}}\n  /r/{n}: {get: {}}\n"
    )
    assert len(openapi.read(written(tmp_path, text)).operations) == 6
