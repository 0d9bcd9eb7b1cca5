"""`hold`: attacks on it first, then what it stops and what it lets be, its terms, and its laws as properties."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.verdict import Effect, HoldTerms
from wicketgate_gateway.policy.compile import merged
from wicketgate_gateway.policy.engine import SessionFacts
from wicketgate_gateway.wire.postgres.sql.facts import analyze

DBA, LEADS = "00000000-0000-0000-0000-0000000000a0", "00000000-0000-0000-0000-0000000000a1"
POLICY = """
rules:
  - allow: {sql: {statements: [read, write], relations: [public.*]}}
  - hold:
      sql: {statements: write, relations: [public.orders]}
      approvers: {groups: [dba]}
      because: orders are money
  - deny: {sql: {statements: write, relations: [public.api_keys]}}
"""

# Ways around a hold: each must be held, or denied.
ATTACKS = [
    "UPDATE orders SET status = 'x'",
    "update public.orders set status = 'x'",
    "UPDATE \"orders\" SET status = 'x'",
    "/* SELECT */ UPDATE orders SET status = 'x' -- SELECT",
    "SELECT 1; UPDATE orders SET status = 'x'",
    "UPDATE orders SET status = 'x'; SELECT 1",
    "BEGIN; UPDATE orders SET status = 'x'; COMMIT",
    "WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "EXPLAIN (ANALYZE) UPDATE orders SET status = 'x'",
    "INSERT INTO orders (id) VALUES (1)",
    "INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING",
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
    "TRUNCATE orders",
    "TRUNCATE customers, orders",
    "SELECT * FROM orders FOR UPDATE",
    "SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id FOR SHARE OF o",
    "PREPARE p AS UPDATE orders SET status = 'x'",
    "EXECUTE p",
    "EXPLAIN ANALYZE EXECUTE p",
    "SELECT 1; EXECUTE p",
    "COPY orders FROM STDIN",
    "COPY (UPDATE orders SET status = 'x' RETURNING id) TO STDOUT",
    "DECLARE c CURSOR FOR SELECT * FROM orders FOR UPDATE",
    "FETCH ALL FROM c",
]
# Those of them that would not show an approver what they do: refused, not held.
NOT_SHOWABLE = [
    "PREPARE p AS UPDATE orders SET status = 'x'",
    "EXECUTE p",
    "SELECT 1; EXECUTE p",
    "UPDATE orders SET status = 'x'; EXECUTE r",
    "COPY orders FROM STDIN",
    "DECLARE c CURSOR FOR SELECT * FROM orders FOR UPDATE",
    "FETCH ALL FROM c",
]


def session(catalogue) -> SessionFacts:
    update = analyze("UPDATE orders SET status = 'x'").statements
    return SessionFacts(
        catalogue=catalogue,
        prepared={"p": update, "r": analyze("SELECT 1").statements},
        cursors={"c": analyze("SELECT * FROM orders FOR UPDATE").statements},
    )


@pytest.mark.parametrize("text", ATTACKS)
def test_no_way_around_a_hold(decider, orders, text: str):
    verdict = decider(POLICY)(text, session(orders)).verdict
    assert verdict.effect is not Effect.ALLOW
    assert (verdict.effect is Effect.HOLD) is (text not in NOT_SHOWABLE and "EXECUTE" not in text)


@pytest.mark.parametrize("text", NOT_SHOWABLE)
def test_what_an_approver_could_not_see_is_refused(decider, orders, text: str):
    verdict = decider(POLICY)(text, session(orders)).verdict
    assert (verdict.effect, verdict.code) == (Effect.DENY, "hold-not-showable")
    assert verdict.remedy


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM orders",
        "UPDATE customers SET city = 'x'",
        "EXPLAIN UPDATE orders SET status = 'x'",
        "BEGIN",
        "SET wicketgate.reason = 'a customer asked'",
        "SELECT 'UPDATE orders'",
        "EXECUTE r",
    ],
)
def test_what_a_hold_does_not_meet_goes_on(decider, orders, text: str):
    assert decider(POLICY).allows(text, session(orders))


def test_deny_beats_hold(decider):
    gate = decider(POLICY)
    for text in (
        "UPDATE orders SET status = 'x'; DELETE FROM api_keys",
        "WITH x AS (DELETE FROM api_keys RETURNING id) UPDATE orders SET status = 'x'",
        "UPDATE orders SET status = 'x'; DROP TABLE orders",
        "UPDATE orders SET status = 'x' WHERE id IN (SELECT id FROM secret.t)",
        "UPDATE orders SET status = 'x'; SET search_path = evil",
    ):
        assert gate(text).verdict.effect is Effect.DENY, text


def test_what_the_verdict_says(decider):
    verdict = decider(POLICY)("UPDATE orders SET status = 'x'").verdict
    assert verdict.rule == "p0#2"
    assert verdict.reason == "rule `p0#2` holds `write` on `public.orders` for approval: orders are money"
    assert verdict.remedy == "it goes on when someone of `dba` approved"
    assert verdict.code == "approval-needed"
    assert verdict.hold == HoldTerms("p0#2", (DBA,), ("dba",))


def test_all_terms(decider):
    gate = decider("""
