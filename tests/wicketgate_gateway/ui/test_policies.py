"""Policies as files, and a proposal tried: nothing that is in force changes."""

from __future__ import annotations

import re
from typing import Any

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import BundledPolicy, Policy
from wicketgate_gateway.ui import policies

DOCUMENT: dict[str, Any] = {
    "policy": "orders",
    "targets": {"kind": "postgres", "labels": {"env": "prod"}},
    "rules": [{"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}}],
    "mask": [{"columns": ["public.c.email"], "with": "null"}],
    "groups": {"40000000-0000-4000-8000-000000000001": "reviewers"},
}


def test_a_file_is_the_policy_without_what_the_stack_adds() -> None:
    bundled = BundledPolicy.model_validate(DOCUMENT, strict=False)
    text = policies.as_file(bundled)
    again = model.validate(Policy, yaml.parse(text, "orders.yaml"))
    assert "reviewers" not in text
    assert again.document() == {k: v for k, v in bundled.document().items() if k != "groups"}
    assert policies._targets(bundled) == "postgres env=prod"


def test_a_proposal_is_checked_and_changes_nothing(desk: Any, tab: Any) -> None:
    page = tab("Ada")
    shown = page.get("/ui/policies/orders").text
    assert desk.policy in page.get("/ui/policies").text
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", shown, re.DOTALL)
    assert found
    text = found[1].replace("&#39;", "'").replace("&quot;", '"')
    wrong = page.post("/ui/policies/orders", {"do": "try", "text": text + "\nnonsense: <b>\n"})
    assert "orders.yaml:" in wrong.text
    assert "<b>" not in wrong.text
    other = page.post("/ui/policies/orders", {"do": "try", "text": text.replace("policy: orders", "policy: others")})
    assert "not `orders`" in other.text
    file = page.post("/ui/policies/orders", {"do": "download", "text": "x: 1\r\n"})
    assert (file.text, file.headers["content-disposition"]) == ("x: 1\n", 'attachment; filename="orders.yaml"')
    patch = page.post("/ui/policies/orders", {"do": "patch", "text": text + "description: more\n"})
    assert patch.text.startswith("--- a/policies/access/orders.yaml\n+++ b/policies/access/orders.yaml\n")
    assert "+description: more" in patch.text
    assert desk.policy in page.get("/ui/policies").text
    assert tab("Dana").post("/ui/policies/orders", {"do": "try", "text": text}).status_code == 403


def test_who_reaches_what(tab: Any) -> None:
    text = tab("Dana").get("/ui/access").text
    assert "code-review" in text
    assert "orders-db" in text
