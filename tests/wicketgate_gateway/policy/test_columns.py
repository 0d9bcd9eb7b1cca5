import pytest

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.policy.columns import MaskedColumn, ResultColumn, masked_columns, result_columns
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
        ("SELECT c FROM customers c", [("c", -1, 0)]),
        ("SELECT x.email FROM (SELECT * FROM customers) x", [("email", 0, 3)]),
        ("SELECT email FROM customers UNION SELECT item FROM orders", [("email", -1, 0)]),
        ("WITH orders AS (SELECT email AS item FROM customers) SELECT item FROM orders", [("item", 0, 3)]),
        ("SELECT a FROM customers c (a)", [("a", 0, 1)]),
        ("SELECT email FROM gone", [("email", -1, 0)]),
        ("VALUES (1)", [("column1", -1, 0)]),
        # What cannot be told is not guessed.
        ("SELECT * FROM gone", None),
        ("SELECT 1; SELECT 2", None),
        ("EXECUTE p", None),
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


def test_what_masks_make_of_columns_and_why(decider, orders):
    gate = decider("""
rules: [{allow: {sql: {statements: read, relations: [public.*], functions: [f]}}}]
mask:
  - {columns: [public.customers.email], with: partial}
  - {names: [phone], with: hash}
""")
    text = "SELECT c.name, email, lower(email) AS l, item AS phone, f() FROM customers c, orders"
    plan, masks = gate(text).verdict.masks, gate.policy.masks
    columns = result_columns(text, gate.session)
    assert columns is not None
    email = ("public.customers.email",)
    assert masked_columns(columns, plan, masks, gate.session) == [
        MaskedColumn("name", "copy", ("public.customers.name",), None, ""),
        MaskedColumn("email", "copy", email, MaskMethod.PARTIAL, "`public.customers.email` is masked"),
        MaskedColumn(
            "l",
            "expression",
            email,
            MaskMethod.REDACT,
            "`public.customers.email` is masked, and what is computed from it shows no part of it",
        ),
        MaskedColumn("phone", "copy", ("public.orders.item",), MaskMethod.HASH, "columns called `phone` are masked"),
        MaskedColumn("f", "unknown", (), MaskMethod.REDACT, "what the function `f` reads cannot be told"),
    ]
    assert [c.method for c in masked_columns(columns, None, None, gate.session)] == [None] * 5
