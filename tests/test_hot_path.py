"""The gateway's own work per query, counted: a call too many on the hot path shows here, on the slowest machine too.

The bounds are a tenth above what was counted when they were set (`python -m bench.hot`). Lower them when the code gets
better; raise one only for something that is worth its cost to every query.
"""

import pytest
import uvloop

from bench import hot
from wicketgate_gateway.wire.postgres.sql.parser import native

MOST_PYTHON_CALLS = {"simple": 43, "extended": 43, "prepared": 42, "masked": 50, "pipelined": 70, "begin": 42}
WITHOUT_NATIVE = {"simple": 88, "extended": 130, "prepared": 106, "masked": 95, "pipelined": 1030, "begin": 83}
NATIVE = hasattr(native(), "express_train")


@pytest.mark.parametrize("case", list(hot.CASES))
def test_python_calls_per_query(case: str) -> None:
    counted = uvloop.run(hot.calls(case, rounds=10))
    assert counted["py"] > 10, "nothing was counted"
    assert counted["py"] <= (MOST_PYTHON_CALLS if NATIVE else WITHOUT_NATIVE)[case], "see bench/hot.py for what calls"


@pytest.mark.parametrize("masked", [False, True])
def test_rows_of_a_bulk_answer_cost_nothing_each(masked: bool) -> None:
    if masked and not hasattr(native(), "mask_rows"):
        pytest.skip("the native crate is not built")
    few, many = (uvloop.run(hot.calls_of_rows(rows, masked=masked)) for rows in (10, 400))
    assert many <= few + 20
