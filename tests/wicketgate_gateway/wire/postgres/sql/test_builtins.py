"""The table of built-ins: safe by default, and true to a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

if TYPE_CHECKING:
    from wicketgate.testing.postgres import PostgresServer


HARMLESS = """
lower count now generate_series random row_to_json jsonb_path_query pg_get_viewdef current_setting pg_relation_size
txid_current gen_random_uuid no_such_function
"""
DANGEROUS = {
    C.FILE: "pg_read_file pg_read_binary_file pg_ls_waldir lo_import lo_export pg_file_write",
    C.DYNAMIC: "query_to_xml database_to_xmlschema ts_stat crosstab cursor_to_xml",
    C.LARGE_OBJECT: "lo_get lowrite lo_unlink",
    C.ADMIN: "pg_terminate_backend pg_stat_reset pg_drop_replication_slot pg_promote",
    C.RESOURCE: "pg_sleep pg_sleep_for pg_try_advisory_xact_lock",
    C.SESSION: "set_config",
    C.EXTERNAL: "dblink dblink_connect_u http_get",
    C.WRITE: "nextval setval",
}
CASES = [(name, None) for name in HARMLESS.split()] + [
    (n, cls) for cls, names in DANGEROUS.items() for n in names.split()
]


@pytest.mark.parametrize(("name", "danger"), CASES)
def test_danger(name: str, danger: C | None) -> None:
    assert builtins.danger_of(name) == danger


def test_plain_needs_the_right_schema() -> None:
    assert builtins.is_plain(None, "lower")
    assert builtins.is_plain("pg_catalog", "lower")
    assert not builtins.is_plain("public", "lower")
    assert not builtins.is_plain(None, "no_such_function")
    assert not builtins.is_plain("pg_catalog", "pg_read_file")


def test_catalog_relations() -> None:
    assert builtins.is_catalog_relation(None, "pg_class")
    assert builtins.is_catalog_relation("pg_catalog", "anything")
    assert not builtins.is_catalog_relation("public", "pg_class")
    assert not builtins.is_catalog_relation(None, "orders")


def test_every_volatile_builtin_is_dangerous_or_looked_at(postgres: PostgresServer) -> None:
    """Whatever the server's version: a function of which it says that it does something is not plain by accident."""
    query = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'"
    with psycopg.connect(postgres.admin_dsn) as connection:
        volatile = {row[0] for row in connection.execute(query).fetchall()}
    assert len(volatile) > 150
    sampling_methods = {"bernoulli", "system"}
    plain = {name for name in volatile - sampling_methods if builtins.is_plain(None, name)}
    assert {name for name in plain if not builtins._HARMLESS_VOLATILE.fullmatch(name)} == set()
    assert {"pg_read_file", "lo_unlink", "pg_reload_conf", "pg_switch_wal"} & plain == set()


def test_the_table_knows_the_servers_functions_and_operators(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.admin_dsn) as connection:
        operators = connection.execute(
            "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace"
        ).fetchall()
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')"
        ).fetchall()
        aggregates = connection.execute("SELECT proname FROM pg_proc WHERE prokind = 'a'").fetchall()
    assert {name for (name,) in operators} <= builtins.OPERATORS
    assert {name for (name,) in relations} <= builtins.CATALOG_RELATIONS
    assert {name for (name,) in aggregates} <= builtins.FUNCTIONS