rules:
  - hold:
      sql: {statements: write, relations: [public.orders]}
      approvers: {groups: [dba, leads], quorum: 2}
      within: 1h
      wait: 30s
      reason: required
      for: 2h
      count: rollback
""")
    assert gate("DELETE FROM orders").verdict.hold == HoldTerms(
        "p0#1", (DBA, LEADS), ("dba", "leads"), 2, 3600, 3600, 30, True, 7200, True
    )


def test_a_hold_covers_what_no_allow_does_and_nothing_else(decider):
    gate = decider("rules: [{hold: {sql: {statements: write, relations: [public.orders]}, approvers: {groups: dba}}}]")
    assert gate("UPDATE orders SET status = 'x'").verdict.effect is Effect.HOLD
    assert gate("UPDATE orders SET status = 'x' RETURNING id").verdict.effect is Effect.DENY
    assert gate("SELECT * FROM orders").verdict.effect is Effect.DENY
    assert gate("UPDATE customers SET city = 'x'").verdict.effect is Effect.DENY


def test_what_only_a_hold_covers_is_held_also_where_the_rule_does_not_meet_it(decider):
    # A rule with relations covers `SELECT 1`, which has none: with no `allow` beside it, that waits too.
    hold = "{hold: {sql: {statements: read, relations: [public.orders]}, approvers: {groups: dba}}}"
    assert decider(f"rules: [{hold}]")("SELECT 1").verdict.effect is Effect.HOLD
    both = decider(f"rules: [{hold}, {{allow: {{sql: {{statements: read, relations: [public.customers]}}}}}}]")
    assert both.allows("SELECT 1")
    assert both("SELECT * FROM customers, orders").verdict.effect is Effect.HOLD


def test_a_function_can_be_held(decider):
    gate = decider("""
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
  - hold: {sql: {functions: [pg_terminate_backend]}, approvers: {groups: [dba]}}
""")
    assert gate("SELECT pg_terminate_backend(7)").verdict.effect is Effect.HOLD
    assert gate("SELECT pg_terminate_backend(id) FROM orders").verdict.effect is Effect.HOLD
    assert gate("SELECT pg_cancel_backend(7)").verdict.effect is Effect.DENY


def test_a_column_can_be_held(decider, orders):
    gate = decider("""
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
  - hold: {sql: {columns: [public.customers.email]}, approvers: {groups: [dba]}}
