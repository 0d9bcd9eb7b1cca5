"""Policies as files, and a proposal tried: nothing that is in force changes."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import BundledPolicy, Policy
from wicketgate_gateway.policy.applied import account_of
from wicketgate_gateway.policy.load import PolicySet, load_bundle
from wicketgate_gateway.ui import policies, proposals

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


@pytest.fixture
def bundle_file(desk: Any) -> Iterator[Path]:
    """The file of the bundle in force, put back as it was."""
    file = desk.folder / "bundle.json"
    before = file.read_text()
    yield file
    file.write_text(before)


def _until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


def test_an_administrator_puts_in_force_what_was_tried_out(desk: Any, tab: Any, bundle_file: Path) -> None:
    before = bundle_file.read_text()
    page = tab("Root")
    text = _text(page.get("/ui/policies/orders").text) + "description: for an incident\n"
    bundle = load_bundle(bundle_file).bundle
    found = proposals._read(bundle.policies[0], text, "orders.yaml")
    digest = PolicySet(proposals._with(bundle, bundle.policies[0], found)).digest
    assert digest != desk.policy
    form = {"do": "apply", "text": text, "cases": "", "digest": digest, "reason": "incident 7 <b>"}

    # Whatever is not exactly that is refused, and nothing changes.
    refused = {
        "without a reason": {"reason": " "},
        "another text": {"text": text + "record: {keep: 1d}\n"},
        "another digest": {"digest": desk.policy},
        "tests that fail": {"cases": "cases:\n  - deny: SELECT 1\n"},
        "no policy": {"text": "nonsense: 1\n"},
    }
    for name, change in refused.items():
        wrong = form | change
        answer = page.post("/ui/policies/orders", wrong)
        assert 400 <= answer.status_code < 500, name
        assert bundle_file.read_text() == before, name
    for person in ("Ada", "Dana"):
        assert tab(person).post("/ui/policies/orders", form).status_code == 403
    assert page.post("/ui/policies/orders", form, Origin="https://evil.example").status_code == 403
    assert bundle_file.read_text() == before

    done = page.post("/ui/policies/orders", form)
    assert (done.status_code, done.headers["location"]) == (303, "/ui/policies")
    assert load_bundle(bundle_file).digest == digest
    _until(lambda: digest in page.get("/ui/policies").text)
    account = account_of(digest, bundle_file, Path(desk.config.state))
    assert account is not None
    assert (account.by, account.policy, account.before) == ("Root", "orders", desk.policy)
    assert account.reason == "incident 7 <b>"

    # What was tried out on a bundle that is not the file's any more is refused, be it taken up yet or not.
    other = bundle.model_copy(update={"approvers": {}})
    bundle_file.write_text(other.render())
    assert page.post("/ui/policies/orders", form).status_code == 409
    assert load_bundle(bundle_file).digest == other.digest

    bundle_file.write_text(before)
    _until(lambda: desk.policy in page.get("/ui/policies").text)


def test_only_where_the_switch_says_so(desk: Any, tab: Any) -> None:
    assert "Apply now" not in tab("Ada").get("/ui/policies/orders").text
    off = desk.config.model_copy(update={"people": desk.config.people.model_copy(update={"apply_policies": False})})
    parts = SimpleNamespace(config=off)
    visit = SimpleNamespace(desk=SimpleNamespace(parts=parts), caller=SimpleNamespace(roles={"Gateway.Admin"}))
    assert not policies._may_apply(visit)
    parts.config = desk.config
    assert policies._may_apply(visit)
    visit.caller.roles = {"Session.Read"}
    assert not policies._may_apply(visit)


def _text(page: str) -> str:
    found = re.search(r'<textarea name="text"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_who_reaches_what(tab: Any) -> None:
    text = tab("Dana").get("/ui/access").text
    assert "code-review" in text
    assert "orders-db" in text
