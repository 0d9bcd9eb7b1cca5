"""What follows from a statement's facts."""

from typing import Any

import pytest

from wicketgate_gateway.session.statement import NamedFacts, Statement
from wicketgate_gateway.wire.postgres.expected import Change

RULES = """
rules:
  - allow: {sql: {statements: [read, write, ddl], relations: [public.*]}}
mask:
  - {columns: [public.customers.email], with: redact}
"""


@pytest.fixture
def make(decider: Any) -> Any:
    decide = decider(RULES)
    return lambda text: Statement(text, decide(text), 1)


def test_masks_and_copies(make: Any) -> None:
    assert make("SELECT email FROM customers").masked
    assert make("SELECT lower(email) FROM customers").hides_errors
    assert not make("SELECT 1").hides_errors
    assert make("COPY orders FROM STDIN").copies_in
    assert make("COPY orders TO STDOUT").copies_out
    assert not make("SELECT 1").copies_in
    assert not make("SELECT 1").copies_out


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("SELECT email FROM customers", True),
        ("SELECT * FROM customers", True),
        ("SELECT upper(email) AS x FROM customers", True),
        ("SELECT c FROM customers c", True),
        ("INSERT INTO customers(id) VALUES (7) RETURNING *", True),
        ("SELECT 1; SELECT email FROM customers", True),
        ("SELECT count(*) FROM customers", False),
        ("SELECT id FROM customers WHERE id > 3", False),
        ("INSERT INTO customers(id) VALUES (7)", False),
        ("SELECT * FROM orders", False),
        ("SELECT 1", False),
        ("BEGIN", False),
    ],
)
def test_only_where_a_masked_column_flows_into_the_answer_it_is_said_to_be_masked(
    make: Any, text: str, masked: bool
) -> None:
    assert make(text).traits.masks_answer is masked


def test_without_a_catalogue_nobody_knows_so_it_is(decider: Any) -> None:
    text = "SELECT count(*) FROM customers"
    assert Statement(text, decider(RULES, catalogue=None)(text), 1).traits.masks_answer


def test_changes_of_names(make: Any) -> None:
    assert not make("SELECT 1").changes
    text = "SELECT 1; PREPARE p AS SELECT 1; DEALLOCATE ALL; DECLARE c CURSOR FOR SELECT 1; CLOSE c"
    assert list(make(text).changes) == [
        (Change.NONE, ""),
        (Change.PREPARE, "p"),
        (Change.DEALLOCATE, "all"),
        (Change.DECLARE, "c"),
        (Change.CLOSE, "c"),
    ]


def test_ddl_changes_the_catalogue(make: Any) -> None:
    assert make("CREATE TABLE public.x(id int)").defines
    assert not make("SELECT 1").defines


def test_a_new_decision_on_the_same_text(make: Any, decider: Any) -> None:
    statement = make("SELECT email FROM customers")
    statement.take(decider("rules:\n  - allow: {sql: {statements: [read]}}\n")(statement.text), 2)
    assert not statement.masked
    assert statement.epoch == 2


def test_passwords_do_not_show(make: Any) -> None:
    assert make("ALTER ROLE x PASSWORD 'hunter2'").shown == "ALTER ROLE x PASSWORD '***'"
    assert make("ALTER ROLE x PASSWORD 'hunter2' oops oops").shown.endswith("'***' oops oops")


def test_names_are_looked_up_when_asked_for() -> None:
    asked: list[str] = []
    names = NamedFacts(lambda name: asked.append(name) or [])
    assert names.get("a") == []
    assert names["b"] == []
    assert asked == ["a", "b"]
