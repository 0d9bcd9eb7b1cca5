"""Rows are masked column by column, and a row that does not fit its description is never passed on."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.rows import RowMasker
from wicketgate_gateway.masking.values import mask_value
from wicketgate_gateway.wire.postgres import messages as m

KEY = b"k" * 32
columns = st.lists(
    st.tuples(
        st.none() | st.sampled_from(MaskMethod), st.sampled_from([25, 23, 1043]), st.none() | st.binary(max_size=40)
    ),
    max_size=8,
)


@given(columns, st.binary(max_size=5), st.binary(max_size=5))
def test_each_masked_value_and_nothing_else_changes(
    chosen: list[tuple[MaskMethod | None, int, bytes | None]], before: bytes, after: bytes
) -> None:
    fields = [m.FieldDescription("c", 1, 1, oid) for _, oid, _ in chosen]
    row = m.data_row([value for _, _, value in chosen])
    masked = RowMasker([method for method, _, _ in chosen], fields, KEY)(
        before + row + after, len(before), len(before) + len(row)
    )
    expected = [value if method is None else mask_value(method, value, oid, KEY) for method, oid, value in chosen]
    assert masked == m.data_row(expected)


@given(st.lists(st.none() | st.binary(max_size=10), min_size=1, max_size=4), st.data())
def test_malformed_rows_are_refused(values: list[bytes | None], data: st.DataObject) -> None:
    fields = [m.FieldDescription("c", 1, 1, 25)] * len(values)
    mask = RowMasker([MaskMethod.REDACT] * len(values), fields, KEY)
    row = m.data_row(values)
    cut = data.draw(st.integers(5, len(row) - 1))
    for bad in (row[:cut], row + b"x", m.data_row([*values, b"more"]), m.data_row(values[:-1])):
        with pytest.raises(m.ProtocolError):
            mask(bad, 0, len(bad))


@pytest.mark.parametrize("length", [-2, -(2**31), 7, 2**31 - 1])
def test_impossible_lengths(length: int) -> None:
    mask = RowMasker([MaskMethod.REDACT], [m.FieldDescription("c", 1, 1, 25)], KEY)
    row = m.message(b"D", pack(">Hi", 1, length) + b"abc")
    with pytest.raises(m.ProtocolError):
        mask(row, 0, len(row))


def test_a_plan_of_another_size_is_refused() -> None:
    with pytest.raises(m.ProtocolError):
        RowMasker([MaskMethod.REDACT], [], KEY)
