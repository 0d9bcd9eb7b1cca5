"""What PostgreSQL brings along: its functions with what they can do, its operators and its catalog relations.

How this works: `builtins.txt` (generated from a real server by `tools/generate_pg_builtins.py`) names every function of
`pg_catalog` with its volatility. A stable or immutable one is harmless unless `_DANGEROUS` names it; a volatile one is
dangerous unless `_HARMLESS_VOLATILE` names it. So a function that a new version brings is refused until someone looked.
A dangerous name is dangerous in every schema, since extensions may be installed anywhere.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

_DANGEROUS: tuple[tuple[C, str], ...] = (
    # They run SQL given as text, or read relations, schemas and cursors named by a value.
    (C.DYNAMIC, r"query_to_xml\w*|table_to_xml\w*|schema_to_xml\w*|database_to_xml\w*|cursor_to_xml\w*"),
    (C.DYNAMIC, r"ts_stat|ts_rewrite|crosstab\w*|connectby|xpath_table|query_tree|exec(ute)?_sql"),
    # Bytes and rows of relations that are named by a value (pageinspect, pgstattuple, logical decoding, sequences).
    (C.DYNAMIC, r"get_raw_page|heap_page_\w+|bt_page_\w+|pgstat\w*tuple\w*|pg_logical_slot_\w+|pg_get_sequence_data"),
    (C.FILE, r"pg_read_(binary_)?file\w*|pg_ls_\w+|pg_stat_file|pg_current_logfile|pg_hba_file_rules"),
    (C.FILE, r"pg_ident_file_mappings|pg_show_all_file_settings|pg_logdir_ls|pg_file_\w+|pg_rotate_logfile\w*"),
    (C.FILE, r"lo_import|lo_export|file_fdw\w*|pg_wal_summary_contents|pg_get_wal_\w+|pg_read_\w+"),
    (C.LARGE_OBJECT, r"lo_\w+|loread|lowrite"),
    (C.EXTERNAL, r"dblink\w*|postgres_fdw_\w+|http|http_\w+|pg_net\w*|plv8\w*"),
    (C.SESSION, r"set_config|pg_reload_conf|set_limit"),
    (C.NOTIFY, r"pg_notify"),
    (C.RESOURCE, r"pg_sleep\w*|pg_(try_)?advisory_\w+|pg_export_snapshot"),
    (C.ADMIN, r"pg_terminate_backend|pg_cancel_backend|pg_log_backend_memory_contexts|pg_stat_\w*reset\w*"),
    (C.ADMIN, r"pg_stat_clear_snapshot|pg_replication_\w+|pg_\w*replication_slot\w*|pg_switch_wal|pg_promote"),
    (C.ADMIN, r"binary_upgrade_\w+|pg_(backup|start_backup|stop_backup)\w*|pg_create_restore_point|pg_wal_replay_\w+"),
    (C.ADMIN, r"pg_(restore|clear)_\w+_stats|pg_import_system_collations|pg_logical_emit_message|pg_nextoid"),
    (C.ADMIN, r"pg_stat_get_(backend_)?activity"),  # what other sessions say
    (C.ADMIN, r"brin_(de)?summarize_\w+|gin_clean_pending_list|pg_extension_config_dump|cron\.\w+"),
    # Take an event trigger's or a dump's place; of no use to a client.
    (C.ADMIN, r"pg_get_publication_tables|pg_event_trigger_\w+"),
    (C.PROCEDURAL, r"\w+_inline_handler|\w+_call_handler|plpgsql_validator|fmgr_\w+_validator"),
)
_TYPE_NAMES = (
    "aclitem any anyarray anycompatible anycompatiblearray anycompatiblemultirange anycompatiblenonarray "
    "anycompatiblerange anyelement anyenum anymultirange anynonarray anyrange bit bool box bpchar bytea char cid cidr "
    "circle cstring date datemultirange daterange float4 float8 inet int2 int2vector int4 int4multirange int4range "
    "int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8 money name numeric "
    "nummultirange numrange oid oidvector path pg_dependencies pg_lsn pg_mcv_list pg_ndistinct pg_node_tree "
    "pg_snapshot point polygon record refcursor regclass regcollation regconfig regdictionary regnamespace regoper "
    "regoperator regproc regprocedure regrole regtype text tid time timestamp timestamptz timetz trigger tsmultirange "
    "tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot unknown uuid varbit varchar void xid xid8 xml "
    "serial bigserial smallserial serial2 serial4 serial8 "
)
TYPES: frozenset[str] = frozenset(_TYPE_NAMES.split())
"""Types of pg_catalog (PostgreSQL 18), and the names that column definitions may use for sequences."""
_SEQUENCE = frozenset({"nextval", "setval"})
# Volatile because their answer changes within a statement, not because they do anything.
_HARMLESS_VOLATILE = re.compile(
    r"array_sample|array_shuffle|clock_timestamp|current_query|currtid2|currval|lastval|gen_random_uuid|uuidv[47]"
    r"|random|random_normal|setseed|timeofday|pg_(relation|table|indexes|total_relation|database|tablespace)_size"
    r"|pg_is_in_recovery|pg_is_wal_replay_paused|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_lock_status"
    r"|pg_isolation_test_session_is_blocked|txid_status|pg_xact_status|pg_xact_commit_timestamp\w*"
    r"|pg_last_committed_xact|pg_last_wal_\w+|pg_last_xact_replay_timestamp|pg_current_wal_\w+|pg_control_\w+"
    r"|pg(_database)?_collation_actual_version|pg_collation_actual_version|pg_partition_(tree|ancestors)"
    r"|pg_sequence_last_value|pg_stat_get_\w+|pg_stat_have_stats|pg_jit_available|pg_get_wait_events"
    r"|pg_notification_queue_usage|pg_get_multixact_members|pg_prepared_xact|amvalidate|pg_get_backend_memory_contexts"
    r"|pg_get_shmem_allocations\w*|pg_get_loaded_modules|pg_get_aios"
)
# `TABLESAMPLE bernoulli (10)`; and SQL syntax whose functions have no row in pg_proc.
_SYNTAX = frozenset({"bernoulli", "system", "system_user", "current_role", "current_catalog", "user"})
# Casts to these look an object up by the name in a value.
REG_TYPES: frozenset[str] = frozenset(
    "reg" + kind
    for kind in (
        *("class", "collation", "config", "dictionary", "namespace", "oper"),
        *("operator", "proc", "procedure", "role", "type"),
    )
)
_DANGEROUS_RE = tuple((cls, re.compile(pattern)) for cls, pattern in _DANGEROUS)


def _read() -> dict[str, frozenset[str]]:
    text = resources.files(__package__ or "").joinpath("builtins.txt").read_text("utf-8")
    sets: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            sets.setdefault(line[0], set()).add(line[2:])
    return {key: frozenset(names) for key, names in sets.items()}


_TABLE = _read()
_VOLATILE = _TABLE["v"]
FUNCTIONS: frozenset[str] = _TABLE["i"] | _TABLE["s"] | _VOLATILE | _SYNTAX
OPERATORS: frozenset[str] = _TABLE["o"] | {"<>", "!="}
CATALOG_RELATIONS: frozenset[str] = _TABLE["r"]


@lru_cache(4096)  # bounded: names come from clients
def danger_of(name: str) -> C | None:
    """The class that calling a function of this name (in whatever schema) adds, or None for one that is not dangerous.

    `nextval` and `setval` count as `write` but are not in `Facts.dangerous_functions`.
    """
    if name in _SEQUENCE:
        return C.WRITE
    for cls, pattern in _DANGEROUS_RE:
        if pattern.fullmatch(name):
            return cls
    if name in _VOLATILE and not _HARMLESS_VOLATILE.fullmatch(name):
        return C.ADMIN
    return None


def is_sequence_function(name: str) -> bool:
    """Whether the function moves a sequence."""
    return name in _SEQUENCE


def is_plain(schema: str | None, name: str) -> bool:
    """Whether the name is one of PostgreSQL's own harmless functions."""
    return schema in (None, "pg_catalog") and name in FUNCTIONS and danger_of(name) is None


def is_catalog_relation(schema: str | None, name: str) -> bool:
    """Whether an unqualified or `pg_catalog` name is a system catalog or view: the search path looks there first."""
    return schema == "pg_catalog" or (schema is None and name in CATALOG_RELATIONS)


def is_plain_type(name: str) -> bool:
    """Whether a type, as `Facts.types` has it, came with the server: no function of anybody's own is behind it."""
    schema, _, last = name.rpartition(".")
    if schema:
        return schema == "information_schema"
    return last in TYPES or (last.startswith("_") and last[1:] in TYPES)
