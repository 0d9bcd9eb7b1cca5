"""Explanations: what they propose works, and nothing of it can be left out."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.compile import compile_policy
from wicketgate_gateway.policy.engine import decide_text
from wicketgate_gateway.policy.explain import explain

RULES = """
rules:
  - allow: {sql: {statements: read, relations: [public.orders]}}
  - hold: {sql: {statements: write, relations: [public.orders]}, approvers: {groups: [dba]}}
  - deny: {sql: {relations: [public.api_keys]}}
"""
TEXTS = [
    "SELECT * FROM customers",
    "SELECT 1",
    "SELECT * FROM customers, orders",
    "UPDATE customers SET city = 'x' FROM orders",
    "DELETE FROM customers RETURNING *",
    "SELECT pg_sleep(1), my_function(2)",
    "SELECT * FROM customers; DELETE FROM customers",
    "DROP TABLE customers",
    "SET app.x = '1'",
    "GRANT SELECT ON orders TO x",
    "LISTEN x",
    "DO 'x'",
    'SELECT * FROM "odd name"',
    "COPY customers FROM STDIN",
]


def with_lines(gate, lines: tuple[str, ...]):
    text = "policy: more\ntargets: [orders-db]\nrules:\n" + "\n".join(lines)
    rules, problems = compile_policy(model.validate(Policy, yaml.parse(text, "more.yaml")))
    assert not problems
    return gate.policy.with_rules([*gate.policy.rules, *rules])


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_missing_is_enough_and_none_of_it_too_much(decider, text: str):
    gate = decider(RULES)
    found = explain(gate.policy, text, gate.session)
    if found.decision.verdict.effect is Effect.ALLOW:
        assert found.missing == ()
        return
    if not found.missing:
        assert '"odd name"' in text or found.decision.verdict.code != "not-allowed"
        return
    assert found.then is not None
    verdict = decide_text(with_lines(gate, found.missing), text, gate.session).verdict
    assert verdict.effect is found.then.effect is not Effect.DENY
    for line in found.missing:
        fewer = tuple(other for other in found.missing if other != line)
        if fewer:
            assert decide_text(with_lines(gate, fewer), text, gate.session).verdict.effect is Effect.DENY


def test_rules_in_the_way_are_named(decider):
    gate = decider(RULES)
    found = explain(gate.policy, "SELECT * FROM api_keys", gate.session)
    assert found.in_the_way == ("p0#3",)
    assert found.missing == ("- allow: {sql: {statements: read, relations: [public.api_keys]}}",)
    assert found.then is not None
    assert found.then.effect is Effect.ALLOW
    held = explain(gate.policy, "DELETE FROM orders", gate.session)
    assert held.decision.verdict.effect is Effect.HOLD
    assert held.in_the_way == ("p0#2",)


def test_what_no_rule_can_change(decider):
    gate = decider(RULES)
    for text in ("SET search_path = evil", "SELEC 1", "SELECT * FROM a.b.c"):
        found = explain(gate.policy, text, gate.session)
        assert (found.missing, found.in_the_way, found.then) == ((), (), None)


@given(st.sampled_from(TEXTS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_explaining_changes_nothing(decider, text: str):
    gate = decider(RULES)
    before = gate(text).verdict
    assert explain(gate.policy, text, gate.session).decision.verdict == before
    assert gate(text).verdict == before
