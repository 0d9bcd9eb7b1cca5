"""The gateway's own work per query, counted: a call too many on the hot path shows here, on the slowest machine too.

The bounds are a tenth above what was counted when they were set (`python -m bench.hot`). Lower them when the code gets
better; raise one only for something that is worth its cost to every query.
"""

import pytest
import uvloop

from bench import hot

MOST_PYTHON_CALLS = {"simple": 88, "extended": 130, "prepared": 106, "masked": 88}


@pytest.mark.parametrize("case", list(hot.CASES))
def test_python_calls_per_query(case: str) -> None:
    counted = uvloop.run(hot.calls(case, rounds=10))
    assert counted["py"] > 10, "nothing was counted"
    assert counted["py"] <= MOST_PYTHON_CALLS[case], "see bench/hot.py for where they go"


def test_rows_that_nobody_looks_at_cost_nothing_each() -> None:
    few, many = (uvloop.run(hot.calls_of_rows(rows)) for rows in (10, 400))
    assert many <= few + 5
