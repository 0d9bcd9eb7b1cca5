"""The policies that are shipped do what they say, on the quickstart's database."""

from pathlib import Path

import pytest

from wicketgate_gateway.policy import cases

ACCESS = Path(__file__).parents[3] / "policies" / "access"

READONLY = {
    "SELECT * FROM customers": True,
    "SELECT count(*) FROM orders WHERE status = 'open'": True,
    "SELECT api_key FROM api_keys": True,
    "SELECT c.relname FROM pg_class c": True,
    "SELECT table_name FROM information_schema.tables": True,
    "EXPLAIN SELECT * FROM orders": True,
    "SELECT rolpassword FROM pg_authid": False,
    "SELECT * FROM pg_shadow": False,
    "SELECT * FROM pg_user_mappings": False,
    "SELECT most_common_vals FROM pg_stats": False,
    "SELECT stavalues1 FROM pg_statistic": False,
    "SELECT query FROM pg_stat_activity": False,
    "SELECT subconninfo FROM pg_subscription": False,
    "SELECT * FROM pg_largeobject": False,
    "SELECT * FROM secret.orders": False,
    "INSERT INTO orders (id) VALUES (1)": False,
    "UPDATE customers SET email = 'x'": False,
    "DELETE FROM api_keys": False,
    "DROP TABLE orders": False,
    "CREATE TABLE t (a int)": False,
    "TRUNCATE orders": False,
    "GRANT SELECT ON orders TO x": False,
    "COPY orders TO STDOUT": True,
    "COPY customers TO STDOUT": True,  # masked
    "COPY customers TO STDOUT (NULL '')": False,
    "VACUUM": False,
}
SUPPORT = {
    "SELECT * FROM customers": True,
    "UPDATE orders SET status = 'shipped' WHERE id = 3": True,
    "UPDATE orders SET status = $1 WHERE id = $2": True,
    "UPDATE orders SET status = 'shipped' WHERE id = 3 RETURNING status": True,
    "UPDATE orders SET amount = 0 WHERE id = 3": False,
    "UPDATE orders SET status = item WHERE id = 3": False,
    "UPDATE customers SET name = 'x' WHERE id = 3": False,
    "INSERT INTO orders (id, status) VALUES (1, 'x')": False,
    "DELETE FROM orders WHERE id = 3": False,
    "WITH x AS (UPDATE orders SET status = 'x') SELECT 1": False,
    "SELECT 1; UPDATE orders SET status = 'x' WHERE id = 3": False,
    "SELECT * FROM api_keys": False,
    "SELECT id FROM orders WHERE id IN (SELECT id FROM api_keys)": False,
}


@pytest.mark.parametrize("text", READONLY)
def test_orders_readonly(decider, text: str):
    assert decider((ACCESS / "orders-readonly.yaml").read_text()).allows(text) is READONLY[text]


@pytest.mark.parametrize("text", SUPPORT)
def test_orders_support(decider, text: str):
    assert decider((ACCESS / "orders-support.yaml").read_text()).allows(text) is SUPPORT[text]


@pytest.mark.parametrize("name", ["orders-readonly", "orders-support"])
def test_together_with_any_other_a_denial_stays(decider, name: str):
    gate = decider((ACCESS / f"{name}.yaml").read_text(), "rules: [{allow: {sql: {statements: [read, write, ddl]}}}]")
    assert not gate.allows("DELETE FROM orders" if name == "orders-readonly" else "SELECT * FROM api_keys")


def test_personal_data_and_keys_come_masked(decider, orders):
    from wicketgate_gateway.wire.postgres.messages import FieldDescription

    gate = decider((ACCESS / "orders-readonly.yaml").read_text())
    oids = {relation.name: relation for relation in orders.relations}
    for relation, column, method in (
        ("customers", "email", "partial"),
        ("customers", "card_number", "partial"),
        ("customers", "name", None),
        ("api_keys", "api_key", "redact"),
        ("api_keys", "service", None),
    ):
        number = next(c.number for c in oids[relation].columns if c.name == column)
        plan = gate(f"SELECT {column} FROM {relation}").verdict.masks
        assert plan.columns([FieldDescription("x", oids[relation].oid, number, 25)]) == [method]


POLICIES = sorted(p for p in ACCESS.glob("*.yaml") if not p.name.endswith(".test.yaml"))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_the_cases_beside_each_policy(policy: Path):
    outcomes = list(cases.run(policy.with_name(f"{policy.stem}.test.yaml")))
    assert len(outcomes) >= 5
    assert [(str(o.where), o.text, o.wrong) for o in outcomes if o.wrong] == []
    assert {o.expected for o in outcomes} >= {"allow", "deny"}


def test_what_ships():
    assert {p.stem for p in POLICIES} == {
        "analyst", "break-glass", "cluster-oncall", "cluster-viewer", "host-operator", "migration-bot", "orders-api",
        "orders-readonly", "orders-support", "support-bot",
    }  # fmt: skip
