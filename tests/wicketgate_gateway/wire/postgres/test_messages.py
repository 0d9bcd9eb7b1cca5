"""Builders and readers undo each other, and what is malformed is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres import messages as m

names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
u32 = st.integers(0, 2**32 - 1)
i16 = st.integers(-(2**15), 2**15 - 1)
fields = st.builds(m.FieldDescription, names, u32, i16, u32, i16, st.integers(-(2**31), 2**31 - 1), st.integers(0, 1))


@given(st.lists(fields, max_size=10))
def test_row_description_round_trip(columns: list[m.FieldDescription]) -> None:
    assert m.read_row_description(m.row_description(columns)[5:]) == tuple(columns)


@given(st.lists(st.none() | st.binary(max_size=50), max_size=10))
def test_data_row_round_trip(values: list[bytes | None]) -> None:
    assert m.read_data_row(m.data_row(values)[5:]) == values


@given(st.lists(st.none() | st.binary(max_size=20), min_size=1, max_size=5), st.data())
def test_a_data_row_that_is_cut_or_longer_is_refused(values: list[bytes | None], data: st.DataObject) -> None:
    body = m.data_row(values)[5:]
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(m.ProtocolError):
        m.read_data_row(body[:cut])
    with pytest.raises(m.ProtocolError):
        m.read_data_row(body + b"x")


@given(st.lists(fields, min_size=1, max_size=5), st.data())
def test_a_row_description_that_is_cut_or_longer_is_refused(
    columns: list[m.FieldDescription], data: st.DataObject
) -> None:
    body = m.row_description(columns)[5:]
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(m.ProtocolError):
        m.read_row_description(body[:cut])
    with pytest.raises(m.ProtocolError):
        m.read_row_description(body + b"x")


def test_reports() -> None:
    built = m.report(b"E", {"S": "ERROR", "C": "42501", "M": "no", "D": ""})
    assert built[:1] == b"E"
    assert m.read_report(built[5:]) == {"S": "ERROR", "C": "42501", "M": "no"}
    assert m.read_report(b"Mtext\xff\0\0") == {"M": "text\ufffd"}


def test_a_nul_in_a_text_is_refused() -> None:
    with pytest.raises(m.ProtocolError):
        m.query("SELECT 1\0; DROP TABLE x")


@pytest.mark.parametrize(
    ("tag", "rows"),
    [("SELECT 3", 3), ("INSERT 0 12", 12), ("CREATE TABLE", None), ("COPY 5", 5), ("7", None)],
)
def test_rows_of_a_tag(tag: str, rows: int | None) -> None:
    assert m.rows_of(tag) == rows
    assert m.read_command_tag(m.command_complete(tag)[5:]) == tag


def test_a_parameter_status_that_does_not_end_is_refused() -> None:
    assert m.read_parameter_status(m.parameter_status("TimeZone", "UTC")[5:]) == ("TimeZone", "UTC")
    with pytest.raises(m.ProtocolError):
        m.read_parameter_status(b"TimeZone\0UTC")


def test_copy_out_response() -> None:
    assert m.read_copy_response(m.copy_response(b"H", 3)[5:]) == (False, 3)
    assert m.read_copy_response(m.copy_response(b"H", 2, 1)[5:]) == (True, 2)
    for body in (b"", b"\0\0", b"\0\0\1", b"\2\0\0", b"\0\0\1\0\1", b"\1\0\1\0\0", b"\0\0\1\0\0\0"):
        with pytest.raises(m.ProtocolError):
            m.read_copy_response(body)
