"""Signed-in browsers end when they should, and a stolen old id ends them all."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.people import Person
from wicketgate_gateway.ui import browser_sessions
from wicketgate_gateway.ui.browser_sessions import BrowserSessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> BrowserSessions:
    return BrowserSessions(clock)


def person(name: str = "dana") -> Person:
    return Person(Principal(PrincipalKind.PERSON, "t", name, "c", name, "u", 0.0), 1.0)


def test_the_cookie_finds_its_session_and_no_other_does(sessions: BrowserSessions) -> None:
    cookie = sessions.begin(person())
    found = sessions.find(cookie)
    assert found is not None
    assert found[0].person.principal.object_id == "dana"
    assert found[1] == ""
    for wrong in ("", cookie[:-1], cookie + "x", cookie.upper(), "\ud800"):
        assert sessions.find(wrong) is None
    assert cookie not in repr(vars(sessions))


def test_it_ends_unused_and_in_any_case(sessions: BrowserSessions, clock: Clock) -> None:
    cookie = sessions.begin(person())
    clock.now += browser_sessions.IDLE_SECONDS + 1
    assert sessions.find(cookie) is None
    cookie = sessions.begin(person())
    end = clock.now + browser_sessions.LIFE_SECONDS
    while clock.now <= end:
        found = sessions.find(cookie)
        assert found is not None
        cookie = found[1] or cookie
        clock.now += 60
    assert sessions.find(cookie) is None
    assert len(sessions) == 0


def test_ids_are_exchanged_and_an_old_one_ends_it(sessions: BrowserSessions, clock: Clock) -> None:
    first = sessions.begin(person())
    clock.now += browser_sessions.ROTATE_SECONDS + 1
    found = sessions.find(first)
    assert found is not None
    second = found[1]
    assert second
    assert second != first
    clock.now += 1
    overlapping = sessions.find(first)  # a request that was under way
    assert overlapping is not None
    assert overlapping[1] == ""
    clock.now += browser_sessions.OVERLAP_SECONDS
    assert sessions.find(first) is None
    assert sessions.find(second) is None


def test_signing_out(sessions: BrowserSessions) -> None:
    one, other, foreign = sessions.begin(person()), sessions.begin(person()), sessions.begin(person("erik"))
    found = sessions.find(one)
    assert found is not None
    sessions.end(found[0])
    assert sessions.find(one) is None
    assert sessions.find(other) is not None
    assert sessions.find(foreign) is not None


def test_there_is_an_end_to_how_many(sessions: BrowserSessions, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cookies: list[Any] = []
    for _ in range(browser_sessions.MAX_EACH + 3):
        clock.now += 1
        cookies.append(sessions.begin(person()))
    assert [sessions.find(cookie) is not None for cookie in cookies[:4]] == [False, False, False, True]
    monkeypatch.setattr(browser_sessions, "MAX_SESSIONS", 20)
    for number in range(40):
        clock.now += 1
        sessions.begin(person(str(number)))
    assert len(sessions) <= 20
