"""What is known of PostgreSQL's functions and types, where masked values go through them."""

from __future__ import annotations

from wicketgate_gateway.policy.names import CatalogueIndex, resolve_function
from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.model import FunctionName
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C

_TOTAL_NAMES = (
    "lower upper initcap btrim ltrim rtrim concat concat_ws reverse length char_length character_length octet_length "
    "bit_length md5 quote_literal quote_nullable to_json to_jsonb row_to_json json_build_object jsonb_build_object "
    "json_build_array jsonb_build_array array_to_json normalize count array_agg json_agg jsonb_agg coalesce"
)
TOTAL: frozenset[str] = frozenset(_TOTAL_NAMES.split())
"""They fail for no value, and are NULL only where the value is: through a mask, nothing of it shows."""
FIRST_ONLY: frozenset[str] = frozenset({"substr", "left", "right", "split_part"})
"""The same, if masked values are in their first argument alone. (`substring` may be one that looks for a pattern.)"""
COUNTING: frozenset[str] = frozenset({"count", "array_agg", "json_agg", "jsonb_agg"})
_AGGREGATES_NAMES = (
    "any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist "
    "dense_rank every first_value json_agg json_agg_strict json_object_agg json_object_agg_strict "
    "json_object_agg_unique jsonb_agg jsonb_agg_strict "
    "jsonb_object_agg jsonb_object_agg_strict lag last_value lead max min mode nth_value "
    "ntile percent_rank percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx regr_avgy "
    "regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev stddev_pop stddev_samp "
    "string_agg sum var_pop var_samp variance xmlagg"
)
AGGREGATES: frozenset[str] = frozenset(_AGGREGATES_NAMES.split())
TEXT_TYPES: frozenset[str] = frozenset({"text", "varchar", "bpchar", "char", "name", "unknown"})
"""Every value can be cast to these."""
OUTPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("json_each", "json_each_text", "jsonb_each", "jsonb_each_text", "each"), ("key", "value")),
    **dict.fromkeys(
        ("json_array_elements", "jsonb_array_elements", "json_array_elements_text", "jsonb_array_elements_text"),
        ("value",),
    ),
    "pg_options_to_table": ("option_name", "option_value"),
    "aclexplode": ("grantor", "grantee", "privilege_type", "is_grantable"),
    "_pg_expandarray": ("x", "n"),
    "pg_get_keywords": ("word", "catcode", "barelabel", "catdesc", "baredesc"),
    "pg_partition_tree": ("relid", "parentrelid", "isleaf", "level"),
}
"""Columns of functions in FROM that have several, or one that is not called as the function."""
_TELLING = frozenset({C.DYNAMIC, C.FILE, C.LARGE_OBJECT, C.EXTERNAL, C.PROCEDURAL, C.ADMIN, C.PROGRAM})


def unseen(schema: str | None, name: str, path: tuple[str, ...], index: CatalogueIndex) -> str:
    """Why it cannot be told what a function gives; empty if it depends on its arguments alone, or holds no rows."""
    if schema == "information_schema":
        return ""
    danger = builtins.danger_of(name)
    if danger in _TELLING and not builtins.is_sequence_function(name):
        return f"what `{name}` reads cannot be told"
    if danger is None and not builtins.is_plain(schema, name):
        return f"what the function `{name}` reads cannot be told"
    if schema == "pg_catalog":
        return ""
    if schema is None and danger is None:
        found = resolve_function(FunctionName(None, name), path, index, builtins.FUNCTIONS)
        if all(meaning.schema == "pg_catalog" for meaning in found):
            return ""
        if any(meaning.schema in index.functions.get(name, ()) for meaning in found):
            return f"`{name}` may be a function of the database's own"
        return ""
    if index.functions.get(name):
        return f"`{name}` may be a function of the database's own"
    return ""


def is_total(name: str) -> bool:
    """Whether the function fails for no value of any argument."""
    return name in TOTAL
