import pytest

from wicketgate_gateway.contract.policy import StatementClass as Cls
from wicketgate_gateway.policy.operation import SessionFacts, changes_system, classes_of, statement_of
from wicketgate_gateway.wire.postgres.sql.facts import analyze


def statement(text: str, catalogue=None):
    return statement_of(analyze(text).statements[0], SessionFacts(catalogue=catalogue))


def required(text: str, catalogue=None) -> set[tuple[str, str | None]]:
    return {
        (a.cls.value, str(a.relation) if a.relation else None) for a in statement(text, catalogue).aspects if a.required
    }


ASPECTS = {
    "SELECT 1": {("read", None)},
    "SELECT * FROM orders": {("read", "public.orders")},
    "SELECT * FROM orders, app.x": {("read", "public.orders"), ("read", "app.x")},
    "SELECT * FROM orders FOR UPDATE": {("read", "public.orders"), ("write", "public.orders")},
    "INSERT INTO orders VALUES (1)": {("write", "public.orders")},
    "INSERT INTO orders SELECT * FROM customers": {("write", "public.orders"), ("read", "public.customers")},
    "WITH x AS (DELETE FROM orders) SELECT 1": {("read", None), ("write", "public.orders")},
    "EXPLAIN ANALYZE DELETE FROM orders": {("write", "public.orders")},
    "EXPLAIN DELETE FROM orders": {("read", "public.orders")},
    "COPY orders FROM STDIN": {("write", "public.orders")},
    "COPY orders FROM '/x'": {("write", "public.orders"), ("file", None)},
    "COPY orders TO PROGRAM 'x'": {("read", "public.orders"), ("file", None)},
    "CREATE TABLE t (a int)": {("ddl", "public.t")},
    "CREATE SCHEMA s": {("ddl", None)},
    "CREATE EXTENSION x": {("ddl", None), ("procedural", None), ("grant", None)},
    "ALTER TABLE orders OWNER TO x": {("ddl", "public.orders"), ("grant", "public.orders")},
    "REFRESH MATERIALIZED VIEW v": {("ddl", "public.v")},
    "VACUUM orders": {("maintenance", "public.orders")},
    "LOCK TABLE orders": {("maintenance", "public.orders")},
    "CHECKPOINT": {("maintenance", None)},
    "GRANT SELECT ON orders TO x": {("grant", "public.orders")},
    "SET ROLE x": {("session", None), ("grant", None)},
    "DO 'x'": {("procedural", None)},
    "LISTEN x": {("messaging", None)},
    "UNLISTEN *": set(),
    "BEGIN": set(),
    "PREPARE TRANSACTION 'x'": {("grant", None)},
    "SHOW ALL": set(),
    "FETCH c": set(),
    "DISCARD ALL": set(),
    "SET statement_timeout = 1": set(),
    "SET app.x = '1'": {("session", None)},
    "LOAD 'x'": {("file", None), ("procedural", None)},
    "ALTER SYSTEM SET jit = off": {("file", None), ("grant", None), ("session", None)},
    "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c": {("ddl", None), ("file", None)},
    "SELECT nextval('s')": {("read", None), ("write", "public.s")},
    "SELECT nextval($1)": {("read", None), ("write", None), ("procedural", None)},
    # What a listed function does is covered by listing it, but for files.
    "SELECT pg_sleep(1)": {("read", None)},
    "SELECT pg_read_file('x')": {("read", None), ("file", None)},
}


@pytest.mark.parametrize("text", ASPECTS)
def test_aspects(text: str):
    assert required(text) == ASPECTS[text]


def test_every_class_of_the_analysis_has_a_meaning():
    from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementClass, StatementKind

    for cls in StatementClass:
        for kind in StatementKind:
            assert all(isinstance(c, Cls) for c in classes_of(Facts(kind, frozenset({cls}))))
    # Nothing vanishes but what another part decides.
    for cls in set(StatementClass) - {StatementClass.TRANSACTION, StatementClass.PREPARED, StatementClass.OTHER}:
        if cls is not StatementClass.FUNCTION:
            assert classes_of(Facts(StatementKind.SELECT, frozenset({cls})))


def test_classes_of_functions_are_met_by_deny_rules_only():
    found = {a.cls.value: a.required for a in statement("SELECT pg_notify('a', 'b'), pg_sleep(1)").aspects}
    assert found == {"read": True, "messaging": False, "maintenance": False}