""", catalogue=orders)  # fmt: skip
    assert gate("SELECT email FROM customers").verdict.effect is Effect.HOLD
    assert gate("SELECT * FROM customers").verdict.effect is Effect.HOLD
    assert gate("SELECT c FROM customers c").verdict.effect is Effect.HOLD
    assert gate("SELECT name FROM customers").verdict.effect is Effect.ALLOW


def test_a_held_operation_carries_its_mask_plan(decider, orders):
    gate = decider(POLICY + "mask: [{columns: [public.customers.email], with: partial}]", catalogue=orders)
    verdict = gate("UPDATE orders SET status = 'x' FROM customers c RETURNING c.name").verdict
    assert verdict.effect is Effect.HOLD
    assert verdict.masks is not None
    assert gate("INSERT INTO orders (item) SELECT email FROM customers").verdict.code == "masked-flow"


def test_an_error_in_a_holds_condition_denies(decider):
    gate = decider("""
rules:
  - allow: {sql: {statements: [read, write], relations: [public.*]}}
  - hold:
      sql: {statements: write}
      approvers: {groups: [dba]}
      when: op.columns[7] == 'x'
""")
    verdict = gate("UPDATE orders SET status = 'x'").verdict
    assert (verdict.effect, verdict.code) == (Effect.DENY, "condition-error")
    assert gate.allows("SELECT * FROM orders")


def test_a_condition_decides_what_is_held(decider):
    gate = decider("""
rules:
  - allow: {sql: {statements: [read, write], relations: [public.*]}}
  - hold: {sql: {statements: write}, approvers: {groups: [dba]}, when: "!op.statement.contains('WHERE')"}
""")
    assert gate("DELETE FROM orders").verdict.effect is Effect.HOLD
    assert gate("DELETE FROM orders WHERE id = 1").verdict.effect is Effect.ALLOW


def test_the_cache_keeps_a_hold_apart(decider):
    gate = decider(POLICY)
    for _ in range(2):
        assert gate("UPDATE orders SET status = 'a'").verdict.effect is Effect.HOLD
        assert gate("UPDATE orders SET status = 'b'").verdict.effect is Effect.HOLD
        assert gate("UPDATE customers SET city = 'b'").verdict.effect is Effect.ALLOW
    assert len(gate.policy.cache) == 2


# --- several rules at once --------------------------------------------------------------------------------------------

TWO = """
rules:
  - allow: {{sql: {{statements: [read, write], relations: [public.*]}}}}
  - hold:
      sql: {{relations: [public.orders], statements: write}}
      approvers: {{groups: [{one}]}}
      within: 5m
      wait: 90s
  - hold: {{sql: {{statements: write}}, approvers: {{groups: [{two}], quorum: 2}}, for: 1h, reason: required}}
"""


def test_of_several_rules_the_strictest_terms_hold(decider):
    hold = decider(TWO.format(one="dba, leads", two="leads, security"))("DELETE FROM orders").verdict.hold
    assert hold == HoldTerms("p0#2+p0#3", (LEADS,), ("leads",), 2, 300, 300, 60, True, None, False)


def test_where_nobody_may_approve_for_all_rules_it_is_denied(decider):
    verdict = decider(TWO.format(one="dba", two="leads"))("DELETE FROM orders").verdict
    assert (verdict.effect, verdict.code, verdict.rule) == (Effect.DENY, "hold-unanswerable", "p0#2+p0#3")


def test_statements_of_one_text_are_held_together(decider):
    gate = decider("""
rules:
  - allow: {sql: {statements: [read, write], relations: [public.*]}}
  - hold: {sql: {statements: write, relations: [public.orders]}, approvers: {groups: [dba]}}
  - hold: {sql: {statements: write, relations: [public.customers]}, approvers: {groups: [dba], quorum: 3}}
