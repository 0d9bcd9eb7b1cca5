from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.audit import ingest
from wicketgate_gateway.audit.events import Operation, PolicyLoaded
from wicketgate_gateway.audit.follow import Follower
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import sqlite

Sealed = Any  # the fixture of conftest.py


def everything(follower: Follower, limit: int = 200) -> list[str]:
    found: list[str] = []
    while entries := follower.batch(limit):
        found += [entry.uid for entry in entries]
        follower.accepted()
    return found


def test_all_events_once_in_order_with_their_sessions(sealed: Sealed) -> None:
    follower = Follower(sealed.state, "s")
    entries = follower.batch(10_000)
    assert [entry.event.time for entry in entries] == sorted(entry.event.time for entry in entries)
    operations = [entry for entry in entries if isinstance(entry.event, Operation)]
    assert len(operations) == 9
    assert {entry.started.bot for entry in operations if entry.started} == {"bot-0", "bot-1", "bot-2"}
    document = operations[0].document("ndjson")
    assert (document["event"], document["statement"], document["uid"]) == ("operation", "SELECT 1", operations[0].uid)
    assert follower.batch(10_000) == entries
    follower.accepted()
    assert follower.batch() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_whatever_is_interrupted_none_is_missed(sealed: Sealed, steps: list[tuple[int, bool, bool]]) -> None:
    (sealed.state / "streams").mkdir(exist_ok=True)
    (sealed.state / "streams" / "s.json").unlink(missing_ok=True)
    all_uids = everything(Follower(sealed.state, "other", remember=False))
    follower = Follower(sealed.state, "s")
    accepted: list[str] = []
    for limit, accept, restart in [*steps, (10_000, True, False)]:
        entries = follower.batch(limit)
        if accept:
            follower.accepted()
            accepted += [entry.uid for entry in entries]
        if restart:
            follower = Follower(sealed.state, "s")
    assert accepted == all_uids


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_frame_of_many_events_in_small_batches(tmp_path: Any, size: int) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([PolicyLoaded(time=n, policy="p") for n in range(5)])
    journal.append([PolicyLoaded(time=n, policy="p") for n in range(5, 7)])
    follower = Follower(tmp_path, "s")
    uids = everything(follower, size)
    assert len(uids) == len(set(uids)) == 8
    journal.append([PolicyLoaded(time=9, policy="p")])
    assert len(everything(Follower(tmp_path, "s"), size)) == 1
    journal.close()


def test_goes_on_after_a_uid(sealed: Sealed) -> None:
    uids = everything(Follower(sealed.state, "s", remember=False))
    for at in (0, 3, len(uids) - 1):
        follower = Follower(sealed.state, "s", remember=False)
        follower.after(uids[at])
        assert everything(follower) == uids[at + 1 :]
    for wrong in ("x", "1-2", "99-1-0", "1-7-0"):
        with pytest.raises(WicketgateError, match="no event"):
            Follower(sealed.state, "s", remember=False).after(wrong)


def test_after_a_restart_the_session_is_looked_up_in_the_store(sealed: Sealed) -> None:
    first = Follower(sealed.state, "s")
    while not isinstance(first.batch(1)[0].event, Operation):
        first.accepted()
    assert first.batch(1)[0].started is not None
    again = Follower(sealed.state, "s")
    assert again.batch(1)[0].started is None
    connection = sqlite.connect(sqlite.database(sealed.state))
    ingest.catch_up(sealed.state, connection)
    connection.close()
    found = Follower(sealed.state, "s").batch(1)[0]
    assert found.started is not None
    assert found.document("ndjson")["bot"] == "bot-0"


def test_damage_is_told_once_and_passed(sealed: Sealed) -> None:
    path = sealed.files()[0]
    data = bytearray(path.read_bytes())
    data[sealed.frames(path)[1][1] - 1] ^= 1
    path.write_bytes(bytes(data))
    told: list[str] = []
    follower = Follower(sealed.state, "s", told.append)
    uids = everything(follower)
    assert uids
    assert {uid.split("-")[0] for uid in uids} >= {"2", "3"}
    assert len(told) == 1
    assert path.name in told[0]


def test_a_damaged_last_file_is_told_once_and_waited_for(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    data = bytearray(path.read_bytes())
    data[sealed.frames(path)[1][1] - 1] ^= 1
    path.write_bytes(bytes(data))
    told: list[str] = []
    follower = Follower(sealed.state, "s", told.append)
    everything(follower)
    everything(follower)
    assert len(told) == 1
    sealed.run(1)
    assert everything(follower)


def test_a_place_that_cannot_be_read_sends_all_again(sealed: Sealed) -> None:
    follower = Follower(sealed.state, "s")
    uids = everything(follower)
    position = sealed.state / "streams" / "s.json"
    assert json.loads(position.read_text())["file"] == len(sealed.files())
    position.write_text("{")
    told: list[str] = []
    assert everything(Follower(sealed.state, "s", told.append)) == uids
    assert len(told) == 1
