"""Time windows: by the wall clock of their zone, over midnight, and what a policy does outside of them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.contract.windows import Window
from wicketgate_gateway.policy.windows import any_open, compile_windows

OFFICE = {"days": "mon-fri", "from": "08:00", "to": "18:00", "zone": "Europe/Berlin"}


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def is_open(window: dict[str, object], when: str) -> bool:
    return any_open(compile_windows([Window.model_validate(window)]), at(when))


@pytest.mark.parametrize(
    ("window", "when", "open_"),
    [
        (OFFICE, "2026-11-24T08:00:00+01:00", True),
        (OFFICE, "2026-11-24T07:59:59+01:00", False),
        (OFFICE, "2026-11-24T17:59:59+01:00", True),
        (OFFICE, "2026-11-24T18:00:00+01:00", False),
        (OFFICE, "2026-11-28T12:00:00+01:00", False),
        # Summer time counts.
        (OFFICE, "2026-07-21T06:30:00Z", True),
        (OFFICE, "2026-11-24T06:30:00Z", False),
        # The day is the zone's.
        ({"days": "tue", "zone": "Asia/Tokyo"}, "2026-11-23T15:00:00Z", True),
        ({"days": "tue"}, "2026-11-23T15:00:00Z", False),
        # Over midnight, the day is that of the beginning.
        ({"days": "fri", "from": "22:00", "to": "06:00"}, "2026-11-27T23:00:00Z", True),
        ({"days": "fri", "from": "22:00", "to": "06:00"}, "2026-11-28T05:59:00Z", True),
        ({"days": "fri", "from": "22:00", "to": "06:00"}, "2026-11-28T06:00:00Z", False),
        ({"days": "fri", "from": "22:00", "to": "06:00"}, "2026-11-27T05:00:00Z", False),
        ({"days": "fri", "from": "22:00", "to": "06:00"}, "2026-11-28T23:00:00Z", False),
        # Spans of days go around the week.
        ({"days": ["sat-mon"]}, "2026-11-22T12:00:00Z", True),
        ({"days": ["sat-mon"]}, "2026-11-24T12:00:00Z", False),
        ({"days": ["sun", "wed"]}, "2026-11-25T12:00:00Z", True),
        ({"from": "00:00", "to": "24:00"}, "2026-11-25T23:59:59Z", True),
    ],
)
def test_when_a_window_is_open(window: dict[str, object], when: str, open_: bool):
    assert is_open(window, when) is open_


def test_one_open_window_is_enough_and_none_is_always():
    assert any_open((), 0)
    both = compile_windows([Window(days=["mon"]), Window(days=["tue"])])
    assert any_open(both, at("2026-11-24T12:00:00Z"))
    assert not any_open(both, at("2026-11-25T12:00:00Z"))


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 2 * 10**9))
def test_a_window_and_its_complement_share_the_day(begin: int, end: int, now: int):
    if begin == end:
        return
    first, second = (f"{m // 60:02}:{m % 60:02}" for m in (begin, end))
    one = compile_windows([Window.model_validate({"from": first, "to": second})])
    other = compile_windows([Window.model_validate({"from": second, "to": first})])
    assert any_open(one, now) is not any_open(other, now)


# --- in a policy ------------------------------------------------------------------------------------------------------

TUESDAY, SUNDAY = at("2026-11-24T12:00:00+01:00"), at("2026-11-22T12:00:00+01:00")
WINDOW = '{days: [mon-fri], from: "08:00", to: "18:00", zone: Europe/Berlin}'


def effect(gate, text: str, now: float) -> Effect:
    gate.policy.clock = lambda: now
    return gate(text).verdict.effect


def test_a_rule_holds_in_its_window_alone(decider):
    gate = decider(f"""
rules:
  - allow: {{sql: {{statements: [read, write], relations: [public.*]}}}}
  - deny: {{sql: {{statements: write}}, during: {WINDOW}}}
""")
    for _ in range(2):  # the second time from the cache
        assert effect(gate, "DELETE FROM orders", TUESDAY) is Effect.DENY
        assert effect(gate, "DELETE FROM orders", SUNDAY) is Effect.ALLOW
    assert gate.policy.stamp(TUESDAY) == gate.policy.stamp(TUESDAY + 60) != gate.policy.stamp(SUNDAY)


def test_outside_its_hours_a_policy_gives_nothing_and_keeps_the_rest(decider):
    gate = decider(
        f"""
policy: office
targets: [orders-db]
during: {WINDOW}
rules:
  - allow: {{sql: {{statements: read, relations: [public.*]}}}}
  - deny: {{sql: {{relations: [public.api_keys]}}}}
  - hold: {{sql: {{statements: write, relations: [public.orders]}}, approvers: {{groups: [dba]}}}}
mask: [{{columns: [public.customers.email], with: partial}}]
""",
        "policy: always\ntargets: [orders-db]\nrules: [{allow: {sql: {statements: write, relations: [public.orders]}}},"
        " {allow: {sql: {statements: read, relations: [public.api_keys]}}}]",
    )
    assert effect(gate, "SELECT * FROM customers", TUESDAY) is Effect.ALLOW
    assert effect(gate, "SELECT * FROM customers", SUNDAY) is Effect.DENY
    assert "at this time" in gate("SELECT * FROM customers").verdict.reason
    assert effect(gate, "UPDATE orders SET status = 'x'", SUNDAY) is Effect.HOLD
    assert effect(gate, "SELECT api_key FROM api_keys", SUNDAY) is Effect.DENY
    assert gate.policy.masks is not None


def test_a_hold_outside_its_hours_covers_nothing(decider):
    gate = decider(f"""
during: {WINDOW}
rules: [{{hold: {{sql: {{statements: write, relations: [public.orders]}}, approvers: {{groups: [dba]}}}}}}]
""")
    assert effect(gate, "DELETE FROM orders", TUESDAY) is Effect.HOLD
    assert effect(gate, "DELETE FROM orders", SUNDAY) is Effect.DENY


def test_without_windows_the_time_changes_nothing(decider):
    gate = decider("rules: [{allow: {sql: {statements: read}}}]")
    assert not gate.policy.timed
    assert gate.policy.stamp(TUESDAY) == gate.policy.stamp(SUNDAY)
    asks = decider("rules: [{allow: {sql: {statements: read}, when: 'now.getHours() < 12'}}]")
    assert asks.policy.timed
    assert asks.policy.stamp(TUESDAY) != asks.policy.stamp(TUESDAY)
