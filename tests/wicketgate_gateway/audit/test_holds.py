from __future__ import annotations

from pathlib import Path

import pytest

from wicketgate_gateway.audit import holds
from wicketgate_gateway.audit.events import SessionStarted
from wicketgate_gateway.audit.seals import LegalHold, SealError, SealLog
from wicketgate_gateway.contract.errors import WicketgateError

STARTED = SessionStarted(
    time=100, session="s1", bot="b", bot_id="id", token_id="u", target="t", protocol="postgres", peer="p", agent="a"
)


def hold(name: str = "h", **terms: object) -> LegalHold:
    return LegalHold(hold=name, reason="r", by="me", **terms)  # type: ignore[arg-type]


def test_added_lifted_and_added_again(tmp_path: Path) -> None:
    log = SealLog(tmp_path)
    holds.add(log, hold(bot="b"))
    holds.add(log, hold("other", target="t"))
    assert [each.hold for each in holds.standing(log.read())] == ["h", "other"]
    with pytest.raises(WicketgateError, match="already"):
        holds.add(log, hold(bot="c"))
    holds.lift(log, "h", reason="over", by="me")
    assert [each.hold for each in holds.standing(log.read())] == ["other"]
    with pytest.raises(WicketgateError, match="no hold"):
        holds.lift(log, "h", reason="over", by="me")
    holds.add(log, hold(bot="c"))
    assert len(log.read().signed) == 4


def test_a_hold_on_nothing_in_particular_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError, match="what it is about"):
        holds.add(SealLog(tmp_path), hold())


def test_damaged_seals_tell_nothing(tmp_path: Path) -> None:
    log = SealLog(tmp_path)
    holds.add(log, hold(bot="b"))
    log.path.write_bytes(log.path.read_bytes().replace(b'"bot":"b"', b'"bot":"x"'))
    with pytest.raises(SealError, match="nothing is known"):
        holds.standing(log.read())


@pytest.mark.parametrize(
    ("terms", "matches"),
    [
        ({"session": "s1"}, True),
        ({"session": "s2"}, False),
        ({"bot": "b"}, True),
        ({"bot": "id"}, True),
        ({"bot": "b", "target": "x"}, False),
        ({"since": 150}, True),
        ({"since": 201}, False),
        ({"until": 100}, False),
        ({"until": 101}, True),
    ],
)
def test_what_a_session_falls_under(terms: dict[str, object], matches: bool) -> None:
    assert (holds.holding([hold(**terms)], STARTED, 200) is not None) == matches


def test_times_alone_hold_files() -> None:
    assert holds.holding_time([hold(bot="b")], 1, 2) is None
    assert holds.holding_time([hold(since=2)], 1, 2) is not None
    assert holds.holding_time([hold(since=3)], 1, 2) is None
    assert holds.holding_time([hold(until=1)], 1, 2) is None
