"""The walk over rows, and that the native one is the same."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.rows import rows_end, rows_end_twin, whole_rows_end, whole_rows_end_twin

Walk = Callable[[bytes, int], int | None]
ROW = m.data_row([b"abc", None])
BOTH = pytest.mark.parametrize("walk", [rows_end, rows_end_twin], ids=["used", "twin"])


@BOTH
def test_from_head_to_head(walk: Walk) -> None:
    start = len(m.PARSE_COMPLETE)
    data = m.PARSE_COMPLETE + ROW * 3 + m.command_complete("SELECT 3")
    assert walk(data, start) == start + 3 * len(ROW)


@BOTH
def test_the_last_row_may_be_incomplete(walk: Walk) -> None:
    data = ROW * 2
    for cut in range(len(ROW) + 5, len(data)):
        assert walk(data[:cut], 0) == len(data)
    for cut in range(len(ROW), len(ROW) + 5):
        assert walk(data[:cut], 0) == len(ROW)


@BOTH
@pytest.mark.parametrize("data", [b"D\0\0\0\5\0", b"D\0\0\0\0", b"D\0\0", ROW + b"D\0\0\0\1"])
def test_an_impossible_length_is_told(walk: Walk, data: bytes) -> None:
    assert walk(data, 0) is None


PIECES = st.one_of(st.binary(max_size=12), st.binary(max_size=40).map(lambda b: m.data_row([b])), st.just(ROW))


@settings(deadline=None)
@given(st.lists(PIECES, max_size=8).map(b"".join), st.integers(0, 60))
def test_the_twins_agree(data: bytes, start: int) -> None:
    assert rows_end(data, start) == rows_end_twin(data, start)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=8).map(b"".join), st.integers(0, 60))
def test_the_twins_agree_on_whole_rows(data: bytes, start: int) -> None:
    end = whole_rows_end(data, start)
    assert end == whole_rows_end_twin(data, start)
    assert end >= start
    while start < end:
        assert data[start] == ord("D")
        start += 1 + int.from_bytes(data[start + 1 : start + 5], "big")
    assert start == end
