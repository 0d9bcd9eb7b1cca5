"""The documents of a stack's targets: read at preview, checked against the address and the rules."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate.policy.bundle import read_policies
from wicketgate.policy.openapi import documents_of, operations_in
from wicketgate.targets import HttpTarget
from wicketgate_gateway.contract.errors import DocumentError

API = "openapi: 3.0.0\nservers: [{url: /v2}]\npaths:\n  /orders/{id}: {delete: {operationId: deleteOrder}}\n"


def stack(address: str, openapi: str | None = "api.yaml") -> Any:
    """Settings with one target."""
    target = HttpTarget.model_validate({"kind": "http", "agent": "eu", "address": address, "openapi": openapi})
    return SimpleNamespace(targets={"orders-api": target, "other": target.model_copy(update={"openapi": None})})


def test_documents(tmp_path: Path) -> None:
    """Of those targets that have one."""
    (tmp_path / "api.yaml").write_text(API)
    found = documents_of(stack("https://orders.internal/v2"), tmp_path)
    assert found == {"orders-api": str(tmp_path / "api.yaml")}
    assert [op.id for op in operations_in(found)["orders-api"]] == ["deleteOrder"]
    with pytest.raises(DocumentError, match="begin at `/v2`"):
        documents_of(stack("https://orders.internal"), tmp_path)
    (tmp_path / "api.yaml").write_text("openapi: 3.0.0\npaths:\n  /a: {GET: {}}\n")
    with pytest.raises(DocumentError, match=r"api\.yaml:3:8"):
        operations_in(found)


@pytest.mark.parametrize("targets", ["[orders-api]", "{labels: {team: a}}"])
def test_rules_by_operation_need_one(tmp_path: Path, targets: str) -> None:
    """Told with file and line; also where the policy selects its targets by labels."""
    (tmp_path / "p.yaml").write_text(
        f"policy: p\ntargets: {targets}\nrules:\n  - deny: {{http: {{operations: deleteOrder}}}}\n"
    )
    (tmp_path / "api.yaml").write_text(API)
    kinds, labels = {"orders-api": "http"}, {"orders-api": {"team": "a"}}
    with pytest.raises(DocumentError, match=r"p\.yaml:4.*`orders-api` has no OpenAPI document"):
        read_policies(tmp_path, ["p"], kinds=kinds, labels=labels, operations={})
    operations = operations_in({"orders-api": str(tmp_path / "api.yaml")})
    assert set(read_policies(tmp_path, ["p"], kinds=kinds, labels=labels, operations=operations)) == {"p"}
