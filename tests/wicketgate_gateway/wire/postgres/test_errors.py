"""Errors of a masked statement show no value: the attack is a cast that fails on the value that one wants to read."""

import pytest

from wicketgate_gateway.wire.postgres import errors, messages

SECRET = "eve@example.com"


def cleaned(kind: bytes = b"E", **fields: str) -> dict[str, str]:
    body = messages.report(kind, {"S": "ERROR", **fields})[5:]
    result = errors.without_values(kind, body)
    assert result[:1] == kind
    return messages.read_report(result[5:])


@pytest.mark.parametrize(
    "fields",
    [
        {"C": "22P02", "M": f'invalid input syntax for type integer: "{SECRET}"'},
        {"C": "22P02", "M": f'invalid input syntax for type integer: "a" {SECRET} "b"'},
        {"C": "22P02", "M": f'invalid input syntax for type integer: "{SECRET}'},
        {"C": "22007", "M": f'invalid input syntax for type date: "{SECRET}"', "W": f"COPY t, line 1: {SECRET}"},
        {
            "C": "23505",
            "M": 'duplicate key value violates unique constraint "u"',
            "D": f"Key (email)=({SECRET}) exists.",
        },
        {"C": "23514", "M": "new row violates", "D": f"Failing row contains ({SECRET}).", "H": SECRET, "q": SECRET},
        {"C": "42P01", "M": f'relation "{SECRET}" does not exist'},  # 'x'::regclass on a value
        {"C": "P0001", "M": SECRET},
        {"C": "XX000", "M": f"unexpected {SECRET}"},
    ],
)
def test_no_value_shows(fields: dict[str, str]) -> None:
    result = cleaned(**fields)
    assert not any(SECRET in text for text in result.values())
    assert result["C"] == fields["C"]
    assert result["M"]


def test_notices_of_functions_are_hidden() -> None:
    assert cleaned(b"N", C="00000", M=f"value {SECRET}")["M"] == errors.HIDDEN


def test_names_that_the_error_names_stay() -> None:
    text = 'duplicate key value violates unique constraint "customers_pkey"'
    assert cleaned(C="23505", M=text, n="customers_pkey", t="customers")["M"] == text
    text = 'null value in column "a" of relation "t" violates not-null constraint'
    assert cleaned(C="23502", M=text, c="a", t="t")["M"] == text


def test_errors_of_the_analysis_stay() -> None:
    fields = {"C": "42703", "M": 'column "emial" does not exist', "H": "Perhaps you meant `email`.", "P": "8"}
    assert cleaned(**fields) == {"S": "ERROR", **fields}


def test_our_own() -> None:
    built = errors.error("FATAL", "28000", "no\nway\0", detail="d", hint="h", position=3)
    assert messages.read_report(built[5:]) == {
        "S": "FATAL", "V": "FATAL", "C": "28000", "M": "no way ", "D": "d", "H": "h", "P": "3"
    }  # fmt: skip
    assert messages.read_report(errors.notice("hello", hint="x")[5:])["S"] == "NOTICE"


def test_a_position_in_another_text_hides_nothing_less() -> None:
    # `SELECT email::regtype`: the value is parsed while the statement runs, and the error points into it.
    fields = {
        "S": "ERROR",
        "C": "42601",
        "M": 'syntax error at or near "@"',
        "P": "4",
        "W": 'invalid type name "a@b.c"',
    }
    shown = errors.without_values(b"E", messages.report(b"E", fields)[5:])
    assert b"a@b" not in shown


@pytest.mark.parametrize(
    ("fields", "tells"),
    [
        ({"C": "23503", "t": "links", "D": "Key (email)=(x) is still referenced"}, True),
        ({"C": "23502", "t": "orders", "D": "Failing row contains (1, null)."}, False),
        ({"C": "23505", "t": "orders", "W": "COPY orders, line 1"}, False),
        ({"C": "00000", "W": "PL/pgSQL function note() line 2 at RAISE"}, True),
        ({"C": "22P02", "W": 'SQL statement "x"\nCOPY orders, line 1'}, True),
        ({"C": "22P02", "W": "JSON data, line 1: {"}, False),
        ({"C": "22012"}, False),
        ({"C": "23000"}, True),
    ],
)
def test_what_tells_of_other_tables(fields: dict[str, str], tells: bool) -> None:
    body = messages.report(b"E", {"S": "ERROR", "V": "ERROR", "M": "some text", **fields})[5:]
    assert errors.tells_of_others(body, frozenset({"orders"})) is tells
