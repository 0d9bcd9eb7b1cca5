"""The decision point: attacks first, then what must pass, then properties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.policy.decision import CACHE_ENTRIES
from wicketgate_gateway.policy.engine import CACHED_TEXT
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.facts import analyze

READER = Path(__file__).parents[3] / "policies" / "access" / "orders-readonly.yaml"
READ = "rules: [{allow: {sql: {statements: read, relations: [public.*, pg_catalog.*]}}}]"
EVERYTHING = """
rules:
  - allow:
      sql: {statements: [read, write, ddl, grant, session, maintenance, messaging], relations: ["*.*"]}
  - allow: {sql: {statements: [write, ddl, grant, maintenance, procedural, file]}}
  - allow: {sql: {functions: ["*", "*.*"]}}
"""

# What a bot that may only read must not get through, however it is hidden. Issue 4, lessons 10.
ATTACKS = [
    "DELETE FROM orders",
    "select 1; delete from orders",
    "select 1;;; ; \n-- x\n delete from orders",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "EXPLAIN (ANALYZE TRUE, COSTS OFF) UPDATE orders SET status = 'x'",
    "WITH x AS (DELETE FROM orders RETURNING id) SELECT id FROM x",
    "SELECT * FROM (WITH y AS (INSERT INTO orders (id) VALUES (1) RETURNING id) SELECT id FROM y) s",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "DO LANGUAGE plpgsql 'begin delete from orders; end'",
    "COPY orders FROM PROGRAM 'id'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY orders TO '/tmp/x'",
    "COPY orders FROM '/etc/passwd'",
    "COPY orders FROM STDIN",
    "PREPARE p AS DELETE FROM orders",
    "EXECUTE p",
    "EXPLAIN ANALYZE EXECUTE p",
    "CREATE TABLE t AS EXECUTE p",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET LOCAL ROLE postgres",
    "RESET ROLE",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('ro' || 'le', 'postgres', false)",
    "SELECT set_config(name, 'off', false) FROM pg_settings",
    "SET standard_conforming_strings = off",
    "RESET standard_conforming_strings",
    "SET STANDARD_CONFORMING_STRINGS TO DEFAULT",
    "SET client_encoding = 'SJIS'",
    "SET NAMES 'LATIN1'",
    "SET search_path = evil, public",
    "SET search_path = public, pg_catalog",
    'SET search_path = "$user", public',
    "SET SCHEMA 'evil'",
    "SELECT set_config('search_path', 'evil', false)",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'search_path'",
    "SET session_replication_role = replica",
    "SET row_security = off",
    "SET session_preload_libraries = 'x'",
    "SET app.tenant = '7'",
    "SET work_mem = '10GB'",
    "/* harmless */ DELETE /* SELECT */ FROM orders -- SELECT",
    "SELECT $a$ ; $a$; DELETE FROM orders WHERE item = $a$ SELECT $a$",
    "SELECT 1 INTO newtable",
    "CREATE TABLE t AS SELECT 1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'delete from orders; select 1'",
    "CALL p()",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT ('/etc/passwd'::text).pg_read_file",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_sleep(1000)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT dblink('host=evil', 'delete from orders')",
    "SELECT query_to_xml('delete from orders returning *', true, true, '')",
    "SELECT nextval('orders_id_seq')",
    "SELECT nextval($1)",
    "SELECT setval('public.orders_id_seq', 1)",
    "SELECT my_function()",
    "SELECT evil.lower('x')",
    "SELECT 1 OPERATOR(evil.+) 1",
    "SELECT * FROM orders FOR UPDATE",
    "SELECT * FROM orders FOR SHARE",
    "LOCK TABLE orders",
    "TRUNCATE orders",
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
    "VACUUM",
    "ANALYZE",
    "REINDEX DATABASE orders",
    "CHECKPOINT",
    "LISTEN x",
    "NOTIFY x",
    "SELECT pg_notify('x', 'y')",
    "LOAD 'x'",
    "ALTER SYSTEM SET ssl = off",
    "ALTER ROLE postgres SUPERUSER",
    "ALTER DATABASE orders SET search_path = evil",
    "ALTER TABLE orders RENAME TO x",
    "GRANT ALL ON orders TO PUBLIC",
    "CREATE EXTENSION dblink",
    "CREATE SCHEMA x",
    "CREATE RULE r AS ON SELECT TO orders DO INSTEAD SELECT 1",
    "REFRESH MATERIALIZED VIEW orders",
    "PREPARE TRANSACTION 'x'",
    "DECLARE c CURSOR FOR SELECT * FROM secret.t",
    "SELECT * FROM secret.t",
    "SELECT * FROM orders WHERE id IN (SELECT id FROM secret.t)",
    "SELECT EXISTS (TABLE secret.t)",
    "SELECT (SELECT count(*) FROM secret.t)",
    "TABLE secret.t",
    "WITH orders AS (SELECT * FROM secret.t) SELECT * FROM orders",
    "SELECT * FROM orders.public.orders",
    'SELECT * FROM "Public".orders',
    "SELECT * FROM PUBLICX.orders",
    "SELECT \0 1",
    "SELEC 1",
    "",
][:-1]


@pytest.mark.parametrize("text", ATTACKS)
def test_attack_on_a_reading_bot_is_denied_with_a_reason(decider, text):
    for policy in (READ, READER.read_text()):
        verdict = decider(policy)(text).verdict
        assert not verdict.allowed
        assert verdict.code
        assert verdict.rule
        assert verdict.reason
        assert verdict.remedy
        assert not verdict.reason.endswith(".")


# Denied whatever policies say.
NEVER = [
    "SET standard_conforming_strings = off",
    "SET search_path = evil",
    "SET client_encoding = 'LATIN1'",
    "SELECT set_config('search' || '_path', 'evil', false)",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    "DELETE FROM pg_catalog.pg_class",
    "SET session_replication_role = replica",
    "ALTER DATABASE orders SET search_path = evil",
    "ALTER ROLE bot SET standard_conforming_strings = off",
    "EXECUTE unknown",
    "SELECT * FROM a.b.c",
]


@pytest.mark.parametrize("text", NEVER)
def test_no_policy_allows_what_would_change_the_meaning_of_texts(decider, text):
    verdict = decider(EVERYTHING)(text).verdict
    assert not verdict.allowed
    assert verdict.rule.startswith("builtin:")


def test_the_widest_policy_allows_the_rest_of_the_attacks(decider):
    # Otherwise the attacks above could be denied for the wrong reason, such as not being understood.
    gate = decider(EVERYTHING)
    builtin = {"builtin:pinned", "builtin:prepared", "builtin:names", "builtin:syntax"}
    for text in ATTACKS:
        verdict = gate(text).verdict
        assert verdict.allowed or verdict.rule in builtin, (text, verdict)


PLUMBING = {
    "": "builtin:empty",
    " -- nothing\n": "builtin:empty",
    "BEGIN": "builtin:transaction",
    "START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY": "builtin:transaction",
    "SAVEPOINT a": "builtin:transaction",
    "ROLLBACK TO a": "builtin:transaction",
    "COMMIT": "builtin:transaction",
    "SET TRANSACTION READ ONLY": "builtin:session",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "builtin:session",
    "SHOW ALL": "builtin:show",
    "SHOW standard_conforming_strings": "builtin:show",
    "DEALLOCATE ALL": "builtin:prepared",
    "DISCARD ALL": "builtin:session",
    "RESET ALL": "builtin:session",
    "FETCH ALL FROM c": "builtin:cursor",
    "MOVE 5 FROM c": "builtin:cursor",
    "CLOSE c": "builtin:cursor",
    "SET application_name = 'x'": "builtin:session",
    "SET datestyle TO 'ISO'": "builtin:session",
    "SET TIME ZONE 'UTC'": "builtin:session",
    "SET extra_float_digits = 3": "builtin:session",
    "SET LOCAL statement_timeout = '5s'": "builtin:session",
    "RESET statement_timeout": "builtin:session",
    "SET enable_seqscan = off": "builtin:session",
    "SET client_encoding = 'UTF8'": "builtin:session",
    "SET NAMES 'utf-8'": "builtin:session",
    "SET standard_conforming_strings = on": "builtin:session",
    "SET search_path = ''": "builtin:session",
    "SET search_path = pg_catalog": "builtin:session",
    "SET search_path = public": "builtin:session",
    "UNLISTEN *": "builtin:session",
}


@pytest.mark.parametrize("text", PLUMBING)
def test_what_every_client_needs_is_allowed_to_whoever_has_a_policy(decider, text):
    verdict = decider("rules: [{allow: {sql: {statements: messaging}}}]".replace("messaging", "maintenance"))(text)
    assert verdict.verdict.allowed
    assert verdict.verdict.rule == PLUMBING[text]


CLIENTS = [
    "SELECT pg_catalog.set_config('search_path', '', false)",  # pg_dump
    "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",  # asyncpg
    "SELECT set_config('jit', $1, false)",  # asyncpg
    "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",  # asyncpg's pool
    "select pg_catalog.version()",  # SQLAlchemy
    "select current_schema()",
    (
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE pg_catalog.default"
        " AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3"
    ),  # psql's \d
    (
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a"
        " WHERE a.attrelid = '16384' AND a.attnum > 0 AND NOT a.attisdropped"
    ),
    "SELECT 1",
    "SELECT count(*), lower(status) FROM orders GROUP BY 2",
    "EXPLAIN SELECT * FROM orders",
    "EXPLAIN DELETE FROM orders",
    "DECLARE c CURSOR FOR SELECT id FROM public.orders",
    "PREPARE p (int) AS SELECT * FROM orders WHERE id = $1",
    "COPY orders TO STDOUT",
    "VALUES (1), (2)",
]


@pytest.mark.parametrize("text", CLIENTS)
def test_a_reading_bot_with_an_ordinary_client_gets_on(decider, text):
    assert decider(READ)(text).verdict.allowed, decider(READ)(text).verdict
    assert decider(READER.read_text())(text).verdict.allowed


def test_a_denial_names_precisely_what_no_rule_covers_and_what_is_allowed(decider):
    gate = decider("policy: orders-readonly\ntargets: [orders-db]\n" + READ)
    verdict = gate("UPDATE orders SET status = 'x' WHERE id = 1").verdict
    assert verdict.reason == "no rule of `orders-readonly` allows `write` on `public.orders`"
    assert verdict.remedy == "allowed here: `read` on `public.*`, `pg_catalog.*`"
    assert (verdict.code, verdict.rule) == ("not-allowed", "default")


def test_of_two_statements_the_denied_one_is_named(decider):
    verdict = decider(READ)("SELECT 1; DELETE FROM orders; SELECT 2").verdict
    assert verdict.reason.startswith("statement 2 of 3 (`delete`): no rule")


def test_an_explicit_denial_tells_why(decider):
    gate = decider(
        "rules: [{allow: {sql: {statements: read, relations: ['*.*']}}},"
        " {deny: {sql: {relations: [public.api_keys]}, because: keys are secret}}]"
    )
    verdict = gate("SELECT 1 FROM orders, api_keys").verdict
    assert verdict.rule == "p0#2"
    assert verdict.reason == "rule `p0#2` denies `read` on `public.api_keys`: keys are secret"


class TestFunctions:
    def test_only_a_rule_that_lists_a_function_covers_it(self, decider):
        gate = decider(READ, "rules: [{allow: {sql: {functions: [audit_note, pg_sleep]}}}]")
        assert gate.allows("SELECT audit_note(item) FROM orders")
        assert gate.allows("SELECT public.audit_note(1)")
        assert gate.allows("SELECT pg_sleep(1)")
        assert not gate.allows("SELECT evil.audit_note(1)")
        assert not gate.allows("SELECT audit_note2(1)")

    def test_a_rule_with_functions_opens_no_table(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: [read, write], functions: [f]}}}]")
        assert gate.allows("SELECT f(1)")
        assert not gate.allows("SELECT f(1) FROM orders")
        assert not gate.allows("SELECT 1")

    def test_the_other_terms_of_the_rule_limit_where_it_may_be_called(self, decider):
        gate = decider(
            READ,
            "rules: [{allow: {sql: {statements: read, relations: [public.orders], functions: [f]}}},"
            " {allow: {sql: {statements: write, relations: [public.orders]}}}]",
        )
        assert gate.allows("SELECT f(id) FROM orders")
        assert not gate.allows("SELECT f(id) FROM customers")
        assert not gate.allows("UPDATE orders SET id = f(1)")

    def test_one_that_shadows_a_builtin_must_be_listed(self, decider, make_catalogue):
        catalogue = make_catalogue("orders(id)", functions=[("public", "lower"), ("other", "upper")])
        gate = decider(READ, catalogue=catalogue)
        assert not gate.allows("SELECT lower(id) FROM orders")
        assert gate.allows("SELECT upper(id) FROM orders")
        assert gate.allows("SELECT pg_catalog.lower('X')")

    def test_attribute_notation_is_a_call(self, decider, make_catalogue):
        catalogue = make_catalogue("orders(id)", functions=[("public", "leak")])
        gate = decider(READ, catalogue=catalogue)
        assert not gate.allows("SELECT o.leak FROM orders o")
        assert gate.allows("SELECT o.id FROM orders o")
        assert gate.allows("SELECT (o).id FROM orders o")

    def test_listing_procedural_calls_does_not_allow_do(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: procedural, functions: [nightly]}}}]")
        assert gate.allows("CALL nightly(1)")
        assert not gate.allows("CALL other()")
        assert not gate.allows("DO 'x'")


class TestClasses:
    @pytest.mark.parametrize("text", ["GRANT SELECT ON scratch TO x", "COPY scratch FROM '/f'", "DO 'x'", "SET ROLE x"])
    def test_a_rule_without_classes_covers_no_dangerous_one(self, decider, text):
        assert not decider("rules: [{allow: {sql: {relations: [public.scratch]}}}]").allows(text)

    def test_a_rule_without_classes_covers_the_usual_ones(self, decider):
        gate = decider("rules: [{allow: {sql: {relations: [public.scratch]}}}]")
        for text in (
            "SELECT * FROM scratch",
            "DELETE FROM scratch",
            "CREATE TABLE scratch (a int)",
            "DROP TABLE scratch",
        ):
            assert gate.allows(text)
        assert not gate.allows("CREATE SCHEMA scratch")

    def test_file_needs_a_rule_that_names_it(self, decider):
        write = "rules: [{allow: {sql: {statements: [read, write], relations: ['*.*']}}}]"
        assert not decider(write).allows("COPY orders FROM PROGRAM 'id'")
        assert decider(write, "rules: [{allow: {sql: {statements: file}}}]").allows("COPY orders FROM PROGRAM 'id'")

    def test_settings_that_are_neither_pinned_nor_safe_need_the_class_session(self, decider):
        assert not decider(READ).allows("SET app.tenant = '7'")
        gate = decider("rules: [{allow: {sql: {statements: [read, session], relations: [public.*]}}}]")
        assert gate.allows("SET app.tenant = '7'")
        assert not decider(READ).allows("SELECT set_config('app.tenant', '7', false)")

    def test_select_for_update_is_a_write(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: [read, write], relations: [public.orders]}}}]")
        assert gate.allows("SELECT * FROM orders FOR UPDATE")

    def test_set_role_needs_grant(self, decider):
        assert decider("rules: [{allow: {sql: {statements: grant}}}]").allows("SET ROLE auditor") is False
        gate = decider("rules: [{allow: {sql: {statements: [grant, session]}}}]")
        assert gate.allows("SET ROLE auditor")


class TestDeny:
    def test_it_reaches_through_views(self, decider, make_catalogue):
        catalogue = make_catalogue(
            "customers(id, email)", "v:v1(a) < customers.email", "v:v2(b) < v1.a", "v:ids(i) < customers.id"
        )
        gate = decider(
            "rules: [{allow: {sql: {statements: read, relations: ['*.*']}}},"
            " {deny: {sql: {columns: [public.customers.email]}}}]",
            catalogue=catalogue,
        )
        assert not gate.allows("SELECT b FROM v2")
        assert not gate.allows("SELECT count(*) FROM v1")
        assert gate.allows("SELECT i FROM ids")

    def test_it_reaches_partitions_and_their_parents(self, decider, make_catalogue):
        catalogue = make_catalogue("orders(id)", "orders_1(id)", "other(id)", inherits=[(20001, 20000)])
        allow = "{allow: {sql: {statements: read, relations: ['*.*']}}}"
        for denied in ("orders", "orders_1"):
            gate = decider(
                f"rules: [{allow}, {{deny: {{sql: {{relations: [public.{denied}]}}}}}}]", catalogue=catalogue
            )
            assert not gate.allows("SELECT id FROM orders")
            assert not gate.allows("SELECT id FROM orders_1")
            assert gate.allows("SELECT id FROM other")

    @pytest.mark.parametrize(
        "text",
        [
            "SELECT email FROM customers",
            "SELECT * FROM customers",
            "SELECT c FROM customers c",
            "SELECT row_to_json(customers) FROM customers",
            "TABLE customers",
            "SELECT a FROM customers AS c (x, y, a)",
            "SELECT 1 FROM customers WHERE email LIKE 'a%'",
            "SELECT id FROM customers ORDER BY email",
            "SELECT c.row_to_json FROM customers c",
            "COPY customers TO STDOUT",
            "SELECT id FROM customers JOIN orders USING (email)",
        ],
    )
    def test_a_denied_column_is_denied_however_it_is_mentioned(self, decider, text):
        gate = decider(
            "rules: [{allow: {sql: {statements: read, relations: ['*.*']}}},"
            " {deny: {sql: {columns: [public.customers.email]}}}]"
        )
        assert gate(text).verdict.rule == "p0#2"
        assert gate.allows("SELECT id, name FROM customers")
        assert gate.allows("SELECT count(*) FROM customers")

    def test_all_its_terms_must_match(self, decider):
        gate = decider(
            "rules: [{allow: {sql: {statements: [read, write], relations: ['*.*']}}},"
            " {deny: {sql: {statements: write, relations: [public.orders], functions: [lower]}}}]"
        )
        assert not gate.allows("UPDATE orders SET item = lower(item)")
        assert gate.allows("UPDATE orders SET item = upper(item)")
        assert gate.allows("UPDATE customers SET name = lower(name)")
        assert gate.allows("SELECT lower(item) FROM orders")

    def test_it_knows_functions_by_attribute_notation(self, decider):
        gate = decider(
            "rules: [{allow: {sql: {statements: read, relations: ['*.*']}}}, {deny: {sql: {functions: [row_to_*]}}}]"
        )
        assert not gate.allows("SELECT o.row_to_json FROM orders o")
        assert not gate.allows("SELECT (o).row_to_json FROM orders o")
        assert not gate.allows("SELECT pg_catalog.row_to_json(o) FROM orders o")

    def test_it_can_take_plumbing_away(self, decider):
        gate = decider(READ, "rules: [{deny: {sql: {statements: session}}}]")
        assert not gate.allows("SET application_name = 'x'")
        assert gate.allows("BEGIN")


class TestNames:
    def test_a_bare_name_is_a_system_relation_first(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: read, relations: [public.*]}}}]")
        assert not gate.allows("SELECT * FROM pg_class")
        assert gate.allows("SELECT * FROM orders")
        assert not decider("rules: [{allow: {sql: {statements: read, relations: [public.*]}}}]", catalogue=None).allows(
            "SELECT * FROM pg_class"
        )

    def test_case_counts(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: read, relations: [public.orders]}}}]")
        assert gate.allows("SELECT * FROM ORDERS")
        assert not gate.allows('SELECT * FROM "ORDERS"')

    def test_wildcards_stay_within_their_part(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: read, relations: [pub*.ord?rs]}}}]")
        assert gate.allows("SELECT * FROM public.orders")
        assert not gate.allows('SELECT * FROM "public.x".orders2')
        assert not gate.allows('SELECT * FROM secret."pub.orders"')
        assert not gate.allows('SELECT * FROM public."orders\n"')

    def test_with_a_path_of_several_schemas_the_catalogue_decides(self, decider, make_catalogue):
        catalogue = make_catalogue("app.orders(id)", "public.customers(id)")
        gate = decider(READ, catalogue=catalogue)
        session = SessionFacts(search_path="app, public", catalogue=catalogue)
        assert not gate.allows("SELECT * FROM orders", session)
        assert gate.allows("SELECT * FROM customers", session)
        assert gate("SELECT * FROM unknown", session).verdict.code == "unresolved-name"
        assert (
            gate("SELECT 1 FROM x", replace(session, search_path='"$user", public')).verdict.code == "unresolved-name"
        )


class TestByName:
    def test_execute_is_decided_as_all_that_was_prepared_under_the_name(self, decider):
        gate = decider(READ)
        good, bad = (analyze(t).statements[0] for t in ("SELECT 1 FROM orders", "DELETE FROM orders"))
        assert gate.allows("EXECUTE p", SessionFacts(prepared={"p": {good}}))
        assert gate("EXECUTE p", SessionFacts(prepared={"p": {good}})).verdict.rule == "p0#1"
        assert not gate.allows("EXECUTE p", SessionFacts(prepared={"p": [good, bad]}))
        assert not gate.allows("EXPLAIN ANALYZE EXECUTE p", SessionFacts(prepared={"p": [bad]}))
        assert gate("EXECUTE q", SessionFacts(prepared={"p": [good]})).verdict.code == "unknown-prepared"
        assert gate("EXECUTE q", SessionFacts(prepared={"q": []})).verdict.code == "unknown-prepared"

    def test_a_verdict_by_name_is_not_cached(self, decider):
        gate = decider(READ)
        good, bad = (analyze(t).statements[0] for t in ("SELECT 1 FROM orders", "DELETE FROM orders"))
        assert gate.allows("EXECUTE p", SessionFacts(prepared={"p": [good]}))
        assert not gate.allows("EXECUTE p", SessionFacts(prepared={"p": [good, bad]}))
        assert gate.allows("FETCH c", SessionFacts())
        assert not gate.allows("FETCH c", SessionFacts(cursors={"c": [bad]}))

    def test_a_cursor_declared_before_a_policy_change_is_decided_anew(self, decider):
        reads = analyze("SELECT * FROM orders").statements[0]
        session = SessionFacts(cursors={"c": [reads]})
        assert decider(READ).allows("FETCH ALL FROM c", session)
        assert not decider("rules: [{allow: {sql: {statements: read, relations: [public.customers]}}}]").allows(
            "FETCH ALL FROM c", session
        )


class TestConditions:
    def test_they_decide_whether_a_rule_counts(self, decider):
        gate = decider("rules: [{allow: {sql: {relations: [public.*]}, when: 'op.statement.contains(\"LIMIT\")'}}]")
        assert gate.allows("SELECT * FROM orders LIMIT 10")
        assert not gate.allows("SELECT * FROM orders")

    @pytest.mark.parametrize("effect", ["allow", "deny"])
    def test_an_error_denies(self, decider, effect):
        gate = decider(
            READ, f"rules: [{{{effect}: {{sql: {{statements: read}}, when: \"target.labels['no'] == 'x'\"}}}}]"
        )
        verdict = gate("SELECT 1").verdict
        assert verdict.code == "condition-error"
        assert not verdict.allowed

    def test_who_asks_is_named_by_the_bundle_and_not_by_the_token(self, decider):
        when = "bot.name == 'code-review' && 'reviewers' in bot.groups && target.labels.env == 'prod'"
        gate = decider(f'rules: [{{allow: {{sql: {{statements: read}}, when: "{when}"}}}}]')
        assert gate.allows("SELECT 1")
        gate = decider("rules: [{allow: {sql: {statements: read}, when: \"bot.name == 'name-from-token'\"}}]")
        assert not gate.allows("SELECT 1")

    def test_what_depends_on_the_time_is_not_cached(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: read}, when: 'now.getHours() < 12'}}]")
        gate.policy.clock = lambda: 8 * 3600.0
        assert gate.allows("SELECT 1")
        gate.policy.clock = lambda: 20 * 3600.0
        assert not gate.allows("SELECT 1")

    def test_what_depends_on_the_text_is_not_cached_without_its_literals(self, decider):
        gate = decider(
            "rules: [{allow: {sql: {statements: read, relations: [public.*]}, when: 'op.statement.contains(\"= 1\")'}}]"
        )
        assert gate.allows("SELECT * FROM orders WHERE id = 1")
        assert not gate.allows("SELECT * FROM orders WHERE id = 2")


class TestCache:
    def test_it_is_bounded_and_forgets_the_oldest(self, decider):
        gate = decider(READ)
        for i in range(CACHE_ENTRIES + 10):
            gate(f"SELECT c{i} FROM orders")
        assert len(gate.policy.cache) <= CACHE_ENTRIES

    def test_long_texts_are_not_kept(self, decider):
        gate = decider(READ)
        text = "SELECT " + ", ".join(["id"] * CACHED_TEXT) + " FROM orders"
        assert gate(text).verdict.allowed or gate(text).verdict.code == "sql-too-large"
        assert len(gate.policy.cache) == 0

    def test_a_new_catalogue_is_a_new_decision(self, decider, make_catalogue):
        gate = decider(READ)
        gate.session = SessionFacts(catalogue=make_catalogue("orders(id)", version="1"))
        assert gate.allows("SELECT lower('x')")
        gate.session = SessionFacts(
            catalogue=make_catalogue("orders(id)", version="2", functions=[("public", "lower")])
        )
        assert not gate.allows("SELECT lower('x')")

    def test_literals_that_matter_are_part_of_the_key(self, decider):
        gate = decider("rules: [{allow: {sql: {statements: [read, write], relations: [public.a_seq]}}}]")
        assert gate.allows("SELECT nextval('a_seq')")
        assert not gate.allows("SELECT nextval('b_seq')")
        assert gate.allows("SELECT set_config('jit', 'off', false)")
        assert not gate.allows("SELECT set_config('role', 'off', false)")


# --- properties -------------------------------------------------------------------------------------------------------

RELATIONS = ["public.orders", "public.customers", "public.*", "secret.*", "*.*", "pg_catalog.*"]
TERMS = st.fixed_dictionaries(
    {},
    optional={
        "statements": st.lists(
            st.sampled_from(["read", "write", "ddl", "procedural", "session"]), min_size=1, max_size=3
        ),
        "relations": st.lists(st.sampled_from(RELATIONS), min_size=1, max_size=2),
        "functions": st.lists(st.sampled_from(["f", "pg_sleep", "low*", "*"]), min_size=1, max_size=2),
    },
).filter(bool)
WHENS = st.sampled_from([None, None, None, "op.statement.contains('1')", "'write' in op.classes", "bot.name == 'x'"])


def _rule(effect: str, terms: dict[str, list[str]], when: str | None) -> dict[str, object]:
    if effect == "allow" and "relations" in terms:
        terms = {
            k: [x for x in v if x != "procedural"] or ["read"] if k == "statements" else v for k, v in terms.items()
        }
    return {effect: {"sql": terms, **({"when": when} if when else {})}}


RULES = st.builds(_rule, st.sampled_from(["allow", "allow", "deny"]), TERMS, WHENS)
OPERATIONS = st.sampled_from(
    [*ATTACKS, *CLIENTS, *PLUMBING, *NEVER, "SELECT f(id) FROM orders WHERE id = 1", "UPDATE orders SET id = 1"]
)
PROPERTY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _policy(rules: list[object]) -> str:
    import json

    return f"policy: p\ntargets: [orders-db]\nrules: {json.dumps(rules)}\n"


@PROPERTY
@given(rules=st.lists(RULES, min_size=1, max_size=6), extra=RULES, text=OPERATIONS)
def test_another_deny_allows_no_more_and_another_allow_denies_no_more(decider, rules, extra, text):
    before, after = decider(_policy(rules)).allows(text), decider(_policy([*rules, extra])).allows(text)
    if "deny" in extra:
        assert not (after and not before)
    else:
        assert not (before and not after)


@PROPERTY
@given(data=st.data(), rules=st.lists(RULES, min_size=2, max_size=6), text=OPERATIONS)
def test_the_order_of_rules_decides_nothing(decider, data, rules, text):
    shuffled = data.draw(st.permutations(rules))
    assert decider(_policy(rules)).allows(text) == decider(_policy(shuffled)).allows(text)


@PROPERTY
@given(rules=st.lists(RULES, min_size=1, max_size=6), texts=st.lists(OPERATIONS, min_size=1, max_size=8))
def test_the_cache_changes_no_verdict(decider, rules, texts):
    gate = decider(_policy(rules))
    for text in texts:
        for variant in (text, text.replace("1", "2"), text):
            assert gate(variant).verdict == decider(_policy(rules))(variant).verdict


@PROPERTY
@given(rules=st.lists(RULES, min_size=1, max_size=6), texts=st.lists(OPERATIONS, min_size=2, max_size=3))
def test_statements_together_are_allowed_only_if_each_is(decider, rules, texts):
    rules = [r for r in rules if "when" not in next(iter(r.values()))] or rules[:0]
    if not rules:
        return
    gate = decider(_policy(rules))
    if gate.allows(";".join(t + "\n" for t in texts)):
        assert all(gate.allows(text) for text in texts)


def test_the_fixture_catalogue_is_what_the_quickstart_has(orders: Catalogue):
    assert [r.name for r in orders.relations] == ["customers", "orders", "api_keys"]


class TestColumnsThatMayBeSet:
    RULES = """
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
  - allow: {sql: {statements: write, columns: [public.orders.status, public.orders.item]}}
