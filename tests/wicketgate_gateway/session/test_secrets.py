"""Passwords are blanked however they are written; nothing else is, whatever a bot writes around it."""

import pytest

from wicketgate_gateway.session.secrets import without_passwords
from wicketgate_gateway.wire.postgres.sql.facts import analyze


def shown(text: str) -> str:
    return without_passwords(text, analyze(text).statements)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER ROLE bob PASSWORD 'hunter2'",
        "alter user bob with encrypted password 'hunter2' valid until '2030-01-01'",
        "CREATE ROLE bob LOGIN PASSWORD E'hunter2\\'x'",
        "CREATE ROLE bob PASSWORD U&'hunter2'",
        "CREATE ROLE bob PASSWORD $$hunter2$$",
        "CREATE ROLE bob PASSWORD $a$hunter2$a$",
        "CREATE ROLE bob PASSWORD /* '' /* nested */ */ 'hunter2'",
        "CREATE ROLE bob PASSWORD -- x\n 'hunter2'",
        "CREATE ROLE bob PASSWORD 'hun'\n'hunter2'",
        "SELECT 1; ALTER ROLE bob PASSWORD 'hunter2'; SELECT 2",
        "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password 'hunter2')",
        "CREATE USER MAPPING FOR bob SERVER s OPTIONS (\"password\" 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=hunter2' PUBLICATION p",
    ],
)
def test_blanked(text: str) -> None:
    assert "hunter2" in text
    assert "hunter2" not in shown(text)
    assert "'***'" in shown(text)


def test_the_rest_stays() -> None:
    assert (
        shown("alter user bob password 'hunter2' valid until '2030-01-01'")
        == "alter user bob password '***' valid until '2030-01-01'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "/* password */ DELETE FROM t WHERE id = '5'",
        "SELECT 'x' AS password, 'y'",
        "SELECT * FROM users WHERE password = 'x'",
    ],
)
def test_a_bot_cannot_hide_what_it_does(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize("text", ["ALTER ROLE bob PASWORD x PASSWORD 'hunter2'", "ALTER ROLE x PASSWORD 'hunter2"])
def test_what_was_not_understood_is_blanked_too(text: str) -> None:
    assert "hunter2" not in without_passwords(text, None)
