"""Rows are masked column by column, and a row that does not fit its description is never passed on."""

from collections.abc import Callable
from struct import pack

import pytest
from hypothesis import given, settings
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


texts = st.text(max_size=50).map(str.encode) | st.emails().map(str.encode) | st.binary(max_size=50)
tables = st.integers(1, 5).flatmap(
    lambda width: st.tuples(
        st.lists(st.none() | st.sampled_from(MaskMethod), min_size=width, max_size=width),
        st.lists(st.sampled_from([25, 23, 1043, 705]), min_size=width, max_size=width),
        st.lists(st.lists(st.none() | texts, min_size=width, max_size=width), min_size=1, max_size=6),
    )
)


def _outcome(mask: Callable[[bytes, int, int], bytes], data: bytes, start: int, end: int) -> bytes | None:
    try:
        return mask(data, start, end)
    except m.ProtocolError:
        return None


@settings(deadline=None)
@given(tables, st.binary(max_size=5))
def test_the_native_twin_masks_the_same(
    table: tuple[list[MaskMethod | None], list[int], list[list[bytes | None]]], before: bytes
) -> None:
    methods, oids, rows = table
    mask = RowMasker(methods, [m.FieldDescription("c", 1, 1, oid) for oid in oids], KEY)
    data = before + b"".join(m.data_row(row) for row in rows) + b"C"
    wanted = mask.twin(data, len(before), len(data) - 1)
    assert mask(data, len(before), len(data) - 1) == wanted
    assert wanted == b"".join(mask.twin(m.data_row(row), 0, len(m.data_row(row))) for row in rows)


@settings(deadline=None)
@given(tables, st.data())
def test_the_twins_refuse_the_same(
    table: tuple[list[MaskMethod | None], list[int], list[list[bytes | None]]], source: st.DataObject
) -> None:
    methods, oids, rows = table
    mask = RowMasker(methods, [m.FieldDescription("c", 1, 1, oid) for oid in oids], KEY)
    data = bytearray(b"".join(m.data_row(row) for row in rows))
    for _ in range(source.draw(st.integers(1, 3))):
        data[source.draw(st.integers(0, len(data) - 1))] = source.draw(st.integers(0, 255))
    bad = bytes(data[: source.draw(st.integers(0, len(data)))])
    assert _outcome(mask, bad, 0, len(bad)) == _outcome(mask.twin, bad, 0, len(bad))


def test_a_large_answer_is_masked_the_same() -> None:
    mask = RowMasker([MaskMethod.PARTIAL, None], [m.FieldDescription("c", 1, 1, 25)] * 2, KEY)
    rows = b"".join(m.data_row([b"someone%d@example.com" % n, b"x" * 50]) for n in range(2000))
    assert mask(rows, 0, len(rows)) == mask.twin(rows, 0, len(rows))
    # A value that is no UTF-8 is for the Python function, also in the midst of many that are.
    rows += m.data_row([b"\xff\xfe broken", None])
    assert mask(rows, 0, len(rows)) == mask.twin(rows, 0, len(rows))
