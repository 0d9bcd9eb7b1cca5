"""A proposal tried out: test cases, and what would have changed."""

from __future__ import annotations

from typing import Any

from wicketgate_gateway.cli.policy_replay import Change
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy, Policy
from wicketgate_gateway.ui import proposals

TEXT = """
policy: orders
targets: [orders-db]
rules:
  - allow: {sql: {statements: [read], relations: [public.orders]}}
"""
OTHER: dict[str, Any] = {
    "policy": "others",
    "targets": ["orders-db"],
    "rules": [{"allow": {"sql": {"statements": ["write"], "relations": ["public.orders"]}}}],
    "groups": {"40000000-0000-4000-8000-000000000001": "reviewers"},
}


def outcome(cases: str) -> dict[str, Any]:
    bundle = Bundle(tenant="40000000-0000-4000-8000-000000000009", policies=[BundledPolicy.model_validate(OTHER)])
    proposal = model.validate(Policy, yaml.parse(TEXT, "orders.yaml"))
    return proposals.run_cases(bundle, proposal, cases)


def test_cases_are_decided() -> None:
    found = outcome("cases:\n  - allow: [SELECT * FROM orders, SELECT 1]\n  - deny: DELETE FROM orders\n")
    assert (found["problems"], found["decided"], found["wrong"]) == ([], 3, [])
    found = outcome("cases:\n  - allow: DELETE FROM orders\n")
    assert found["decided"] == 1
    (wrong,) = found["wrong"]
    assert (wrong["text"], wrong["expected"], wrong["got"]) == ("DELETE FROM orders", "allow", "deny")


def test_policies_that_apply_together() -> None:
    both = "policies: [orders, others]\ncases:\n  - allow: UPDATE orders SET id = 1\n"
    assert outcome(both)["wrong"] == []
    assert "no policy `nothing`" in outcome("policies: [nothing]\ncases: [{allow: SELECT 1}]")["problems"][0]
    assert outcome("policies: [../../etc/passwd]\ncases: [{allow: SELECT 1}]")["problems"]


def test_cases_name_no_file(tmp_path: Any) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("token: very private\n")
    found = outcome(f"openapi: {secret}\ncases:\n  - allow: SELECT 1\n")
    assert "private" not in str(found)
    assert found["decided"] == 1  # the path is not looked at
    assert outcome("nonsense: 1")["problems"]
    assert outcome("cases: *alias")["problems"]


def test_changes_are_summed_up_by_bot() -> None:
    def change(bot: str, statement: str, after: str = "deny") -> Change:
        return Change(bot, "db", 1, statement, "allow", after, "orders#1", "because\u202e")

    given = [change("a", f"SELECT {n % 7}\u202e") for n in range(70)] + [
        change("b", "x", "hold"),
        change("a", "y", "hold"),
    ]
    first, *rest = proposals.summary(given)
    assert (first["bot"], first["count"], first["before"], first["after"], first["more"]) == (
        "a",
        70,
        "allow",
        "deny",
        2,
    )
    assert len(first["examples"]) == proposals.EXAMPLES
    assert first["examples"][0] == {
        "text": "SELECT 0⟦U+202E⟧",
        "times": 10,
        "rule": "orders#1",
        "reason": "because⟦U+202E⟧",
    }
    assert [(row["bot"], row["after"]) for row in rest] == [("a", "hold"), ("b", "hold")]


def test_a_proposal_is_judged_by_what_bots_did(record: Any, tab: Any) -> None:
    record("postgres", [], ["SELECT id FROM orders_tried", "DELETE FROM denied_tried"], bot="tried")
    text = TEXT.replace("public.orders", "public.nothing")
    cases = "cases:\n  - deny: SELECT * FROM orders\n  - allow: SELECT * FROM orders\n"
    answer = tab("Ada").post("/ui/policies/orders", {"do": "try", "text": text, "cases": cases})
    assert answer.status_code == 200
    assert "It compiles" in answer.text
    assert "2 statements decided, 1 not as expected" in answer.text
    assert "operations of the last 7 days" in answer.text
