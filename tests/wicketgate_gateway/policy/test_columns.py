import pytest

from wicketgate_gateway.policy.columns import ResultColumn, result_columns
from wicketgate_gateway.policy.engine import SessionFacts

KEYS = ("id", "service", "api_key", "created_at")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT name AS n, c.email FROM customers c", [("n", 0, 2), ("email", 0, 3)]),
        ("SELECT service, o.id FROM api_keys JOIN orders o ON true", [("service", 2, 2), ("id", 1, 1)]),
        ("SELECT lower(email), 1 FROM customers", [("lower", -1, 0), ("?column?", -1, 0)]),
        ("SELECT a.* FROM customers, public.api_keys a", [(n, 2, i + 1) for i, n in enumerate(KEYS)]),
        ("UPDATE orders SET item = 'x' RETURNING item", [("item", 1, 3)]),
        ("DELETE FROM orders", []),
        # What cannot be told is not guessed.
        ("SELECT id FROM customers, orders", None),
        ("SELECT c FROM customers c", None),
        ("SELECT x.email FROM (SELECT * FROM customers) x", None),
        ("SELECT email FROM customers UNION SELECT item FROM orders", None),
        ("WITH orders AS (SELECT email AS item FROM customers) SELECT item FROM orders", None),
        ("SELECT id FROM customers NATURAL JOIN orders", None),
        ("SELECT a FROM customers c (a)", None),
        ("SELECT email FROM gone", None),
        ("SELECT 1; SELECT 2", None),
        ("VALUES (1)", None),
        ("", None),
    ],
)  # fmt: skip
def test_columns_of_plain_statements(orders, text: str, expected: list[tuple[str, int, int]] | None):
    found = result_columns(text, SessionFacts(catalogue=orders))
    if expected is None:
        assert found is None
    else:
        oids = [0, *(relation.oid for relation in orders.relations)]
        assert found == [ResultColumn(name, oids[table + 1], number) for name, table, number in expected]


def test_without_a_catalogue_nothing_can_be_told():
    assert result_columns("SELECT 1", SessionFacts()) is None
