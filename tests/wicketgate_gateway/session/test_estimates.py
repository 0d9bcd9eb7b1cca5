"""What is measured of a statement, what is run for it, and how it reads."""

import pytest

from wicketgate_gateway.session.estimates import Wanted, blast, in_words, unmeasured, wanted
from wicketgate_gateway.tunnel.messages import Estimated


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM orders WHERE id = 1",
        "UPDATE orders SET item = upper(item)",
        "INSERT INTO orders(item) VALUES ('a')",
        "SELECT count(*) FROM orders",
    ],
)
def test_plain_statements_are_run_for_a_count(text: str) -> None:
    assert wanted(text, count=True) == Wanted(text, True)
    assert wanted(text, count=False) == Wanted(text, False)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT nextval('orders_id_seq')",
        "UPDATE orders SET id = setval('s', 1)",
        "DELETE FROM orders WHERE own_function(id)",
        "SELECT pg_sleep(1)",
        "SELECT lo_export(1, '/x')",
        "SELECT pg_advisory_lock(1)",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT 1 OPERATOR(odd.===) 2",
        "SELECT dblink_exec('x', 'y')",
        "SELECT pg_notify('a', 'b')",
    ],
)
def test_what_may_leave_something_behind_is_never_run(text: str) -> None:
    found = wanted(text, count=True)
    assert isinstance(found, Wanted)
    assert not found.count
    assert found.note.startswith("not run: ")


@pytest.mark.parametrize(
    "text", ["DROP TABLE orders", "TRUNCATE orders", "COPY orders TO STDOUT", "DO $$ $$", "SELEC", ""]
)
def test_other_kinds_are_not_measured(text: str) -> None:
    assert isinstance(wanted(text, count=True), str)


def test_one_statement_among_transaction_control_is_found_by_its_place() -> None:
    found = wanted("BEGIN; DELETE FROM orders WHERE item = 'ä;'; COMMIT", count=True)
    assert isinstance(found, Wanted)
    assert found.statement.strip() == "DELETE FROM orders WHERE item = 'ä;'"
    assert isinstance(wanted("DELETE FROM orders; DELETE FROM orders", count=True), str)


def test_in_words() -> None:
    shown = blast(Estimated(number=1, rows=12, counted=3, plan="Delete on orders"))
    assert shown == {"estimated_rows": 12, "counted_rows": 3, "plan": "Delete on orders"}
    assert in_words(shown).startswith("3 rows (counted")
    assert in_words({"estimated_rows": 1}) == "1 row (the planner's estimate)"
    assert in_words(unmeasured("no")) == "not measured: no"
    assert in_words({}) == "unknown"