def test_one_listed_function_does_not_cover_what_another_does():
    # pg_sleep brings `resource`; nextval of a computed name brings `dynamic`, which no listed function accounts for.
    assert ("procedural", None) in required("SELECT pg_sleep(1), nextval($1)")


def test_functions_that_a_rule_must_list(make_catalogue):
    catalogue = make_catalogue("orders(id, item)", functions=[("public", "f"), ("public", "lower"), ("public", "tag")])
    for text, expected in {
        "SELECT upper('x')": set(),
        "SELECT f(1)": {"public.f"},
        "SELECT lower('x')": {"public.lower"},
        "SELECT pg_sleep(1)": {"pg_catalog.pg_sleep"},
        "SELECT o.tag FROM orders o": {"public.tag"},
        "SELECT o.item FROM orders o": set(),
        "SELECT (o).item FROM orders o": set(),
        "SELECT (o).tag FROM orders o": {"public.tag"},
        "SELECT 1 OPERATOR(pg_catalog.+) 1": set(),
        "SELECT 1 OPERATOR(evil.+) 1": {"evil.+"},
        "SELECT 1 <~~> 2": {"public.<~~>"},
        "SELECT set_config('jit', 'off', false)": set(),
        "SELECT set_config('app.x', 'off', false)": {"pg_catalog.set_config"},
    }.items():
        assert {str(name) for name in statement(text, catalogue).functions} == expected, text


def test_names_that_cannot_be_resolved_are_told():
    assert statement("SELECT * FROM a.b.c").unresolved == ("a.b.c",)
    facts = analyze("SELECT * FROM orders").statements[0]
    assert statement_of(facts, SessionFacts(search_path='"$user"')).unresolved == ("orders",)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("UPDATE pg_settings SET setting = ''", True),
        ("UPDATE pg_catalog.pg_settings SET setting = ''", True),
        ("INSERT INTO information_schema.sql_parts SELECT 1", True),
        ("ALTER TABLE pg_toast.x ADD COLUMN y int", True),
        ("GRANT SELECT ON pg_authid TO x", True),
        ("SELECT * FROM pg_settings", False),
        ("VACUUM pg_class", False),
        ("UPDATE orders SET id = (SELECT 1 FROM pg_class)", False),
    ],
)
def test_changes_of_system_relations(text: str, changes: bool):
    assert changes_system(statement(text)) is changes


def test_columns_mentioned_through_views(make_catalogue):
    catalogue = make_catalogue("t(a, b)", "v:v(x) < t.b")
    mentioned = statement("SELECT x FROM v", catalogue).mentioned
    assert (("public", "t"), "b") in mentioned
    assert (("public", "v"), "x") in mentioned
    assert (("public", "v"), None) not in mentioned
    assert (("public", "v"), None) in statement("SELECT * FROM v", catalogue).mentioned


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("UPDATE orders SET status = 'x', item = 'y' WHERE amount > 1", {"status", "item"}),
        ("UPDATE public.orders o SET (status, item) = (SELECT 'x', 'y')", {"status", "item"}),
        ("WITH x AS (UPDATE orders SET status = 'x' RETURNING id) SELECT * FROM x", {"status"}),
        ("PREPARE p AS UPDATE orders SET status = $1", {"status"}),
        ("EXPLAIN ANALYZE UPDATE orders SET status = 'x'", {"status"}),
        ("MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN UPDATE SET item = 'x'", {"item"}),
        # Whatever changes more than the columns of rows that are there changes whole rows.
        ("INSERT INTO orders (status) VALUES ('x')", None),
        ("INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = 'x'", None),
        ("DELETE FROM orders", None),
        ("TRUNCATE orders", None),
        ("COPY orders (status) FROM STDIN", None),
        ("SELECT * FROM orders FOR UPDATE", None),
        ("SELECT nextval('orders')", None),
        ("MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DELETE", None),
        ("MERGE INTO orders o USING customers c ON true WHEN NOT MATCHED THEN INSERT (status) VALUES ('x')", None),
        ("MERGE INTO orders o USING t ON o.id = 1 WHEN MATCHED THEN UPDATE SET id = 1 WHEN MATCHED THEN DELETE", None),
        ("WITH x AS (UPDATE orders SET status = 'x') DELETE FROM public.orders", None),
        ("WITH x AS (UPDATE orders SET status = 'x') SELECT nextval('public.orders')", None),
    ],
)
def test_what_update_sets(orders, text: str, columns: set[str] | None):
    found = [
        a for a in statement(text, orders).aspects if a.cls == "write" and a.required and a.relation[1] == "orders"
    ]
    assert [a.columns for a in found] == [columns]
