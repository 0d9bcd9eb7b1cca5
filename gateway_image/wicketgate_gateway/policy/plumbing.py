"""What every client needs, and what no policy can give: the built-in part of each decision.

Allowed for every bot that has a policy on the target: transactions, cursors, SHOW, DEALLOCATE, DISCARD, UNLISTEN, and
the settings of `SAFE_SETTINGS`. Denied whatever policies say: changing what the gateway pinned, because a text means
what the parser says only under `standard_conforming_strings=on`, `client_encoding=UTF8` and the pinned `search_path`.

`search_path` may be narrowed to nothing or to `pg_catalog` (pg_dump does so) and set to its pinned value. Narrowed, an
unqualified name can only mean less than policies take it for: a system relation stays one, everything else fails.
`RESET ALL` and `DISCARD ALL` go back to the start-up packet's values, and those are the pinned ones.
"""

from __future__ import annotations

import re

from wicketgate_gateway.policy.names import search_path
from wicketgate_gateway.wire.postgres.sql.model import Facts, FunctionName, Setting, StatementKind

PLUMBING: dict[StatementKind, str] = {
    StatementKind.TRANSACTION: "transaction",
    StatementKind.SHOW: "show",
    StatementKind.DEALLOCATE: "prepared",
    StatementKind.DISCARD: "session",
    StatementKind.FETCH: "cursor",
    StatementKind.CLOSE_CURSOR: "cursor",
    StatementKind.UNLISTEN: "session",
}
"""Statements whose own classes need no rule, and the name of the rule that allows them (`builtin:NAME`)."""

SAFE_SETTINGS = re.compile(
    r"application_name|bytea_output|client_min_messages|datestyle|default_transaction_(?:deferrable|isolation|read_only)"
    r"|enable_\w+|extra_float_digits|geqo|idle_in_transaction_session_timeout|idle_session_timeout|intervalstyle|jit"
    r"|lock_timeout|plan_cache_mode|statement_timeout|timezone|transaction_(?:deferrable|isolation|read_only)"
    r"|transaction_timeout|wicketgate\.reason"
)
"""Settings that change neither what a statement means nor what it may do. `wicketgate.reason` is ours: why the bot asks
for what is held."""

PINNED_SETTINGS = frozenset(
    {
        "allow_system_table_mods",
        "backslash_quote",
        "client_encoding",
        "lo_compat_privileges",
        "local_preload_libraries",
        "row_security",
        "search_path",
        "session_preload_libraries",
        "session_replication_role",
        "standard_conforming_strings",
    }
)
ROLE_SETTINGS = frozenset({"role", "session_authorization"})
"""Decided by the class `grant`, not here."""

SAFE_FUNCTIONS = frozenset({"pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared"})
"""Functions that the analysis calls dangerous, and that only give back what the session itself took."""


def is_pinned(setting: Setting, path: tuple[str, ...]) -> bool:
    """Whether this change is one that no policy can allow; `path` is the pinned search path."""
    name = setting.name
    if name is None:
        return True
    if name == "session_authorization":  # a session in which it changes must end; DEFAULT and RESET change nothing
        return setting.value is not None or not setting.constant
    if name not in PINNED_SETTINGS:
        return False
    value = setting.value if setting.constant else None
    if value is None:
        return True
    folded = value.strip().lower()
    match name:
        case "standard_conforming_strings" | "row_security":
            return folded not in ("on", "true", "yes", "1")
        case "client_encoding":
            return folded.strip("'\"").replace("-", "").replace("_", "") not in ("utf8", "unicode")
        case "search_path":
            return search_path(value) not in ((), path)
        case _:
            return True


def is_safe(setting: Setting) -> bool:
    """Whether the change needs no rule (a pinned one has been refused before)."""
    name = setting.name
    return name is not None and (name == "all" or name in PINNED_SETTINGS or SAFE_SETTINGS.fullmatch(name) is not None)


def only_safe_settings(facts: Facts) -> bool:
    """Whether all that the statement does to settings needs no rule."""
    return all(is_safe(setting) for setting in facts.settings)


def is_safe_function(name: FunctionName, facts: Facts) -> bool:
    """Whether a call that the analysis calls dangerous needs no rule in this statement."""
    if name.schema not in (None, "pg_catalog"):
        return False
    if name.name == "set_config":
        return bool(facts.settings) and only_safe_settings(facts)
    return name.name in SAFE_FUNCTIONS
