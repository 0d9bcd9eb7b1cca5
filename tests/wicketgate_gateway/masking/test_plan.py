"""Which result columns are masked, and what masks forbid. The attacks on a real server are in test_attacks.py."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.masks import STRICTNESS
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.messages import FieldDescription
from wicketgate_gateway.wire.postgres.sql.facts import analyze

POLICY = """
rules:
  - allow: {sql: {statements: [read, write, ddl, session, maintenance, messaging], relations: ["*.*"]}}
  - allow: {sql: {statements: [write, ddl, procedural, file]}}
  - allow: {sql: {functions: ["*", "*.*"]}}
mask:
  - {columns: [public.customers.email], with: partial}
  - {names: ["*secret*"], with: redact}
"""
PARTIAL, REDACT = MaskMethod.PARTIAL, MaskMethod.REDACT
CUSTOMERS, ORDERS, VIEW, UNKNOWN, SYSTEM = 20000, 20001, 20003, 29999, 1259


@pytest.fixture
def catalogue(make_catalogue):
    return make_catalogue(
        "customers(id, name, email)", "orders(id, item)", "v:names(who) < customers.name", "v:mail(a) < customers.email"
    )


@pytest.fixture
def gate(decider, catalogue):
    return decider(POLICY, catalogue=catalogue)


def column(oid: int, number: int, name: str = "x") -> FieldDescription:
    return FieldDescription(name, oid, number, 25)


def plan(gate, text: str):
    verdict = gate(text).verdict
    assert verdict.allowed, verdict
    return verdict.masks


def test_without_masks_there_is_no_plan(decider):
    gate = decider("rules: [{allow: {sql: {statements: read}}}]")
    assert gate("SELECT 1").verdict.masks is None
    assert gate.policy.mask_plan(analyze("SELECT 1").statements, gate.session) is None


def test_a_column_is_masked_by_its_source_whatever_its_label(gate):
    found = plan(gate, "SELECT id, name, email AS id FROM customers")
    fields = [column(CUSTOMERS, 1), column(CUSTOMERS, 2), column(CUSTOMERS, 3, "id"), column(ORDERS, 2, "email")]
    assert found.columns(fields) == [None, None, PARTIAL, None]


def test_a_column_is_masked_by_its_label_whatever_its_source(gate):
    found = plan(gate, "SELECT 1 AS my_secret")
    assert found.columns([column(0, 0, "My_Secret"), column(ORDERS, 1, "secret"), column(0, 0)]) == [
        REDACT,
        REDACT,
        None,
    ]


def test_all_columns_of_a_view_over_a_masked_one_are(gate):
    found = plan(gate, "SELECT a FROM mail")
    assert found.columns([column(VIEW, 1)]) == [REDACT]  # it is not known what the view does with it
    assert found.columns([column(20002, 1)]) == [REDACT]  # either word is enough


def test_what_the_catalogue_does_not_know_is_masked_strictly(gate):
    found = plan(gate, "SELECT * FROM just_created")
    fields = [column(UNKNOWN, 1), column(ORDERS, 99), column(CUSTOMERS, 99), column(SYSTEM, 1), column(CUSTOMERS, -1)]
    assert found.columns(fields) == [REDACT] * 5
    found = plan(gate, "SELECT 1 FROM orders")
    assert found.columns(fields) == [REDACT, REDACT, REDACT, None, None]
    assert found.columns([column(VIEW, -1)]) == [REDACT]


UNTRACED = {
    "SELECT 1": False,
    "SELECT count(*) FROM customers": False,
    "SELECT max(id), upper(name) FROM customers": False,
    "SELECT c.name || 'x' FROM customers c": False,
    "SELECT o.* FROM orders o": False,
    "SELECT row_to_json(o) FROM orders o": False,
    "SELECT upper(who) FROM names": False,
    "SELECT upper(relname) FROM pg_class": False,
    "SELECT lower(email) FROM customers": True,
    "SELECT count(email) FROM customers": True,
    "SELECT c FROM customers c": True,
    "SELECT * FROM customers": True,
    "SELECT count(*) FROM mail": False,
    "SELECT 1 FROM just_created": False,
    "SELECT x FROM just_created": True,
    "SELECT f(1)": True,
    "SELECT 1 OPERATOR(x.+) 2": True,
    "SELECT query_to_xml('', true, true, '')": True,
    "SELECT c.f FROM customers c": False,
    "SELECT c.row_to_json FROM customers c": True,
    "SELECT reltuples FROM pg_stats, pg_class": True,
    "SELECT a FROM customers AS c (a, b, d)": False,
    "SELECT lower(d) FROM customers AS c (a, b, d)": True,
    "EXPLAIN SELECT lower(email) FROM customers": False,
    "SHOW ALL": False,
    "FETCH ALL FROM c": True,
    "SELECT 1; SELECT lower(email) FROM customers": True,
    "SELECT set_config('jit', 'off', false)": False,
}


@pytest.mark.parametrize("text", UNTRACED)
def test_computed_columns(gate, text: str):
    expected = REDACT if UNTRACED[text] else None
    assert plan(gate, text).columns([column(0, 0)]) == [expected]


def test_a_cursor_is_traced_where_its_statement_is_known(gate, catalogue):
    known = SessionFacts(catalogue=catalogue, cursors={"c": analyze("SELECT count(*) FROM orders").statements})
    masked = SessionFacts(catalogue=catalogue, cursors={"c": analyze("SELECT lower(email) FROM customers").statements})
    assert gate("FETCH c", known).verdict.masks.columns([column(0, 0)]) == [None]
    assert gate("FETCH c", masked).verdict.masks.columns([column(0, 0)]) == [REDACT]
    assert gate("FETCH c").verdict.masks.columns([column(0, 0), column(ORDERS, 1)]) == [REDACT, None]


def test_execute_is_traced_as_all_that_the_name_may_mean(gate, catalogue):
    texts = ("SELECT count(*) FROM orders", "SELECT lower(email) FROM customers")
    one, other = (analyze(text).statements[0] for text in texts)
    for prepared, expected in (([one], None), ([one, other], REDACT)):
        session = SessionFacts(catalogue=catalogue, prepared={"p": prepared})
        assert gate("EXECUTE p", session).verdict.masks.columns([column(0, 0)]) == [expected]
        assert gate.policy.mask_plan(analyze("EXECUTE p").statements, session).columns([column(0, 0)]) == [expected]


def test_without_a_catalogue_all_but_the_servers_own_is_masked(gate):
    session = SessionFacts()
    found = gate("SELECT id FROM orders", session).verdict.masks
    assert found.columns([column(ORDERS, 1), column(0, 0), column(SYSTEM, 1)]) == [REDACT, REDACT, None]
    assert gate("SELECT 1", session).verdict.masks.columns([column(0, 0)]) == [None]
    assert gate("SELECT x.f FROM (VALUES (1)) x", session).verdict.masks.columns([column(0, 0)]) == [REDACT]


def test_column_statistics_are_masked_as_a_whole(gate):
    found = plan(gate, "SELECT * FROM pg_stats")
    assert found.columns([column(12345, 1), column(0, 0)]) == [REDACT, REDACT]


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("SELECT email FROM customers", True),
        ("UPDATE customers SET id = NULL", True),  # DETAIL: Failing row contains (…)
        ("DELETE FROM customers WHERE id = 1", True),
        ("INSERT INTO orders VALUES (1)", False),
        ("SELECT name::int FROM customers", False),
        ("SELECT item::int FROM orders", False),
        ("SELECT f(1)", True),
    ],
)
def test_errors_that_may_repeat_a_masked_value_are_hidden(gate, text: str, hides: bool):
    assert plan(gate, text).hides_errors is hides


REFUSED = {
    "COPY customers TO '/tmp/x'": "COPY would send masked columns (public.customers)",
    "COPY (SELECT f()) TO PROGRAM 'cat'": "(what public.f returns)",
    "COPY customers TO STDOUT (NULL 'x')": "in a format that is not certain",
    "INSERT INTO orders (id, item) SELECT id, email FROM customers": "(public.customers.email)",
    "INSERT INTO orders SELECT 1, f()": "(what the function `f` reads cannot be told)",
    "CREATE TABLE t AS SELECT email FROM customers": "carry masked columns",
    "UPDATE customers SET name = email": "carry masked columns",
    "UPDATE customers SET email = lower(email)": "carry masked columns",
    "UPDATE customers c SET email = c::text": "carry masked columns",
    "UPDATE customers SET name = (SELECT email FROM customers)": "carry masked columns",
    "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = customers.email": "carry masked",
    "ALTER TABLE customers RENAME COLUMN email TO x": "could unmask",
    "DROP TABLE customers": "could unmask",
    "ALTER VIEW mail RENAME TO x": "could unmask",
    "ALTER SCHEMA public RENAME TO x": "could unmask",
    "DO 'x'": "code that no rule can see into",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'": "code that no rule can see into",
    "CREATE TABLE t AS EXECUTE p": "carry masked columns",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_would_carry_a_masked_value_away_is_refused(gate, catalogue, text: str):
    prepared = {"p": analyze("SELECT email FROM customers").statements}
    verdict = gate(text, SessionFacts(catalogue=catalogue, prepared=prepared)).verdict
    assert (verdict.rule, verdict.code) == ("builtin:masked-flow", "masked-flow")
    assert REFUSED[text] in verdict.reason
    assert verdict.remedy


@pytest.mark.parametrize(
    "text",
    [
        "COPY orders TO STDOUT",
        "COPY customers (id, name) TO STDOUT",
        "COPY customers FROM STDIN",
        "COPY (SELECT count(*) FROM customers) TO STDOUT",
        "INSERT INTO orders (id, item) SELECT id, name FROM customers",
        "CREATE TABLE t AS SELECT id FROM customers",
        "CREATE VIEW v AS SELECT id FROM customers",
        "UPDATE customers SET name = 'x' WHERE id = 1",
        "UPDATE customers SET email = 'x', name = 'y' WHERE id = 1",
        "UPDATE customers c SET email = o.item FROM orders o WHERE o.id = c.id",
        "INSERT INTO customers (id, email) VALUES (1, 'x') RETURNING id",
        "INSERT INTO customers (id, email) SELECT id, item FROM orders",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'x'",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET email = o.item",
        "DELETE FROM customers WHERE id = 1",
        "UPDATE customers SET email = 'x' RETURNING email",
        "INSERT INTO customers VALUES (1, 'x', 'y')",
        "INSERT INTO customers (id, email) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "UPDATE mail SET a = 'x'",
        "ALTER TABLE orders ADD COLUMN y int",
        "DROP TABLE orders",
        "COMMENT ON TABLE customers IS 'x'",
        "CALL p()",
        "SELECT pg_sleep(1)",
        "CREATE TABLE t AS EXECUTE p",
    ],
)
def test_what_would_not_is_allowed(gate, catalogue, text: str):
    prepared = {"p": analyze("SELECT id FROM customers").statements}
    verdict = gate(text, SessionFacts(catalogue=catalogue, prepared=prepared)).verdict
    assert verdict.allowed, verdict


STRICT = {None: 0, **STRICTNESS}
EXTRA = st.sampled_from(
    [
        "{columns: ['*.*.*'], with: partial}",
        "{columns: [public.orders.item], with: null}",
        "{columns: [public.customers.email], with: hash}",
        "{names: [name], with: redact}",
        "{names: ['*'], with: hash}",
    ]
)
FIELDS = [
    column(oid, n, name) for oid in (CUSTOMERS, ORDERS, VIEW, UNKNOWN, SYSTEM) for n, name in ((1, "x"), (2, "name"))
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.lists(EXTRA, max_size=3), text=st.sampled_from([*UNTRACED, *REFUSED]))
def test_another_mask_never_shows_more(decider, catalogue, extra: list[str], text: str):
    session = SessionFacts(catalogue=catalogue, prepared={"p": analyze("SELECT email FROM customers").statements})
    before = decider(POLICY, catalogue=catalogue)(text, session).verdict
    more = POLICY + "".join(f"  - {mask}\n" for mask in extra)
    after = decider(more, catalogue=catalogue)(text, session).verdict
    assert before.allowed or not after.allowed
    if after.allowed:
        fields = [*FIELDS, column(0, 0)]
        pairs = zip(before.masks.columns(fields), after.masks.columns(fields), strict=True)
        assert all(STRICT[a] <= STRICT[b] for a, b in pairs)
        assert after.masks.hides_errors or not before.masks.hides_errors


@pytest.mark.parametrize(("text", "allowed"), [("VACUUM customers", True), ("CLUSTER orders USING i", True),
                                               ("CLUSTER customers USING i", False), ("CLUSTER", False)])  # fmt: skip
def test_rows_are_not_sorted_by_masked_values(decider, catalogue, text: str, allowed: bool):
    rules = POLICY.replace("procedural, file]", "procedural, file, maintenance]")
    verdict = decider(rules, catalogue=catalogue)(text).verdict
    assert (verdict.allowed, verdict.code) == (allowed, "" if allowed else "masked-side-channel")


def test_what_other_sessions_say_is_masked(gate):
    found = plan(gate, "SELECT pid, query FROM pg_stat_activity")
    assert found.columns([column(12345, 3, "pid"), column(12345, 20, "query")]) == [None, REDACT]
    assert gate("SELECT pid FROM pg_stat_activity WHERE query LIKE '%x%'").verdict.code == "masked-side-channel"


def test_a_sequence_carries_numbers_whatever_may_be_computed(decider, catalogue):
    rules = POLICY.replace("with: partial}", "with: partial, uses: any}")
    gate = decider(rules, catalogue=catalogue)
    assert gate("SELECT 1 + email::int FROM customers").verdict.allowed
    assert gate("SELECT setval('s', id) FROM customers").verdict.allowed
    assert gate("SELECT setval('s', email::int) FROM customers").verdict.code == "masked-flow"