"""

    @pytest.mark.parametrize(
        "text",
        [
            "UPDATE orders SET amount = 0",
            "UPDATE orders SET status = 'x', amount = 0",
            "UPDATE orders SET (status, amount) = ('x', 0)",
            "UPDATE customers SET city = 'x'",
            "UPDATE secret.orders SET status = 'x'",
            "INSERT INTO orders (status) VALUES ('x')",
            "INSERT INTO orders (status) VALUES ('x') ON CONFLICT (id) DO UPDATE SET status = 'x'",
            "DELETE FROM orders",
            "TRUNCATE orders",
            "COPY orders (status) FROM STDIN",
            "SELECT * FROM orders FOR UPDATE",
            "MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DELETE",
            "WITH x AS (UPDATE orders SET status = 'x' RETURNING id) DELETE FROM orders",
            "UPDATE orders SET status = 'x'; UPDATE orders SET amount = 0",
            "EXPLAIN ANALYZE UPDATE orders SET amount = 0",
            "UPDATE orders SET status = nextval('orders_id_seq')",
        ],
    )
    def test_nothing_else(self, decider, text: str):
        assert not decider(self.RULES).allows(text)

    @pytest.mark.parametrize(
        "text",
        [
            "UPDATE orders SET status = 'x' WHERE id = 1",
            "UPDATE public.orders o SET item = 'x', status = 'y' FROM customers c WHERE c.id = o.customer_id",
            "WITH x AS (UPDATE orders SET status = 'x' RETURNING id) SELECT * FROM x",
            "MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN UPDATE SET status = 'x'",
            "MERGE INTO orders o USING orders c ON true WHEN NOT MATCHED BY SOURCE THEN UPDATE SET status = 'x'",
        ],
    )
    def test_these(self, decider, text: str):
        assert decider(self.RULES).allows(text)

    def test_what_the_bot_is_told(self, decider):
        remedy = decider(self.RULES)("DELETE FROM orders").verdict.remedy
        assert "`write` on `public.orders.status`, `public.orders.item`" in remedy
