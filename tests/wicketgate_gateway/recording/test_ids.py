from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import ids


def test_ids_rise_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    now = time.time_ns() + 10**12
    made = [ids.new_session_id(now) for _ in range(1000)] + [ids.new_session_id(now - 10**10) for _ in range(10)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    # Random steps: ids that follow each other do not differ by one.
    assert made[0][:-1] != made[1][:-1]


def test_an_id_says_when() -> None:
    now = time.time_ns() + 10**13
    assert abs(ids.started_at(ids.new_session_id(now)).timestamp() - now / 1e9) < 0.002
    assert ids.started_at("0" * 26) == datetime(1970, 1, 1, tzinfo=UTC)


def test_ids_are_case_insensitive_and_nothing_else_passes() -> None:
    session = ids.new_session_id()
    assert ids.check_session_id(session.upper()) == session
    for bad in (
        "",
        "..",
        "../" + session,
        session + "/",
        session[:-1],
        session[:-1] + "u",
        "8" + session[1:],
        "\0" * 26,
    ):
        with pytest.raises(WicketgateError) as caught:
            ids.check_session_id(bad)
        assert caught.value.code == "session-id-invalid"
