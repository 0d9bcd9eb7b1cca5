"""Waiting until something holds steadily, and locks."""

import threading
from collections.abc import Callable

import pytest

from wicketgate.testing.azuread.waits import Locks, WaitError, Waits


class Clock:
    def __init__(self, cap: float | None = None) -> None:
        self.time = 0.0
        self.pauses: list[float] = []
        self.waits = Waits(cap=cap, now=lambda: self.time, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


def answering(*answers: bool | None) -> Callable[[], bool | None]:
    queue = list(answers)
    return lambda: queue.pop(0)


def test_five_times_five_seconds_apart_is_twenty_seconds() -> None:
    clock = Clock()
    clock.waits.until(answering(*[True] * 5), deadline=1000)
    assert clock.pauses == [5.0] * 4


def test_the_other_answer_starts_the_count_again() -> None:
    clock = Clock()
    clock.waits.until(answering(True, True, False, True, True, True, True, True), deadline=1000)
    assert len(clock.pauses) == 7


def test_not_there_does_not() -> None:
    clock = Clock()
    clock.waits.until(answering(True, True, None, True, True, True), deadline=1000, seconds=1.0)
    assert clock.pauses == [1.0] * 5


def test_pauses_grow_to_ten_seconds_while_nothing_holds() -> None:
    clock = Clock()
    clock.waits.until(answering(*[False] * 9, True), deadline=1000, times=1, seconds=1.0)
    assert clock.pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_the_deadline_ends_it() -> None:
    clock = Clock()
    with pytest.raises(WaitError, match="timeout while waiting for state to become 'Deleted'"):
        clock.waits.until(lambda: False, deadline=30, target="Deleted")
    assert clock.time < 30


def test_twenty_times_not_there_is_an_error() -> None:
    clock = Clock()
    with pytest.raises(WaitError, match="couldn't find resource"):
        clock.waits.until(lambda: None, deadline=10_000)
    assert len(clock.pauses) == 20


def test_a_cap_shortens_every_pause() -> None:
    clock = Clock(cap=0.25)
    clock.waits.until(answering(*[True] * 5), deadline=1000)
    clock.waits.pause(10.0)
    assert clock.pauses == [0.25] * 5


def test_locks_are_by_kind_and_name() -> None:
    locks = Locks()
    entered = threading.Event()
    with locks.holding("application", "1"):
        with locks.holding("application", "2"), locks.holding("group", "1"):
            pass

        def other() -> None:
            with locks.holding("application", "1"):
                entered.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(5)
    assert entered.is_set()
