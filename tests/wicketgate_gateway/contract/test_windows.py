import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.windows import Window


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        (["sat", "sun"], {5, 6}),
        ("fri-mon", {4, 5, 6, 0}),
        ("wed-wed", {2}),
        (["mon-tue", "tue-wed"], {0, 1, 2}),
    ],
)
def test_days_of_the_week(days: object, numbers: set[int]):
    assert Window.model_validate({"days": days, "from": "08:00", "to": "09:00"}).weekdays == numbers


def test_without_days_every_day():
    assert Window.model_validate({"from": "08:00", "to": "09:00"}).weekdays == set(range(7))


@pytest.mark.parametrize("clock", ["8:00", "24:01", "08:60", "0800", 8, "", None, " 08:00"])
def test_what_is_no_time_of_day(clock: object):
    with pytest.raises(ValidationError):
        Window.model_validate({"from": clock, "to": "09:00"})


@pytest.mark.parametrize(("begin", "end"), [("08:00", "08:00"), ("24:00", "08:00"), ("08:00", None)])
def test_a_window_has_two_ends(begin: str, end: str | None):
    with pytest.raises(ValidationError):
        Window.model_validate({"from": begin, "to": end})