""")
    verdict = gate("UPDATE orders SET status = 'x'; UPDATE customers SET city = 'x'").verdict
    assert verdict.hold is not None
    assert (verdict.rule, verdict.hold.quorum) == ("p0#2+p0#3", 3)


# --- laws -------------------------------------------------------------------------------------------------------------

ORDER = {Effect.ALLOW: 0, Effect.HOLD: 1, Effect.DENY: 2}
_SQL = st.sampled_from(
    [
        "{statements: read}",
        "{statements: write}",
        "{statements: [read, write]}",
        "{statements: read, relations: [public.orders]}",
        "{statements: write, relations: [public.orders]}",
        "{relations: [public.customers]}",
        "{functions: [pg_sleep]}",
    ]
)
_HOLD = st.builds(
    "{{hold: {{sql: {}, approvers: {{groups: [{}], quorum: {}}}, within: {}m}}}}".format,
    _SQL,
    st.sampled_from(["dba", "dba, leads", "dba, security"]),
    st.integers(1, 4),
    st.integers(1, 9),
)
_ALLOW, _DENY = st.builds("{{allow: {{sql: {}}}}}".format, _SQL), st.builds("{{deny: {{sql: {}}}}}".format, _SQL)
_RULES = st.lists(st.one_of(_ALLOW, _HOLD, _DENY), min_size=1, max_size=5)
_TEXT = st.lists(
    st.sampled_from(
        [
            "SELECT 1",
            "SELECT * FROM orders",
            "SELECT * FROM customers",
            "UPDATE orders SET status = 'x'",
            "DELETE FROM customers WHERE id IN (SELECT id FROM orders)",
            "SELECT pg_sleep(1)",
            "WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x, customers",
        ]
    ),
    min_size=1,
    max_size=3,
).map("; ".join)
_CHECK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)


def _gate(decider, rules: list[str]):
    return decider("rules: [" + ", ".join(rules) + "]")


@given(_RULES, _HOLD, st.integers(0, 5), _TEXT)
@_CHECK
def test_another_hold_lets_nothing_pass_and_never_loosens(decider, rules: list[str], hold: str, at: int, text: str):
    before = _gate(decider, rules)(text).verdict
    after = _gate(decider, [*rules[:at], hold, *rules[at:]])(text).verdict
    assert after.effect is not Effect.ALLOW or before.effect is Effect.ALLOW
    if before.hold and after.hold:
        assert set(after.hold.approver_groups) <= set(before.hold.approver_groups)
        assert after.hold.quorum >= before.hold.quorum
        assert after.hold.within <= before.hold.within


@given(_RULES, _ALLOW, _TEXT)
@_CHECK
def test_another_allow_takes_no_rules_hold_away(decider, rules: list[str], allow: str, text: str):
    held = [rule for rule in rules if rule.startswith("{hold")]
    before = _gate(decider, rules)(text).verdict
    after = _gate(decider, [*rules, allow])(text).verdict
    assert ORDER[after.effect] <= ORDER[before.effect]
    if after.effect is Effect.ALLOW and held:  # then no hold rule meets it, whoever covers it
        blocked = _gate(decider, [*(r.split(", approvers")[0].replace("hold", "deny") + "}}" for r in held), allow])
        assert blocked(text).verdict.code != "denied-by-rule"


@given(_RULES, _DENY, _TEXT)
@_CHECK
def test_another_deny_only_takes_away(decider, rules: list[str], deny: str, text: str):
    before, after = _gate(decider, rules)(text).verdict, _gate(decider, [*rules, deny])(text).verdict
    assert ORDER[after.effect] >= ORDER[before.effect]


@given(_RULES, st.randoms(use_true_random=False), _TEXT)
@_CHECK
def test_the_order_of_rules_decides_nothing(decider, rules: list[str], random, text: str):
    shuffled = list(rules)
    random.shuffle(shuffled)
    before, after = _gate(decider, rules)(text).verdict, _gate(decider, shuffled)(text).verdict
    assert before.effect is after.effect
    if before.hold and after.hold:
        assert set(before.hold.approver_groups) == set(after.hold.approver_groups)
        assert before.hold.quorum == after.hold.quorum


def test_merging_keeps_the_strictest():
    one = HoldTerms("a#1", ("g", "h"), ("G", "H"), 1, 60, 30, 10, False, 100, False)
    two = HoldTerms("b#1", ("h", "g", "i"), ("H", "G", "I"), 3, 50, 40, 20, True, 90, True)
    assert merged([one]) is one
    assert merged([one, two]) == HoldTerms("a#1+b#1", ("g", "h"), ("G", "H"), 3, 50, 30, 10, True, 90, True)
