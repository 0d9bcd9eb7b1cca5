import pytest

from wicketgate_gateway.policy.plumbing import is_pinned, is_safe, is_safe_function, only_safe_settings
from wicketgate_gateway.wire.postgres.sql.facts import analyze
from wicketgate_gateway.wire.postgres.sql.model import FunctionName


def facts(text: str):
    return analyze(text).statements[0]


PINNED = [
    "SET standard_conforming_strings = off",
    "SET standard_conforming_strings = 0",
    "SET LOCAL standard_conforming_strings TO 'off'",
    "RESET standard_conforming_strings",
    "SET standard_conforming_strings TO DEFAULT",
    "SET client_encoding = 'LATIN1'",
    "SET client_encoding TO DEFAULT",
    "SET NAMES 'BIG5'",
    "SET NAMES DEFAULT",
    "SET search_path = evil",
    "SET search_path = public, evil",
    "SET search_path = evil, public",
    "SET search_path = pg_temp",
    "SET search_path = public, pg_catalog",
    "RESET search_path",
    "SET SCHEMA 'evil'",
    "SET session_replication_role = replica",
    "SET backslash_quote = on",
    "SET row_security = off",
    "SET allow_system_table_mods = on",
    "SELECT set_config('search_path', $1, false)",
    "SELECT set_config('SEARCH_PATH', 'evil', false)",
    "SELECT set_config($1, 'x', false)",
    "SELECT set_config(is_local => false, setting_name => 'search_path', new_value => 'evil')",
    "SELECT set_config('standard_conforming_strings', lower('OFF'), true)",
]


@pytest.mark.parametrize("text", PINNED)
def test_pinned(text: str):
    assert any(is_pinned(setting, ("public",)) for setting in facts(text).settings)


UNPINNED = [
    "SET standard_conforming_strings = on",
    "SET client_encoding = 'utf8'",
    "SET client_encoding = 'UTF-8'",
    "SET client_encoding TO UNICODE",
    "SET search_path = public",
    "SET search_path TO ''",
    "SET search_path = pg_catalog",
    "SET search_path = pg_catalog, public",
    "SELECT pg_catalog.set_config('search_path', '', false)",
    "RESET ALL",
    "SET application_name = 'search_path'",
]


@pytest.mark.parametrize("text", UNPINNED)
def test_not_pinned_and_safe(text: str):
    assert not any(is_pinned(setting, ("public",)) for setting in facts(text).settings)
    assert only_safe_settings(facts(text))


@pytest.mark.parametrize(
    "name", ["work_mem", "app.tenant", "role", "log_statement", "temp_file_limit", "statement_timeout2"]
)
def test_what_is_neither_needs_a_rule(name: str):
    (setting,) = facts(f"SET {name} = '1'").settings
    assert not is_pinned(setting, ("public",))
    assert not is_safe(setting)


def test_set_config_of_safe_settings_needs_no_rule():
    name = FunctionName(None, "set_config")
    assert is_safe_function(name, facts("SELECT set_config('jit', 'off', false)"))
    assert is_safe_function(FunctionName("pg_catalog", "set_config"), facts("SELECT set_config('jit', $1, false)"))
    assert not is_safe_function(name, facts("SELECT set_config('jit', '', false), set_config('app.x', '', false)"))
    assert not is_safe_function(FunctionName("evil", "set_config"), facts("SELECT set_config('jit', 'off', false)"))
    assert not is_safe_function(name, facts("SELECT 1"))
    assert not is_safe_function(FunctionName(None, "pg_advisory_lock"), facts("SELECT 1"))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("SET wicketgate.reason = 'a customer asked'", True),
        ("SET SESSION Wicketgate.Reason TO 'x'", True),
        ("SET LOCAL wicketgate.reason = 'x'", True),
        ("RESET wicketgate.reason", True),
        ("SELECT set_config('wicketgate.reason', $1, false)", True),
        ("SET wicketgate.reasons = 'x'", False),
        ("SET wicketgate.policy = 'x'", False),
        ("SET app.reason = 'x'", False),
        ("SET wicketgatexreason = 'x'", False),
    ],
)
def test_a_reason_may_be_given(text: str, safe: bool):
    assert only_safe_settings(facts(text)) is safe
