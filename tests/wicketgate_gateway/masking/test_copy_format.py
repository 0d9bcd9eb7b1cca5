"""Options of COPY, read with certainty or not at all."""

import pytest

from wicketgate_gateway.masking.copy_format import CopyFormat, copy_statement, format_of
from wicketgate_gateway.wire.postgres.sql.facts import analyze


def read(text: str):
    statement = copy_statement(analyze(text).statements[0])
    assert statement is not None
    return format_of(statement)


KNOWN = {
    "": CopyFormat(),
    "(FORMAT text, DELIMITER '|', HEADER)": CopyFormat(delimiter=b"|", header=True),
    "WITH DELIMITER '|' NULL '\\N'": CopyFormat(delimiter=b"|"),
    "WITH CSV HEADER": CopyFormat("csv", b",", b"", header=True),
    "(FORMAT csv, HEADER false, DELIMITER ';', NULL 'nil', QUOTE '''', ESCAPE '!', FORCE_QUOTE (a, b))": CopyFormat(
        "csv", b";", b"nil", b"'", b"!", quoted=frozenset({"a", "b"})
    ),
    "(FORMAT csv, QUOTE '$', FORCE_QUOTE *)": CopyFormat("csv", b",", b"", b"$", b"$", quotes_all=True),
    "WITH CSV FORCE QUOTE a": CopyFormat("csv", b",", b"", quoted=frozenset({"a"})),
    "(FORMAT binary)": CopyFormat("binary"),
    "BINARY": CopyFormat("binary"),
    "(ENCODING 'utf-8', HEADER 1)": CopyFormat(header=True),
    "(HEADER 'off')": CopyFormat(),
}


@pytest.mark.parametrize("options", KNOWN)
def test_known(options: str):
    assert read(f"COPY t TO STDOUT {options}") == KNOWN[options]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("(FORMAT parquet)", "none of text, csv and binary"),
        ("(FORMAT 'CSV')", "none of text, csv and binary"),
        ("(FORMAT csv, FORMAT text)", "twice"),
        ("(ENCODING 'LATIN1')", "encoding"),
        ("(NULL 'guess')", "cannot be told apart"),
        ("(NULL '')", "cannot be told apart"),
        ("(DELIMITER 'n')", "delimiter"),
        ("(DELIMITER '||')", "delimiter"),
        ("(DELIMITER '\\')", "delimiter"),
        ("(HEADER maybe)", "header"),
        ("(QUOTE '$')", "not known for text"),
        ("(FREEZE)", "not known for text"),
        ("(FORMAT binary, HEADER)", "does not go with binary"),
        ("(FORMAT csv, DELIMITER '\"')", "told apart"),
        ("(FORMAT csv, NULL 'a,b')", "told apart"),
        ("(FORMAT csv, QUOTE 'ab')", "one character"),
        ("(FORMAT csv, ESCAPE 'é')", "one character"),
        ("(FORMAT csv, FORCE_QUOTE 'a')", "no list"),
        ("(FORMAT csv, anything_new 1)", "not known for csv"),
    ],
)
def test_what_is_not_certain_says_why(options: str, why: str):
    found = read(f"COPY t TO STDOUT {options}")
    assert isinstance(found, str)
    assert why in found


def test_reading_takes_options_that_say_nothing_of_fields():
    assert read("COPY t FROM STDIN (FREEZE, NULL 'x', DELIMITER ',')") == CopyFormat(delimiter=b",", null=b"x")
    assert read("COPY t FROM STDIN (FORMAT csv, FORCE_NULL (a))") == CopyFormat("csv", b",", b"")


def test_another_statement_has_no_format():
    assert copy_statement(analyze("SELECT 1").statements[0]) is None
